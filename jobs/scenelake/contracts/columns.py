"""Every column, defined once: its Arrow type and what it means. Tables are lists of these names.

Types are those that Iceberg v2 also has: no unsigned integers, and time is int64 nanoseconds UTC
because Iceberg v2 timestamps and Spark both stop at microseconds.
"""

from functools import cache

import pyarrow as pa

STR, I32, I64, F32, F64, BOOL, BIN, DATE = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
    pa.date32(),
)


def _list(value: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", value))


POSE = pa.struct([pa.field(n, F64) for n in ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")])
"""A rigid transform ``target_from_source``: translation in metres, unit quaternion with named parts."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    # identity
    "drop_id": (STR, "Object version that was dropped: sha256(bucket, key, version)."),
    "drive_id": (STR, "UUIDv5 of fleet, vehicle and drive."),
    "scene_id": (STR, "UUIDv5 of drive, slot or episode number, and segmentation policy."),
    "sample_id": (STR, "UUIDv5 of scene and timestamp: one keyframe."),
    "sample_data_id": (STR, "UUIDv8 of object, channel and position: one recorded message."),
    "calibrated_sensor_id": (STR, "Calibration that applies to the row."),
    "recording_id": (STR, "Recording (one or more objects) that the object belongs to."),
    "release_id": (STR, "Dataset release."),
    "run_id": (STR, "One run of one stage."),
    "batch_id": (STR, "Batch of drops drawn up by a claim."),
    "attempt": (I32, "Attempt at the batch, from 1; a fencing token."),
    "object_sha256": (STR, "Merkle root over the object's 8 MiB blocks."),
    "content_hash": (STR, "SHA-256 over the canonical rows and payload hashes: the revision."),
    "drive_date": (DATE, "UTC date of the scene's or slot's start; the partition."),
    # drive and object
    "fleet": (STR, "Fleet, from the key."),
    "robot_id": (STR, "Vehicle or robot, from the key."),
    "drive_name": (STR, "Drive, from the key."),
    "robot_type": (STR, "car, humanoid, … as the recording says."),
    "embodiment": (STR, "Embodiment tag for robots."),
    "rig_id": (STR, "Sensor rig whose calibration is shared; robot_id unless the recording says otherwise."),
    "software_version": (STR, "Recorder's software version or library."),
    "location": (STR, "Free text from the recording."),
    "reference_channel": (STR, "Channel whose clock gave the keyframes; null for a fixed grid."),
    "uri": (STR, "s3:// URI."),
    "s3_version_id": (STR, "S3 object version."),
    "etag": (STR, "S3 ETag."),
    "size_bytes": (I64, "Size of the object."),
    "format": (STR, "Container format, for example mcap."),
    "received_at_ns": (I64, "When the ledger first heard of the object."),
    "is_salvaged": (BOOL, "Only a readable part of the object could be decoded."),
    "problem": (STR, "What was wrong with the object, with byte ranges; null when nothing was."),
    # time
    "start_ns": (I64, "Inclusive start, ns UTC."),
    "exclusive_end_ns": (I64, "Exclusive end, ns UTC."),
    "timestamp_ns": (I64, "The ruling time of the row, ns UTC; timestamp_basis says which clock."),
    "sensor_time_ns": (I64, "The message's own header stamp; null when it has none."),
    "publish_time_ns": (I64, "Publish time in the container."),
    "log_time_ns": (I64, "Log time in the container."),
    "timestamp_basis": (STR, "sensor, publish or log."),
    "valid_from_ns": (I64, "Start of validity, inclusive."),
    "valid_to_ns": (I64, "End of validity, exclusive; null while open."),
    "started_at_ns": (I64, "Start of the run."),
    "ended_at_ns": (I64, "End of the run."),
    # scene and sample
    "kind": (STR, "drive_segment or episode."),
    "task": (STR, "Task or language instruction; null when unknown."),
    "description": (STR, "Free text."),
    "nbr_samples": (I32, "Keyframes in the scene."),
    "segmentation_policy": (STR, "Policy that cut the scene, with its version."),
    "frame_index": (I32, "Position of the keyframe in its scene, from 0."),
    "prev_sample_id": (STR, "Previous keyframe of the scene; null at the start."),
    "next_sample_id": (STR, "Next keyframe of the scene; null at the end."),
    "is_key_frame": (BOOL, "True for keyframes of the default 2 Hz grid."),
    # sample_data
    "channel": (STR, "Topic of the recording."),
    "modality": (STR, "camera, lidar, radar, imu, …"),
    "schema_name": (STR, "Message type as recorded."),
    "status": (STR, "decoded, raw (kept as bytes) or undecodable."),
    "reason": (STR, "Why; null when all is well."),
    "chunk_offset_bytes": (I64, "Offset of the chunk record (or of the message record outside chunks) in the object."),
    "message_offset_bytes": (I64, "Offset of the message record in the uncompressed chunk; 0 outside chunks."),
    "payload_table": (STR, "Table that holds the payload row."),
    "payload_file": (STR, "Hint: file that holds the payload row; sample_data_id is the truth."),
    "row_index": (I32, "Hint: row in payload_file."),
    "decode_from_row": (I32, "Row of the previous IDR for inter-coded video; else row_index."),
    "payload_bytes": (I64, "Size of the message as recorded."),
    "payload_hash": (
        STR,
        "BLAKE3 of the message as recorded, first 32 hex digits; messages up to 1 KiB share one with others.",
    ),
    # synchronisation
    "delta_ns": (I64, "Matched time minus keyframe time; of the nearest row even where it is out of tolerance."),
    "method": (STR, "nearest, linear, slerp or hold."),
    "tolerance_ns": (I64, "Largest |delta_ns| (or bracketing gap for linear and slerp) that counts as a match."),
    "is_match": (BOOL, "A row was found within tolerance and is in gold; when false sample_data_id is null."),
    "value": (_list(F64), "Interpolated value at the keyframe (imu: acceleration, angular rate; pose: POSE order)."),
    "policy_version": (STR, "Version of the rules that produced the row."),
    # geometry
    "world_from_ego": (POSE, "Pose of the ego (base_link) in the world frame."),
    "ego_from_sensor": (POSE, "Extrinsics; null when unknown."),
    "linear_velocity_m_s": (_list(F64), "x, y, z in the ego frame; null when unknown."),
    "angular_velocity_rad_s": (_list(F64), "x, y, z in the sensor or ego frame."),
    "linear_acceleration_m_s2": (_list(F64), "x, y, z, specific force in the sensor frame."),
    "orientation": (_list(F64), "qw, qx, qy, qz; null when not measured."),
    "covariance": (_list(F64), "Row-major covariance as recorded; null when unknown."),
    "source": (STR, "What the row came from: a message type, human, auto, …"),
    "frame_id": (STR, "Coordinate frame as recorded."),
    "parent_frame_id": (STR, "Target frame of parent_from_child."),
    "child_frame_id": (STR, "Source frame of parent_from_child."),
    "parent_from_child": (POSE, "Transform as recorded."),
    "is_static": (BOOL, "From a latched (static) channel."),
    "camera_model": (STR, "Distortion model, for example plumb_bob, rational_polynomial, equidistant."),
    "intrinsics": (_list(F64), "3x3 camera matrix, row major, pixels."),
    "distortion": (_list(F64), "Distortion coefficients in the model's order."),
    "width_px": (I32, "Image width."),
    "height_px": (I32, "Image height."),
    "is_verified": (BOOL, "Calibration checked against data; null when not checked."),
    "reprojection_px": (F64, "Reprojection error; null when not measured."),
    # payloads
    "image": (BIN, "Image bytes as recorded."),
    "image_format": (STR, "jpeg, png, h264, … or a raw encoding such as rgb8."),
    "row_stride_bytes": (I32, "Bytes per image row for raw encodings; null otherwise."),
    "nbr_points": (I32, "Points in the sweep."),
    "x_m": (_list(F32), "Sensor frame."),
    "y_m": (_list(F32), "Sensor frame."),
    "z_m": (_list(F32), "Sensor frame."),
    "intensity": (_list(F32), "Return intensity as recorded; null when absent."),
    "ring": (_list(I32), "Laser or ring number; null when absent."),
    "offset_ns": (_list(I64), "Point time minus timestamp_ns; null when absent."),
    "radial_velocity_m_s": (_list(F32), "Doppler, positive receding; null when absent."),
    "radial_velocity_compensated_m_s": (_list(F32), "Doppler less the ego's own motion; null when absent."),
    "radar_cross_section_dbsm": (_list(F32), "RCS; null when absent."),
    "names": (_list(STR), "Names of the values."),
    "units": (_list(STR), "Units of the values; null when not recorded."),
    "position": (_list(F64), "Joint positions (rad or m), or signal values in the order of names."),
    "velocity": (_list(F64), "Joint velocities; null when absent."),
    "effort": (_list(F64), "Joint efforts; null when absent."),
    "text": (STR, "Instruction or remark."),
    "latitude_deg": (F64, "WGS 84."),
    "longitude_deg": (F64, "WGS 84."),
    "altitude_m": (F64, "Above the WGS 84 ellipsoid; null when unknown."),
    "fix_status": (I32, "NavSatStatus.status as recorded."),
    "can_id": (I64, "Arbitration id."),
    "bus": (I32, "CAN bus number; null when not recorded."),
    "is_extended": (BOOL, "29-bit id."),
    "data": (BIN, "Message bytes."),
    "message_encoding": (STR, "Encoding of the message as recorded."),
    "event": (STR, "start or end of an episode, or another named mark."),
    "episode_index": (I32, "Episode number."),
    "is_success": (BOOL, "Outcome of the episode; null when unknown."),
    # annotations and tracks
    "annotation_id": (STR, "Sample data id and position in the message."),
    "track_id": (STR, "Object identity over time."),
    "category": (STR, "Class as recorded."),
    "center_m": (_list(F64), "x, y, z in frame_id."),
    "size_m": (_list(F64), "length (x), width (y), height (z)."),
    "score": (F64, "Confidence; null for human labels."),
    "sensor_from_box": (POSE, "Box pose in frame_id."),
    # quality
    "check_name": (STR, "Rule."),
    "check_version": (STR, "Version of the rule."),
    "measured": (F64, "Measured value; null when nothing could be measured."),
    "threshold": (F64, "Limit that the value was held to; null when none applies."),
    "verdict": (STR, "pass, warn, quarantine or reject."),
    "evidence": (STR, "JSON: intervals, counts and statistics behind the verdict."),
    "evidence_uri": (STR, "Where the evidence is kept."),
    "state": (STR, "QUARANTINED, RELEASED or REJECTED."),
    "reviewer": (STR, "Who decided; null until someone does."),
    "decided_at_ns": (I64, "When it was decided."),
    # message account (I2)
    "nbr_messages": (I64, "Messages that the recording itself counts."),
    "nbr_accepted": (I64, "In accepted scenes: rows of sample_data."),
    "nbr_quarantined": (I64, "In quarantined scenes."),
    "nbr_rejected": (I64, "In rejected scenes."),
    "nbr_duplicate": (I64, "In copies of an object that is already in the lake."),
    "nbr_unassigned": (I64, "Outside every scene."),
    "nbr_undecodable": (I64, "Lost to bad bytes or undecodable."),
    "unassigned_reason": (STR, "Why messages are outside every scene; null when none is."),
    # lineage
    "stage": (STR, "Stage name."),
    "git_commit": (STR, "Commit of the code; null outside a checkout."),
    "is_dirty": (BOOL, "The checkout had uncommitted changes."),
    "image_digest": (STR, "Container image; null on a laptop."),
    "spark_conf": (STR, "JSON: the full Spark configuration; null for stages without Spark."),
    "params_hash": (STR, "Recipe of the resolved configuration."),
    "params": (STR, "JSON: the resolved configuration."),
    "seed": (I64, "Random seed; null where nothing is random."),
    "dag_run_id": (STR, "Airflow run."),
    "direction": (STR, "input or output."),
    "dataset": (STR, "Table or object."),
    "version": (STR, "Object version or snapshot id."),
    # release
    "revision": (STR, "content_hash of the scene."),
    "cluster_id": (STR, "Duplicate cluster; null before deduplication."),
    "is_kept": (BOOL, "Scene takes part in the release."),
    "kept_because": (STR, "Why it was kept or not."),
    "split": (STR, "train, validation or test; null before splitting."),
    "split_group": (STR, "What must not straddle splits: the drive."),
}


@cache
def field(name: str) -> pa.Field:
    """Arrow field of one column; every column is nullable, as Iceberg columns added later must be."""
    column_type, doc = COLUMNS[name]
    return pa.field(name, column_type, nullable=True, metadata={"doc": doc})

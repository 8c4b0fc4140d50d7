"""Gold tables (DESIGN section 5) and the tables that stages hand to each other, as lists of columns."""

from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from scenelake.contracts.columns import field


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: table name, also the folder and the word in logs.
        columns: names from ``contracts.columns``, in order. Columns are appended, never changed.
        key: columns that identify a row.
        replace_by: a commit deletes rows with the same value of this column before it appends;
            None for payload files, which are added once and never rewritten.
        partition: column of the identity partition, or None.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    replace_by: str | None
    partition: str | None = "drive_date"

    @property
    def schema(self) -> pa.Schema:
        return _schema(self.columns)


@cache
def _schema(columns: tuple[str, ...]) -> pa.Schema:
    return pa.schema([field(name) for name in columns])


def _columns(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PAYLOAD = "sample_data_id channel timestamp_ns"
_SLOTTED = f"{_PAYLOAD} object_sha256 drive_date"
_BATCHED = f"{_PAYLOAD} scene_id drive_id drive_date"

GOLD: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "drive",
            _columns(
                "drive_id fleet robot_id drive_name robot_type embodiment rig_id software_version location"
                " reference_channel start_ns exclusive_end_ns drive_date ego_pose_channel ego_pose_source"
                " world_frame_id anchor_latitude_deg anchor_longitude_deg anchor_altitude_m anchor_heading_deg"
                " anchor_residual_m anchor_source"
            ),
            ("drive_id",),
            "drive_id",
        ),
        Table(
            "raw_object",
            _columns(
                "object_sha256 drop_id drive_id recording_id uri s3_version_id etag size_bytes format received_at_ns"
                " is_salvaged problem drive_date"
            ),
            ("drop_id",),
            "drive_id",
        ),
        Table(
            "message_account",
            _columns(
                "drop_id object_sha256 drive_id channel modality schema_name nbr_messages nbr_accepted nbr_quarantined"
                " nbr_rejected nbr_duplicate nbr_unassigned nbr_undecodable unassigned_reason payload_bytes drive_date"
            ),
            ("drop_id", "channel"),
            "drive_id",
        ),
        Table(
            "scene",
            _columns(
                "scene_id drive_id start_ns exclusive_end_ns kind task description nbr_samples segmentation_policy"
                " content_hash drive_date"
            ),
            ("scene_id",),
            "scene_id",
        ),
        Table(
            "sample",
            _columns(
                "sample_id scene_id drive_id frame_index timestamp_ns prev_sample_id next_sample_id is_key_frame"
                " drive_date"
            ),
            ("sample_id",),
            "scene_id",
        ),
        Table(
            "sample_data",
            _columns(
                "sample_data_id scene_id drive_id channel modality schema_name status reason timestamp_ns"
                " sensor_time_ns publish_time_ns log_time_ns timestamp_basis calibrated_sensor_id object_sha256"
                " chunk_offset_bytes"
                " message_offset_bytes payload_table payload_file row_index decode_from_row payload_bytes"
                " payload_hash drive_date ego_from_sensor clock_policy"
            ),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "sync_index",
            _columns(
                "sample_id scene_id drive_id channel modality sample_data_id delta_ns method tolerance_ns is_match"
                " value policy_version drive_date"
            ),
            ("sample_id", "channel"),
            "scene_id",
        ),
        Table(
            "calibrated_sensor",
            _columns(
                "calibrated_sensor_id drive_id rig_id channel frame_id ego_from_sensor camera_model intrinsics"
                " distortion width_px height_px valid_from_ns valid_to_ns is_verified reprojection_px source drive_date"
                " is_motion_compensated"
            ),
            ("calibrated_sensor_id",),
            "drive_id",
        ),
        Table(
            "camera_frame",
            _columns(f"{_SLOTTED} image image_format width_px height_px row_stride_bytes is_random_access"),
            ("sample_data_id",),
            None,
        ),
        Table(
            "depth_frame",
            _columns(
                f"{_SLOTTED} image image_format width_px height_px row_stride_bytes depth_encoding depth_unit_m"
                " inverse_depth"
            ),
            ("sample_data_id",),
            None,
        ),
        Table(
            "lidar_sweep",
            _columns(f"{_SLOTTED} nbr_points x_m y_m z_m intensity ring offset_ns"),
            ("sample_data_id",),
            None,
        ),
        Table(
            "radar_sweep",
            _columns(
                f"{_SLOTTED} nbr_points x_m y_m z_m radial_velocity_m_s radial_velocity_compensated_m_s"
                " radar_cross_section_dbsm image image_format width_px height_px amplitude_db"
            ),
            ("sample_data_id",),
            None,
        ),
        Table(
            "audio",
            _columns(f"{_SLOTTED} data audio_format sample_rate_hz nbr_audio_channels"),
            ("sample_data_id",),
            None,
        ),
        Table(
            "raw_message",
            _columns(f"{_SLOTTED} schema_name message_encoding data reason"),
            ("sample_data_id",),
            None,
        ),
        Table(
            "imu",
            _columns(f"{_BATCHED} linear_acceleration_m_s2 angular_velocity_rad_s orientation covariance frame_id"),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "gnss",
            _columns(
                f"{_BATCHED} latitude_deg longitude_deg altitude_m fix_status covariance frame_id ground_speed_m_s"
                " course_deg climb_m_s nbr_satellites source"
            ),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "gnss_raw",
            _columns(f"{_BATCHED} text data names position frame_id source"),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "ego_pose",
            _columns(
                f"{_BATCHED} world_from_ego linear_velocity_m_s angular_velocity_rad_s covariance frame_id"
                " child_frame_id source"
            ),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "transform",
            _columns(f"{_BATCHED} parent_frame_id child_frame_id parent_from_child is_static"),
            ("sample_data_id", "parent_frame_id", "child_frame_id"),
            "scene_id",
        ),
        Table(
            "robot_state",
            _columns(f"{_BATCHED} names units position velocity effort"),
            ("sample_data_id",),
            "scene_id",
        ),
        Table("action", _columns(f"{_BATCHED} names units position velocity effort"), ("sample_data_id",), "scene_id"),
        Table("language", _columns(f"{_BATCHED} text"), ("sample_data_id",), "scene_id"),
        Table(
            "text_log",
            _columns(f"{_BATCHED} text log_level logger source_file source_function source_line"),
            ("sample_data_id",),
            "scene_id",
        ),
        Table("episode", _columns(f"{_BATCHED} event episode_index is_success task"), ("sample_data_id",), "scene_id"),
        Table("can_frame", _columns(f"{_BATCHED} can_id bus is_extended data"), ("sample_data_id",), "scene_id"),
        Table(
            "radar_track",
            _columns(f"{_BATCHED} track_id center_m linear_velocity_m_s score frame_id"),
            ("sample_data_id", "track_id"),
            "scene_id",
        ),
        Table(
            "annotation",
            _columns(f"{_BATCHED} annotation_id track_id category frame_id sensor_from_box size_m score source"),
            ("annotation_id",),
            "scene_id",
        ),
        Table(
            "redaction",
            _columns(
                f"{_BATCHED} redaction_status reason redaction_method detector_sha256 nbr_regions region_px"
                " region_score region_label image_hash"
            ),
            ("sample_data_id",),
            "scene_id",
        ),
        Table(
            "qc_measurement",
            _columns(
                "scene_id drive_id channel modality check_name check_version measured scale description evidence"
                " drive_date"
            ),
            ("scene_id", "channel", "check_name"),
            "scene_id",
        ),
        Table(
            "qc_result",
            _columns(
                "scene_id drive_id channel check_name check_version measured threshold verdict reason evidence"
                " drive_date"
            ),
            ("scene_id", "channel", "check_name"),
            "scene_id",
        ),
        Table(
            "quarantine",
            _columns(
                "scene_id drive_id state reason evidence evidence_uri review_hash reviewer decided_at_ns drive_date"
            ),
            ("scene_id",),
            "scene_id",
        ),
        Table(
            "clock_fault",
            _columns(
                "drive_id channel modality fault_kind start_ns exclusive_end_ns timestamp_basis size_ns nbr_affected"
                " clock_policy evidence drive_date"
            ),
            ("drive_id", "channel", "fault_kind", "start_ns"),
            "drive_id",
        ),
        Table(
            "release_scene",
            _columns(
                "release_id scene_id drive_id revision verdict cluster_id is_kept kept_because split split_group"
                " drive_date"
            ),
            ("scene_id",),
            "scene_id",
        ),
        Table(
            "lineage_run",
            _columns(
                "run_id batch_id attempt stage git_commit is_dirty image_digest spark_conf params_hash params seed"
                " dag_run_id started_at_ns ended_at_ns"
            ),
            ("run_id",),
            "run_id",
            None,
        ),
        Table(
            "lineage_edge",
            _columns("run_id direction dataset version content_hash"),
            ("run_id", "direction", "dataset", "version"),
            "run_id",
            None,
        ),
    )
}

MESSAGE_INDEX = Table(
    "message_index",
    _columns(
        "sample_data_id channel modality schema_name status reason timestamp_ns sensor_time_ns publish_time_ns"
        " log_time_ns timestamp_basis frame_id object_sha256 chunk_offset_bytes message_offset_bytes payload_table"
        " payload_file row_index decode_from_row payload_bytes payload_hash nbr_points width_px height_px"
    ),
    ("sample_data_id",),
    None,
    None,
)
"""Decode's answer: one row per message that was read, whatever became of it, within a channel in file order."""

CALIBRATION = Table(
    "calibration",
    _columns(f"{_PAYLOAD} frame_id camera_model intrinsics distortion width_px height_px"),
    ("sample_data_id",),
    None,
    None,
)
"""Camera calibration messages as recorded; synchronise turns them into ``calibrated_sensor`` rows."""


IMAGE_STATISTIC = Table(
    "image_statistic",
    _columns(
        f"{_PAYLOAD} width_px height_px payload_bytes is_progressive nbr_components jpeg_quality luma_mean luma_std"
        " dark_fraction bright_fraction laplacian_variance perceptual_hash fingerprint image_problem tile_luma"
        " tile_laplacian invalid_fraction"
    ),
    ("sample_data_id",),
    None,
    None,
)
"""Measured by decode: size and fingerprint of each image, the rest of some (``DecodeConfig.image_statistics_ns``)."""

POINT_STATISTIC = Table(
    "point_statistic",
    _columns(
        f"{_PAYLOAD} nbr_points nbr_invalid range_min_m range_mean_m range_max_m intensity_mean nbr_rings"
        " offset_span_ns fingerprint nbr_not_finite nbr_silent_rings sector_counts range_counts intensity_counts"
        " doppler_speed_m_s doppler_inlier_fraction"
    ),
    ("sample_data_id",),
    None,
    None,
)
"""Measured by decode on every sweep of points."""

DECODED: dict[str, Table] = {t.name: t for t in (MESSAGE_INDEX, CALIBRATION, IMAGE_STATISTIC, POINT_STATISTIC)}
"""Tables that decode leaves and that are not gold."""


def decoded_schema(table_name: str) -> pa.Schema:
    """Schema of a batched payload table as decode leaves it: without scene, drive and date."""
    added_later = {"scene_id", "drive_id", "drive_date"}
    return pa.schema([field(n) for n in GOLD[table_name].columns if n not in added_later])

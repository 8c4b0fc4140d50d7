"""What the checks need of each gold table."""

PAYLOAD_TABLES = frozenset({"camera_frame", "depth_frame", "lidar_sweep", "radar_sweep", "audio", "raw_message"})
"""Tables whose files decode wrote: one per object and slot, recorded in its outcome."""

COLUMNS: dict[str, dict[str, str]] = {
    "scene": {
        "scene_id": "VARCHAR", "drive_id": "VARCHAR", "content_hash": "VARCHAR", "nbr_samples": "BIGINT",
    },
    "release_scene": {
        "release_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "revision": "VARCHAR",
        "verdict": "VARCHAR", "cluster_id": "VARCHAR", "split": "VARCHAR",
    },
    "sample": {
        "sample_id": "VARCHAR", "scene_id": "VARCHAR", "frame_index": "BIGINT", "timestamp_ns": "BIGINT",
        "prev_sample_id": "VARCHAR", "next_sample_id": "VARCHAR",
    },
    "sample_data": {
        "sample_data_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "status": "VARCHAR", "reason": "VARCHAR", "object_sha256": "VARCHAR", "payload_table": "VARCHAR",
        "payload_file": "VARCHAR", "row_index": "BIGINT",
    },
    "sync_index": {
        "sample_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "sample_data_id": "VARCHAR", "is_match": "BOOLEAN",
    },
    "message_account": {
        "drop_id": "VARCHAR", "object_sha256": "VARCHAR", "drive_id": "VARCHAR", "channel": "VARCHAR",
        "nbr_messages": "BIGINT", "nbr_accepted": "BIGINT", "nbr_quarantined": "BIGINT", "nbr_rejected": "BIGINT",
        "nbr_duplicate": "BIGINT", "nbr_unassigned": "BIGINT", "nbr_undecodable": "BIGINT",
        "unassigned_reason": "VARCHAR",
    },
    "quarantine": {
        "scene_id": "VARCHAR", "drive_id": "VARCHAR", "state": "VARCHAR", "reason": "VARCHAR",
        "evidence_uri": "VARCHAR", "review_hash": "VARCHAR", "reviewer": "VARCHAR", "decided_at_ns": "BIGINT",
    },
    "raw_object": {
        "drop_id": "VARCHAR", "object_sha256": "VARCHAR", "drive_id": "VARCHAR",
    },
}  # fmt: skip
"""Columns that the checks need, by table."""

BATCHED = (
    "imu", "gnss", "ego_pose", "robot_state", "action", "language", "episode", "can_frame", "radar_track",
    "annotation", "transform", "gnss_raw", "text_log", "redaction",
)  # fmt: skip
"""Tables whose rows are of single messages and lie in one file per batch."""

_BATCHED_COLUMNS = {"sample_data_id": "VARCHAR", "scene_id": "VARCHAR", "drive_id": "VARCHAR"}
_MORE_COLUMNS = {"redaction": {"redaction_status": "VARCHAR"}}


def columns_of(table: str) -> dict[str, str]:
    """Columns of a gold table that the checks need, with their types in the database."""
    return _BATCHED_COLUMNS | _MORE_COLUMNS.get(table, {}) if table in BATCHED else COLUMNS.get(table, {})

"""What of a row is compared, and which row with which."""

from datetime import date

from scenelake.contracts.tables import GOLD
from scenelake_audit.columns import PAYLOAD_TABLES
from scenelake_audit.compare import IGNORED_TABLES, ROW_KEYS, comparable


def test_every_gold_table_is_compared_by_its_key_or_left_out_for_a_reason() -> None:
    assert set(GOLD) == PAYLOAD_TABLES | IGNORED_TABLES | set(ROW_KEYS)
    # Identities of drops differ between lakes, so objects stand for them.
    assert {t: key for t, key in ROW_KEYS.items() if key != GOLD[t].key} == {
        "message_account": ("drive_id", "object_sha256", "channel")
    }


def test_a_row_is_compared_without_drops_buckets_and_times_of_processing() -> None:
    day = date(2026, 1, 2)
    first = {"scene_id": "s", "drop_id": "a", "decided_at_ns": 1, "uri": "s3://one/work/decoded/r1/d1/imu.parquet"}
    second = {"scene_id": "s", "drop_id": "b", "decided_at_ns": 2, "uri": "s3://two/work/decoded/r2/d2/imu.parquet"}
    assert comparable(first | {"drive_date": day, "task": None}) == comparable(second | {"drive_date": day})
    for other in ({"scene_id": "t"}, {"uri": "s3://two/gold/imu.parquet"}, {"drive_date": date(2026, 1, 3)}):
        assert comparable(first | {"drive_date": day} | other) != comparable(first | {"drive_date": day})

"""The short tier: doubled and shuffled events, failing S3 requests and kills, all at once, change nothing in gold."""

import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faults.battery import Battery
from tests.faults.events import Bench, Did
from tests.faults.recordings import Part
from tests.faults.verdict import Outcome, audit, compare

from scenelake.runtime.settings import load_settings

pytestmark = pytest.mark.e2e

SEED = 20
PATIENCE_SECONDS = 15
KILLED_AT = (
    "register_drop.ledger_put.after",
    "decode.outcome.before",
    "serialise.release.after",
    "settle_batch.ledger_transact.after",
)


def everything_at_once(bench: Bench) -> Did:
    wounds = bench.stack.wounds
    events = {"copies": [1, 5], "shuffle_seconds": 2.0}
    wounds.aws({"seed": SEED, "s3": {"error_503": 0.03, "short_read": 0.02}, "events": events})
    for point in KILLED_AT:
        wounds.arm(point, 1, "kill")
    parts = bench.new_drive(nbr_parts=3) + bench.new_drive(nbr_parts=3)
    bench.random.shuffle(parts)
    copy = Part(parts[0].key.replace(".mcap", "-again.mcap"), parts[0].body)
    bench.put([*parts, copy])
    return Did("×1–5, 5% of S3, kills")


@dataclass
class Short:
    battery: Battery
    bench: Bench
    outcome: Outcome


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Short]:
    started_at = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started_at:6.1f} s] {text}\n")

    home = tmp_path_factory.mktemp("faults")
    battery = Battery(home, SEED, 1.0, say, patience_seconds=PATIENCE_SECONDS)
    with battery.running() as bench:
        battery.try_fault(bench, "short", everything_at_once, heal=False)
        battery.stack.keep_only_the_data()
        (outcome,) = battery.compared(bench)
        yield Short(battery, bench, outcome)


def test_faults_leave_no_trace(short: Short) -> None:
    assert short.outcome.verdict == "green", (short.outcome.problems, short.outcome.notes)
    assert short.outcome.nbr_drops == 7


def test_every_kill_came_about(short: Short) -> None:
    fired = {shot["name"] for shot in short.battery.stack.wounds.fired().values()}
    assert fired == set(KILLED_AT)


def test_events_came_more_than_once(short: Short) -> None:
    assert short.outcome.nbr_events > short.outcome.nbr_drops


def test_a_doubled_row_in_gold_is_seen(short: Short) -> None:
    plain = short.battery.plain.home
    settings = load_settings({"SCENELAKE_HOME": str(plain)})
    s3, bucket = short.bench.landing.client_of("s3", settings), settings.lake_bucket
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="gold/sample_data/data/")["Contents"]
    key = listed[0]["Key"]
    rows = pq.read_table(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    doubled = io.BytesIO()
    pq.write_table(pa.concat_tables([rows, rows.slice(0, 1)]), doubled)
    s3.put_object(Bucket=bucket, Key=key, Body=doubled.getvalue())
    (difference,) = compare(short.battery.stack.home, plain).problems
    assert "sample_data" in difference


def test_a_lost_drop_is_seen(short: Short) -> None:
    landing = short.bench.landing
    drop = next(landing.ledger.drops())
    dynamodb = landing.client_of("dynamodb", landing.settings)
    dynamodb.delete_item(TableName=landing.settings.ledger_table, Key={"pk": {"S": f"DROP#{drop.drop_id}"}})
    assert landing.unfinished() == [f"{drop.key} version {drop.version_id} is not in the ledger"]
    assert any(
        drop.drop_id in problem for problem in audit(landing.settings.home, ["--event-grace-seconds", "0"]).problems
    )

"""A team's policy file reaches the stages, the rows and the record."""

from dataclasses import replace
from pathlib import Path

import pytest

from scenelake.adapters.objects import read_json
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.stages import Stage, StageArguments
from scenelake.synchronise.job import synchronise

from .pipeline import Lake, LocalContext

SHIFT_NS = 250_000_000
POLICY = f"""
[synchronise]
policy_version = "ours-1"
clock_rules = [{{channel = "/imu/*", repairs = ["shift"], shift_ns = {SHIFT_NS}}}]
[quality.consequences]
no_keyframes = "reject"
[serialise]
split_shares = [0.0, 0.0, 1.0]
"""


def put_all(lake: Lake, parts: dict[str, bytes]) -> Lake:
    for name in sorted(parts):
        lake.put(f"fleet/car/monday/{name.replace('/', '-')}", parts[name])
    return lake


def test_the_file_decides_what_gold_holds_and_lineage_tells_it(
    tmp_path: Path, lake: Lake, parts: dict[str, bytes]
) -> None:
    plain = put_all(Lake(tmp_path / "plain"), parts)
    plain.build_all()
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    lake.settings = replace(lake.settings, policy=str(path))
    (batch,) = put_all(lake, parts).build_all()

    before = {r["sample_data_id"]: r["timestamp_ns"] for r in plain.rows("sample_data")}
    rows = lake.rows("sample_data")
    repaired = [r for r in rows if r["clock_policy"] == "shift"]
    assert {r["channel"] for r in repaired} == {"/imu/data"}
    moved = {r["timestamp_ns"] - before[r["sample_data_id"]] for r in repaired if r["sample_data_id"] in before}
    assert moved == {SHIFT_NS}
    assert {r["timestamp_ns"] - before[r["sample_data_id"]] for r in rows if r["clock_policy"] is None} == {0}
    assert {r["policy_version"] for r in lake.rows("sync_index")} == {"ours-1"}
    assert {(r["split"], r["split_group"]) for r in lake.rows("release_scene")} == {("test", rows[0]["drive_id"])}
    assert {r["split"] for r in plain.rows("release_scene")} <= {"train", "validation", "test"}

    def params(stage: Stage) -> dict[str, object]:
        uri = lake.paths.stage(batch.batch_id, batch.attempt, stage)
        return dict(read_json(lake.objects, f"{uri}/record.json")["params"])

    (rule,) = params(Stage.SYNCHRONISE)["clock_rules"]  # type: ignore[misc,attr-defined]
    assert (rule["channel"], rule["repairs"], rule["shift_ns"]) == ("/imu/*", ["shift"], SHIFT_NS)
    assert params(Stage.QUALITY)["consequences"]["no_keyframes"] == "reject"  # type: ignore[index]
    assert params(Stage.SERIALISE)["split_shares"] == [0.0, 0.0, 1.0]
    first, second = plain.release(), lake.release()
    assert first is not None
    assert second is not None
    assert first.recipe != second.recipe


def test_a_typing_error_stops_the_stage(tmp_path: Path, lake: Lake) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[synchronise]\nclockrules = []\n")
    context = LocalContext(
        Stage.SYNCHRONISE, StageArguments("b", 1), replace(lake.settings, policy=str(path)),
        local_objects=lake.objects, local_ledger=lake.ledger,
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"policy\.toml: synchronise\.clockrules: Extra inputs"):
        synchronise(context)

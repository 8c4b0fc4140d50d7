"""A team turns privacy on in its policy: what reaches gold, what lineage tells, and what stops the stage."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.unit.decode.privacy.models import red_detector

from scenelake.adapters.objects import read_json
from scenelake.contracts.drops import Batch
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.stages import DropOutcome, JsonObject, Stage, StageOutcome
from scenelake.decode import job as decode_job
from scenelake.decode.task import DecodeTask
from scenelake.runtime.job import StageContext

from .pipeline import Lake

CAMERA = "/camera/front/image"


class DecodingLake(Lake):
    """A lake whose decode is the stage itself, with its tasks in this process."""

    def _decode(self, context: StageContext) -> StageOutcome:
        def outcomes(_: StageContext, task: DecodeTask) -> tuple[Sequence[DropOutcome], JsonObject | None]:
            here = replace(task, storage=lambda: self.objects)
            return [here(drop) for drop in context.drops], None

        with patch.object(decode_job, "_outcomes", outcomes):
            return decode_job.decode_batch(context)


@pytest.fixture
def lake(tmp_path: Path) -> DecodingLake:
    return DecodingLake(tmp_path / "private")


def with_policy(lake: Lake, folder: Path, more: str = "", sha256: str | None = None) -> None:
    model = red_detector(least=0.0).SerializeToString()
    (folder / "red.onnx").write_bytes(model)
    said = sha256 or hashlib.sha256(model).hexdigest()
    text = f'[privacy]\ndetector = "{folder}/red.onnx"\nsha256 = "{said}"\nmin_score = 0.0\nmargin = 0.0\n{more}'
    (folder / "policy.toml").write_text(text)
    lake.settings = replace(lake.settings, policy=str(folder / "policy.toml"))


def put_all(lake: Lake, parts: dict[str, bytes]) -> None:
    for name in sorted(parts):
        lake.put(f"fleet/car/monday/{name.replace('/', '-')}", parts[name])


def decode_params_of(lake: Lake, batch: Batch) -> JsonObject:
    uri = lake.paths.stage(batch.batch_id, batch.attempt, Stage.DECODE)
    return dict(read_json(lake.objects, f"{uri}/record.json")["params"])


def test_gold_holds_redacted_frames_and_what_was_done_and_lineage_the_detector(
    tmp_path: Path, lake: DecodingLake, parts: dict[str, bytes]
) -> None:
    plain = DecodingLake(tmp_path / "plain")
    put_all(plain, parts)
    (before,) = plain.build_all()
    with_policy(lake, tmp_path, 'originals = "restricted"\n')
    put_all(lake, parts)
    (batch,) = lake.build_all()

    assert "privacy" not in decode_params_of(plain, before)
    told = decode_params_of(lake, batch)["privacy"]
    assert told["sha256"] == hashlib.sha256((tmp_path / "red.onnx").read_bytes()).hexdigest()
    assert str(tmp_path) not in str(told)
    rows = lake.rows("redaction")
    frames = {r["sample_data_id"]: r for r in lake.rows("sample_data") if r["channel"] == CAMERA}
    assert 0 < len(rows) <= len(frames)
    for row in rows:
        frame = frames[row["sample_data_id"]]
        assert (row["scene_id"], row["drive_id"]) == (frame["scene_id"], frame["drive_id"])
        assert (row["redaction_status"], row["detector_sha256"]) == ("redacted", told["sha256"])
    first, second = plain.release(), lake.release()
    assert first is not None
    assert second is not None
    assert set(first.scenes) == set(second.scenes)
    changed = {s for s in first.scenes if first.scenes[s] != second.scenes[s]}
    assert changed == {r["scene_id"] for r in rows}, "a scene's revision tells that its frames are others"
    assert plain.rows("redaction") == []
    kept = [o.uri for o in lake.objects.list("s3://scenelake-lake/restricted/")]
    assert kept
    assert not {r["payload_file"] for r in lake.rows("sample_data")} & set(kept)


def test_a_lake_that_turns_it_on_builds_its_drives_again(
    tmp_path: Path, lake: DecodingLake, parts: dict[str, bytes]
) -> None:
    put_all(lake, parts)
    lake.build_all()
    before = {r["sample_data_id"]: r["payload_file"] for r in lake.rows("sample_data") if r["channel"] == CAMERA}
    with_policy(lake, tmp_path, "max_pixels = 1\n")
    lake.rebuild([drop.drop_id for drop in lake.drops()])
    frames = [r for r in lake.rows("sample_data") if r["channel"] == CAMERA]
    assert len(frames) == len(before) > 0
    assert {(r["status"], r["reason"], r["payload_table"]) for r in frames} == {
        ("raw", "privacy_withheld", "raw_message")
    }
    assert not {r["payload_file"] for r in frames} & set(before.values())
    found = Counter((r["redaction_status"], r["reason"]) for r in lake.rows("redaction"))
    assert found == {("withheld", "image_too_large"): len(frames)}
    matched = [r for r in lake.rows("sync_index") if r["channel"] == CAMERA and r["is_match"]]
    assert not matched, "nobody is led to a frame that is not there"


def test_a_detector_with_another_hash_stops_the_stage_before_anything_is_decoded(
    tmp_path: Path, lake: DecodingLake, parts: dict[str, bytes]
) -> None:
    with_policy(lake, tmp_path, sha256="0" * 64)
    lake.put("fleet/car/monday/a.mcap", parts["camera_front/part_000.mcap"])
    lake.wait(100)
    with pytest.raises(ConfigurationError, match="expected SHA-256 0000"):
        lake.build_all()
    assert not list(lake.objects.list("s3://scenelake-lake/gold"))

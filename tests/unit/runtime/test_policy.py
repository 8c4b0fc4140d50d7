"""A team's policy file gives stages their settings, and what is wrong in it is named."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import Stage
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.runtime.policy import stage_policy
from scenelake.serialise.config import SerialiseConfig
from scenelake.synchronise.clock_rules import ClockRule, Repair
from scenelake.synchronise.config import MatchRule, SynchroniseConfig

POLICY = """
# what we know of our cars
[synchronise]
policy_version = "cars-7"
world_frames = ["map"]
bursty_modalities = ["can"]

[[synchronise.clock_rules]]
channel = "/gps/*"
repairs = ["shift", "drop_duplicates"]
shift_ns = -64_000_000_000

[[synchronise.clock_rules]]
modality = "camera"
repairs = ["remove_jumps"]

[synchronise.rules.camera]
method = "nearest"
tolerance_ns = 10_000_000

[quality.limits]
"time.clock_fault.lost" = 0.0
[quality.consequences]
"time.clock_fault" = "reject"

[serialise]
split_shares = [0.8, 0.1, 0.1]
split_seed = 3
"""


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "s3")


def test_each_stage_takes_its_table_and_the_defaults_for_the_rest(tmp_path: Path, objects: LocalObjects) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    objects.write("s3://config/policy.toml", POLICY.encode())
    for source in (str(path), "s3://config/policy.toml"):
        found = stage_policy(SynchroniseConfig, Stage.SYNCHRONISE, source, objects)
        assert found.clock_rules == (
            ClockRule(
                channel="/gps/*", repairs=(Repair.SHIFT, Repair.DROP_DUPLICATES), shift_ns=-64_000_000_000
            ),
            ClockRule(modality=Modality.CAMERA, repairs=(Repair.REMOVE_JUMPS,)),
        )  # fmt: skip
        assert (found.policy_version, found.world_frames) == ("cars-7", ("map",))
        assert found.bursty_modalities == {Modality.CAN}
        assert found.rules == {Modality.CAMERA: MatchRule(method="nearest", tolerance_ns=10_000_000)}
        assert found.min_gap_ns == SynchroniseConfig().min_gap_ns
        quality = stage_policy(QualityPolicy, Stage.QUALITY, source, objects)
        assert quality.consequences == {"time.clock_fault": Verdict.REJECT}
        assert quality.limits == {"time.clock_fault.lost": 0.0}
        serialise = stage_policy(SerialiseConfig, Stage.SERIALISE, source, objects)
        assert (serialise.split_shares, serialise.split_seed) == ((0.8, 0.1, 0.1), 3)


@pytest.mark.parametrize("name", ["policy.md", "clocks.md"])
def test_the_policies_in_the_documents_are_valid(
    tmp_path: Path, objects: LocalObjects, repository: Path, name: str
) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (repository / "docs" / name).read_text(), re.DOTALL)
    path = tmp_path / "policy.toml"
    path.write_text(text)
    found = stage_policy(SynchroniseConfig, Stage.SYNCHRONISE, str(path), objects)
    assert len(found.clock_rules) >= 2
    stage_policy(QualityPolicy, Stage.QUALITY, str(path), objects)
    stage_policy(SerialiseConfig, Stage.SERIALISE, str(path), objects)


@pytest.mark.parametrize("text", [None, "", '[quality]\nversion = "x"\n'])
def test_without_a_table_the_defaults_rule(tmp_path: Path, objects: LocalObjects, text: str | None) -> None:
    source = ""
    if text is not None:
        (tmp_path / "policy.toml").write_text(text)
        source = str(tmp_path / "policy.toml")
    assert stage_policy(SynchroniseConfig, Stage.SYNCHRONISE, source, objects) == SynchroniseConfig()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[synchronize]\n", "unknown table or key synchronize; the file has tables [synchronise], [quality]"),
        ("clock_rules = []\n", "unknown table or key clock_rules"),
        ("synchronise = 3\n", "synchronise: Input should be a valid dictionary"),
        ("[synchronise]\nclock_rule = []\n", "synchronise.clock_rule: Extra inputs are not permitted"),
        ("[[synchronise.clock_rules]]\nchanel = '/a'\n", "synchronise.clock_rules.0.chanel: Extra inputs"),
        ("[[synchronise.clock_rules]]\nrepairs = ['fix']\n", "synchronise.clock_rules.0.repairs.0: Input should be"),
        ("[[synchronise.clock_rules]]\nrepairs = ['shift']\n", "shift_ns: shift needs it"),
        ("[synchronise]\nmin_gap_ns = 0\nmax_latency_ns = 'x'\n", "synchronise.max_latency_ns: "),
        ("[synchronise\n", "no TOML: "),
        ("deep = " + "[" * 10_000, "no TOML: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, objects: LocalObjects, text: str, named: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        stage_policy(SynchroniseConfig, Stage.SYNCHRONISE, str(path), objects)
    assert str(caught.value).startswith(f"{path}: ")
    assert named in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path, objects: LocalObjects) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="no TOML"):
        stage_policy(BaseModel, Stage.QUALITY, str(tmp_path / "policy.toml"), objects)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("policy.toml", "expected an absolute path or an s3:// URI, got 'policy.toml'"),
        ("/nowhere/policy.toml", "/nowhere/policy.toml cannot be read"),
        ("s3://config/gone.toml", "s3://config/gone.toml cannot be read"),
    ],
)
def test_a_file_that_is_not_there_is_no_default(objects: LocalObjects, source: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match="SCENELAKE_POLICY") as caught:
        stage_policy(BaseModel, Stage.QUALITY, source, objects)
    assert named in str(caught.value)

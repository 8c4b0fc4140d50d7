"""The policy's table: what it may say, what is refused, and what of it is the recipe."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts import ids
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import Stage
from scenelake.decode.config import DecodeConfig
from scenelake.decode.job import decode_params
from scenelake.decode.privacy.config import Method, Originals, PrivacyPolicy, Unexamined
from scenelake.decode.task import DecodeTask
from scenelake.quality.config import QualityPolicy
from scenelake.runtime.policy import PRIVACY, optional_policy, stage_policy

NAMED = f'detector = "/models/faces.onnx"\nsha256 = "{"ab" * 32}"\n'


def read(folder: Path, text: str) -> PrivacyPolicy | None:
    path = folder / "policy.toml"
    path.write_text(text)
    return optional_policy(PrivacyPolicy, PRIVACY, str(path), LocalObjects(folder / "s3"))


def test_a_detector_and_its_hash_turn_it_on_and_the_careful_answers_are_the_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, f"[privacy]\n{NAMED}")
    assert found is not None
    assert (found.originals, found.unexamined, found.channels) == (Originals.DISCARD, Unexamined.WITHHOLD, ("*",))


def test_every_key_is_taken(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        f'[privacy]\n{NAMED}min_score = 0.25\nlabels = [0, 2]\nmargin = 0.2\nmethod = "fill"\n'
        'originals = "restricted"\nunexamined = "pass"\nchannels = ["/camera/front*"]\n'
        'max_pixels = 1000000\ndevice = "cuda"\n',
    )
    assert found is not None
    assert (found.min_score, found.labels, found.margin, found.method) == (0.25, (0, 2), 0.2, Method.FILL)
    assert found.covers("/camera/front/left")
    assert not found.covers("/camera/rear")


def test_the_policy_in_the_document_is_valid(tmp_path: Path, repository: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (repository / "docs" / "privacy.md").read_text(), re.DOTALL)
    found = read(tmp_path, text)
    assert found is not None
    assert found.detector.startswith("s3://")


def test_the_document_has_every_key(repository: Path) -> None:
    text = (repository / "docs" / "privacy.md").read_text()
    assert [name for name in PrivacyPolicy.model_fields if f"`{name}`" not in text] == []


def test_without_the_table_nothing_is_done(tmp_path: Path) -> None:
    assert read(tmp_path, "[serialise]\nsplit_seed = 1\n") is None
    assert optional_policy(PrivacyPolicy, PRIVACY, "", LocalObjects(tmp_path)) is None


def test_other_stages_leave_the_table_alone(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(f"[privacy]\n{NAMED}")
    stage_policy(QualityPolicy, Stage.QUALITY, str(tmp_path / "policy.toml"), LocalObjects(tmp_path))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "privacy.detector: Field required"),
        (NAMED.splitlines()[0], "privacy.sha256: Field required"),
        (
            NAMED.replace("/models", "models"),
            "privacy.detector: Value error, expected an absolute path or an s3:// URI",
        ),
        (NAMED.replace(".onnx", ".pt"), "privacy.detector: Value error, expected"),
        (NAMED.replace("ab", "AB"), "privacy.sha256: String should match pattern"),
        (f"{NAMED}blur = true\n", "privacy.blur: Extra inputs are not permitted"),
        (f'{NAMED}method = "mosaic"\n', "privacy.method: Input should be 'blur' or 'fill'"),
        (f"{NAMED}min_score = 2.0\n", "privacy.min_score: "),
        (f"{NAMED}channels = []\n", "privacy.channels: "),
        (f"{NAMED}max_pixels = 0\n", "privacy.max_pixels: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"[privacy]\n{text}")
    assert named in str(caught.value)
    assert str(tmp_path / "policy.toml") in str(caught.value)


def test_the_recipe_is_todays_without_privacy_and_another_one_by_detector_and_rules(
    policy: Callable[..., PrivacyPolicy],
) -> None:
    config = DecodeConfig()
    off, on = decode_params(config), decode_params(config, policy())
    assert off == decode_params(config, None)
    assert "privacy" not in off
    assert {k: v for k, v in on.items() if k != "privacy"} == off
    assert on["privacy"]["sha256"] == policy().sha256
    assert on["privacy"]["onnxruntime"]
    recipes = {ids.recipe(decode_params(config, p)) for p in (policy(), policy(sha256="0" * 64), policy(min_score=0.7))}
    assert len(recipes | {ids.recipe(off)}) == 4


def test_where_the_detector_lies_is_not_the_recipe(policy: Callable[..., PrivacyPolicy]) -> None:
    assert policy().params() == policy(detector="s3://models/red.onnx").params()


def test_a_task_that_examines_pickles(policy: Callable[..., PrivacyPolicy]) -> None:
    task = DecodeTask(LocalObjects, LakePaths("s3://lake"), DecodeConfig(), "r", policy())
    assert pickle.loads(pickle.dumps(task)) == task

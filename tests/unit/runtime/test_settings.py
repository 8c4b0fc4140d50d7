"""Settings come from the environment, then the stack file, then defaults; anything unknown is refused."""

import json
from pathlib import Path

import pytest

from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.settings import load_settings


def write_stack(home: Path, **values: object) -> None:
    (home / "stack.json").write_text(json.dumps({"settings": values}))


def test_defaults_without_a_stack(tmp_path: Path) -> None:
    settings = load_settings({"SCENELAKE_HOME": str(tmp_path)})
    assert settings.endpoint_url is None
    assert settings.lake_uri == "s3://scenelake-lake"


def test_the_environment_rules_over_the_stack_file(tmp_path: Path) -> None:
    write_stack(tmp_path, lake_bucket="from-file", claim_max_drops=5)
    environment = {"SCENELAKE_HOME": str(tmp_path), "SCENELAKE_LAKE_BUCKET": "from-environment"}
    settings = load_settings(environment)
    assert settings.lake_bucket == "from-environment"
    assert settings.claim_max_drops == 5


def test_unknown_and_malformed_settings_are_named(tmp_path: Path) -> None:
    write_stack(tmp_path, lake_buket="typo")
    with pytest.raises(ConfigurationError, match="lake_buket"):
        load_settings({"SCENELAKE_HOME": str(tmp_path)})
    write_stack(tmp_path)
    with pytest.raises(ConfigurationError, match="SCENELAKE_MAX_ATTEMPTS"):
        load_settings({"SCENELAKE_HOME": str(tmp_path), "SCENELAKE_MAX_ATTEMPTS": "three"})

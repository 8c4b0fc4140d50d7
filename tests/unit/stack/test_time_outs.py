"""One number, the patience, from which all time-outs of the laptop stack follow."""

from dataclasses import fields
from pathlib import Path

import pytest

from scenelake.runtime.settings import Settings
from scenelake.stack import airflow, supervisor


def test_the_usual_patience_gives_the_settings_defaults() -> None:
    defaults = {field.name: field.default for field in fields(Settings)}
    assert supervisor.time_outs(300).items() <= defaults.items()


@pytest.mark.parametrize("patience", [1, 2, 5, 60, 300])
def test_a_message_comes_back_only_after_airflow_has_given_it_up(patience: int) -> None:
    jobs, parts = supervisor.time_outs(patience), airflow.time_outs(patience)
    assert jobs["doorbell_visibility_seconds"] > parts["triggerer"]["shared_stream_ack_timeout"]
    assert jobs["lease_seconds"] > parts["scheduler"]["task_instance_heartbeat_timeout"]
    assert parts["scheduler"]["scheduler_health_check_threshold"] > parts["scheduler"]["scheduler_heartbeat_sec"]


def test_every_option_is_one_that_airflow_knows() -> None:
    """A misspelt variable would be ignored without a word."""
    import airflow as installed

    text = (Path(installed.__file__).parent / "config_templates" / "config.yml").read_text()
    options = [name for section in airflow.time_outs(5).values() for name in section]
    assert options
    assert [name for name in options if f"    {name}:\n" not in text] == []

"""Settings: the only reader of the environment.

Every setting has a ``SCENELAKE_`` variable. Where a variable is absent, the laptop stack's description
(``<home>/stack.json``, written by ``scenelake up``) answers, so that commands typed in another shell
find the running stack.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from scenelake.contracts.errors import ConfigurationError

HOME_VARIABLE = "SCENELAKE_HOME"
STACK_FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where this process's landing zone, ledger and lake are.

    Attributes:
        home: folder of local state (``.scenelake``).
        endpoint_url: AWS endpoint override, set on a laptop; None means AWS itself.
        dead_letter_queue_url, event_dead_letter_queue_url: where the doorbell's and the event queue's messages
            end that were received too often.
        runtime: local, or kubernetes once the operators launch pods.
        spark_master: Spark master URL for Spark stages.
        spark_conf: extra Spark settings, ``key=value`` separated by ``;``.
        lease_seconds: how long a claim holds its batch between two signs of life.
        max_attempts: attempts at a batch before its drives are tried alone, and one alone is rejected as poison.
        claim_max_drops, claim_max_bytes: bounds of one claim.
        quiet_seconds: how long a recording of many objects, without a complete manifest, waits after its newest
            part before it is built as it is. At most 900, the longest that a queue delays a ring.
        doorbell_visibility_seconds, event_visibility_seconds: how long a received message of the queue is hidden.
        policy: absolute path or ``s3://`` URI of the team's policy (``runtime.policy``); empty for the defaults.
        faults: folder of the fault battery (``runtime.faults``); empty everywhere else.
    """

    home: Path
    region: str = "eu-central-1"
    endpoint_url: str | None = None
    landing_bucket: str = "scenelake-landing"
    lake_bucket: str = "scenelake-lake"
    quarantine_bucket: str = "scenelake-quarantine"
    ledger_table: str = "scenelake-ledger"
    doorbell_queue_url: str = ""
    dead_letter_queue_url: str = ""
    event_dead_letter_queue_url: str = ""
    event_queue_url: str = ""
    glue_database: str = "scenelake"
    runtime: str = "local"
    spark_master: str = "local[*]"
    spark_conf: str = ""
    lease_seconds: int = 600
    max_attempts: int = 3
    claim_max_drops: int = 1_000
    claim_max_bytes: int = 64 * 1024**3
    quiet_seconds: int = 60
    doorbell_visibility_seconds: int = 360
    event_visibility_seconds: int = 180
    policy: str = ""
    faults: str = ""
    image_digest: str | None = None
    airflow_url: str = ""

    @property
    def lake_uri(self) -> str:
        return f"s3://{self.lake_bucket}"

    @property
    def quarantine_uri(self) -> str:
        return f"s3://{self.quarantine_bucket}"


_INTEGERS = frozenset(f.name for f in fields(Settings) if f.type is int)


def home_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of local state: ``$SCENELAKE_HOME``, else ``.scenelake`` in the working directory."""
    env = os.environ if environment is None else environment
    return Path(env.get(HOME_VARIABLE) or ".scenelake").absolute()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Reads settings from the environment over the stack file over the defaults.

    Raises:
        ConfigurationError: for an unknown key in the stack file or a value of the wrong type.
    """
    env = os.environ if environment is None else environment
    home = home_folder(env)
    values: dict[str, object] = {}
    stack_file = home / STACK_FILE
    if stack_file.is_file():
        values.update(json.loads(stack_file.read_text()).get("settings", {}))
    known = {f.name: f for f in fields(Settings)}
    for name in known:
        variable = f"SCENELAKE_{name.upper()}"
        if env.get(variable):
            values[name] = env[variable]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigurationError(f"{stack_file}: unknown setting(s) {', '.join(unknown)}")
    for name in _INTEGERS & values.keys():
        values[name] = _integer(name, values[name])
    values["home"] = home
    return Settings(**values)  # type: ignore[arg-type]


def _integer(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise ConfigurationError(f"SCENELAKE_{name.upper()}: expected an integer, got {value!r}") from None


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Where the laptop stack runs.

    Attributes:
        home: folder of all its state.
        repository: checkout with ``dags/``, ``plugins/`` and ``deploy/``.
        airflow_port, aws_port: ports on 127.0.0.1 of Airflow and of the stand-in for AWS.
        parallelism: tasks that Airflow runs at once.
        patience_seconds: how long a part may be silent before others take over its work. Airflow's
            acknowledge and heartbeat time-outs are this long, a lease twice, and the visibility of the doorbell's
            rings 1.2 times; the fault battery makes it short.
    """

    home: Path
    repository: Path
    airflow_port: int = 8080
    aws_port: int = 5566
    parallelism: int = 6
    patience_seconds: int = 300


def load_stack_config(environment: Mapping[str, str] | None = None) -> StackConfig:
    """Reads ``SCENELAKE_AIRFLOW_PORT``, ``_AWS_PORT``, ``_PARALLELISM``, ``_PATIENCE_SECONDS`` and the home folder.

    Raises:
        ConfigurationError: for a port or a number that is not one.
    """
    env = os.environ if environment is None else environment
    repository = Path(env.get("SCENELAKE_REPOSITORY") or Path(__file__).resolve().parents[3])
    numbers = {
        name: _integer(name, env[f"SCENELAKE_{name.upper()}"])
        for name in ("airflow_port", "aws_port", "parallelism", "patience_seconds")
        if env.get(f"SCENELAKE_{name.upper()}")
    }
    for name in ("airflow_port", "aws_port"):
        if name in numbers and not 1 <= numbers[name] <= 65535:
            raise ConfigurationError(f"SCENELAKE_{name.upper()}: expected a port from 1 to 65535, got {numbers[name]}")
    return StackConfig(home=home_folder(env), repository=repository.absolute(), **numbers)


def has_display(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Whether a window can be opened: on Linux where X11 or Wayland is named, elsewhere always."""
    env = os.environ if environment is None else environment
    return not platform.startswith("linux") or bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


def environment_for(changes: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """This process's environment for a child: less the variables with the given prefixes, with the changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return {**kept, **changes}

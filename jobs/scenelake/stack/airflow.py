"""Airflow on the laptop: its environment, its four processes, its login and its health."""

import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from scenelake.runtime.settings import StackConfig

USER = "admin"
PROCESSES: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    # Logs are read from the shared disk; without this each would serve them on every interface.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
_HEALTH_TIMEOUT_SECONDS = 5


def airflow_home(config: StackConfig) -> Path:
    return config.home / "airflow"


def airflow_url(config: StackConfig) -> str:
    return f"http://127.0.0.1:{config.airflow_port}"


def airflow_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *words]


def password(config: StackConfig) -> str:
    """The administrator's password, made up at the first start and kept in the home folder."""
    stored: dict[str, str] = json.loads(_passwords_file(config).read_text())
    return stored[USER]


def prepare(config: StackConfig) -> None:
    """Writes what Airflow needs before its first start: the password and the keys its processes share."""
    airflow_home(config).mkdir(parents=True, exist_ok=True)
    _write_once(_passwords_file(config), lambda: json.dumps({USER: secrets.token_urlsafe(12)}))
    _write_once(_keys_file(config), _new_keys)


def airflow_environment(config: StackConfig) -> dict[str, str]:
    """Airflow's settings as environment variables; ``prepare`` came before."""
    keys: dict[str, str] = json.loads(_keys_file(config).read_text())
    home, url = airflow_home(config), airflow_url(config)
    values: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": config.repository / "dags",
            "plugins_folder": config.repository / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": config.parallelism,
            "fernet_key": keys["fernet_key"],
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": _passwords_file(config),
            "execution_api_server_url": f"{url}/execution/",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}"},
        "api": {
            "host": "127.0.0.1",
            "port": config.airflow_port,
            "base_url": url,
            "workers": 1,
            "secret_key": keys["secret_key"],
            "expose_config": False,
        },
        "api_auth": {"jwt_secret": keys["jwt_secret"]},
        # A laptop wants to see a new file and a new event in seconds; the defaults are for fleets.
        "dag_processor": {
            "refresh_interval": 10,
            "min_file_process_interval": 30,
            "parsing_processes": 1,
            "bundle_refresh_check_interval": 5,
        },
        "scheduler": {"scheduler_idle_sleep_time": 0.5, "enable_health_check": False},
        # A task's end is noticed at the next heartbeat at the latest; 5 s of each task would be waiting.
        "workers": {"min_heartbeat_interval": 1},
        "logging": {"base_log_folder": home / "logs", "colored_console_log": False},
        "usage_data_collection": {"enabled": False},
    }
    variables = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for part in (values, time_outs(config.patience_seconds))
        for section, options in part.items()
        for name, value in options.items()
    }
    return {"AIRFLOW_HOME": str(home), **variables}


def time_outs(patience_seconds: int) -> dict[str, dict[str, object]]:
    """How soon Airflow notices that a scheduler, a triggerer or a task is dead.

    With 300 s of patience these are Airflow's own defaults, but for ``max_failed_heartbeats``.
    """
    patience = patience_seconds
    return {
        "scheduler": {
            "scheduler_heartbeat_sec": min(5, max(1, patience // 3)),
            # A scheduler that finds its own heartbeat older than this gives its running tasks up.
            "scheduler_health_check_threshold": min(30, 2 * patience),
            "orphaned_tasks_check_interval": patience,
            "task_instance_heartbeat_timeout": patience,
            "task_instance_heartbeat_timeout_detection_interval": min(10, patience / 2),
            "task_queued_timeout": min(600, 6 * patience),
            "task_queued_timeout_check_interval": min(120, patience),
        },
        "triggerer": {
            "job_heartbeat_sec": min(5, max(1, patience // 3)),
            "triggerer_health_check_threshold": min(30, patience),
            "runner_health_check_threshold": min(30, 4 * patience),
            # Below the visibility of a ring: one whose event is still being stored must not ring twice.
            "shared_stream_ack_timeout": patience,
        },
        "workers": {
            # Heartbeats are a second apart: a task gives up no sooner than the scheduler gives the task up.
            "max_failed_heartbeats": max(3, patience),
            "execution_api_retry_wait_max": min(90, patience),
        },
    }


def unhealthy_parts(config: StackConfig) -> list[str]:
    """Parts of Airflow that do not report health yet; empty when all do."""
    wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    try:
        with urllib.request.urlopen(
            f"{airflow_url(config)}/api/v2/monitor/health", timeout=_HEALTH_TIMEOUT_SECONDS
        ) as answer:
            health = json.loads(answer.read())
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError):
        return ["api_server"]
    return [part for part in wanted if (health.get(part) or {}).get("status") != "healthy"]


def _passwords_file(config: StackConfig) -> Path:
    return config.home / "airflow_passwords.json"


def _keys_file(config: StackConfig) -> Path:
    return config.home / "airflow_keys.json"


def _new_keys() -> str:
    from cryptography.fernet import Fernet

    return json.dumps(
        {
            "fernet_key": Fernet.generate_key().decode(),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(64),
        }
    )


def _write_once(path: Path, content: Callable[[], str]) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(content())

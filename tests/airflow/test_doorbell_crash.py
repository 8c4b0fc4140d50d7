"""kill -9 of the process that watches the doorbell, at each point between a ring and its deletion."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

PROCESS = Path(__file__).with_name("doorbell_process.py")
VISIBILITY_SECONDS = 3
NBR_RINGS = 3


@pytest.fixture
def queue(scenelake_home: Path, tmp_path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """SQS with three rings, and the environment of the process that listens to them."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    login = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="eu-central-1", **login)
    url = sqs.create_queue(QueueName=f"doorbell-{port}")["QueueUrl"]
    for i in range(NBR_RINGS):
        sqs.send_message(QueueUrl=url, MessageBody=str(i))
    plugins = PROCESS.parents[2] / "plugins"
    yield (
        lambda: _count(sqs, url),
        {
            **os.environ,
            **{name.upper(): value for name, value in login.items()},
            "PYTHONPATH": str(plugins),
            "SCENELAKE_ENDPOINT_URL": endpoint,
            "SCENELAKE_DOORBELL_QUEUE_URL": url,
            "SCENELAKE_DOORBELL_VISIBILITY_SECONDS": str(VISIBILITY_SECONDS),
            "SCENELAKE_FAULTS": str(tmp_path / "faults"),
        },
    )
    server.stop()


def _count(sqs: Any, url: str) -> int:
    """Rings in the queue, hidden or not."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
    return sum(int(found[name]) for name in names)


def stored(store: Path) -> int:
    """Rings that the stored events stand for."""
    return sum(json.loads(line)["rings"] for line in store.read_text().splitlines()) if store.exists() else 0


@pytest.mark.parametrize(
    ("point", "nbr_stored", "nbr_left"),
    [
        ("doorbell.receive.after", 0, NBR_RINGS),
        ("doorbell.delete.before", NBR_RINGS, NBR_RINGS),
        ("doorbell.delete.after", NBR_RINGS, 0),
    ],
)
def test_a_killed_watcher_loses_no_ring(
    queue: tuple[Any, dict[str, str]], tmp_path: Path, point: str, nbr_stored: int, nbr_left: int
) -> None:
    count, environment = queue
    order = tmp_path / "faults" / "armed" / f"{point}@1"
    order.parent.mkdir(parents=True)
    order.write_text(json.dumps({"action": "kill"}))
    first, second = tmp_path / "first", tmp_path / "second"

    ended = subprocess.run([sys.executable, str(PROCESS), str(first)], env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (stored(first), count()) == (nbr_stored, nbr_left)

    watcher = subprocess.Popen([sys.executable, str(PROCESS), str(second)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (count() or stored(second) < nbr_left):
            time.sleep(0.1)
        assert (stored(second), count()) == (nbr_left, 0), "what was not deleted must ring again, and only that"
    finally:
        watcher.kill()
        watcher.wait()

"""A lake on the laptop stack's own AWS stand-in, for suites that need Glue and S3 over the wire."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError

from scenelake.runtime.settings import Settings

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def aws(home: Path) -> Iterator[Settings]:
    """Settings of a running stand-in with the lake's buckets and its Glue database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scenelake.stack.moto_server", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        settings = Settings(home=home, endpoint_url=f"http://127.0.0.1:{port}")
        _create_lake(settings)
        yield settings
    finally:
        server.terminate()
        server.wait()


def _create_lake(settings: Settings) -> None:
    where = {"region_name": settings.region, "endpoint_url": settings.endpoint_url}
    s3 = boto3.client("s3", **where)
    for attempt in range(150):
        try:
            s3.list_buckets()
            break
        except BotoCoreError:
            if attempt == 149:
                raise
            time.sleep(0.2)
    for bucket in (settings.lake_bucket, settings.quarantine_bucket):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": settings.region})
    boto3.client("glue", **where).create_database(DatabaseInput={"Name": settings.glue_database})

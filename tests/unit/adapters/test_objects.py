"""S3 as it misbehaves: what a job is told, so that it tries again instead of giving up."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from scenelake.adapters import objects as module
from scenelake.adapters.objects import S3Objects
from scenelake.contracts.errors import TransientError

URI = "s3://bucket/key"


@pytest.fixture
def client() -> Any:
    return boto3.client("s3", "eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")


class BrokenBody:
    def read(self) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://s3")


def unreachable(*_: Any, **__: Any) -> Any:
    raise EndpointConnectionError(endpoint_url="https://s3")


def test_storage_out_of_reach_is_worth_another_try(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_make_api_call", unreachable)
    path = tmp_path / "file"
    path.write_bytes(b"x")
    s3 = S3Objects(client)
    for call in (
        lambda: s3.read(URI),
        lambda: s3.read_range(URI, 0, 1),
        lambda: s3.head(URI),
        lambda: s3.write(URI, b""),
        lambda: s3.write_file(URI, path),
        lambda: s3.write_if_absent(URI, b""),
        lambda: list(s3.list(URI)),
        lambda: s3.delete(URI),
    ):
        with pytest.raises(TransientError, match="s3://bucket/key"):
            call()


def test_a_body_that_breaks_off_is_worth_another_try(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_response("get_object", {"Body": BrokenBody()})
        with pytest.raises(TransientError):
            S3Objects(client).read(URI)


def test_a_refusal_is_not(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("get_object", "AccessDenied")
        with pytest.raises(ClientError):
            S3Objects(client).read(URI)


def test_a_conditional_write_that_meets_another_one_is_repeated(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 409 nobody has won yet, and S3 asks for the write again; only 412 says that the key is taken."""
    monkeypatch.setattr(module, "_CONFLICT_WAIT_SECONDS", 0.0)
    s3 = S3Objects(client)
    with Stubber(client) as stub:
        stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        stub.add_response("put_object", {})
        assert s3.write_if_absent(URI, b"one")
        stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
        assert not s3.write_if_absent(URI, b"two")
        for _ in range(5):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        with pytest.raises(TransientError, match="in the way"):
            s3.write_if_absent(URI, b"three")

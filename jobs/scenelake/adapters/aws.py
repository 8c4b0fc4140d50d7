"""AWS clients. No more than boto3, so that the Lambda function's package stays small."""

from typing import Any

import boto3
from botocore.config import Config

from scenelake.runtime.settings import Settings

LAPTOP_CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
"""What the laptop stack's stand-in for AWS is given, so that nobody's real keys ever reach it."""


def client_config() -> Config:
    """Retries and time-outs shared by every AWS client."""
    return Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)


def aws_session(settings: Settings) -> boto3.Session:
    """A session with the process's own credentials on AWS, and with the stand-in's on a laptop."""
    credentials = LAPTOP_CREDENTIALS if settings.endpoint_url else {}
    return boto3.Session(region_name=settings.region, **credentials)


def aws_client(service: str, settings: Settings) -> Any:
    """A boto3 client for the settings' region and endpoint."""
    return aws_session(settings).client(service, endpoint_url=settings.endpoint_url, config=client_config())

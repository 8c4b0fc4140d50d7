"""AWS clients. No more than boto3, so that the Lambda function's package stays small."""

from typing import Any

import boto3
from botocore.config import Config

from scenelake.runtime.settings import Settings


def client_config() -> Config:
    """Retries and time-outs shared by every AWS client."""
    return Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)


def aws_client(service: str, settings: Settings) -> Any:
    """A boto3 client for the settings' region and endpoint."""
    return boto3.client(
        service, region_name=settings.region, endpoint_url=settings.endpoint_url, config=client_config()
    )

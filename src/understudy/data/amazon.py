"""Clients of Amazon's services, and of others that speak their language; needs the extra ``aws``."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from understudy.core.errors import StoreError, UnderstudyError
from understudy.core.surroundings import Amazon, amazon

REGION = "us-east-1"  # where nobody says; servers that only speak the language do not care
CONNECT = 5  # seconds until a connection counts as failed
TRIES = 5
MISSING = (
    "Amazon's services answer only to signed requests.",
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; or run where a role is given.",
)


def session(told: Amazon, error: type[UnderstudyError] = StoreError) -> boto3.Session:
    """A session with credentials. Raises: ``error`` if none are found anywhere that boto3 looks."""
    if bool(told.key) != bool(told.secret):
        raise error("no credentials for Amazon: half a pair of keys is set, and half is not", *MISSING)
    try:
        made = boto3.Session(
            aws_access_key_id=told.key or None, aws_secret_access_key=told.secret or None,
            aws_session_token=told.token or None, profile_name=None if told.key else told.profile or None,
            region_name=told.region or None,
        )  # fmt: skip
        found = made.get_credentials()
    except BotoCoreError as fault:  # such as a profile that nobody wrote
        raise error(f"no credentials for Amazon: {fault}", *MISSING, field="credentials") from fault
    if found is None:
        raise error("no credentials for Amazon were found", *MISSING, field="credentials")
    return made


def client(service: str, error: type[UnderstudyError] = StoreError) -> Any:
    """A boto3 client that retries what can be retried. Raises: ``error`` without credentials."""
    return _client(service, amazon(service), error)


@cache  # a client costs a tenth of a second, and threads may share it
def _client(service: str, told: Amazon, error: type[UnderstudyError]) -> Any:
    made = session(told, error)
    how = Config(
        connect_timeout=CONNECT, retries={"mode": "standard", "total_max_attempts": TRIES},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        s3={"addressing_style": "path" if told.endpoint else "auto"},
    )  # fmt: skip
    return made.client(service, endpoint_url=told.endpoint or None, region_name=made.region_name or REGION, config=how)

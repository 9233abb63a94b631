"""What a process is told by its surroundings: secrets and endpoints. Never a setting, a seed or a meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Amazon:
    """How to reach one of Amazon's services, or another that speaks its language.

    Empty fields are left to boto3, which also knows profiles, sign-on, and the roles of machines and containers.
    """

    key: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""
    region: str = ""
    endpoint: str = ""


def amazon(service: str, environ: Mapping[str, str] = os.environ) -> Amazon:
    """As the environment says, in the variables that Amazon's own tools read.

    >>> amazon("s3", {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}).endpoint
    'http://b'
    """

    def first(*names: str) -> str:
        return next((environ[name] for name in names if environ.get(name)), "")

    return Amazon(
        key=first("AWS_ACCESS_KEY_ID"),
        secret=first("AWS_SECRET_ACCESS_KEY"),
        token=first("AWS_SESSION_TOKEN"),
        profile=first("AWS_PROFILE"),
        region=first("AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint=first(f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL"),
    )

"""A bucket as a Store: conditional puts, parts for what is big, retries; faults told in three sentences."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, BinaryIO

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError
from obstore.store import S3Store

from understudy.core.errors import StoreError
from understudy.core.surroundings import Amazon, amazon
from understudy.data.amazon import CONNECT, REGION, TRIES, client, session
from understudy.data.store import Absent, check_key

SCHEME = "s3://"
PART = 1 << 25  # bytes: a body up to this size goes in one request, a bigger one in parts of it
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "already exists")
_CREDENTIALS = (
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "AuthFailure",
    "ExpiredToken", "InvalidSecurity", "AuthorizationHeaderMalformed", "valid authentication credentials",
)  # fmt: skip
_NETWORK = ("HTTP error", "Could not connect", "Connection", "timed out", "timeout")


@dataclass(frozen=True)
class ObjectStore:
    """``s3://bucket/prefix`` as a Store. The first ``put`` of a key wins, on servers that honor ``If-None-Match``.

    Amazon's does, and so do most. On one that does not (rclone's), a put still finds a key that was taken before it
    began; of two that overlap the later one stands. Bodies are never seen half: a key appears when all of it is there.
    """

    url: str

    def open(self, key: str) -> BinaryIO:
        """A stream of the key's bytes, read once from its beginning. Raises: Absent if there is no such key."""
        path = self._path(key)
        with self._told(f"{self.url}/{key} cannot be read", key):
            try:
                found = obstore.get(self._objects, path)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                raise Absent(f"nothing is stored under {key!r} in {self.url}", field=key) from error
        return io.BufferedReader(_Body(self, key, iter(found.stream())), 1 << 20)

    def put(self, key: str, body: BinaryIO) -> None:
        """Store all of ``body`` under a new key. Raises: StoreError if the key is taken; nothing is overwritten."""
        path = self._path(key)
        with suppress(BaseError, OSError):  # a fault is told by the put itself
            obstore.head(self._objects, path)  # for servers that ignore the condition; nor is a big body sent in vain
            raise self._taken(key)
        first = body.read(PART + 1)
        with self._told(f"{self.url}/{key} cannot be written", key):
            if len(first) > PART:
                self._put_parts(path, first, body)
            else:
                obstore.put(self._objects, path, first, mode="create", use_multipart=False)

    def list(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, in order of their text."""
        folder = prefix.rpartition("/")[0]
        root = "/".join(filter(None, (self.prefix, folder)))
        cut = len(self.prefix) + bool(self.prefix)
        with self._told(f"{self.url} cannot be listed", prefix):
            pages = obstore.list(self._objects, f"{root}/" if root else None, chunk_size=1000)
            found = [item["path"][cut:] for page in pages for item in page]
        return iter(sorted(key for key in found if key.startswith(prefix)))

    def check(self) -> None:
        """Raises: StoreError if nothing could be stored here. Leaves nothing: parts are begun and given up."""
        where = {"Bucket": self.bucket, "Key": self._path("probe")}
        with self._told(f"{self.url} cannot be written", self.url):
            parts = client("s3")
            begun = parts.create_multipart_upload(**where)
            with suppress(ClientError):  # whoever may write may not always take back; the bucket's rules will
                parts.abort_multipart_upload(**where, UploadId=begun["UploadId"])

    @property
    def bucket(self) -> str:
        return self._place[0]

    @property
    def prefix(self) -> str:
        return self._place[1]

    @cached_property
    def _place(self) -> tuple[str, str]:
        bucket, _, prefix = self.url.removeprefix(SCHEME).partition("/")
        prefix = prefix.strip("/")
        if not self.url.startswith(SCHEME) or not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", bucket):
            raise StoreError(
                f"{self.url} names no bucket",
                "A place in a bucket is s3://BUCKET/PREFIX; a bucket is 3 to 63 small letters, digits, dots, hyphens.",
                field=self.url,
            )
        if prefix:
            check_key(prefix)
        return bucket, prefix

    @cached_property
    def _objects(self) -> Any:
        told = amazon("s3")
        return S3Store(
            self.bucket, **_signing(told), **({"endpoint": told.endpoint} if told.endpoint else {}),  # pyright: ignore[reportCallIssue]
            client_options={"allow_http": True, "connect_timeout": f"{CONNECT}s", "timeout": "300s"},
            retry_config={"max_retries": TRIES - 1, "retry_timeout": timedelta(seconds=60)},
        )  # fmt: skip

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def _put_parts(self, path: str, first: bytes, body: BinaryIO) -> None:
        """Part by part, and only made whole if the key is still free."""
        parts, where = client("s3"), {"Bucket": self.bucket, "Key": path}
        upload = where | {"UploadId": parts.create_multipart_upload(**where)["UploadId"]}
        try:
            done, held = [], first
            while held:
                sent, held = held[:PART], held[PART:]
                tag = parts.upload_part(**upload, PartNumber=len(done) + 1, Body=sent)["ETag"]
                done.append({"ETag": tag, "PartNumber": len(done) + 1})
                held += body.read(PART - len(held))
            parts.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, IfNoneMatch="*")
        except BaseException:
            with suppress(ClientError, BotoCoreError):
                parts.abort_multipart_upload(**upload)
            raise

    def _taken(self, key: str) -> StoreError:
        return StoreError(
            f"{key!r} is already stored in {self.url}",
            "What is stored never changes, so that whatever refers to it stays true.",
            "Store under another key, or address it by its content.",
            field=key,
        )

    @contextmanager
    def _told(self, what: str, field: str) -> Iterator[None]:
        """A client's own error as a StoreError: what failed, why, and what to do."""
        try:
            yield
        except (BaseError, OSError, ClientError, BotoCoreError) as error:
            said = str(error)
            if any(code in said for code in _TAKEN) or isinstance(error, FileExistsError):
                raise self._taken(field) from error
            raise StoreError(what, *_reasons(said, self.bucket), field=field) from error


class _Body(io.RawIOBase):
    """Chunks as they come, as a raw stream."""

    def __init__(self, store: ObjectStore, key: str, chunks: Iterator[Any]) -> None:
        self._store, self._key, self._chunks, self._held = store, key, chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._held):
            with self._store._told(f"{self._store.url}/{self._key} broke off", self._key):
                chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = memoryview(chunk)
        n = min(len(buffer), len(self._held))
        buffer[:n], self._held = self._held[:n], self._held[n:]
        return n


def _signing(told: Amazon) -> dict[str, Any]:
    """Keys as given; else whatever boto3 finds, asked again before it expires."""
    if told.key and told.secret:
        token = {"session_token": told.token} if told.token else {}
        return {"access_key_id": told.key, "secret_access_key": told.secret, "region": told.region or REGION} | token
    from obstore.auth.boto3 import Boto3CredentialProvider

    found = session(told)
    return {"credential_provider": Boto3CredentialProvider(found), "region": found.region_name or REGION}


def _reasons(said: str, bucket: str) -> tuple[str, str]:
    """Why, and what next, from the server's code."""
    code = next(iter(re.findall(r"<Code>(\w+)</Code>|error occurred \((\w+)\)", said)), ("", ""))
    named = code[0] or code[1] or said.splitlines()[0][:200]
    if any(word in said for word in _CREDENTIALS):
        return f"The server does not accept the credentials: {named}.", "Check AWS_ACCESS_KEY_ID and its secret."
    if "NoSuchBucket" in said:
        return f"There is no bucket {bucket!r} on this server.", "Make it first, or check its name and the endpoint."
    if "AccessDenied" in said or "403" in said:
        return (
            f"These credentials may not do that in bucket {bucket!r}: {named}.",
            "Allow s3:GetObject, s3:PutObject, s3:AbortMultipartUpload below the prefix and s3:ListBucket on it.",
        )
    if any(word in said for word in _NETWORK):
        return (
            f"The server does not answer, after {TRIES} tries: {said.splitlines()[0][:200]}",
            "Check the network, AWS_ENDPOINT_URL and AWS_REGION; then run the same line again.",
        )
    return f"The server says: {named}.", "Run the same line again; what is finished stands."

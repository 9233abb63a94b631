"""A bucket as a store, on two real servers: moto's honors If-None-Match, as Amazon does; rclone's does not."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
import urllib.request

import pytest
from tests.clouds import BUCKET, boto3_client, keys, lead, rclone

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import Store
from understudy.data import objects
from understudy.data.objects import ObjectStore
from understudy.data.store import Absent, LocalStore, get_content, open_store, put_content, remote

URL = f"s3://{BUCKET}/some/where"


@pytest.fixture(params=["amazon", "unconditional"])
def server(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def test_what_is_put_is_read_and_listed(server):
    """Keys come back in order of their text; a prefix selects, also in mid-name; others' keys stay theirs."""
    store: Store = open_store(URL)
    for key in ("b/2", "a/1", "b/1", "bc"):
        store.put(key, io.BytesIO(key.encode()))
    open_store(f"s3://{BUCKET}/some").put("whereabouts", io.BytesIO(b"not ours"))
    assert list(store.list("")) == ["a/1", "b/1", "b/2", "bc"]
    assert list(store.list("b")) == ["b/1", "b/2", "bc"]
    assert list(store.list("b/")) == ["b/1", "b/2"]
    assert list(store.list("none/")) == []
    with store.open("b/1") as file:
        assert (file.read(1), file.read()) == (b"b", b"/1")
    assert list(open_store(f"s3://{BUCKET}").list("")) == [
        f"some/where/{key}" for key in ("a/1", "b/1", "b/2", "bc")
    ] + ["some/whereabouts"]


def test_nothing_is_overwritten(server):
    """The second put of a key is an error and the first bytes stay; on both servers, if one comes after the other."""
    store = ObjectStore(URL)
    store.put("k", io.BytesIO(b"first"))
    with pytest.raises(StoreError, match="'k' is already stored"):
        store.put("k", io.BytesIO(b"second"))
    with store.open("k") as file:
        assert file.read() == b"first"


def test_a_key_that_could_lead_outside_is_refused(amazon):
    """The same keys as of the local store."""
    for key in ("", "/x", "../x", "a/../../x", "a//b", ".hidden", "a\nb"):
        for act in (
            lambda key=key: ObjectStore(URL).put(key, io.BytesIO(b"")),
            lambda key=key: ObjectStore(URL).open(key),
        ):
            with pytest.raises(StoreError, match="is not a key"):
                act()
    assert keys() == []


def test_what_is_absent_says_so(server):
    """A key that nobody stored is Absent, which is a StoreError."""
    with pytest.raises(Absent, match="nothing is stored under 'k'"):
        ObjectStore(URL).open("k")


@pytest.mark.parametrize("size", [0, 1, 6 << 20, (15 << 20) + 7])
def test_bodies_of_any_size_arrive_whole(server, size, monkeypatch):
    """Past the limit they go in parts; what comes back is what went in, and a second put is refused there too."""
    monkeypatch.setattr(objects, "PART", 5 << 20)  # the least that a server must take as a part
    body = (hashlib.sha256(b"seed").digest() * (size // 32 + 1))[:size]
    store = ObjectStore(URL)
    store.put("body", io.BytesIO(body))
    with store.open("body") as file:
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(body).digest()
    with pytest.raises(StoreError, match="already stored"):
        store.put("body", io.BytesIO(body))


def test_of_two_bodies_in_parts_the_first_whole_one_stands(amazon, monkeypatch):
    """A writer that began before and ends after another is refused at its end, and leaves no parts behind."""
    monkeypatch.setattr(objects, "PART", 5 << 20)
    store = ObjectStore(URL)

    class Slow(io.BytesIO):
        def read(self, size=-1):
            chunk = super().read(size)
            if not chunk and "k" not in store.list(""):
                store.put("k", io.BytesIO(b"quick"))
            return chunk

    with pytest.raises(StoreError, match="already stored"):
        store.put("k", Slow(bytes(11 << 20)))
    with store.open("k") as file:
        assert file.read() == b"quick"
    assert "Uploads" not in boto3_client("s3").list_multipart_uploads(Bucket=BUCKET)


def test_a_body_that_fails_half_way_leaves_nothing(server, monkeypatch):
    """Neither a key nor parts that cost money."""
    monkeypatch.setattr(objects, "PART", 5 << 20)

    class Torn(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 6 << 20:
                raise RuntimeError("the other end hung up")
            return super().read(size)

    with pytest.raises(RuntimeError, match="hung up"):
        ObjectStore(URL).put("k", Torn(bytes(12 << 20)))
    assert keys() == []
    assert not boto3_client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_one_of_eight_writers_of_a_key_wins(amazon):
    """At the same moment, with different bodies: one succeeds, and its bytes are there."""
    gate, won = threading.Barrier(8), []

    def put(letter: bytes) -> None:
        store = ObjectStore(URL)
        gate.wait()
        try:
            store.put("k", io.BytesIO(letter * 100_000))
            won.append(letter)
        except StoreError:
            pass

    writers = [threading.Thread(target=put, args=(bytes([65 + i]),)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    with ObjectStore(URL).open("k") as file:
        assert file.read() == won[0] * 100_000


def test_content_addresses_work_on_any_store(server):
    """Equal bytes, one key."""
    key = put_content(ObjectStore(URL), b"weights")
    assert put_content(ObjectStore(URL), b"weights") == key
    assert get_content(ObjectStore(URL), key) == b"weights"


# What is told when it cannot work: what failed, why, what next.


def told(act) -> StoreError:
    with pytest.raises(StoreError) as caught:
        act()
    assert caught.value.what and caught.value.why and caught.value.hint
    assert "Debug source" not in str(caught.value)
    return caught.value


def everything(url: str = URL):
    """Each way to ask a store for something."""
    store = ObjectStore(url)
    return [
        lambda: store.put("k", io.BytesIO(b"x")),
        lambda: store.open("k"),
        lambda: list(store.list("")),
        store.check,
    ]


def test_no_such_bucket(server):
    for act in everything("s3://nobody-made-this/x"):
        assert "There is no bucket 'nobody-made-this'" in told(act).why


def test_bad_credentials(unconditional, monkeypatch):
    """A wrong secret, then an unknown key: refused by rclone's server as by Amazon's."""
    for name, value in (("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "nobody-known")):
        monkeypatch.setenv(name, value)
        for act in everything():
            error = told(act)
            assert "does not accept the credentials" in error.why and "AWS_ACCESS_KEY_ID" in error.hint
            assert "wrong-secret" not in str(error)


def test_no_credentials_at_all(amazon, monkeypatch):
    """Said before anything is sent; half a pair is none."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for act in everything():
        assert "no credentials" in told(act).what
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for act in everything():
        assert "no credentials" in told(act).what


def test_a_profile_is_as_good_as_keys(amazon, monkeypatch, tmp_path):
    """Credentials that only boto3 knows how to find."""
    file = tmp_path / "credentials"
    file.write_text("[work]\naws_access_key_id = understudy\naws_secret_access_key = not-a-secret\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "work")
    ObjectStore(URL).put("k", io.BytesIO(b"x"))
    assert list(ObjectStore(URL).list("")) == ["k"]
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "no credentials" in told(lambda: ObjectStore(URL).open("k")).what


def test_an_unwritable_bucket(amazon, monkeypatch):
    """Someone who may read only: what they may not do, and what to allow. moto judges by the policies of IAM."""
    ObjectStore(URL).put("k", io.BytesIO(b"x"))
    iam = boto3_client("iam")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    with judged(amazon):
        with ObjectStore(URL).open("k") as file:
            assert file.read() == b"x"
        for act in (lambda: ObjectStore(URL).put("l", io.BytesIO(b"x")), ObjectStore(URL).check):
            error = told(act)
            assert "may not do that in bucket" in error.why and "s3:PutObject" in error.hint
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "does not accept the credentials" in told(ObjectStore(URL).check).why
        assert "does not accept the credentials" in told(lambda: ObjectStore(URL).open("k")).why


class judged:
    """Within it moto asks who somebody is and what they may do; outside it lets everybody pass."""

    def __init__(self, address: str) -> None:
        self.address = address

    def set(self, count: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.address}/moto-api/reset-auth", count, plain, method="POST")
        urllib.request.urlopen(request).close()

    def __enter__(self) -> None:
        self.set(b"0")

    def __exit__(self, *_: object) -> None:
        self.set(b"inf")


def test_no_network(monkeypatch, tmp_path):
    """A port where nobody listens: after a few tries, in seconds."""
    with socket.socket() as taken:  # bound, never listening: nobody else gets it while we ask
        taken.bind(("127.0.0.1", 0))
        lead(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
        for act in everything():
            error = told(act)
            assert "does not answer" in error.why and "AWS_ENDPOINT_URL" in error.hint


def test_a_read_only_server(monkeypatch, tmp_path):
    """rclone with --read-only: whatever its code is, it is a StoreError that names the place."""
    (tmp_path / "served" / BUCKET).mkdir(parents=True)
    with rclone(tmp_path / "served", "--read-only") as address:
        lead(monkeypatch, address, tmp_path)
        assert URL in told(lambda: ObjectStore(URL).put("k", io.BytesIO(b"x"))).what


@pytest.mark.parametrize("url", ["s3://", "s3://B", "s3://a", "s3://Upper/x", "s3://bucket/a/../b"])
def test_a_place_that_names_no_bucket(url):
    with pytest.raises(StoreError):
        ObjectStore(url).bucket  # noqa: B018


def test_places_are_told_from_folders(tmp_path):
    """By the scheme of a registered store, also in a Path that lost a slash; Spark's schemes are Spark's."""
    assert remote("s3://b/x/") == "s3://b/x"
    assert not any(map(remote, ("data", "/data", "s3", "s3:x", "table:t", "s3a://b/x", "hdfs://h/x", "C:/x", ".")))
    assert isinstance(open_store(tmp_path), LocalStore)


def test_without_the_extra_the_cure_is_said(monkeypatch):
    """obstore is not installed: a ConfigError with the line to type."""
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "understudy.data.objects")
    with pytest.raises(ConfigError) as caught:
        open_store(URL)
    assert caught.value.hint == 'pip install "understudy[aws]"'

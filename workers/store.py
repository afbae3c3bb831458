"""The one door for files and ``s3://bucket/prefix``.

A store maps keys (``a/b.json``) to bytes. Writing is atomic: a reader sees all of a value or none of it. On disk a value is
written aside, synced and renamed; on S3 it is one conditional PutObject with its SHA-256, which the server checks. The
endpoint comes from ``AWS_ENDPOINT_URL`` and credentials from boto3's own chain, never from a location.

Specified in docs/data-format.md.
"""

import base64
import hashlib
import os
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from urllib3.exceptions import HTTPError

from workers.errors import MissingKeyError, StoreError
from workers.local_store import LocalStore, checked_key
from workers.location import bucket_and_prefix, has_scheme

_ABSENT = ("404", "NoSuchKey", "NotFound")
_CONDITION = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "409")
_EXPIRED = (
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "400",
)  # HEAD tells a number only
_CREDENTIALS = (
    *_EXPIRED,
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
)
_DENIED = ("AccessDenied", "403", "Forbidden")
_BUSY = ("SlowDown", "ServiceUnavailable", "RequestLimitExceeded", "ThrottlingException", "429", "503")
_DAMAGED = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch")
# HTTPClientError: a reset or a silent connection; HTTPError: what botocore passes on from below, such as a broken TLS record.
_CUT_SHORT = (HTTPClientError, IncompleteReadError, HTTPError)
PART_BYTES = 1 << 18
READ_ATTEMPTS = 5  # in a row, none of which brought a part
CONFLICT_ATTEMPTS = 5
REQUEST_ATTEMPTS = 8  # botocore waits 0 to 1, 2, 4, 8, 16, 20, 20 s between them, half of it on average


class Store(Protocol):
    """Keys and bytes under one location. Keys are relative, ``/``-separated; no part may start with a dot."""

    @property
    def location(self) -> str:
        """Folder or ``s3://bucket/prefix``, without a trailing slash."""

    def get(self, key: str) -> bytes:
        """The bytes of a key.

        Raises:
            MissingKeyError: Nothing there.
            StoreError: It cannot be read.
        """

    def parts(self, key: str) -> Iterator[bytes]:
        """The bytes of a key piece by piece, so that a large value need not be held in memory.

        Raises:
            MissingKeyError: Nothing there.
            StoreError: It cannot be read, or changed meanwhile.
        """

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a key; with ``if_absent``, only when it has nothing yet. False: it had, and was left alone."""

    def swap(self, key: str, data: bytes, expected: bytes | None) -> bool:
        """Write a key if it holds ``expected`` (None: nothing). False: it holds something else, and was left alone."""

    def exists(self, key: str) -> bool:
        """Whether the key has a value."""

    def size(self, key: str) -> int:
        """Bytes of a value, without reading it.

        Raises:
            MissingKeyError: Nothing there.
        """

    def age_s(self, key: str) -> float:
        """Seconds since a key was written, by the clock of the server.

        Raises:
            MissingKeyError: Nothing there.
        """

    def list(self, prefix: str = "") -> tuple[str, ...]:
        """Keys that start with this text, sorted."""

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens when it has no value."""

    def local_path(self, key: str) -> Path | None:
        """The file that holds (or would hold) the key; None where it is not a local file."""


def open_store(location: str) -> Store:
    """Open a folder or an ``s3://bucket/prefix``. Nothing is read, written or contacted yet.

    Raises:
        StoreError: Another scheme, or a location with credentials, options, an IP address or ``..``.
    """
    if not has_scheme(location):
        if not location or "\0" in location:
            raise StoreError(f"location {location!r}: not a path; give a folder or s3://<bucket>/<prefix>.")
        return LocalStore(Path(location).expanduser())
    return S3Store(*bucket_and_prefix(location))


class S3Store:
    """A prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    @property
    def location(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        return b"".join(self.parts(key))

    def parts(self, key: str) -> Iterator[bytes]:
        return self._rest(key, self._call("get_object", key))

    def _rest(self, key: str, answer: Any) -> Iterator[bytes]:
        """The body of an answer; what is missing of it is asked for anew, which botocore does not do by itself."""
        etag, size = answer["ETag"], answer["ContentLength"]
        done, failures = 0, 0
        while True:
            before = done
            try:
                for part in answer["Body"].iter_chunks(PART_BYTES):
                    done += len(part)
                    yield part
                return
            except _CUT_SHORT:
                failures = 1 if done - before >= PART_BYTES else failures + 1
            except FlexibleChecksumError:
                raise StoreError(
                    f"{self.location}/{key}: arrived with other bytes than its server's checksum says; try again."
                ) from None
            if done >= size:
                return
            if failures >= READ_ATTEMPTS:
                raise StoreError(
                    f"{self.location}/{key}: cut short {failures} times after {done} of {size} bytes; check the network "
                    "and the server."
                )
            answer = self._call("get_object", key, Range=f"bytes={done}-", IfMatch=etag)
            if not str(answer.get("ContentRange", "")).startswith(f"bytes {done}-"):
                raise StoreError(
                    f"{self.location}/{key}: cut short after {done} of {size} bytes, and its server ignores ranges (Range) "
                    "that could fetch the rest; use a server that honours them, such as AWS S3 or SeaweedFS."
                )

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        if not if_absent:
            self._call("put_object", key, **_body(data))
            return True
        self._require_conditions()
        return self._put_if(key, data, IfNoneMatch="*")

    def swap(self, key: str, data: bytes, expected: bytes | None) -> bool:
        if expected is None:
            return self.put(key, data, if_absent=True)
        self._require_conditions()
        try:
            answer = self._call("get_object", key)
        except MissingKeyError:
            return False
        if b"".join(self._rest(key, answer)) != expected:
            return False
        return self._put_if(key, data, IfMatch=answer["ETag"])

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except MissingKeyError:
            return False
        return True

    def size(self, key: str) -> int:
        return int(self._call("head_object", key)["ContentLength"])

    def age_s(self, key: str) -> float:
        answer = self._call("head_object", key)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - answer["LastModified"]).total_seconds())

    def list(self, prefix: str = "") -> tuple[str, ...]:
        top = f"{self._prefix}/" if self._prefix else ""
        keys: list[str] = []
        more: dict[str, str] = {}
        while True:
            try:
                page = _request("list_objects_v2", Bucket=self._bucket, Prefix=top + prefix, **more)
            except (ClientError, BotoCoreError) as error:
                self._fail(error, "list_objects_v2", prefix)
            keys += [item["Key"][len(top) :] for item in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        return tuple(sorted(keys))

    def delete(self, key: str) -> None:
        self._call("delete_object", key)

    def local_path(self, key: str) -> Path | None:
        return None

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        for _ in range(CONFLICT_ATTEMPTS):
            try:
                _request("put_object", Bucket=self._bucket, Key=self._key(key), **_body(data), **condition)
                return True
            except ClientError as error:
                if _code(error) in _CONDITION:
                    # After a lost answer the first try may have been the one that wrote.
                    return _retries(error) > 0 and self.get(key) == data
                if _code(error) not in _CONFLICT:
                    self._fail(error, "put_object", key)
            except BotoCoreError as error:
                self._fail(error, "put_object", key)
        raise StoreError(f"{self.location}/{key}: others write it at the same time; try again.")

    def _require_conditions(self) -> None:
        """Some servers ignore conditions and answer 200, and then two writers destroy each other's work: ask once."""
        if (os.getpid(), _endpoint(), self._bucket) in _proved:
            return
        probe = f"probes/{uuid.uuid4().hex}"
        self._put_if(probe, b"", IfNoneMatch="*")
        ignored = self._put_if(probe, b"", IfNoneMatch="*")
        self.delete(probe)
        if ignored:
            raise StoreError(
                f"{self.location}: its server ignores conditional writes (If-None-Match), so that two writers could "
                "overwrite each other; use a server that honours them, such as AWS S3 or SeaweedFS."
            )
        _proved.add((os.getpid(), _endpoint(), self._bucket))

    def _call(self, action: str, key: str, **arguments: Any) -> Any:
        try:
            return _request(action, Bucket=self._bucket, Key=self._key(key), **arguments)
        except (ClientError, BotoCoreError) as error:
            self._fail(error, action, key)

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{checked_key(key)}" if self._prefix else checked_key(key)

    def _fail(self, error: Exception, action: str, key: str) -> NoReturn:
        """Turn an error of the client into a sentence; the client's own text may hold a key id, so it is not shown."""
        server = _endpoint() or "AWS"
        code = _code(error)
        if code == "NoSuchBucket" or (code in _ABSENT and not self._has_bucket()):
            raise StoreError(
                f"bucket {self._bucket!r} not found at {server}; create it or correct the location."
            ) from None
        if code in _ABSENT:
            raise MissingKeyError(f"{self.location}/{key}: nothing there.") from None
        if code in _CONDITION:
            raise StoreError(f"{self.location}/{key}: changed while it was read; try again.") from None
        if code in _BUSY:
            raise StoreError(
                f"{self.location}/{key}: {server} is too busy ({code} {_retries(error) + 1} times); try later, or with "
                "fewer readers at once."
            ) from None
        if code in _DAMAGED:
            raise StoreError(
                f"{self.location}/{key}: arrived at {server} with another checksum than it was sent with ({code}) and was "
                "not stored; check the network, then try again."
            ) from None
        if code in _CREDENTIALS:
            raise StoreError(
                f"{server} refused the credentials ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                "AWS_SESSION_TOKEN and the clock."
            ) from None
        if code in _DENIED:
            raise StoreError(
                f"{self.location}/{key}: {action} was refused ({code}); the credentials are wrong or lack the permission."
            ) from None
        if isinstance(error, NoCredentialsError):
            raise StoreError(
                f"{self.location}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            ) from None
        if isinstance(error, EndpointConnectionError):
            raise StoreError(
                f"{self.location}: nothing answers at {server}; check AWS_ENDPOINT_URL."
            ) from None
        raise StoreError(
            f"{self.location}/{key}: {action} failed ({code or type(error).__name__})."
        ) from None

    def _has_bucket(self) -> bool:
        try:
            _request("head_bucket", Bucket=self._bucket)
        except ClientError as error:
            return _code(error) not in (*_ABSENT, "NoSuchBucket")
        return True


_clients: dict[tuple[int, str | None], Any] = {}
_proved: set[tuple[int, str | None, str]] = set()


def _request(action: str, **arguments: Any) -> Any:
    """One request; credentials that expired are asked for once more from boto3's chain (variables, files, services)."""
    try:
        return getattr(_client(), action)(**arguments)
    except ClientError as error:
        if _code(error) not in _EXPIRED:
            raise
    _clients.pop((os.getpid(), _endpoint()), None)
    return getattr(_client(), action)(**arguments)


def _client() -> Any:
    """The S3 client of this process, made when it is first needed and never carried over a fork."""
    endpoint = _endpoint()
    mine = (os.getpid(), endpoint)
    client = _clients.get(mine)  # which another thread may throw away at any time
    if client is None:
        # Many servers other than AWS stumble over the checksums that boto3 adds by default since 1.36.
        checksums: Literal["when_required", "when_supported"] = (
            "when_required" if endpoint else "when_supported"
        )
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _attempts()},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=16,
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        client = boto3.session.Session(region_name=region).client("s3", endpoint_url=endpoint, config=config)
        _clients[mine] = client
    return client


def _attempts() -> int:
    given = os.environ.get("AWS_MAX_ATTEMPTS", str(REQUEST_ATTEMPTS))
    if not given.isdecimal() or int(given) < 1:
        raise StoreError(f"AWS_MAX_ATTEMPTS: {given!r} given; allowed is a whole number from 1.")
    return int(given)


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _body(data: bytes) -> dict[str, Any]:
    return {"Body": data, "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _retries(error: Exception) -> int:
    """How often the client tried again before it gave up."""
    answer: Any = getattr(error, "response", {})
    return int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0))

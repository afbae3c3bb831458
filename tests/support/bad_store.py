"""A small S3 server on loopback that checks what it is sent and misbehaves when asked to.

Unlike the usual fakes it refuses a body that differs from its checksum. Signatures are not checked, only the key id.
"""

import base64
import hashlib
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "tests"
REASONS = {
    "ExpiredToken": 400,
    "BadDigest": 400,
    "NoSuchKey": 404,
    "NoSuchBucket": 404,
    "PreconditionFailed": 412,
    "SlowDown": 503,
}


@dataclass
class Faults:
    """What goes wrong with the next requests; a count goes down with each.

    Attributes:
        short: Bodies of GET that end in the middle, with an orderly close.
        reset: The same with a reset.
        change: Objects that change after such a body.
        busy: Requests answered 503 SlowDown.
        busy_share: Share of the other requests answered so, at random.
        lost_answers: PUTs that are done, but whose answer is a reset.
        damage: PUTs whose body is altered on the way.
        delay_s: Seconds before each body.
        no_ranges: Whether ``Range`` is ignored.
        valid_keys: Key ids that have not expired; None: all.
    """

    short: int = 0
    reset: int = 0
    change: int = 0
    busy: int = 0
    busy_share: float = 0.0
    lost_answers: int = 0
    damage: int = 0
    delay_s: float = 0.0
    no_ranges: bool = False
    valid_keys: frozenset[str] | None = None
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now."""
        with self._lock:
            count = getattr(self, name)
            setattr(self, name, max(0, count - 1))
            return bool(count > 0)

    def is_busy(self) -> bool:
        with self._lock:
            drawn = self._random.random() < self.busy_share
        return self.strikes("busy") or drawn


class BadStore:
    """The server; ``objects`` holds what the bucket ``tests`` does, ``requests`` counts by method."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.faults = Faults()
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def env(self) -> dict[str, str]:
        """Variables that a process needs to use it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "first-key",
            "AWS_SECRET_ACCESS_KEY": "hidden-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> "BadStore":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    store: BadStore
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        key = self._begin()
        if key is None:
            return
        if not key:
            self._answer(200, self._listing())
            return
        data = self._held(key)
        if data is None:
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        extra, status = {"ETag": _etag(data)}, 200
        if wanted and not self.store.faults.no_ranges:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            extra["Content-Range"], status = f"bytes {first}-{last}/{len(data)}", 206
            data = data[first : last + 1]
        cut, reset = self.store.faults.strikes("short"), self.store.faults.strikes("reset")
        self._answer(status, data, extra, cut=cut or reset)
        if cut or reset:
            if self.store.faults.strikes("change"):
                self.store.objects[key] = b"another" + self.store.objects[key]
            self._drop(reset=reset)

    def do_HEAD(self) -> None:
        key = self._begin()
        if key is None:
            return
        data = b"" if not key else self._held(key)
        if data is not None:
            self._answer(200, data, {"ETag": _etag(data)})

    def do_DELETE(self) -> None:
        key = self._begin()
        if key is not None:
            self.store.objects.pop(key, None)
            self._answer(204, b"")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        key = self._begin()
        if key is None:
            return
        if self.store.faults.strikes("damage"):
            data = bytes([data[0] ^ 1]) + data[1:]
        sums = {"x-amz-checksum-sha256": hashlib.sha256, "Content-MD5": hashlib.md5}
        given = {name: self.headers[name] for name in sums if name in self.headers}
        if any(base64.b64encode(sums[name](data).digest()).decode() != told for name, told in given.items()):
            self._refuse("BadDigest")
            return
        with self.store.lock:
            held = self.store.objects.get(key)
            allowed = held is None or self.headers.get("If-None-Match") != "*"
            if "If-Match" in self.headers:
                allowed = held is not None and self.headers["If-Match"] == _etag(held)
            if allowed:
                self.store.objects[key] = data
        if not allowed:
            self._refuse("PreconditionFailed")
        elif self.store.faults.strikes("lost_answers"):
            self._drop(reset=True)
        else:
            self._answer(200, b"", {"ETag": _etag(data)})

    def _begin(self) -> str | None:
        """The key; empty for the bucket; None where the request was refused already."""
        self.store.requests[self.command] += 1
        bucket, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        valid = self.store.faults.valid_keys
        identity = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        if self.store.faults.is_busy():
            self._refuse("SlowDown")
        elif valid is not None and (identity is None or identity[1] not in valid):
            self._refuse("ExpiredToken")
        elif bucket != BUCKET:
            self._refuse("NoSuchBucket")
        else:
            return key
        return None

    def _held(self, key: str) -> bytes | None:
        data = self.store.objects.get(key)
        if data is None:
            self._refuse("NoSuchKey")
        elif self.headers.get("If-Match") not in (None, _etag(data)):
            self._refuse("PreconditionFailed")
        else:
            return data
        return None

    def _listing(self) -> bytes:
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        keys = sorted(key for key in self.store.objects if key.startswith(prefix))
        items = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()

    def _refuse(self, code: str) -> None:
        self._answer(REASONS[code], f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(
        self, status: int, data: bytes, extra: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            time.sleep(self.store.faults.delay_s if self.command == "GET" else 0)
            self.wfile.write(data[: len(data) // 2] if cut else data)

    def _drop(self, *, reset: bool) -> None:
        """End the connection: in order, or with a reset, which lingering for no time sends."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER
            self.connection.close()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'

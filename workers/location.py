"""What a user may write as the place of a data set or of results: a folder, or ``s3://bucket/prefix`` and no more."""

import ipaddress
import re

from workers.errors import StoreError
from workers.local_store import checked_key

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def has_scheme(location: str) -> bool:
    """Whether it is meant as an address rather than a folder."""
    return _SCHEME.match(location) is not None


def bucket_and_prefix(location: str) -> tuple[str, str]:
    """The parts of ``s3://bucket/prefix``; the prefix may be empty.

    Raises:
        StoreError: Another scheme, or a location with credentials, options, an IP address or ``..``.
    """
    scheme = location.split("://")[0]
    shown = location.split("@")[-1].split("?")[0]
    if scheme != "s3":
        raise StoreError(
            f"location {shown!r}: scheme {scheme}; allowed are a folder or s3://<bucket>/<prefix>."
        )
    bucket, _, prefix = location[len("s3://") :].partition("/")
    if "@" in location or ":" in bucket:
        raise StoreError(
            f"location …{shown!r}: holds credentials, a host or a port; allowed is s3://<bucket>/<prefix>, "
            "the rest comes from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if "?" in location or "#" in location:
        raise StoreError(f"location {shown!r}: holds options; allowed is s3://<bucket>/<prefix> without any.")
    if not _BUCKET.fullmatch(bucket) or _is_address(bucket):
        raise StoreError(
            f"location {shown!r}: {bucket!r} is no bucket name; allowed is s3://<bucket>/<prefix>."
        )
    prefix = prefix.strip("/")
    return bucket, checked_key(prefix) if prefix else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

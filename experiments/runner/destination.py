"""Where artifacts go: a folder, or an object store, as people write it."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}[A-Za-z0-9]")
_ACCOUNT = re.compile(r"([a-z0-9]{3,24})\.blob\.core\.windows\.net")


class DestinationError(ValueError):
    """An output destination that cannot be used. `str()` is a sentence for people."""


@dataclass(frozen=True)
class Destination:
    """An output destination, read. `kind`: folder, s3, gs or azure.

    `container` is the bucket, or Azure's container; `prefix` the path within it (a folder's whole path), without
    a slash at either end but a folder's first; `endpoint` an S3-like service (host:port); `account` Azure's.
    """

    kind: str
    prefix: str
    container: str = ""
    endpoint: str = ""
    account: str = ""


def parse(text: str) -> Destination:
    """Reads an output destination. Raises `DestinationError`.

    `/mnt/share/folder`, `s3://bucket/folder`, `s3://host:port/bucket/folder`, `gs://bucket/folder`,
    `azure://account.blob.core.windows.net/container/folder`.
    """
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise DestinationError("A destination has no control characters in it.")
    if text.startswith("/"):
        return Destination("folder", "/" + _path(text))
    scheme, separator, _ = text.partition("://")
    known = {"s3": _s3, "gs": _gs, "azure": _azure}
    if not separator or scheme not in known:
        raise DestinationError(
            "Write a folder (/mnt/share/folder), s3://bucket/folder, s3://host:port/bucket, gs://bucket/folder, or "
            "azure://account.blob.core.windows.net/container/folder."
        )
    try:
        parts = urlsplit(text)
        host, port, secret = parts.hostname or "", parts.port, parts.username or parts.password
    except ValueError:
        raise DestinationError("The port must be a number between 1 and 65535.") from None
    if secret:
        raise DestinationError("Leave credentials out: they belong into the worker's environment.")
    if parts.query or parts.fragment:
        raise DestinationError("A destination has no ? and no # in it.")
    return known[scheme](host, port, _path(unquote(parts.path)))


def _s3(host: str, port: int | None, path: str) -> Destination:
    if port is None:
        # Without a port, a bucket and the host of an S3-like service look alike.
        if not _BUCKET.fullmatch(host):
            raise DestinationError(
                "Give the bucket: s3://bucket/folder. An S3-like service needs its port: s3://host:port/bucket."
            )
        if host == "localhost" or re.fullmatch(r"[0-9.]+", host):
            raise DestinationError(
                f"{host} looks like a machine, not like a bucket. An S3-like service needs its port: "
                f"s3://{host}:9000/bucket."
            )
        return Destination("s3", path, container=host)
    bucket, _, prefix = path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise DestinationError(f"Give the bucket after the port: s3://{host}:{port}/bucket/folder.")
    return Destination("s3", prefix, container=bucket, endpoint=f"{host}:{port}")


def _gs(host: str, port: int | None, path: str) -> Destination:
    if port is not None or not _BUCKET.fullmatch(host):
        raise DestinationError("Give the bucket: gs://bucket/folder.")
    return Destination("gs", path, container=host)


def _azure(host: str, port: int | None, path: str) -> Destination:
    account = _ACCOUNT.fullmatch(host)
    container, _, prefix = path.partition("/")
    if port is not None or not account or not container:
        raise DestinationError(
            "Give account and container: azure://account.blob.core.windows.net/container/folder."
        )
    return Destination("azure", prefix, container=container, account=account[1])


def _path(path: str) -> str:
    names = [name for name in path.split("/") if name]
    if any(name in (".", "..") for name in names):
        raise DestinationError("A destination's path has no . and no .. in it.")
    return "/".join(names)

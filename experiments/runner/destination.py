"""Where artifacts go: a folder, or an object store, as people write it."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
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
    if parts.netloc.endswith(":"):
        raise DestinationError(f"Give the port after {host}: such as {scheme}://{host}:9000/bucket.")
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


class StoreError(Exception):
    """The destination did not take, give or delete something. `str()` is one sentence for people."""


class Store:
    """An output destination in use. Credentials are those of this machine's environment (AWS_…, GOOGLE_…, AZURE_…).

    Names are paths below the destination, with slashes.
    """

    def __init__(self, text: str) -> None:
        self.text, self.destination = text, parse(text)

    def put(self, file: Path | BinaryIO, name: str) -> None:
        """Keeps the file (a path, or an open one from where it stands) under this name, whole or not at all; large
        ones go in parts. Raises `StoreError`."""
        self._do("take", lambda store: obstore().put(store, self._path(name), file))

    def read(self, name: str) -> Iterator[bytes]:
        """What is kept there, piece by piece. Raises `StoreError`."""
        found = self._do("give", lambda store: obstore().get(store, self._path(name)))
        return (bytes(piece) for piece in found.stream(min_chunk_size=1 << 20))

    def delete(self, name: str) -> None:
        """Harmless when it is gone already. Raises `StoreError`."""
        try:
            self._do("delete", lambda store: obstore().delete(store, self._path(name)))
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    def signed(self, name: str, *, for_s: float = 600, method: str = "GET") -> str:
        """An address that gives this object (or to HEAD what is known of it) to whoever has it, for so many seconds;
        empty for a folder."""
        if self.destination.kind == "folder":
            return ""
        span = timedelta(seconds=for_s)
        return self._do("sign", lambda store: obstore().sign(store, method, self._path(name), span))

    def file(self, name: str) -> Path | None:
        """The file itself where the destination is a folder of this machine."""
        return Path(self.destination.prefix, name) if self.destination.kind == "folder" else None

    def address(self, name: str) -> str:
        """Where it is, as a person would write it."""
        return f"{self.text.rstrip('/')}/{name}"

    def _path(self, name: str) -> str:
        is_folder = self.destination.kind == "folder" or not self.destination.prefix
        return name if is_folder else f"{self.destination.prefix}/{name}"

    def _do(self, verb: str, act: Callable) -> Any:
        try:
            return act(_opened(self.text))
        except Exception as error:  # a closed family of its own, and OSError, ValueError from below it
            raise StoreError(f"{self.text} did not {verb} it: {_reason(error)}") from error


@lru_cache(maxsize=32)
def _opened(text: str) -> Any:
    destination = parse(text)
    stores = import_module("obstore.store")
    options = {"client_options": {"connect_timeout": "10s", "timeout": "15m"}}
    if destination.kind == "folder":
        return stores.LocalStore(destination.prefix, mkdir=True)
    if destination.kind == "gs":
        return stores.GCSStore(destination.container, **options)
    if destination.kind == "azure":
        return stores.AzureStore(destination.container, account_name=destination.account, **options)
    if not destination.endpoint:
        return stores.S3Store(destination.container, **options)
    # An S3-like service: https by port 443, else whatever TRIALDECK_STORE_HTTPS says.
    is_https = destination.endpoint.endswith(":443") or os.environ.get("TRIALDECK_STORE_HTTPS") == "1"
    options["client_options"]["allow_http"] = not is_https
    endpoint = f"{'https' if is_https else 'http'}://{destination.endpoint}"
    return stores.S3Store(
        destination.container, endpoint=endpoint, virtual_hosted_style_request=False, **options
    )


def obstore() -> Any:
    return import_module("obstore")


def _reason(error: Exception) -> str:
    """The first line, without the library's debug output and without what a signed address would give away."""
    if "169.254.169.254" in str(error) or "metadata.google.internal" in str(error):  # the last that is asked
        return "the worker has no credentials for it. Give its environment AWS_…, GOOGLE_… or AZURE_… and restart it."
    said = re.sub(r"\?X-Amz-\S+| \(os error \d+\)", "", str(error).partition("\n")[0])
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return (f"{code[1]}. " if code else "") + said[:200]

"""Artifact destinations, as users write them: a folder or an object store."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from experiments.runner import allow_lists, safe_files

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}[A-Za-z0-9]")
_ACCOUNT = re.compile(r"([a-z0-9]{3,24})\.blob\.core\.windows\.net")


class DestinationError(ValueError):
    """An invalid output destination. `str()` is a message for users."""


@dataclass(frozen=True)
class Destination:
    """A parsed output destination. `kind` is folder, s3, gs or azure.

    `container` is the bucket or Azure container; `prefix` the path in it (for a folder its absolute path), without a
    slash at either end except a folder's first; `endpoint` an S3-compatible service (host:port); `account` Azure's.
    """

    kind: str
    prefix: str
    container: str = ""
    endpoint: str = ""
    account: str = ""


def parse(text: str) -> Destination:
    """Parse an output destination. Raise DestinationError.

    `/mnt/share/folder`, `s3://bucket/folder`, `s3://host:port/bucket/folder`, `gs://bucket/folder`,
    `azure://account.blob.core.windows.net/container/folder`.
    """
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise DestinationError("A destination must not contain control characters.")
    if text.startswith("/"):
        return Destination("folder", "/" + _path(text))
    scheme, separator, _ = text.partition("://")
    parsers = {"s3": _s3, "gs": _gs, "azure": _azure}
    if not separator or scheme not in parsers:
        raise DestinationError(
            "Enter a folder (/mnt/share/folder), s3://bucket/folder, s3://host:port/bucket, gs://bucket/folder, or "
            "azure://account.blob.core.windows.net/container/folder."
        )
    try:
        parsed_url = urlsplit(text)
        host, port, secret = (
            parsed_url.hostname or "",
            parsed_url.port,
            parsed_url.username or parsed_url.password,
        )
    except ValueError:
        raise DestinationError("The port must be a number between 1 and 65535.") from None
    if parsed_url.netloc.endswith(":"):
        raise DestinationError(f"Add the port after {host}, such as {scheme}://{host}:9000/bucket.")
    if secret:
        raise DestinationError("Remove the credentials; put them in the worker's environment.")
    if parsed_url.query or parsed_url.fragment:
        raise DestinationError("A destination must not contain ? or #.")
    return parsers[scheme](host, port, _path(unquote(parsed_url.path)))


def _s3(host: str, port: int | None, path: str) -> Destination:
    if port is None:
        # Without a port, a bucket and the host of an S3-compatible service look the same.
        if not _BUCKET.fullmatch(host):
            raise DestinationError(
                "Enter the bucket: s3://bucket/folder. An S3-compatible service requires a port: s3://host:port/bucket."
            )
        if host == "localhost" or re.fullmatch(r"[0-9.]+", host):
            raise DestinationError(
                f"{host} is a host, not a bucket. An S3-compatible service requires a port: "
                f"s3://{host}:9000/bucket."
            )
        return Destination("s3", path, container=host)
    bucket, _, prefix = path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise DestinationError(f"Add the bucket after the port: s3://{host}:{port}/bucket/folder.")
    return Destination("s3", prefix, container=bucket, endpoint=f"{host}:{port}")


def _gs(host: str, port: int | None, path: str) -> Destination:
    if port is not None or not _BUCKET.fullmatch(host):
        raise DestinationError("Enter the bucket: gs://bucket/folder.")
    return Destination("gs", path, container=host)


def _azure(host: str, port: int | None, path: str) -> Destination:
    account = _ACCOUNT.fullmatch(host)
    container, _, prefix = path.partition("/")
    if port is not None or not account or not container:
        raise DestinationError(
            "Enter account and container: azure://account.blob.core.windows.net/container/folder."
        )
    return Destination("azure", prefix, container=container, account=account[1])


def _path(path: str) -> str:
    names = [name for name in path.split("/") if name]
    if any(name in (".", "..") for name in names):
        raise DestinationError("The path of a destination must not contain . or ..")
    return "/".join(names)


class StoreError(Exception):
    """An operation on the destination failed. `str()` is a message for users."""


class Store:
    """Access to an output destination. Credentials come from this machine's environment (AWS_…, GOOGLE_…, AZURE_…).

    Names are paths below the destination, with slashes.
    """

    def __init__(self, text: str) -> None:
        self.text, self.destination = text, parse(text)

    def put(self, file: Path | BinaryIO, name: str) -> None:
        """Store a file (a path, or an open file from its position) under this name, atomically; large files are
        uploaded in parts. Raise StoreError, also for a destination that is not on the allow-list."""
        try:
            allow_lists.check_destination(self.text)
        except allow_lists.NotAllowed as refusal:
            raise StoreError(str(refusal)) from refusal
        if root := self._folder():
            return self._do("store", lambda _: _put_below(root, name, file))
        return self._do("store", lambda store: obstore().put(store, self._path(name), file))

    def read(self, name: str) -> Iterator[bytes]:
        """Return the content in chunks. Raise StoreError."""
        if root := self._folder():
            file = self._do("read", lambda _: safe_files.open_regular(name, below=root))
            return _chunks(file)
        result = self._do("read", lambda store: obstore().get(store, self._path(name)))
        return (bytes(chunk) for chunk in result.stream(min_chunk_size=1 << 20))

    def read_small(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of an object of at most `max_bytes`. Raise StoreError, also for a larger one."""

        def content(store: Any) -> bytes:
            result = obstore().get(store, self._path(name))
            if result.meta["size"] > max_bytes:
                raise ValueError(f"more than {max_bytes:,} bytes")
            return bytes(result.bytes())

        if self._folder():
            return b"".join(self.read(name))
        return self._do("read", content)

    def delete(self, name: str) -> None:
        """Delete the object if it exists. Raise StoreError."""
        if root := self._folder():
            return self._do("delete", lambda _: safe_files.remove(name, below=root))
        try:
            return self._do("delete", lambda store: obstore().delete(store, self._path(name)))
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    def signed(self, name: str, *, for_s: float = 600, method: str = "GET") -> str:
        """Return a signed URL of this object, valid for `for_s` seconds; "" for a folder."""
        if self._folder():
            return ""
        span = timedelta(seconds=for_s)
        return self._do("sign", lambda store: obstore().sign(store, method, self._path(name), span))

    def file(self, name: str) -> Path | None:
        """Return the file when the destination is a folder on this machine, else None."""
        return Path(self.destination.prefix, name) if self.destination.kind == "folder" else None

    def address(self, name: str) -> str:
        """Return the address of an object, as users write it."""
        return f"{self.text.rstrip('/')}/{name}"

    def _folder(self) -> Path | None:
        """Return the folder on this machine that is the destination. Trials may write to it, too, so no link in it is
        followed."""
        return Path(self.destination.prefix) if self.destination.kind == "folder" else None

    def _path(self, name: str) -> str:
        return f"{self.destination.prefix}/{name}" if self.destination.prefix else name

    def _do(self, verb: str, operation: Callable[[Any], Any]) -> Any:
        try:
            if endpoint := self.destination.endpoint:
                host, _, port = endpoint.rpartition(":")
                allow_lists.check_host(host, int(port))
            return operation(None if self._folder() else _opened(self.text))
        except allow_lists.NotAllowed as refusal:
            raise StoreError(str(refusal)) from refusal
        except Exception as error:  # obstore has its own exceptions, besides OSError and ValueError
            raise StoreError(f"{self.text}: could not {verb} the file: {_reason(error)}") from error


@lru_cache(maxsize=32)
def _opened(text: str) -> Any:
    destination = parse(text)
    stores = import_module("obstore.store")
    client_options: dict[str, str | bool] = {"connect_timeout": "10s", "timeout": "15m"}
    options = {"client_options": client_options}
    if destination.kind == "gs":
        return stores.GCSStore(destination.container, **options)
    if destination.kind == "azure":
        return stores.AzureStore(destination.container, account_name=destination.account, **options)
    if not destination.endpoint:
        return stores.S3Store(destination.container, **options)
    # An S3-compatible service: https on port 443; on other ports as TRIALDECK_STORE_HTTPS says.
    is_https = destination.endpoint.endswith(":443") or os.environ.get("TRIALDECK_STORE_HTTPS") == "1"
    client_options["allow_http"] = not is_https
    endpoint = f"{'https' if is_https else 'http'}://{destination.endpoint}"
    return stores.S3Store(
        destination.container, endpoint=endpoint, virtual_hosted_style_request=False, **options
    )


def _put_below(root: Path, name: str, file: Path | BinaryIO) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as source:
        safe_files.replace(name, source, below=root, is_synced=True)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(1 << 20):
            yield chunk


def obstore() -> Any:
    return import_module("obstore")


def _reason(error: Exception) -> str:
    """Return the first line of an error, without debug output and without the signature of a signed URL."""
    if "169.254.169.254" in str(error) or "metadata.google.internal" in str(
        error
    ):  # the last credential source
        return "no credentials. Set AWS_…, GOOGLE_… or AZURE_… in the worker's environment and restart it."
    message = re.sub(r"\?X-Amz-\S+| \(os error \d+\)", "", str(error).partition("\n")[0])
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return (f"{code[1]}. " if code else "") + message[:200]

"""Downloads of stored files: by a signed URL of the destination, or read on this machine.

No part of a request becomes a path: the rows say where a file is, and it must be a regular file there.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from experiments.models import Artifact, Keeping, Model, Refused
from experiments.models.workspace.registered_model import LOCAL
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.safe_files import OutsideFolder, open_regular
from experiments.runner.trial_folder import TrialFolder, size_and_mtime

SIGNED_FOR_S = 300
AT_ONCE = 2  # threads of a web process: slow downloads must not block pages
RETRY_AFTER_S = 10
CHUNK = 1 << 16
FETCH_S = 4.0  # a page waits for small files in object stores
FETCHES_AT_ONCE = 8
CACHED_BYTES = 32 << 20  # of such files, per process
RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")

log = logging.getLogger(__name__)
_slots = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """The maximum number of concurrent downloads of this process is reached. `str()` is a sentence for people."""


class OutOfRange(Exception):
    """The requested range does not begin within the file (416). `str()` is a sentence for people."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size:,} bytes; the requested range begins after its end.")
        self.content_range = f"bytes */{size}"


@dataclass(frozen=True)
class DownloadRequest:
    """The method, GET or HEAD, and the headers that resume an interrupted download."""

    method: str = "GET"
    range: str = ""
    if_range: str = ""

    @classmethod
    def by(cls, request: HttpRequest) -> DownloadRequest:
        headers = request.headers
        return cls(
            request.method or "", headers.get("Range", "").strip(), headers.get("If-Range", "").strip()
        )


@dataclass(frozen=True)
class FileLocation:
    """The location of a file: a temporary signed `address`, or a `name` in a `folder` of this machine.

    `sha256` is that of the file of this `size`, last changed at `changed_at` (None: only we write there).
    """

    address: str = ""
    folder: Path | None = None
    name: str = ""
    sha256: str = ""
    size: int = 0
    changed_at: datetime | None = None

    def etag_of(self, file: BinaryIO) -> str:
        """Return the hash if this is the file that was hashed, else an empty text."""
        size, changed_at = size_and_mtime(os.fstat(file.fileno()))
        is_same = size == self.size and self.changed_at in (None, changed_at)
        return f'"{self.sha256}"' if self.sha256 and is_same else ""


def of_artifact(artifact: Artifact, request: DownloadRequest) -> HttpResponseBase:
    """Return the file, or the requested part of it. Select `trial`, `experiment` and `worker` with the artifact.

    Raise `Refused` with its location when it cannot be read here, `OutOfRange`, and `Busy`.
    """
    return _response(location_of(artifact, request), request, where=where_of(artifact))


def of_model(model: Model, request: DownloadRequest) -> HttpResponseBase:
    """Return a model's file. Raise `Refused`, `OutOfRange` and `Busy`."""
    if model.artifact is not None:
        return of_artifact(model.artifact, request)
    if not model.address:
        raise Refused(f"The file of {model} was deleted with its trial's output.")
    if model.address.startswith(LOCAL):
        raise Refused(f"The file is {model.address.removeprefix(LOCAL)} on the workers' machines.")
    if model.address.startswith(("http://", "https://")):
        return _response(FileLocation(address=model.address), request, where="")
    destination, _, name = model.address.rpartition("/")
    return _response(
        _in_store(destination, name, request), request, where=f"The model's address is {model.address}."
    )


def content_of(artifact: Artifact, *, max_bytes: int, fetches: bool = True) -> bytes:
    """Return the content of a small file, to be shown in a page. `trial` and `experiment` should be at hand.

    A file that is in an object store is read on this machine if its trial ran here, else fetched, if `fetches`. Raise
    `Refused` for a larger file, and for one that cannot be read.
    """
    name = PurePosixPath(artifact.name).name
    if artifact.size > max_bytes:
        raise Refused(f"{name} is too large to be shown here.")
    if artifact.keeping == Keeping.DROPPED:
        raise Refused(artifact.fault or f"{name} was not kept.")
    content = _content_here(artifact, max_bytes)
    if content is None and artifact.keeping == Keeping.STORED:
        content = _fetched.get(artifact) or (_fetched.fetch(artifact, max_bytes) if fetches else None)
    if content is None or len(content) > max_bytes:
        raise Refused(f"{name} cannot be shown here.")
    return content


def head_of(artifact: Artifact, *, max_bytes: int) -> bytes:
    """Return the first bytes of a file, to be shown in a page; of one in an object store only if it is small.

    Raise `Refused` for a file that cannot be read.
    """
    head = _content_here(artifact, max_bytes) if artifact.keeping != Keeping.DROPPED else None
    if head is not None:
        return head[:max_bytes]
    return content_of(artifact, max_bytes=max_bytes)


def head_at_hand(artifact: Artifact, *, max_bytes: int) -> bytes | None:
    """Return the first bytes of a file that is on this machine or was fetched before; else None. Fetches nothing."""
    if artifact.keeping == Keeping.DROPPED:
        return None
    head = _content_here(artifact, max_bytes)
    if head is None and artifact.keeping == Keeping.STORED:
        head = _fetched.get(artifact)
    return head[:max_bytes] if head is not None else None


def fetch_contents(artifacts: Iterable[Artifact], *, max_bytes: int, within_s: float = FETCH_S) -> None:
    """Fetch small files from their object stores, several at once, for later calls of `content_of`. Files that take
    longer are omitted."""
    missing = [
        artifact
        for artifact in artifacts
        if artifact.keeping == Keeping.STORED
        and artifact.size <= max_bytes
        and _fetched.get(artifact) is None
        and _content_here(artifact, max_bytes) is None
    ]
    if not missing:
        return
    pool = ThreadPoolExecutor(max_workers=FETCHES_AT_ONCE)
    tasks = [pool.submit(_fetched.fetch, artifact, max_bytes) for artifact in missing]
    wait(tasks, timeout=within_s)
    pool.shutdown(wait=False, cancel_futures=True)


def _content_here(artifact: Artifact, max_bytes: int) -> bytes | None:
    """Return the content if this machine has the file: in the folder that is its destination, or unchanged in its
    trial's output folder."""
    for place in locations_here(artifact):
        try:
            with open_regular(place.name, below=place.folder or Path("/")) as file:
                content = file.read(max_bytes + 1)
                is_same = place.changed_at is None or size_and_mtime(os.fstat(file.fileno())) == (
                    place.size,
                    place.changed_at,
                )
        except (OSError, OutsideFolder):
            continue
        if is_same or artifact.keeping != Keeping.STORED:
            return content
    return None


def locations_here(artifact: Artifact) -> list[FileLocation]:
    """Return where this machine may have the file: in the folder that is its destination, and in its trial's output
    folder. Select `trial` and `experiment` with the artifact."""
    places = [_in_output(artifact)]
    if artifact.keeping == Keeping.STORED and artifact.destination.startswith("/"):
        places.insert(0, FileLocation(folder=Path(artifact.destination), name=artifact.key))
    return places


class _Fetched:
    """The contents that this process fetched last, up to `max_bytes`. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._contents: OrderedDict[tuple[int, datetime], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, artifact: Artifact) -> bytes | None:
        with self._lock:
            return self._contents.get((artifact.pk, artifact.changed_at))

    def fetch(self, artifact: Artifact, max_bytes: int) -> bytes | None:
        """Return the content from the object store; None when it cannot be read, or is larger."""
        try:
            content = Store(artifact.destination).read_small(artifact.key, max_bytes=max_bytes)
        except (DestinationError, StoreError) as error:
            log.warning("%s cannot be shown: %s", artifact.address, error)
            return None
        with self._lock:
            self._contents[artifact.pk, artifact.changed_at] = content
            while sum(map(len, self._contents.values())) > self.max_bytes:
                self._contents.popitem(last=False)
        return content


_fetched = _Fetched(CACHED_BYTES)


def location_of(artifact: Artifact, request: DownloadRequest) -> FileLocation:
    """Return where the file is. Raise `Refused` when it was dropped, or its destination does not answer."""
    if artifact.keeping == Keeping.DROPPED:
        raise Refused(artifact.fault or f"{artifact.name} was not kept: its trial is not among the best.")
    if artifact.keeping == Keeping.STORED:
        return replace(
            _in_store(artifact.destination, artifact.key, request), sha256=artifact.sha256, size=artifact.size
        )
    return _in_output(artifact)


def _in_output(artifact: Artifact) -> FileLocation:
    folder = TrialFolder(settings.DATA / "trials", artifact.experiment.public_id, artifact.trial.number)
    name = (folder.output / artifact.name).relative_to(folder.root).as_posix()
    return FileLocation("", folder.root, name, artifact.sha256, artifact.size, artifact.changed_at)


def where_of(artifact: Artifact) -> str:
    """Return a sentence that says where to get the file by hand."""
    if artifact.keeping == Keeping.STORED:
        return f"The file is stored at {artifact.address}, which this machine cannot read."
    machine = (
        f"of the worker {artifact.worker} ({artifact.worker.host})"
        if artifact.worker
        else "of a removed worker"
    )
    path = f"trials/{artifact.experiment.public_id}/{artifact.trial.number}/output/{artifact.name}"
    return (
        f"The file is on the machine {machine}, in its data folder: {path}. To download it here, store it "
        "in an output destination (Store files, on the experiment's Artifacts tab)."
    )


def _in_store(destination: str, name: str, request: DownloadRequest) -> FileLocation:
    try:
        store = Store(destination)
        if store.destination.kind == "folder":
            return FileLocation(folder=Path(store.destination.prefix), name=name)
        return FileLocation(address=store.signed(name, for_s=SIGNED_FOR_S, method=request.method))
    except (DestinationError, StoreError) as error:
        raise Refused(
            f"{str(error).rstrip('.')}. Set its credentials in the environment of the web process as well."
        ) from error


def _response(location: FileLocation, request: DownloadRequest, *, where: str) -> HttpResponseBase:
    if location.address:
        response = HttpResponse(status=302)
        response["Location"] = location.address
        setattr(response, "downloaded_name", PurePosixPath(location.name).name)  # noqa: B010  for the audit log
        response["Cache-Control"] = "no-store"
        return response
    is_head = request.method == "HEAD"
    if not is_head and not _slots.acquire(blocking=False):
        raise Busy(f"{AT_ONCE} downloads are in progress, the maximum. Try again in a moment.")
    try:
        if location.folder is None:
            raise OutsideFolder(location.name)
        file = open_regular(location.name, below=location.folder)
        try:
            span = Span.of(request, etag=location.etag_of(file), size=os.fstat(file.fileno()).st_size)
            if is_head:
                file.close()
                return _described(HttpResponse(), span, location.name)
            piece = Piece(file, start=span.start, stop=span.stop)
        except BaseException:
            file.close()
            raise
    except BaseException as error:
        if not is_head:
            _slots.release()
        if isinstance(error, OSError | OutsideFolder):
            raise Refused(f"{PurePosixPath(location.name).name} cannot be read here. {where}") from error
        raise
    return _described(FileResponse(piece, status=206 if span.is_part else 200), span, location.name)


def _described(response: HttpResponseBase, span: Span, name: str) -> HttpResponseBase:
    # A line break in the name would end the header.
    tidy = "".join(character if character.isprintable() else "_" for character in PurePosixPath(name).name)
    response["Content-Type"] = "application/octet-stream"
    response["Content-Disposition"] = content_disposition_header(True, tidy)
    response["Content-Length"] = str(span.stop - span.start)
    response["Accept-Ranges"] = "bytes"
    if span.is_part:
        response["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{span.size}"
    if span.etag:
        response["ETag"] = span.etag
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


@dataclass(frozen=True)
class Span:
    """The bytes of a file to send: from `start` to before `stop`, of `size`."""

    start: int
    stop: int
    size: int
    etag: str
    is_part: bool = False

    @classmethod
    def of(cls, request: DownloadRequest, *, etag: str, size: int) -> Span:
        """Return the requested range (RFC 9110, section 14). Several ranges, an unreadable one, and a range of another
        file than the one that `If-Range` names return the whole file. Raise `OutOfRange`."""
        entire_file = cls(0, size, size, etag)
        match = RANGE.fullmatch(request.range) if request.method == "GET" else None
        if match is None or (request.if_range and request.if_range != etag):
            return entire_file
        first, last = match["first"], match["last"]
        if not first and not last or (first and last and int(last) < int(first)):
            return entire_file
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= stop:
            raise OutOfRange(size)
        return cls(start, stop, size, etag, is_part=True)


class Piece:
    """A part of a file as it was when it was opened: data that a running trial appends later is omitted. Holds its
    slot until it is closed, at the end or when the connection breaks."""

    def __init__(self, file: BinaryIO, *, start: int, stop: int) -> None:
        self._file, self._left, self._lock = file, stop - start, threading.Lock()
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def read(self, count: int = -1) -> bytes:
        chunk = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        with self._lock:
            if self._file.closed:
                return
            self._file.close()
        _slots.release()

    def __del__(self) -> None:
        self.close()

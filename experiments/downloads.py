"""How a stored file gets to a person: by a signed address of its destination, or read on this machine.

Nothing of a request becomes a path: the rows say where a file is, and it must lie there as a plain file.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from experiments.models import Artifact, Keeping, Model, Refused
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.trial_folder import OutsideFolder, TrialFolder, open_regular, size_and_mtime

SIGNED_FOR_S = 300
AT_ONCE = 2  # of the threads of a web process: a slow line must not keep the others from their pages
RETRY_AFTER_S = 10
CHUNK = 1 << 16
RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")

_slots = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """As many downloads as possible are under way in this process. `str()` is a sentence for people."""


class OutOfRange(Exception):
    """The range that is asked for does not begin within the file (416). `str()` is a sentence for people."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size:,} bytes: there is nothing where the asked range begins.")
        self.content_range = f"bytes */{size}"


@dataclass(frozen=True)
class Asked:
    """How a file is asked for: GET or HEAD, and of the headers those for going on with a broken download."""

    method: str = "GET"
    range: str = ""
    if_range: str = ""

    @classmethod
    def by(cls, request: HttpRequest) -> Asked:
        told = request.headers
        return cls(request.method or "", told.get("Range", "").strip(), told.get("If-Range", "").strip())


@dataclass(frozen=True)
class Place:
    """Where the bytes are: at a signed `address` for a while, or in a `folder` of this machine by `name`.

    `sha256` is that of the file of this `size`, last changed at `changed_at` (None: only we write there).
    """

    address: str = ""
    folder: Path | None = None
    name: str = ""
    sha256: str = ""
    size: int = 0
    changed_at: datetime | None = None

    def etag_of(self, file: BinaryIO) -> str:
        """Its hash, if it is the file that was hashed; else empty."""
        size, changed_at = size_and_mtime(os.fstat(file.fileno()))
        is_same = size == self.size and self.changed_at in (None, changed_at)
        return f'"{self.sha256}"' if self.sha256 and is_same else ""


def of_artifact(one: Artifact, asked: Asked) -> HttpResponseBase:
    """The answer that gives this file, or the part that is asked for. `trial`, `experiment` and `worker` should be at
    hand.

    Raises `Refused` with where it lies, when it cannot be had here, `OutOfRange`, and `Busy`.
    """
    return _given(place_of(one, asked), asked, where=where_of(one))


def of_model(model: Model, asked: Asked) -> HttpResponseBase:
    """The answer that gives a model's file. Raises `Refused`, `OutOfRange` and `Busy`."""
    if model.artifact is not None:
        return of_artifact(model.artifact, asked)
    if not model.address:
        raise Refused(f"The file of {model} is gone: what its trial had left was deleted.")
    destination, _, name = model.address.rpartition("/")
    return _given(_in_store(destination, name, asked), asked, where=f"It should be at {model.address}.")


def place_of(one: Artifact, asked: Asked) -> Place:
    """Raises `Refused` when nobody has it any more, or its destination does not answer."""
    if one.keeping == Keeping.DROPPED:
        raise Refused(one.fault or f"{one.name} was not kept: its trial is not among the best.")
    if one.keeping == Keeping.STORED:
        return replace(_in_store(one.destination, one.key, asked), sha256=one.sha256, size=one.size)
    folder = TrialFolder(settings.DATA / "trials", one.experiment.public_id, one.trial.number)
    return Place("", folder.output, one.name, one.sha256, one.size, one.changed_at)


def where_of(one: Artifact) -> str:
    """A sentence for whoever has to fetch it by themselves."""
    if one.keeping == Keeping.STORED:
        return f"It is stored at {one.address}, which this machine cannot read."
    machine = (
        f"of the worker {one.worker} ({one.worker.host})" if one.worker else "of a worker that was removed"
    )
    path = f"trials/{one.experiment.public_id}/{one.trial.number}/output/{one.name}"
    return (
        f"It lies on the machine {machine}, in its data folder: {path}. With an output destination, the files of "
        "later trials can be downloaded here."
    )


def _in_store(destination: str, name: str, asked: Asked) -> Place:
    try:
        store = Store(destination)
        if store.destination.kind == "folder":
            return Place(folder=Path(store.destination.prefix), name=name)
        return Place(address=store.signed(name, for_s=SIGNED_FOR_S, method=asked.method))
    except (DestinationError, StoreError) as error:
        raise Refused(
            f"{str(error).rstrip('.')}. Its credentials must be in the environment of the web process, too."
        ) from error


def _given(place: Place, asked: Asked, *, where: str) -> HttpResponseBase:
    if place.address:
        response = HttpResponse(status=302)
        response["Location"] = place.address
        response["Cache-Control"] = "no-store"
        return response
    is_head = asked.method == "HEAD"
    if not is_head and not _slots.acquire(blocking=False):
        raise Busy(
            f"{AT_ONCE} downloads are under way, as many as are possible at once. Try again in a moment."
        )
    try:
        if place.folder is None:
            raise OutsideFolder(place.name)
        file = open_regular(place.folder, place.name)
        try:
            span = Span.of(asked, etag=place.etag_of(file), size=os.fstat(file.fileno()).st_size)
            if is_head:
                file.close()
                return _described(HttpResponse(), span, place.name)
            piece = Piece(file, start=span.start, stop=span.stop)
        except BaseException:
            file.close()
            raise
    except BaseException as error:
        if not is_head:
            _slots.release()
        if isinstance(error, OSError | OutsideFolder):
            raise Refused(f"{PurePosixPath(place.name).name} cannot be read here. {where}") from error
        raise
    return _described(FileResponse(piece, status=206 if span.is_part else 200), span, place.name)


def _described(response: HttpResponseBase, span: Span, name: str) -> HttpResponseBase:
    # What ends a line would end the header; nobody needs it in the name of a file.
    tidy = "".join(one if one.isprintable() else "_" for one in PurePosixPath(name).name)
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
    """The bytes of a file that are given: from `start` to before `stop`, of `size`."""

    start: int
    stop: int
    size: int
    etag: str
    is_part: bool = False

    @classmethod
    def of(cls, asked: Asked, *, etag: str, size: int) -> Span:
        """What is asked for (RFC 9110, section 14): one range. Several, what cannot be read as one, and a range of
        another file than the one that `If-Range` names, are answered with the whole. Raises `OutOfRange`."""
        whole = cls(0, size, size, etag)
        found = RANGE.fullmatch(asked.range) if asked.method == "GET" else None
        if found is None or (asked.if_range and asked.if_range != etag):
            return whole
        first, last = found["first"], found["last"]
        if not first and not last or (first and last and int(last) < int(first)):
            return whole
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= stop:
            raise OutOfRange(size)
        return cls(start, stop, size, etag, is_part=True)


class Piece:
    """Some of a file as it was when it was opened: what a running trial appends meanwhile is left out. Holds its slot
    until it is closed, at the end or when the line breaks."""

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

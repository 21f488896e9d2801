"""Floor 3: how a stored file gets to a person: by a signed address of its destination, or read on this machine.

Nothing of a request becomes a path: the rows say where a file is, and it must lie there as a plain file.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings
from django.http import FileResponse, HttpResponse

from experiments.models import Artifact, Keeping, Model, Refused
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.folder import Escapes, TrialFolder, inside

SIGNED_FOR_S = 300
AT_ONCE = 2  # of the threads of a web process: a slow line must not keep the others from their pages
RETRY_AFTER_S = 10
CHUNK = 1 << 16

_slots = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """As many downloads as possible are under way in this process. `str()` is a sentence for people."""


@dataclass(frozen=True)
class Place:
    """Where the bytes are: at a signed `address` for a while, or in a `folder` of this machine by `name`."""

    address: str = ""
    folder: Path | None = None
    name: str = ""


def of_artifact(one: Artifact) -> HttpResponse:
    """The answer that gives this file. `trial`, `experiment` and `worker` should be at hand.

    Raises `Refused` with where it lies, when it cannot be had here, and `Busy`.
    """
    return _given(place_of(one), where=where_of(one))


def of_model(model: Model) -> HttpResponse:
    """The answer that gives a model's file. Raises `Refused` and `Busy`."""
    if model.artifact is not None:
        return of_artifact(model.artifact)
    if not model.address:
        raise Refused(f"The file of {model} is gone: what its trial had left was deleted.")
    destination, _, name = model.address.rpartition("/")
    return _given(_in_store(destination, name), where=f"It should be at {model.address}.")


def place_of(one: Artifact) -> Place:
    """Raises `Refused` when nobody has it any more, or its destination does not answer."""
    if one.keeping == Keeping.DROPPED:
        raise Refused(one.fault or f"{one.name} was not kept: its trial is not among the best.")
    if one.keeping == Keeping.STORED:
        return _in_store(one.destination, one.key)
    folder = TrialFolder(settings.DATA / "trials", one.experiment.public_id, one.trial.number)
    return Place(folder=folder.output, name=one.name)


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


def _in_store(destination: str, name: str) -> Place:
    try:
        store = Store(destination)
        if store.destination.kind == "folder":
            return Place(folder=Path(store.destination.prefix), name=name)
        return Place(address=store.signed(name, for_s=SIGNED_FOR_S))
    except (DestinationError, StoreError) as error:
        raise Refused(
            f"{error} Its credentials must be in the environment of the web process, too."
        ) from error


def _given(place: Place, *, where: str) -> HttpResponse:
    if place.address:
        response = HttpResponse(status=302)
        response["Location"] = place.address
        response["Cache-Control"] = "no-store"
        return response
    if not _slots.acquire(blocking=False):
        raise Busy(
            f"{AT_ONCE} downloads are under way, as many as are possible at once. Try again in a moment."
        )
    try:
        piece = Piece(_opened(place.folder, place.name))
    except BaseException as error:
        _slots.release()
        if isinstance(error, OSError | Escapes):
            raise Refused(f"{PurePosixPath(place.name).name} cannot be read here. {where}") from error
        raise
    response = FileResponse(
        piece,
        as_attachment=True,
        filename=PurePosixPath(place.name).name,
        content_type="application/octet-stream",
    )
    response["Content-Length"] = str(piece.size)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def _opened(folder: Path, name: str) -> BinaryIO:
    """The plain file `name` below `folder`, with no link on its way. Raises OSError, Escapes."""
    names = name.split("/")
    path = inside(folder, *names)
    if path.resolve() != folder.resolve().joinpath(*names):
        raise Escapes(f"{name!r} is reached by a link.")
    # Not blocking: a pipe in its place would wait for a writer, for ever.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(name)
    return os.fdopen(number, "rb")


class Piece:
    """A file as it was when it was opened: what a running trial appends meanwhile is left out. Holds its slot until
    it is closed, at the end or when the line breaks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size = file, os.fstat(file.fileno()).st_size
        self._left, self._lock = self.size, threading.Lock()

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

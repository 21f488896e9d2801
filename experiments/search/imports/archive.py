"""Read untrusted ZIP archives, with limits on names and sizes."""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .errors import ReadError

MAX_ENTRIES = 500_000
MAX_UNPACKED = 8 << 30  # bytes of all entries
MAX_LINE = 16 << 20  # bytes
MAX_DOCUMENT = 64 << 20  # bytes of a JSON document that is read as a whole
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class Archive:
    """The entries of an archive by their names, after `opened` has checked them."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.entries = {info.filename: info for info in file.infolist() if not info.is_dir()}

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open an entry. Raise ReadError when it is missing or damaged."""
        if name not in self.entries:
            raise ReadError(f"{name} is missing from the archive. Export or download it again.")
        try:
            with self._file.open(self.entries[name]) as stream:
                yield stream
        except ReadError:
            raise
        except BROKEN as error:
            raise damaged(name, error) from None

    def read(self, name: str, *, at_most: int = MAX_DOCUMENT) -> bytes:
        """Return a whole entry of at most so many bytes."""
        with self.open(name) as stream:
            data = stream.read(at_most + 1)
        if len(data) > at_most:
            raise ReadError(f"{name} is larger than {at_most // (1 << 20):,} MiB.")
        return data

    def document(self, name: str) -> dict[str, Any]:
        """Return an entry that is one JSON object."""
        value = json_value(self.read(name), name)
        if not isinstance(value, dict):
            raise ReadError(f"{name} is not a JSON object.")
        return value

    def lines(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of an entry, with their numbers from 1."""
        with self.open(name) as stream:
            number = 0
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise ReadError(f"{name}, line {number:,}: the line is longer than 16 MiB.")
                yield number, line


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive. Raise ReadError if it is damaged, or may not be unpacked."""
    try:
        with zipfile.ZipFile(path) as file:
            _check(file)
            yield Archive(file)
    except ReadError:
        raise
    except zipfile.BadZipFile as error:
        raise damaged("The archive", error) from None


def _check(file: zipfile.ZipFile) -> None:
    infos = file.infolist()
    if len(infos) > MAX_ENTRIES:
        raise ReadError(f"The archive has more than {MAX_ENTRIES:,} files.")
    names: set[str] = set()
    unpacked = 0
    for info in infos:
        name = info.filename
        if name in names:
            raise ReadError(f"{name[:100]} is in the archive twice.")
        names.add(name)
        if not is_plain_path(name.rstrip("/")):
            raise ReadError(f"The archive has a file outside its folder: {name[:100]!r}.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ReadError(f"The archive has a link: {name[:100]}. Pack the file itself.")
        if info.flag_bits & 1:
            raise ReadError("The archive is encrypted. Import it without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ReadError(
                "The archive uses a compression method other than deflate. Save it as a standard ZIP file."
            )
        unpacked += info.file_size
    if unpacked > MAX_UNPACKED:
        raise ReadError(f"The archive unpacks to more than {MAX_UNPACKED >> 30} GiB.")


def is_plain_path(name: str) -> bool:
    """Return whether a name is a relative path with slashes that stays below its folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not (
        name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in parts[0]
    )


def damaged(name: str, error: Exception) -> ReadError:
    """Return the error of a file that cannot be read to its end."""
    return ReadError(f"{name} is damaged or truncated ({str(error)[:100]}). Export or download it again.")


def json_value(data: bytes | str, where: str) -> Any:
    """Return a JSON value. Raise ReadError, which names `where` it was."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except _Constant as constant:
        raise ReadError(f"{where} contains {constant}, which is not valid JSON.") from None
    except UnicodeDecodeError:
        raise ReadError(f"{where} is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise ReadError(f"{where} is not valid JSON (column {error.colno}: {error.msg}).") from None
    except (ValueError, RecursionError):
        raise ReadError(f"{where} is nested too deeply, or has a number with too many digits.") from None


class _Constant(ValueError):
    pass


def _refuse_constant(name: str) -> float:
    raise _Constant(name)

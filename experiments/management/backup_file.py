"""A backup: a ZIP archive with all rows, the secret keys, and on request the files of trials.

manifest.json       format, version, migrations, and for each table its columns, rows and digest
rows/<table>.jsonl  one row in each line, see database_rows.py
secret.json         the keys that sign sessions and encrypt secret hyperparameters
files/…             trials/ and workers/ of the data folder
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.db.backends.base.base import BaseDatabaseWrapper

from experiments import database_clock
from experiments.management import database_rows
from experiments.management.database_rows import Schema
from experiments.runner import safe_files
from experiments.runner.work_folder import work_folder

FORMAT = 1
PREFIX = ".trialdeck-backup-"  # of the folder beside the file, in which it is written
FOLDERS = ("trials", "workers")  # of the data folder, with what nothing can make again
CHUNK = 1 << 20
Manifest = dict[str, Any]


class BackupError(Exception):
    """A backup cannot be written, read or restored. `str()` is a message for users."""


def write(
    path: Path, connection: BaseDatabaseWrapper, *, version: str, keys: list[str], data: Path | None
) -> Manifest:
    """Write a backup of what `connection` sees, and return its manifest. `data`: the folder whose files come along.

    Whatever fails, no file is left at `path`, where none may be. Raise BackupError.
    """
    try:
        with work_folder(path.parent, PREFIX) as folder:
            draft = folder / path.name
            number = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                    manifest = _write_members(archive, connection, version=version, keys=keys, data=data)
                file.flush()
                os.fsync(file.fileno())
            with Backup(draft) as backup:
                backup.check(database_rows.schema_of(backup.migrations))
            os.link(draft, path)  # never replaces a file
    except FileExistsError:
        raise BackupError(f"{path} already exists. Choose another file.") from None
    except OSError as error:
        raise BackupError(f"The backup {path} cannot be written: {error.strerror or error}.") from error
    return manifest


def _write_members(
    archive: zipfile.ZipFile,
    connection: BaseDatabaseWrapper,
    *,
    version: str,
    keys: list[str],
    data: Path | None,
) -> Manifest:
    migrations = database_rows.migrations_of(connection)
    schema = database_rows.schema_of(migrations)
    tables = {}
    for table in schema.models:
        digest = database_rows.Digest(schema.columns(table))
        with archive.open(f"rows/{table}.jsonl", "w", force_zip64=True) as file:
            for row in database_rows.read(schema, table, connection):
                digest.add(row)
                file.write(json.dumps(row).encode() + b"\n")
        names = [column.attname for column in schema.columns(table)]
        tables[table] = {"columns": names, "rows": digest.count, "digest": str(digest)}
    archive.writestr("secret.json", json.dumps({"key": keys[0], "former_keys": keys[1:]}, indent=1))
    manifest = {
        "format": FORMAT,
        "version": version,
        "database": connection.vendor,
        "written_at": database_clock.now().isoformat(timespec="seconds"),
        "migrations": sorted(map(list, migrations)),
        "tables": tables,
        "last_ids": database_rows.last_ids(schema, connection),
        "files": dict(_write_files(archive, data)) if data else {},
    }
    archive.writestr("manifest.json", json.dumps(manifest, indent=1))
    return manifest


def _write_files(archive: zipfile.ZipFile, data: Path) -> Iterator[tuple[str, str]]:
    """Write all regular files, without links, pipes and files that disappear meanwhile. Yield names and digests."""
    for folder in FOLDERS:
        for place, _, names in os.walk(data / folder):
            for name in sorted(names):
                path = (Path(place) / name).relative_to(data)
                try:
                    source = safe_files.open_regular(path, below=data)
                except (FileNotFoundError, NotADirectoryError, safe_files.OutsideFolder):
                    continue
                with source:
                    yield path.as_posix(), _write_file(archive, path.as_posix(), source)


def _write_file(archive: zipfile.ZipFile, name: str, source: IO[bytes]) -> str:
    """Write a file with its owner's permission bits. Return its SHA-256 digest in hexadecimal."""
    member = zipfile.ZipInfo(f"files/{name}")
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = (os.fstat(source.fileno()).st_mode & 0o700) << 16
    digest = hashlib.sha256()
    with archive.open(member, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


class Backup:
    """A backup that is read. All methods raise BackupError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.manifest: Manifest = json.loads(self._archive.read("manifest.json"))
            is_ours = isinstance(self.manifest["format"], int) and bool(self.manifest["tables"])
        except OSError as error:
            raise BackupError(f"The backup {path} cannot be read: {error.strerror or error}.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError):
            is_ours = False
        if not is_ours:
            raise BackupError(
                f"{path} is not a complete backup of Trialdeck: it is damaged, or a different file."
            )
        if self.manifest["format"] > FORMAT:
            raise self._newer()

    def __enter__(self) -> Backup:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @property
    def migrations(self) -> database_rows.Migrations:
        return {(app, name) for app, name in self.manifest["migrations"]}

    @property
    def keys(self) -> list[str]:
        """The secret key, and then former ones."""
        try:
            secret = json.loads(self._read("secret.json"))
            return [secret["key"], *secret["former_keys"]]
        except (KeyError, TypeError, ValueError):
            raise self._damaged("it has no secret key") from None

    def check_version(self) -> None:
        if database_rows.unknown_migrations(self.migrations):
            raise self._newer()

    def check(self, schema: Schema) -> None:
        """Compare all rows and files with the manifest."""
        if self.manifest["tables"].keys() != schema.models.keys():
            raise self._damaged("its tables do not match its version")
        for table in schema.models:
            if self.manifest["tables"][table]["columns"] != [each.attname for each in schema.columns(table)]:
                raise self._damaged(f"the columns of the table {table} do not match its version")
            self.compare(table, database_rows.digest(schema, table, self.rows(table)))
        for name in self.manifest["files"]:
            with self._open(f"files/{name}") as file:
                self._compare_file(name, self._chunks(file))
        self.keys  # noqa: B018  raises

    def compare(self, table: str, digest: database_rows.Digest) -> None:
        """Raise BackupError unless these are the rows of the table, by number and digest."""
        recorded = self.manifest["tables"][table]
        if digest.count != recorded["rows"]:
            raise self._damaged(f"the table {table} has {digest.count} rows, not {recorded['rows']}")
        if str(digest) != recorded["digest"]:
            raise self._damaged(f"the rows of the table {table} are not those that were written")

    def rows(self, table: str) -> Iterator[list[Any]]:
        with self._open(f"rows/{table}.jsonl") as file:
            try:
                for line in file:
                    yield json.loads(line)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError):
                raise self._damaged(f"the table {table} cannot be read") from None

    def extract_files(self, to: Path) -> None:
        """Write all files below `to`, and compare them with the manifest. Raise OSError."""
        for name in self.manifest["files"]:
            parts = PurePosixPath(name).parts
            if parts[:1] not in [(folder,) for folder in FOLDERS] or ".." in parts or "\0" in name:
                raise self._damaged(f"the file {name!r} is outside of its folders")
            path = to / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._open(f"files/{name}") as source, path.open("xb") as target:
                self._compare_file(name, self._chunks(source, target))
                os.fchmod(target.fileno(), self._mode(name))

    def _mode(self, name: str) -> int:
        return (
            stat.S_IRUSR | stat.S_IWUSR | (self._archive.getinfo(f"files/{name}").external_attr >> 16 & 0o700)
        )

    def _compare_file(self, name: str, chunks: Iterator[bytes]) -> None:
        digest = hashlib.sha256()
        try:
            for chunk in chunks:
                digest.update(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            raise self._damaged(f"the file {name} cannot be read") from None
        if digest.hexdigest() != self.manifest["files"][name]:
            raise self._damaged(f"the file {name} is not the one that was written")

    @staticmethod
    def _chunks(source: IO[bytes], target: IO[bytes] | None = None) -> Iterator[bytes]:
        while chunk := source.read(CHUNK):
            if target:
                target.write(chunk)
            yield chunk

    def _open(self, member: str) -> IO[bytes]:
        try:
            return self._archive.open(member)
        except (zipfile.BadZipFile, KeyError):
            raise self._damaged(f"{member} is missing") from None

    def _read(self, member: str) -> bytes:
        with self._open(member) as file:
            try:
                return file.read()
            except (zipfile.BadZipFile, zlib.error, EOFError):
                raise self._damaged(f"{member} cannot be read") from None

    def _damaged(self, why: str) -> BackupError:
        return BackupError(f"The backup {self.path} is damaged: {why}. Nothing was changed.")

    def _newer(self) -> BackupError:
        version = self.manifest.get("version", "?")
        return BackupError(
            f"The backup {self.path} was made by a newer version of Trialdeck ({version}). Install that version first."
        )

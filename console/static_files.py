"""Collect static files only if they have changed, because it takes seconds."""

import fcntl
import hashlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

STYLES = "css/all.css"  # imports the others
_IMPORT = re.compile(r'@import "([^"]+)";\n')
_ADDRESS = re.compile(r"""url\((["']?)(?!data:|/|#)([^"')]+)\1\)""")


class Storage(CompressedManifestStaticFilesStorage):
    """Adds content hashes to file names, so that browsers can cache them forever; rewrites JavaScript imports, too.
    Joins the style sheets, for which a browser would otherwise make thirty requests before it shows anything."""

    support_js_module_import_aggregation = True
    # Only our own scripts: third-party scripts mention modules that they do not ship.
    _js_module_import_aggregation_patterns = (
        "js/*.js",
        CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns[1],
    )

    def post_process(
        self, paths: dict[str, tuple[Any, str]], dry_run: bool = False, **options: Any
    ) -> Iterator[Any]:
        if STYLES in paths and not dry_run:
            Path(self.path(STYLES)).write_text(joined_styles(paths), encoding="utf-8")
            paths = {**paths, STYLES: (self, STYLES)}
        yield from super().post_process(paths, dry_run=dry_run, **options)


def joined_styles(paths: dict[str, tuple[Any, str]]) -> str:
    """Return the text of `STYLES` with the imported sheets in place of its imports. `paths`: storage and path of each
    source by its name."""
    folder = posixpath.dirname(STYLES)

    def text_of(name: str) -> str:
        storage, path = paths[name]
        with storage.open(path) as file:
            return str(file.read().decode("utf-8"))

    def imported(match: re.Match[str]) -> str:
        name = posixpath.join(folder, match[1])

        def moved(address: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), address[2]))
            return f'url("{posixpath.relpath(target, folder)}")'

        return _ADDRESS.sub(moved, text_of(name))

    return _IMPORT.sub(imported, text_of(STYLES))


def collect() -> bool:
    """Update STATIC_ROOT. Return whether anything changed. Safe for concurrent processes."""
    root = Path(settings.STATIC_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seal = root / ".collected"
        current_fingerprint = fingerprint()
        if seal.exists() and seal.read_text() == current_fingerprint:
            return False
        call_command("collectstatic", interactive=False, verbosity=0)
        seal.write_text(current_fingerprint)  # written last, so that an interrupted collection is repeated
        return True


def fingerprint() -> str:
    """Return a hash of the names, sizes and modification times of the static files."""
    digest = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            status = Path(storage.path(path)).stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()

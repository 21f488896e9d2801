"""Collect static files only if they have changed, because it takes seconds."""

import fcntl
import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Adds content hashes to file names, so that browsers can cache them forever; rewrites JavaScript imports, too."""

    support_js_module_import_aggregation = True
    # Only our own scripts: third-party scripts mention modules that they do not ship.
    _js_module_import_aggregation_patterns = (
        "js/*.js",
        CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns[1],
    )


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

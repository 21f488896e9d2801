"""Collects static files, and only when they have changed: it takes seconds."""

import fcntl
import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Files named by their content, so that browsers may keep them for ever; imports between modules too."""

    support_js_module_import_aggregation = True
    # Ours only: other people's scripts mention modules that they do not ship.
    _js_module_import_aggregation_patterns = (
        "js/*.js",
        CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns[1],
    )


def collect() -> bool:
    """Brings STATIC_ROOT up to date; whether there was anything to do. Safe when two consoles start."""
    root = Path(settings.STATIC_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seal = root / ".collected"
        wanted = fingerprint()
        if seal.exists() and seal.read_text() == wanted:
            return False
        call_command("collectstatic", interactive=False, verbosity=0)
        seal.write_text(wanted)  # last: a collection that was killed half way is made again
        return True


def fingerprint() -> str:
    """What the static files are, told by name, size and time of change."""
    digest = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            found = Path(storage.path(path)).stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()

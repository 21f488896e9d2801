"""Files that trials left, as rows and, where it matters, as files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from experiments.models import Artifact, Keeping, Trial
from experiments.runner.trial_folder import size_and_mtime


def leave(
    trial: Trial,
    name: str = "model.pt",
    data: bytes | None = b"weights",
    *,
    keeping: str = Keeping.LOCAL,
    destination: str = "",
    fault: str = "",
) -> Artifact:
    """A file of this trial: on this machine, or in a folder as its destination. `data` None: a row only."""
    one = Artifact.objects.create(
        trial=trial,
        experiment=trial.experiment,
        worker=trial.worker,
        name=name,
        size=len(data or b""),
        sha256=hashlib.sha256(data or b"").hexdigest(),
        changed_at=timezone.now(),
        keeping=keeping,
        destination=destination,
        fault=fault,
    )
    if data is not None and not (keeping == Keeping.STORED and "://" in destination):
        path = path_of(one)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        one.changed_at = size_and_mtime(path.stat())[1]
        one.save(update_fields=["changed_at"])
    return one


def path_of(one: Artifact) -> Path:
    if one.keeping == Keeping.STORED:
        return Path(one.destination, one.key)
    return settings.DATA / "trials" / one.experiment.public_id / str(one.trial.number) / "output" / one.name

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
    artifact = Artifact.objects.create(
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
        path = path_of(artifact)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        artifact.changed_at = size_and_mtime(path.stat())[1]
        artifact.save(update_fields=["changed_at"])
    return artifact


def path_of(artifact: Artifact) -> Path:
    if artifact.keeping == Keeping.STORED:
        return Path(artifact.destination, artifact.key)
    return (
        settings.DATA
        / "trials"
        / artifact.experiment.public_id
        / str(artifact.trial.number)
        / "output"
        / artifact.name
    )

"""The files of registered models on a worker's machine: fetched once, and shared by its trials."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path, PurePath

from experiments.models import Keeping, Model
from experiments.models.workspace.registered_model import LOCAL
from experiments.runner import allow_lists, checked_http
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.safe_files import OutsideFolder, link_or_copy
from experiments.runner.tool_process import Cancelled, locked
from experiments.runner.trial_folder import TrialFolder, inside
from experiments.worker.errors import SetupFailed

FETCH_TIMEOUT_S = 60.0  # without a byte from a model's URL


class ModelFiles:
    """The files of registered models on this machine. Raises `SetupFailed` when one is not available."""

    def __init__(self, data: Path) -> None:
        self.folder, self.trials = data / "models", data / "trials"

    def get(self, model: Model, *, into: Path, is_cancelled: Callable[[], bool]) -> Path:
        """Return the file, fetched if necessary. The output of a trial of this machine gets another name, or is copied,
        in the folder `into` of the trial that uses it: in its original place, it could become a link at any time."""
        artifact = model.artifact
        store, name = self._stored_at(model)
        if artifact is not None and not store:
            folder = TrialFolder(self.trials, artifact.experiment.public_id, artifact.trial.number)
            path = into / PurePath(artifact.name).name
            try:
                link_or_copy(folder.output / artifact.name, path, below=self.trials)
            except (FileNotFoundError, OutsideFolder):
                raise SetupFailed(
                    f"The file of {model} is stored only on "
                    f"{f'worker {artifact.worker}' if artifact.worker else 'a removed worker'}. "
                    "Set an output destination for the experiment that created it, and store the file there."
                ) from None
            return path
        if model.address.startswith(LOCAL):
            path = Path(model.address.removeprefix(LOCAL))
            if not path.is_file():
                raise SetupFailed(f"The file of {model}, {path}, does not exist on this worker's machine.")
            return path
        path = inside(self.folder, model.public_id, Path(name.partition("?")[0]).name)
        with locked(self.folder / f"{model.public_id}.lock", is_cancelled=is_cancelled):
            if not path.exists():
                self._fetch(store, name, path, is_cancelled)
        return path

    def _stored_at(self, model: Model) -> tuple[str, str]:
        """Return (destination, name there); an empty destination if it is not stored in one."""
        artifact = model.artifact
        if artifact is None:
            destination, _, name = model.address.rpartition("/")
            return destination, name
        return (artifact.destination, artifact.key) if artifact.keeping == Keeping.STORED else ("", "")

    def _fetch(self, destination: str, name: str, path: Path, is_cancelled: Callable[[], bool]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with fresh.open("wb") as file:
                for piece in _pieces(destination, name):
                    if is_cancelled():
                        raise Cancelled
                    file.write(piece)
            fresh.rename(path)
        except (StoreError, DestinationError) as failed:
            raise SetupFailed(f"The input model cannot be fetched: {failed}") from failed
        finally:
            fresh.unlink(missing_ok=True)


def _pieces(destination: str, name: str) -> Iterator[bytes]:
    """Yield the content of a file at a destination, or at a URL in two parts."""
    if not destination.startswith(("http://", "https://")):
        yield from Store(destination).read(name)
        return
    url = f"{destination}/{name}"
    try:
        with checked_http.open_url(url, timeout_s=FETCH_TIMEOUT_S) as response:
            while piece := response.read(1 << 20):
                yield piece
    except (allow_lists.NotAllowed, OSError, HTTPException, ValueError) as error:
        raise StoreError(f"{url} cannot be read: {error}") from error

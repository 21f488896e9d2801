"""Import a file as an experiment: upload, preview, confirm, wait."""

from __future__ import annotations  # for Python 3.8

import tempfile
import time
import urllib.parse
import zipfile
from pathlib import Path

from trialdeck import discovery, errors, lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from trialdeck.console import Console
    from trialdeck.experiment import Experiment

POLL_S = 0.5
ARTIFACTS = "artifacts"  # of an MLflow run, which are not imported


class Import:
    """An uploaded file. `row` is the import in the shape of the API."""

    def __init__(self, console: Console, workspace: str, row: dict[str, Any]) -> None:
        self.console, self.row = console, row
        self.path = f"workspaces/{urllib.parse.quote(workspace, safe='')}/imports/{row['id']}"

    @classmethod
    def upload(cls, console: Console, workspace: str | None, path: str | Path) -> Import:
        """Upload a file, or a folder (such as MLflow's mlruns) as ZIP. Raise trialdeck.Error, OSError."""
        slug = workspace or lookup.only_workspace(console)
        with tempfile.TemporaryDirectory() as folder:
            file = _packed(Path(path), Path(folder)) if Path(path).is_dir() else Path(path)
            name = urllib.parse.urlencode({"file_name": file.name})
            slug_text = urllib.parse.quote(slug, safe="")
            return cls(console, slug, console.upload(f"workspaces/{slug_text}/imports?{name}", file))

    @property
    def studies(self) -> list[dict[str, Any]]:
        """The studies in the file, once it has been read."""
        studies: list[dict[str, Any]] = self.row["preview"].get("studies", [])
        return studies

    def wait(
        self, *, timeout_s: float | None = None, report: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Wait while the console reads or imports the file. Raise Refused with the reason when it fails."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.row["state"] in ("uploading", "reading", "importing"):
            if deadline is not None and time.monotonic() > deadline:
                raise errors.TimedOut(
                    f"{self.row['file_name']} is still {self.row['state']} after {timeout_s:g} s. The console "
                    "continues in the background."
                )
            time.sleep(POLL_S)
            self.row = self.console.get(self.path)
            if report:
                report(self.row)
        if self.row["state"] == "failed":
            raise errors.Refused(f"{self.row['file_name']} cannot be imported: {self.row['error']}")

    def confirm(self, **choices: Any) -> None:
        """Start the import with these choices. Raise Invalid if one is missing."""
        request_body = {name: value for name, value in choices.items() if value is not None}
        self.row = self.console.post(f"{self.path}/confirm", request_body)

    def cancel(self) -> None:
        """Remove the file and what was imported so far."""
        self.console.delete(self.path)


def import_experiment(
    path: str | Path,
    *,
    port: int | str | None = None,
    token: str | None = None,
    workspace: str | None = None,
    study: str | int | None = None,
    metric: str | None = None,
    direction: str | None = None,
    parameters: Sequence[str] | None = None,
    name: str | None = None,
    project: str | None = None,
    timeout_s: float | None = None,
) -> Experiment:
    """Import a file as an experiment, wait until it is complete, and return the experiment.

    The file is one of `Experiment.export`, an Optuna storage (SQLite, journal), MLflow runs (the folder `mlruns` as
    ZIP, SQLite), an export of Weights & Biases or NNI, CSV or JSON. `study` is required if the file has several,
    `metric` and `direction` (maximize or minimize) if it does not name them. The console is found as in
    `Experiment.connect`.

    Raise Invalid for a choice that is missing or wrong, Refused for a file that cannot be imported; in both
    cases, nothing remains on the console.
    """
    from trialdeck.experiment import Experiment

    console = discovery.find(port, token)
    work = Import.upload(console, workspace, path)
    try:
        work.wait(timeout_s=timeout_s)
        work.confirm(
            study=study,
            metric=metric,
            direction=direction,
            parameters=None if parameters is None else list(parameters),
            name=name,
            project=project,
        )
    except errors.Invalid:
        work.cancel()
        raise
    work.wait(timeout_s=timeout_s)
    return Experiment.connect(port, work.row["experiment"], token)


def _packed(folder: Path, target: Path) -> Path:
    """Return a ZIP of a folder, without the artifacts of MLflow runs."""
    path = target / f"{folder.absolute().name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder)
            if file.is_file() and ARTIFACTS not in name.parts[:-1]:
                archive.write(file, Path(folder.absolute().name) / name)
    return path

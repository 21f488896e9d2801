"""Prepare the environment of a trial's process before it starts: its code, packages and container.

References (a branch, a list of packages) are resolved once per revision, by its first trial, and stored there, so that
all its trials run the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from experiments.models import Model, Settings, Trial
from experiments.models.settings.execution import LITERAL
from experiments.runner import allow_lists
from experiments.runner.boundary import BoundaryError
from experiments.runner.code import packages
from experiments.runner.code.checkout import Repositories, SourceError
from experiments.runner.code.packages import Environments, PackagesError, activated
from experiments.runner.container import ContainerEngine, ContainerSpec
from experiments.runner.dialects import clearml, nni
from experiments.runner.file_ownership import open_to_everyone
from experiments.runner.process import process_marks
from experiments.runner.safe_files import (
    OutsideFolder,
    opened_folder,
    read_text,
    replace,
    write_new,
)
from experiments.runner.tool_process import is_disk_full
from experiments.runner.trial_folder import TrialFolder, inside, package_folder
from experiments.worker.boundary import TrialBoundary
from experiments.worker.errors import SetupFailed
from experiments.worker.setup.model_files import ModelFiles

MAX_PACKAGES_BYTES = 1 << 20  # of a list of packages


@dataclass
class Shelf:
    """Resources shared by the trials of this worker: sources, environments, models, and the container engine."""

    sources: Repositories
    environments: Environments
    models: ModelFiles
    engine: ContainerEngine | None = None

    @classmethod
    def below(cls, data: Path, *, installation: str, engine: ContainerEngine | None = None) -> Shelf:
        """Create it in the data folder. The `sweep` of the installation finds processes that git and uv leave."""
        marks = process_marks(installation)
        sources = Repositories(data / "sources", marks=marks)
        environments = Environments(data / "environments", marks=marks)
        return cls(sources, environments, ModelFiles(data), engine)


@dataclass
class Place:
    """Where a trial runs: `cwd`, and its Python environment (None: the worker's)."""

    cwd: Path
    environment: Path | None = None
    model: Path | None = None  # the weights to start from
    requirements: Path | None = None  # to install in the container
    specified: str = ""  # their content: the container may change the file

    def activated(self, env: dict[str, str]) -> dict[str, str]:
        return activated(env, self.environment) if self.environment else env

    def installed(self, folder: TrialFolder) -> str | None:
        """Return the packages that are installed in the container after its setup."""
        if self.requirements is None:
            return None
        try:
            frozen = read_text(folder.packages, below=folder.root, max_bytes=MAX_PACKAGES_BYTES)
            return packages.parse_frozen(frozen, specified=self.specified)
        except (OSError, ValueError):
            return None


@dataclass
class Setup:
    """Prepares one trial. `is_cancelled` is polled while git and uv run."""

    trial: Trial
    settings: Settings
    folder: TrialFolder
    shelf: Shelf
    is_cancelled: Callable[[], bool]
    boundary: TrialBoundary
    worker: str = ""
    ruin: str = ""  # why no trial of this experiment can be prepared
    _held: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def ready(self) -> Iterator[Place]:
        """Prepare everything and keep it while the block runs. Raise `SetupFailed`."""
        with self._held:
            try:
                tree = self._tree()
                place = Place(self._directory(tree))
                self.boundary.require_entrance(place.cwd)
                self.boundary.give()
                self._script(place, tree)
                self._packages(place, tree)
                place.model = self._model()
            except (SourceError, PackagesError, BoundaryError) as failed:
                raise SetupFailed(str(failed), getattr(failed.__cause__, "output", "")) from failed
            except OSError as error:
                raise SetupFailed(f"The code cannot be copied: {error.strerror or error}.") from error
            yield place

    @property
    def is_brief(self) -> bool:
        """Whether nothing needs to be fetched, resolved or copied."""
        settings = self.settings
        is_plain = not (settings.repository or settings.diff or settings.input_model or self.shelf.engine)
        return is_plain and settings.packages_from == "worker"

    @property
    def code(self) -> Path:
        """The trial's own copy of its code."""
        return self.folder.code

    # --- code ------------------------------------------------------------------------------------------------

    def _tree(self) -> Path | None:
        settings, sources = self.settings, self.shelf.sources
        if not settings.repository and not (settings.diff and not settings.command):
            return None
        tree = None
        if settings.repository:
            try:
                allow_lists.check_repository(settings.repository)
            except allow_lists.NotAllowed as refusal:
                raise SetupFailed(str(refusal)) from refusal
            commit = self.trial.revision.resolved.get("commit") or self._resolve_commit()
            tree = sources.tree(settings.repository, commit, is_cancelled=self.is_cancelled)
        sources.copy(
            self.code, tree=tree, diff=settings.diff, literal=LITERAL, is_cancelled=self.is_cancelled
        )
        return self.code

    def _resolve_commit(self) -> str:
        settings = self.settings
        try:
            commit = self.shelf.sources.resolve(
                settings.repository,
                settings.reference_kind,
                settings.reference,
                is_cancelled=self.is_cancelled,
            )
        except SourceError as failed:
            # Nothing has run with this revision yet, and nothing can: the experiment itself cannot continue. A full
            # disk is a problem of this worker alone.
            if not is_disk_full(getattr(failed.__cause__, "output", "")):
                reason = str(failed).removesuffix(".")
                self.ruin = (
                    f"{reason}. Resume the experiment to try again, or reset it to change its source code."
                )
            raise
        return self.trial.revision.resolve(commit=commit)["commit"]

    def _directory(self, tree: Path | None) -> Path:
        directory = self.settings.directory
        if tree is not None:
            try:
                cwd = inside(tree, directory) if directory.strip("./") else tree
            except OutsideFolder as error:
                raise SetupFailed(str(error)) from None
            if not cwd.is_dir():
                raise SetupFailed(f"There is no folder {directory} in the repository at this commit.")
            return cwd
        try:
            own = self.folder.work if self.shelf.engine else self.folder.path
            cwd = Path(directory).expanduser() if directory else own
        except RuntimeError:
            raise SetupFailed(
                f"The working directory {directory} names a user unknown on the worker {self.worker}. Enter "
                "an absolute path."
            ) from None
        if not cwd.is_absolute():
            raise SetupFailed(f"The working directory {cwd} must be an absolute path.")
        if cwd == self.folder.work:
            with opened_folder(cwd, below=self.folder.root, create=True):
                return cwd
        if not cwd.is_dir():
            raise SetupFailed(f"The working directory {cwd} does not exist on the worker {self.worker}.")
        if self.shelf.engine:
            self._refuse_data_folder(cwd)
        return cwd

    def _refuse_data_folder(self, cwd: Path) -> None:
        """A container sees its working directory, and must see no database, no secrets and no other trial."""
        data, cwd = self.folder.root.parent.resolve(), cwd.resolve()
        if cwd.is_relative_to(data) or data.is_relative_to(cwd):
            raise SetupFailed(
                f"The working directory {cwd} contains Trialdeck's data folder, or is inside it. A container would see "
                "its database and secrets: choose another folder."
            )

    def _script(self, place: Place, tree: Path | None) -> None:
        """Check that the script exists in the repository, for a clear error."""
        settings = self.settings
        if tree is None or settings.command or settings.script.startswith("-m ") or not settings.script:
            return
        if not (place.cwd / settings.script).exists():
            where = (
                f"the folder {settings.directory} of the repository"
                if settings.directory
                else "the repository"
            )
            raise SetupFailed(f"There is no {settings.script} in {where} at this commit.")

    # --- packages --------------------------------------------------------------------------------------------

    def _packages(self, place: Place, tree: Path | None) -> None:
        chosen = self.settings.packages_from
        if chosen == "worker":
            return
        if chosen == "repository" and tree is not None:
            self._require_list(tree)
        if self.shelf.engine:
            if chosen != "none":
                place.requirements = self._for_pip(tree)
                place.specified = place.requirements.read_text("utf-8", "replace")
            return
        python = self._python()
        resolved = "" if chosen == "none" else self._resolved(tree, python)
        environments = self.shelf.environments.of(self.boundary.account)
        place.environment = self._held.enter_context(
            environments.held(resolved, python=python, is_cancelled=self.is_cancelled)
        )

    def _require_list(self, tree: Path) -> None:
        try:
            is_there = inside(tree, "requirements.txt").is_file()
        except OutsideFolder:
            raise SetupFailed(
                "The repository's requirements.txt is a link that leaves the repository."
            ) from None
        if not is_there:
            raise SetupFailed("There is no requirements.txt in the repository at this commit.")

    def _resolved(self, tree: Path | None, python: str) -> str:
        resolved_before = self.trial.revision.resolved.get("packages")
        if resolved_before is not None:
            return resolved_before
        resolved = self.shelf.environments.of(self.boundary.account).resolve(
            self._listed(tree), python=python, is_cancelled=self.is_cancelled
        )
        return self.trial.revision.resolve(packages=resolved)["packages"]

    def _for_pip(self, tree: Path | None) -> Path:
        """Return the packages for pip in the container: those that an earlier trial resolved, if there are any."""
        resolved = self.trial.revision.resolved.get("packages")
        if resolved is None:
            return self._listed(tree)
        return self._list_file(resolved)

    def _listed(self, tree: Path | None) -> Path:
        if self.settings.packages_from == "repository" and tree is not None:
            return tree / "requirements.txt"
        return self._list_file(self.settings.packages)

    def _list_file(self, text: str) -> Path:
        file = self.folder.path / "requirements.txt"
        write_new(file, text + "\n", below=self.folder.root)
        return file

    def _python(self) -> str:
        """Return the Python of the settings, such as python3.12, else the worker's."""
        name = Path(self.settings.binary).name
        return self.settings.binary if name.startswith("python") and name != "python" else sys.executable

    # --- input model -----------------------------------------------------------------------------------------

    def _model(self) -> Path | None:
        """Return the input model's file on this machine, fetched if necessary."""
        public_id = self.settings.input_model
        if not public_id:
            return None
        models = Model.objects.select_related("artifact__trial", "artifact__experiment", "artifact__worker")
        model = models.filter(workspace=self.trial.experiment.workspace_id, public_id=public_id).first()
        if model is None:
            raise SetupFailed(f"There is no model {public_id} in this workspace. Select another one.")
        if model.artifact is None and not model.address:
            raise SetupFailed(f"The file of the model {model} was deleted. Select another one.")
        path = self.shelf.models.get(model, into=self.folder.model, is_cancelled=self.is_cancelled)
        if self.boundary.account and path.is_relative_to(self.shelf.models.folder):
            # The file's permissions do not say which other accounts may read it: each trial gets a copy.
            own = self.folder.model / path.name
            with path.open("rb") as file:
                replace(own, file, below=self.folder.root)
            return own
        return path

    # --- container -------------------------------------------------------------------------------------------

    def contained(
        self, script: str, place: Place, env: dict[str, str], *, previous: Path | None
    ) -> ContainerSpec:
        """Return the container to run. Raise `SetupFailed`."""
        settings, folder = self.settings, self.folder
        image = settings.image or (self.shelf.engine.default_image if self.shelf.engine else "")
        if not image:
            raise SetupFailed(
                f"The worker {self.worker} runs trials in containers, but neither this experiment nor "
                "the worker (--image) specifies an image."
            )
        try:
            allow_lists.check_container_arguments(settings.image_arguments)
        except allow_lists.NotAllowed as refusal:
            raise SetupFailed(str(refusal)) from refusal
        setup = [settings.setup_script]
        if place.requirements:
            output = None if "packages" in self.trial.revision.resolved else folder.packages
            setup.append(packages.install_script(place.requirements, output=output, python=settings.binary))
        return ContainerSpec(
            name=self.container,
            trial=self.trial.public_id,
            image=image,
            script=script,
            cwd=place.cwd,
            env=env,
            progress=folder.progress,
            mounts=self._mounts(place, previous),
            arguments=settings.image_arguments,
            setup="\n".join(setup),
            gpus=self.trial.gpus,
            cores=self.trial.cores,
            memory_mib=self.trial.memory_mib,
            pipefail=settings.pipefail,
            grace_s=settings.stop_grace_s,
        )

    def _mounts(self, place: Place, previous: Path | None) -> dict[Path, bool]:
        """Return the paths that the container sees, and whether each is writable.

        The trial's folder itself is read-only, so that nothing in it can be replaced by a link. Writable are the output
        folder, the trial's own working directory, and the files for its reports.
        """
        folder, cwd = self.folder, place.cwd
        for file in (folder.progress, folder.packages, folder.metrics):
            write_new(file, b"", below=folder.root)
        writable = {folder.output, Path(nni.reports_folder(folder)), clearml.reports_folder(folder)}
        writable |= {path for path in (folder.code, folder.work) if cwd.is_relative_to(path)}
        for path in writable:
            with opened_folder(path, below=folder.root, create=True):
                pass
        package = Path(package_folder(folder.root))
        # For any user of the container; on this machine, other users cannot reach the data folder.
        package.chmod(0o755)
        open_to_everyone(folder.path, below=folder.root)
        if previous:
            open_to_everyone(previous, below=folder.root)
        if place.model and place.model.is_relative_to(self.shelf.models.folder):
            open_to_everyone(place.model.parent, below=self.shelf.models.folder)
        mounts = {folder.path: False, package: False, (package / "trialdeck").resolve(): False}
        for shown in (cwd, previous, place.model):
            if shown and not shown.is_relative_to(folder.path):
                mounts[shown] = False
        writable |= {folder.progress, folder.packages, folder.metrics}
        return mounts | dict.fromkeys(sorted(writable), True)

    @property
    def container(self) -> str:
        """The name of this trial's container."""
        return f"trialdeck-{self.trial.public_id}"

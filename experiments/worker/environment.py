"""What a trial's process needs before it can start: its code, its packages, its container.

References (a branch, a list of packages) are resolved once per revision, by its first trial, and stored there, so that
all its trials run the same on every machine.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from experiments.models import Keeping, Model, Settings, Trial
from experiments.models.settings.execution import LITERAL
from experiments.runner import packages
from experiments.runner.checkout import Repositories, SourceError
from experiments.runner.container import ContainerEngine, ContainerSpec
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.packages import Environments, PackagesError, activated
from experiments.runner.process import process_marks
from experiments.runner.tool_process import Cancelled, is_disk_full, locked
from experiments.runner.trial_folder import OutsideFolder, TrialFolder, inside, package_folder, read_regular

MAX_PACKAGES_BYTES = 1 << 20  # of a list of packages


class SetupFailed(Exception):
    """The trial could not be prepared. The text is one line for its row; `tool_output` is the output of a tool."""

    def __init__(self, sentence: str, tool_output: str = "") -> None:
        super().__init__(sentence)
        self.tool_output = tool_output


@dataclass
class Shelf:
    """What the trials of this worker share: sources, environments, models, and the container engine."""

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


class ModelFiles:
    """The files of registered models on this machine. Raises `SetupFailed` when one is not available."""

    def __init__(self, data: Path) -> None:
        self.folder, self.trials = data / "models", data / "trials"

    def get(self, model: Model, *, is_cancelled: Callable[[], bool]) -> Path:
        """Return the file, fetched if necessary. The output of a trial of this machine is used in place."""
        artifact = model.artifact
        store, name = self._kept(model)
        if artifact is not None and not store:
            folder = TrialFolder(self.trials, artifact.experiment.public_id, artifact.trial.number)
            path = folder.output / artifact.name
            if not path.is_file():
                raise SetupFailed(
                    f"The file of {model} is only on the machine of worker {artifact.worker or 'that was removed'}. "
                    "Give the experiment that made it an output destination to store it there."
                )
            return path
        path = inside(self.folder, model.public_id, Path(name).name)
        with locked(self.folder / f"{model.public_id}.lock", is_cancelled=is_cancelled):
            if not path.exists():
                self._fetch(store, name, path, is_cancelled)
        return path

    def _kept(self, model: Model) -> tuple[str, str]:
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
                for piece in Store(destination).read(name):
                    if is_cancelled():
                        raise Cancelled
                    file.write(piece)
            fresh.rename(path)
        except (StoreError, DestinationError) as failed:
            raise SetupFailed(f"The input model cannot be fetched: {failed}") from failed
        finally:
            fresh.unlink(missing_ok=True)


@dataclass
class Place:
    """Where a trial runs: `cwd`, and its Python environment (None: the worker's)."""

    cwd: Path
    environment: Path | None = None
    model: Path | None = None  # the weights to start from
    requirements: Path | None = None  # to install in the container

    def activated(self, env: dict[str, str]) -> dict[str, str]:
        return activated(env, self.environment) if self.environment else env

    def installed(self, folder: TrialFolder) -> str | None:
        """Return the packages that are installed in the container after its setup."""
        if self.requirements is None:
            return None
        try:
            frozen = read_regular(folder.packages, max_bytes=MAX_PACKAGES_BYTES)
            return packages.parse_frozen(frozen, specified=self.requirements.read_text("utf-8", "replace"))
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
                self._script(place, tree)
                self._packages(place, tree)
                place.model = self._model()
            except (SourceError, PackagesError) as failed:
                raise SetupFailed(str(failed), getattr(failed.__cause__, "output", "")) from failed
            except OSError as error:
                raise SetupFailed(f"The code cannot be copied: {error.strerror or error}.") from error
            yield place

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
                self.ruin = f"{reason}. Resume it to try again, or reset it to change its source code."
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
            cwd = Path(directory).expanduser() if directory else self.folder.path
        except RuntimeError:
            raise SetupFailed(
                f"The working directory {directory} names a user unknown on the worker {self.worker}. Enter "
                "an absolute path."
            ) from None
        if not cwd.is_absolute():
            raise SetupFailed(f"The working directory {cwd} must be an absolute path.")
        if not cwd.is_dir():
            raise SetupFailed(f"The working directory {cwd} does not exist on the worker {self.worker}.")
        return cwd

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
        if chosen == "repository" and tree is not None and not (tree / "requirements.txt").is_file():
            raise SetupFailed("There is no requirements.txt in the repository at this commit.")
        if self.shelf.engine:
            place.requirements = self._for_pip(tree) if chosen != "none" else None
            return
        python = self._python()
        resolved = "" if chosen == "none" else self._resolved(tree, python)
        place.environment = self._held.enter_context(
            self.shelf.environments.held(resolved, python=python, is_cancelled=self.is_cancelled)
        )

    def _resolved(self, tree: Path | None, python: str) -> str:
        resolved_before = self.trial.revision.resolved.get("packages")
        if resolved_before is not None:
            return resolved_before
        resolved = self.shelf.environments.resolve(
            self._listed(tree), python=python, is_cancelled=self.is_cancelled
        )
        return self.trial.revision.resolve(packages=resolved)["packages"]

    def _for_pip(self, tree: Path | None) -> Path:
        """Return the packages for pip in the container: those that an earlier trial resolved, if there are any."""
        resolved = self.trial.revision.resolved.get("packages")
        if resolved is None:
            return self._listed(tree)
        file = self.folder.path / "requirements.txt"
        file.write_text(resolved + "\n", "utf-8")
        return file

    def _listed(self, tree: Path | None) -> Path:
        if self.settings.packages_from == "repository" and tree is not None:
            return tree / "requirements.txt"
        file = self.folder.path / "requirements.txt"
        file.write_text(self.settings.packages + "\n", "utf-8")
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
            raise SetupFailed(f"There is no model {public_id} in this workspace. Choose another one.")
        if model.artifact is None and not model.address:
            raise SetupFailed(f"The file of the model {model} was deleted. Choose another one.")
        return self.shelf.models.get(model, is_cancelled=self.is_cancelled)

    # --- container -------------------------------------------------------------------------------------------

    def contained(
        self, script: str, place: Place, env: dict[str, str], *, previous: Path | None
    ) -> ContainerSpec:
        """Return what the engine runs. Raise `SetupFailed`."""
        settings, folder = self.settings, self.folder
        image = settings.image or (self.shelf.engine.default_image if self.shelf.engine else "")
        if not image:
            raise SetupFailed(
                f"The worker {self.worker} runs trials in containers, but neither this experiment nor "
                "the worker (--image) specifies an image."
            )
        package = Path(package_folder(folder.root))
        mounts = {folder.path: True, package: False, (package / "trialdeck").resolve(): False}
        if not place.cwd.is_relative_to(folder.path):
            mounts[place.cwd] = True
        for path in (previous, place.model):
            if path:
                mounts[path] = False
        setup = [settings.setup_script]
        for file in (folder.progress, folder.packages):
            file.touch()
            file.chmod(0o666)  # the container may run as any user
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
            mounts=mounts,
            arguments=settings.image_arguments,
            setup="\n".join(setup),
            gpus=self.trial.gpus,
            cores=self.trial.cores,
            memory_mib=self.trial.memory_mib,
            pipefail=settings.pipefail,
            grace_s=settings.stop_grace_s,
        )

    @property
    def container(self) -> str:
        """The name of this trial's container."""
        return f"trialdeck-{self.trial.public_id}"

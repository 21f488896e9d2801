"""The folder of a trial, and the environment variables of its process."""

import os
import re
import stat
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from experiments.runner.safe_files import (
    OpenFolder,
    OutsideFolder,
    Root,
    opened_folder,
    remove_tree,
    write_new,
)

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGE = f"{_PROJECT}/trialdeck"


def inside(folder: Path, *names: str | int) -> Path:
    """Return the path of `names` below `folder`, with symlinks resolved. Raise OutsideFolder when it is not below
    `folder`."""
    path = folder.joinpath(*(str(name) for name in names))
    root = folder.resolve()
    if "\0" in str(path) or root not in path.resolve().parents:
        raise OutsideFolder(f"{'/'.join(str(name) for name in names)!r} is outside its folder.")
    return path


def size_and_mtime(status: os.stat_result) -> tuple[int, datetime]:
    """Return the size in bytes and the modification time, to the microsecond as both databases store it."""
    seconds, microseconds = divmod(status.st_mtime_ns // 1000, 10**6)
    return status.st_size, datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


class _below(cached_property[Path]):  # noqa: N801  used like cached_property
    """A property with the path of a name in a trial's folder."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda folder: folder.path / name)


class TrialFolder:
    """`<root>/<experiment>/<number>/`: parameters, metrics, log files, and `output/` for artifacts.

    The trial can replace anything in it, so all access goes through `safe_files`, below `root`.
    """

    def __init__(self, root: Path, experiment_id: str, number: int) -> None:
        """Raise OutsideFolder when the experiment ID is invalid."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", experiment_id):
            raise OutsideFolder(f"{experiment_id!r} is not an experiment ID.")
        self.root = root if root.is_absolute() else root.absolute()
        self.path = self.root.joinpath(experiment_id, str(int(number)))
        self._opened: OpenFolder | None = None

    # Each path is created on access, because most callers need only a few.
    output = _below("output")
    parameters = _below("parameters.json")
    configuration = _below("configuration.json")
    code = _below("code")
    work = _below("work")  # the working directory in a container without code
    model = _below("model")  # the input model
    metrics = _below("metrics.jsonl")
    progress = _below("progress")  # this and `packages`: only of trials in containers
    packages = _below("packages.txt")
    log = _below("log")  # a prefix: see keeper.CappedLog

    @property
    def below(self) -> Root:
        """The root for `safe_files`: the open folder itself after `make`, else the root of all trials."""
        return self._opened or self.root

    def make(self) -> None:
        """Create the folders, without what an earlier attempt has left in them. Keep the trial's open until `close`,
        because many of its files will be used soon. Raise OutsideFolder, OSError."""
        experiment, name = os.path.split(self.path)
        if not os.path.isdir(self.root):  # noqa: PTH112  pathlib takes as long as the call
            self.root.mkdir(parents=True, exist_ok=True)
        with opened_folder(experiment, below=self.root, create=True) as number:
            try:
                os.mkdir(name, dir_fd=number)
            except FileExistsError:
                remove_tree(self.path, below=self.root)
                os.mkdir(name, dir_fd=number)
            self._opened = OpenFolder(self.path, below=self.root, parent=number)
        self._opened.add_folder(self.output)

    @property
    def was_removed(self) -> bool:
        """Whether the trial removed its folder, or put something else in its place."""
        try:
            return not stat.S_ISDIR(self.path.lstat().st_mode)
        except OSError:
            return True

    def close(self) -> None:
        """Close the folder that `make` opened. Idempotent."""
        if self._opened:
            self._opened.close()
            self._opened = None

    def times(self, *paths: Path | str) -> list[int]:
        """Return the modification times of these files and folders below this one, in nanoseconds; 0 for a missing
        one."""
        return [status.st_mtime_ns if (status := self._status_of(path)) else 0 for path in paths]

    def _status_of(self, path: Path | str) -> os.stat_result | None:
        try:
            return self._opened.status_of(path) if self._opened else os.lstat(path)
        except (OSError, OutsideFolder):
            return None

    def add_folder(self, path: Path | str) -> None:
        """Create a folder below this one. Use it only before the trial starts."""
        if self._opened and self._opened.is_own():
            self._opened.add_folder(path)
        else:
            with opened_folder(path, below=self.root, create=True):
                pass

    def add_file(self, path: Path | str, data: str | bytes, *, mode: int = 0o666) -> None:
        """Create a file below this folder. Use it only before the trial starts."""
        if self._opened and self._opened.is_own():
            self._opened.add_file(path, data, mode=mode)
        else:
            write_new(path, data, below=self.root, mode=mode)

    def create(self) -> None:
        """Create the folders unless they exist. Raise OutsideFolder when there is a link in their place."""
        self.root.mkdir(parents=True, exist_ok=True)
        with opened_folder(self.output, below=self.root, create=True):
            pass


def environment(
    *,
    base: Mapping[str, str],
    folder: TrialFolder,
    experiment_id: str,
    trial_id: str,
    number: int,
    metric: str,
    user: Mapping[str, str],
) -> dict[str, str]:
    """Return all environment variables of a trial's process.

    `base` is what the trial inherits from the worker's environment (see `shell_variables`). `user` is the experiment's
    Environment group, which overrides `base` but not TRIALDECK_*.
    `metric` is the objective's name.
    """
    env = dict(base)
    if "PATH" in user:  # probably of another Python
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            env.pop(name, None)
    # The project's root must not shadow a user's modules named experiments, console or tests.
    entries = [entry for entry in env.pop("PYTHONPATH", "").split(os.pathsep) if not _is_project(entry)]
    if any(entries):
        env["PYTHONPATH"] = os.pathsep.join(entries)
    env.setdefault("PYTHONUNBUFFERED", "1")
    env |= {name: value for name, value in user.items() if not name.startswith("TRIALDECK_")}
    path = env.get("PYTHONPATH")
    return env | {
        "PYTHONPATH": f"{path}{os.pathsep}{package_folder(folder.root)}"
        if path
        else package_folder(folder.root),
        "TRIALDECK_EXPERIMENT_ID": experiment_id,
        "TRIALDECK_TRIAL_ID": trial_id,
        "TRIALDECK_TRIAL_NUMBER": str(number),
        "TRIALDECK_PARAMETERS": str(folder.parameters),
        "TRIALDECK_METRICS": str(folder.metrics),
        "TRIALDECK_OUTPUT_DIR": str(folder.output),
        "TRIALDECK_METRIC": metric,
    }


def package_folder(root: Path) -> str:
    """Return a folder that contains the `trialdeck` package (a link to it) and nothing else."""
    folder = f"{root}/.package"
    try:
        if os.readlink(f"{folder}/trialdeck") == _PACKAGE:  # noqa: PTH115  for each trial
            return folder
    except OSError:
        pass  # created below
    Path(folder).mkdir(parents=True, exist_ok=True)
    # Create it elsewhere and rename: another worker may do the same now, and trials may be importing it.
    fresh = root / f".package-{uuid.uuid4().hex}"
    fresh.symlink_to(_PACKAGE, target_is_directory=True)
    fresh.replace(f"{folder}/trialdeck")
    return folder


def _is_project(entry: str) -> bool:
    return entry != "" and Path(entry).resolve() == _PROJECT

"""The folder of one trial, and the environment that its process gets."""

import os
import re
import stat
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

# What a worker needs and a trial must not see. All TRIALDECK_* go too: the trial gets its own.
_SECRETS = re.compile(r"(DATABASE_URL|REDIS_URL|SECRET_KEY|DJANGO_.*|CELERY.*|TRIALDECK_.*)")
_PROJECT = Path(__file__).resolve().parents[2]


class Escapes(ValueError):
    """A name would lead out of its folder. `str()` is a sentence for people."""


def inside(folder: Path, *names: str | int) -> Path:
    """The path of `names` below `folder`; symlinks are followed. Raises Escapes when it is not below."""
    path = folder.joinpath(*(str(name) for name in names))
    root = folder.resolve()
    if "\0" in str(path) or root not in path.resolve().parents:
        raise Escapes(f"{'/'.join(str(name) for name in names)!r} does not lie within its folder.")
    return path


def plain(folder: Path, name: str) -> BinaryIO:
    """Opens the plain file `name` (with slashes) below `folder`, with no link on its way. Raises OSError, Escapes."""
    names = name.split("/")
    path = inside(folder, *names)
    if path.resolve() != folder.resolve().joinpath(*names):
        raise Escapes(f"{name!r} is reached by a link.")
    # Not blocking: a pipe in its place would wait for a writer, for ever.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(f"{name!r} is no plain file.")
    return os.fdopen(number, "rb")


def seen_as(facts: os.stat_result) -> tuple[int, datetime]:
    """(bytes, time of the last change) of a file; the time to the microsecond, as both databases keep it."""
    seconds, rest = divmod(facts.st_mtime_ns // 1000, 10**6)
    return facts.st_size, datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


class TrialFolder:
    """`<root>/<experiment>/<number>/`: parameters, metrics, the log's files, and `output/` for artifacts."""

    def __init__(self, root: Path, experiment_id: str, number: int) -> None:
        """Raises Escapes for an ID that is not one."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", experiment_id):
            raise Escapes(f"{experiment_id!r} is not the ID of an experiment.")
        self.root = Path(root).absolute()
        self.path = inside(self.root, experiment_id, int(number))
        self.output = self.path / "output"
        self.parameters = self.path / "parameters.json"
        self.configuration = self.path / "configuration.json"
        self.code = self.path / "code"
        self.metrics = self.path / "metrics.jsonl"
        self.progress = self.path / "progress"  # these two are of trials in containers only
        self.packages = self.path / "packages.txt"
        self.log = self.path / "log"  # a prefix: see keeper.CappedLog

    def create(self) -> None:
        """Make the folders; harmless when they are there."""
        self.output.mkdir(parents=True, exist_ok=True)


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
    """The whole environment of a trial's process.

    `base` is the worker's own (its secrets are left out), `user` the experiment's Environment group, which
    wins over `base` but not over TRIALDECK_*. `metric` is the objective's name.
    """
    env = {name: value for name, value in base.items() if not _SECRETS.fullmatch(name)}
    # The project's own root must not shadow a user's modules named experiments, console or tests.
    kept = [entry for entry in env.pop("PYTHONPATH", "").split(os.pathsep) if not _is_project(entry)]
    if any(kept):
        env["PYTHONPATH"] = os.pathsep.join(kept)
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


def read_regular(path: Path, *, most: int) -> str:
    """The text of a regular file; a trial may put anything there. Raises OSError, ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
            raise ValueError(f"{path} is not a file of at most {most} bytes")
        return os.read(fd, most).decode()
    finally:
        os.close(fd)


def package_folder(root: Path) -> str:
    """A folder that holds the `trialdeck` package (a link to it) and nothing else."""
    link = root / ".package" / "trialdeck"
    target = _PROJECT / "trialdeck"
    if not link.is_symlink() or link.readlink() != target:
        link.parent.mkdir(parents=True, exist_ok=True)
        # Made elsewhere and moved there: another worker may do the same now, and trials may be importing it.
        fresh = root / f".package-{uuid.uuid4().hex}"
        fresh.symlink_to(target, target_is_directory=True)
        fresh.replace(link)
    return str(link.parent)


def _is_project(entry: str) -> bool:
    return entry != "" and Path(entry).resolve() == _PROJECT

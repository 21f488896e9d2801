"""A Python environment per list of packages: resolved once, built once, shared by trials, kept within a size.

uv does the work. An environment is named by what is in it (the Python and the resolved list), so that the same list
is never built twice on a machine, and two lists never share one.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import unquote

from experiments.runner.tool_process import ToolFailed, locked, one_line, run

GIB = 1 << 30
DEFAULT_LIMIT = 20 * GIB
Check = Callable[[], bool]

# Options of a list that say where packages come from: the resolved list needs them as well.
_WHERE = re.compile(r"\s*(-i|-f|--(index-url|extra-index-url|find-links|no-index|no-binary|only-binary))\b")

_FILE, _BARE, _END = " @ file:", "# by its version: ", "# that is all"


class PackagesError(Exception):
    """Packages that cannot be had. `str()` is one sentence for people, with the resolver's own word."""


class Environments:
    """The environments of this machine, below `root`. Safe among threads and processes.

    `limit` is in bytes: beyond it, the longest unused are removed, never one that a trial holds. `marks` are
    variables that uv gets, too.
    """

    def __init__(
        self, root: Path, *, limit: int = DEFAULT_LIMIT, marks: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.root, self.limit, self.marks = root, limit, marks

    def resolve(self, requirements: str | Path, *, python: str, is_cancelled: Check) -> str:
        """The whole list, every version pinned, in the order of names, after the options (where to look) that the
        list itself gives. `requirements` is a text, or a file that may name others. Raises `PackagesError`."""
        file = requirements if isinstance(requirements, Path) else self._kept(requirements)
        text = file.read_text("utf-8", "replace")
        if not text.strip():
            return ""
        argv = ["pip", "compile", "-q", "--no-header", "--no-annotate", "--python", python, str(file)]
        try:
            pins = self._uv(argv, is_cancelled).strip()
        except ToolFailed as failed:
            said = _reason(failed, file)
            raise PackagesError(f"The packages cannot be resolved: {said}") from failed
        return "\n".join([*_options(text), pins]) if pins else ""

    def _kept(self, requirements: str) -> Path:
        file = self.root / "lists" / f"{_digest(requirements)}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(requirements, "utf-8")
        return file

    @contextlib.contextmanager
    def held(self, resolved: str, *, python: str, is_cancelled: Check) -> Iterator[Path]:
        """An environment with exactly these packages (none, for an empty list); kept while the block runs.

        Raises `PackagesError` when it cannot be built: nothing half-built is left.
        """
        folder = self.root / _digest(self._version(python, is_cancelled), resolved)
        holding = folder.with_suffix(".held")
        with locked(folder.with_suffix(".lock"), is_cancelled=is_cancelled):
            file = holding.open("a")
            fcntl.flock(file, fcntl.LOCK_SH)
            try:
                if not (folder / "ready").exists():
                    self._build(folder, resolved, python, is_cancelled)
                os.utime(folder / "ready")
            except BaseException:
                file.close()
                raise
        try:
            yield folder
        finally:
            file.close()

    def trim(self) -> int:
        """Removes the longest unused environments beyond the limit. Returns how many."""
        ready = sorted(self.root.glob("*/ready"), key=lambda path: path.stat().st_mtime)
        sizes = {path.parent: int(path.read_text() or 0) for path in ready}
        total, removed = sum(sizes.values()), 0
        for folder, size in sizes.items():
            if total <= self.limit:
                break
            if self._remove(folder):
                total, removed = total - size, removed + 1
        return removed

    def _remove(self, folder: Path) -> bool:
        """False while a trial holds it, or somebody builds it."""
        with folder.with_suffix(".lock").open("w") as lock, folder.with_suffix(".held").open("a") as held:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            (folder / "ready").unlink()
            shutil.rmtree(folder, ignore_errors=True)
            return True

    def _build(self, folder: Path, resolved: str, python: str, is_cancelled: Check) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self._uv(["venv", "-q", "--python", python, str(folder)], is_cancelled)
            if resolved:
                argv = [
                    "pip",
                    "install",
                    "-q",
                    "--python",
                    str(folder / "bin/python"),
                    "--no-deps",
                    "-r",
                    "-",
                ]
                self._uv(argv, is_cancelled, stdin=resolved.encode(), limit_s=3600)
            (folder / "ready").write_text(str(_size(folder)))
        except ToolFailed as failed:
            shutil.rmtree(folder, ignore_errors=True)
            raise PackagesError(f"The packages cannot be installed: {_reason(failed)}") from failed
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.trim()

    def _version(self, python: str, is_cancelled: Check) -> str:
        """What this Python is: an upgrade of it is another environment."""
        try:
            return self._uv(["python", "find", "--no-project", python], is_cancelled).strip()
        except ToolFailed as failed:
            raise PackagesError(f"There is no Python {python} here: {_reason(failed)}") from failed

    def _uv(
        self, arguments: list[str], is_cancelled: Check, *, stdin: bytes = b"", limit_s: float = 600
    ) -> str:
        return run(
            [_uv(), *arguments],
            env={**_environment(), **self.marks},
            cwd=self._folder(),
            stdin=stdin,
            limit_s=limit_s,
            is_cancelled=is_cancelled,
        )

    def _folder(self) -> Path:
        """uv looks for settings from its folder upwards: here are none."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root


def activated(env: Mapping[str, str], environment: Path) -> dict[str, str]:
    """The environment variables of a process that shall use the packages there, and no others."""
    without = {name: value for name, value in env.items() if name not in ("PYTHONHOME", "CONDA_PREFIX")}
    path = f"{environment / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    return {**without, "VIRTUAL_ENV": str(environment), "PATH": path}


def script(requirements: Path, *, told: Path | None, python: str = "") -> str:
    """Shell lines that install the list where they run, in a container, and write into `told` what is there then.

    `python` is the program that the trial runs by: it has the packages if it is a Python. Ends with 1 and a sentence
    where there is no Python with pip.
    """
    names = [python] if Path(python).name.startswith("python") else []
    found = " || ".join(f"command -v {shlex.quote(name)}" for name in (*names, "python", "python3"))
    install = f"""\
_python=$({found}) && "$_python" -c 'import pip' 2>/dev/null || {{
  echo 'The image has no Python with pip, by which the packages could be installed. Choose another image.' >&2; exit 1
}}
PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \\
  "$_python" -m pip install --quiet -r {shlex.quote(str(requirements))}
PATH="$PATH:$HOME/.local/bin"
"""
    if not told:
        return install
    return f"""{install}_frozen=$("$_python" -m pip freeze)
{{
  echo "$_frozen"
  case "$_frozen" in *"{_FILE}"*) "$_python" -m pip list --format=freeze |
    while read -r _line; do echo "{_BARE}$_line"; done ;; esac
  echo '{_END}'
}} > {shlex.quote(str(told))}
"""


def installed(told: str, *, specified: str) -> str | None:
    """The resolved list from what `script` wrote: every version pinned, after the options of what was specified.
    None when it is not whole.

    What came along with the image from a folder that was there when it was built (`@ file:///…`) cannot be had from
    there again, so its version stands in its place.
    """
    frozen, is_whole, _ = told.partition(_END)
    if not is_whole:
        return None
    lines = frozen.splitlines()
    bare = [line.removeprefix(_BARE).partition("==") for line in lines if line.startswith(_BARE)]
    versions = {name: version for name, _, version in bare}
    pins = []
    for line in lines:
        name, _, place = line.partition(_FILE)
        file = PurePosixPath(unquote(place.partition("#")[0])).name
        if place and name in versions and file not in specified:
            line = f"{name}=={versions[name]}"
        if line and not line.startswith("#"):
            pins.append(line)
    return "\n".join([*_options(specified), *pins])


def _options(requirements: str) -> list[str]:
    return [line.strip() for line in requirements.splitlines() if _WHERE.match(line)]


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIALDECK_")}
    kept.pop("VIRTUAL_ENV", None)
    return {**kept, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _reason(failed: ToolFailed, file: Path | None = None) -> str:
    """uv tells its reasons as a tree over many lines: all of it as one, and the last word of git below it. Places in
    the list `file` by their line."""
    said = " ".join(line.strip(" ×╰─▶│") for line in failed.told.splitlines())
    if file is not None:
        said = re.sub(rf"`?(?:[^\s`]*/)?{re.escape(file.name)}`?(?::(\d+):\d+)?", _in_the_list, said)
    said = " ".join(said.split()).removeprefix("error: ").replace(" cause: ", ": ")
    last = one_line(failed.told)
    if last.startswith("fatal: ") and said.find(last) > 250 - len(last):
        return f"{said[:80]}… {last[:160]}"
    return said[:250] or last or str(failed)


def _in_the_list(found: re.Match[str]) -> str:
    return f"line {found[1]} of the list" if found[1] else "the list"


def _size(folder: Path) -> int:
    """Bytes that are this folder's alone: what is hard-linked from uv's cache costs nothing here."""
    stats = (path.lstat() for path in folder.rglob("*"))
    return sum(stat.st_blocks * 512 for stat in stats if stat.st_nlink == 1)

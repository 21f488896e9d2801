"""Python environments per package list, built by uv: resolved once, built once, shared by trials, limited in size.

The name of an environment is a hash of its content (the Python and the resolved list), so that the same list is never
built twice on a machine, and two lists never share an environment.
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

from experiments.runner.boundary.accounts import TRAVERSE_MODE, Account
from experiments.runner.file_ownership import give_to
from experiments.runner.safe_files import write_new
from experiments.runner.shell_variables import inherited
from experiments.runner.tool_process import ToolError, error_line, locked, run_tool

GIB = 1 << 30
DEFAULT_LIMIT = 20 * GIB
Check = Callable[[], bool]

# Options in a list that define package sources. The resolved list needs them, too.
_WHERE = re.compile(r"\s*(-i|-f|--(index-url|extra-index-url|find-links|no-index|no-binary|only-binary))\b")

_ALWAYS = {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
_FILE, _BARE, _END = " @ file:", "# by its version: ", "# that is all"


class PackagesError(Exception):
    """Packages cannot be resolved or installed. `str()` is a message for users, with the resolver's error."""


class Environments:
    """The environments on this machine, below `root`. Safe for threads and processes.

    `limit` is in bytes: above it, the least recently used environments are removed, except those in use by a trial.
    `marks` are environment variables for uv.
    """

    def __init__(
        self,
        root: Path,
        *,
        limit: int = DEFAULT_LIMIT,
        marks: Mapping[str, str] = MappingProxyType({}),
        account: Account | None = None,
    ) -> None:
        self.root, self.limit, self.marks, self.account = root, limit, marks, account

    def of(self, account: Account | None) -> "Environments":
        """Return the environments built by an account and used only by its trials, because packages run code while they
        are built. None: those of the worker's user."""
        return Environments(self.root, limit=self.limit, marks=self.marks, account=account)

    def resolve(self, requirements: str | Path, *, python: str, is_cancelled: Check) -> str:
        """Return the full list with every version pinned, sorted by name, after the package-source options of the list.

        `requirements` is a text, or a file that may include others. Raise PackagesError.
        """
        file = requirements if isinstance(requirements, Path) else self._list_file(requirements)
        text = file.read_text("utf-8", "replace")
        if not text.strip():
            return ""
        argv = ["pip", "compile", "-q", "--no-header", "--no-annotate", "--python", python, str(file)]
        try:
            pins = self._uv(argv, is_cancelled).strip()
        except ToolError as failed:
            raise PackagesError(f"The packages cannot be resolved: {_reason(failed, file)}") from failed
        return "\n".join([*_options(text), pins]) if pins else ""

    def _list_file(self, requirements: str) -> Path:
        file = self.root / "lists" / f"{_digest(requirements)}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(requirements, "utf-8")
        if self.account:
            file.parent.chmod(TRAVERSE_MODE)
            file.chmod(0o644)
        return file

    @contextlib.contextmanager
    def held(self, resolved: str, *, python: str, is_cancelled: Check) -> Iterator[Path]:
        """Yield an environment with exactly these packages, even if there are none. It is not removed while the block
        runs.

        Raise PackagesError when it cannot be built; a partial environment is removed.
        """
        whose = [self.account.name] if self.account else []
        folder = self.root / _digest(self._version(python, is_cancelled), resolved, *whose)
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
        """Remove the least recently used environments beyond the limit. Return how many."""
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
        """Return False while a trial uses it, or while it is being built."""
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
        if self.account:
            folder.mkdir(mode=0o700)
            os.chown(folder, self.account.uid, self.account.gid)
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
            if self.account:  # read-only from here on
                own = self.root.stat()
                give_to(folder.name, below=self.root, uid=own.st_uid, gid=own.st_gid, modes=0o055)
            write_new(folder / "ready", str(_size(folder)), below=self.root)
        except ToolError as failed:
            shutil.rmtree(folder, ignore_errors=True)
            raise PackagesError(f"The packages cannot be installed: {_reason(failed)}") from failed
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.trim()

    def _version(self, python: str, is_cancelled: Check) -> str:
        """Return the path of this Python, which contains its version: an upgraded Python gets a new environment."""
        try:
            return self._uv(["python", "find", "--no-project", python], is_cancelled).strip()
        except ToolError as failed:
            raise PackagesError(f"Python {python} was not found: {_reason(failed)}") from failed

    def _uv(
        self, arguments: list[str], is_cancelled: Check, *, stdin: bytes = b"", limit_s: float = 600
    ) -> str:
        own = _environment()
        if self.account:
            own = {
                **_ALWAYS,
                **self.account.environment(inherited(os.environ), homes=self.root.parent / "homes"),
            }
        return run_tool(
            [*(self.account.prefix if self.account else ()), _uv(), *arguments],
            env={**own, **self.marks},
            cwd=self._folder(),
            stdin=stdin,
            limit_s=limit_s,
            is_cancelled=is_cancelled,
        )

    def _folder(self) -> Path:
        """Return a folder with no uv settings in it or above it, because uv searches upward for them."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root


def activated(env: Mapping[str, str], environment: Path) -> dict[str, str]:
    """Return the environment variables of a process that uses exactly the packages of this environment."""
    without = {name: value for name, value in env.items() if name not in ("PYTHONHOME", "CONDA_PREFIX")}
    path = f"{environment / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    return {**without, "VIRTUAL_ENV": str(environment), "PATH": path}


def install_script(requirements: Path, *, output: Path | None, python: str = "") -> str:
    """Return shell lines that install the list in a container, and write the frozen list to `output`.

    `python` is the program that runs the trial; the packages are installed into it if it is a Python. The script exits
    with 1 and a message when there is no Python with pip.
    """
    names = [python] if Path(python).name.startswith("python") else []
    lookup = " || ".join(f"command -v {shlex.quote(name)}" for name in (*names, "python", "python3"))
    install = f"""\
_python=$({lookup}) && "$_python" -c 'import pip' 2>/dev/null || {{
  echo 'The image has no Python with pip to install the packages. Choose another image.' >&2; exit 1
}}
PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \\
  "$_python" -m pip install --quiet -r {shlex.quote(str(requirements))}
PATH="$PATH:$HOME/.local/bin"
"""
    if not output:
        return install
    return f"""{install}_frozen=$("$_python" -m pip freeze)
{{
  echo "$_frozen"
  case "$_frozen" in *"{_FILE}"*) "$_python" -m pip list --format=freeze |
    while read -r _line; do echo "{_BARE}$_line"; done ;; esac
  echo '{_END}'
}} > {shlex.quote(str(output))}
"""


def parse_frozen(output: str, *, specified: str) -> str | None:
    """Return the resolved list that `install_script` wrote: every version pinned, after the package-source options of
    the specified list. None when the output is incomplete.

    A package that was installed into the image from a folder at build time (`@ file:///…`) cannot be installed from
    there again, so it is replaced by its version.
    """
    frozen, end, _ = output.partition(_END)
    if not end:
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
    sibling = Path(sys.executable).with_name("uv")
    return str(sibling) if sibling.exists() else "uv"


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRIALDECK_")}
    for name in (
        "VIRTUAL_ENV",
        "DATABASE_URL",
        "REDIS_URL",
    ):  # packages run code of their own while they are built
        own.pop(name, None)
    return {**own, **_ALWAYS}


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _reason(failed: ToolError, file: Path | None = None) -> str:
    """Return uv's error, a tree over many lines, in one line, including git's error below it. Positions in the list
    `file` are shown by line."""
    message = " ".join(line.strip(" ×╰─▶│") for line in failed.output.splitlines())
    if file is not None:
        message = re.sub(rf"`?(?:[^\s`]*/)?{re.escape(file.name)}`?(?::(\d+):\d+)?", _list_position, message)
    message = " ".join(message.split()).removeprefix("error: ").replace(" cause: ", ": ")
    last = error_line(failed.output)
    if last.startswith("fatal: ") and message.find(last) > 250 - len(last):
        return f"{message[:80]}… {last[:160]}"
    return message[:250] or last or str(failed)


def _list_position(match: re.Match[str]) -> str:
    return f"line {match[1]} of the list" if match[1] else "the list"


def _size(folder: Path) -> int:
    """Return the disk use of a folder in bytes, without files that are hard-linked from uv's cache."""
    stats = (path.lstat() for path in folder.rglob("*"))
    return sum(stat.st_blocks * 512 for stat in stats if stat.st_nlink == 1)

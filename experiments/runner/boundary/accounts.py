"""Accounts of the machine under which trials run, instead of the worker's own."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.runner.tool_process import ToolError, run_tool

WORKSPACE = "{workspace}"  # in a name: the workspace's slug
PROGRAM = "setpriv"  # of util-linux
TRAVERSE_MODE = 0o711  # of a folder that other users may traverse but not list
SHARED_FOLDERS = ("trials", "environments", "homes")  # in the data folder
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# Variables of the worker's user that locate its session, keys and files.
_OF_THE_WORKER = (
    "HOME", "USER", "LOGNAME", "SHELL", "MAIL", "TMPDIR", "TMP", "TEMP", "DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "KRB5CCNAME",
)  # fmt: skip


logger = logging.getLogger(__name__)


class BoundaryError(Exception):
    """Trials cannot run within this boundary. `str()` is a message for users."""


@dataclass(frozen=True)
class Account:
    """An account of this machine, with all its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path
    shell: str

    @classmethod
    def find(cls, name: str) -> Account:
        """Return the account of this name. Raise BoundaryError when there is none, or when it is root."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise BoundaryError(
                f"The account {name} does not exist on this machine. Create it, for example with: "
                f"useradd --system {name}"
            ) from None
        if entry.pw_uid == 0:
            raise BoundaryError(
                f"--run-as {name}: root would not isolate the trials. Choose another account."
            )
        groups = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)}
        return cls(
            name=name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            groups=tuple(sorted(groups)),
            home=Path(entry.pw_dir),
            shell=entry.pw_shell or "/bin/sh",
        )

    @property
    def prefix(self) -> list[str]:
        """The argv prefix that runs the following command as this account, without a way to regain privileges: sudo and
        similar programs do not work. The process ends with the keeper."""
        return [
            shutil.which(PROGRAM) or PROGRAM,
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            f"--groups={','.join(map(str, self.groups))}",
            "--inh-caps=-all",
            "--no-new-privs",
            "--pdeathsig=KILL",
            "--",
        ]

    def environment(self, base: Mapping[str, str], *, homes: Path) -> dict[str, str]:
        """Return the worker's environment with this account's variables in place of those of the worker's user.

        An account without a home folder of its own gets one below `homes`.
        """
        variables = {
            name: value
            for name, value in base.items()
            if name not in _OF_THE_WORKER and not name.startswith("XDG_")
        }
        home = str(self.home_folder(homes))
        return {
            **variables,
            "HOME": home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self._usable_shell,
        }

    def home_folder(self, homes: Path) -> Path:
        """Return the account's home folder. If it has none, create one below `homes`."""
        try:
            if self.home.is_dir() and self.home.stat().st_uid == self.uid:
                return self.home
        except OSError:
            pass  # unreadable even for the worker, so useless for a process
        own = homes / self.name
        if not own.is_dir():
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chown(own, self.uid, self.gid)
        return own

    @property
    def _usable_shell(self) -> str:
        """The login shell, or /bin/sh for an account that cannot log in, such as that of a service."""
        return "/bin/sh" if self.shell.endswith(("nologin", "/false")) else self.shell

    def may_enter(self, folder: Path) -> bool:
        """Return whether a process of this account may use this working directory."""
        return self._succeeds(["test", "-x", str(folder)])

    def check(self, package: Path) -> str:
        """Return why the account cannot run this Python, or "". Raise BoundaryError unless it can read `package`, a
        folder in the data folder whose content all trials may import."""
        if not self.may_enter(package):
            raise BoundaryError(
                f"The account {self.name} cannot reach {package.parent}: other users cannot enter one "
                "of its parent folders. Choose "
                "a data folder such as /var/lib/trialdeck."
            )
        if not self._succeeds(["test", "-r", str(package / "trialdeck" / "__init__.py")]):
            raise BoundaryError(
                f"The account {self.name} cannot read {(package / 'trialdeck').resolve()}. Install Trialdeck where all "
                "accounts can read it, such as /opt."
            )
        if self._succeeds([sys.executable, "-c", "pass"]):
            return ""
        return (
            f"The account {self.name} cannot run {sys.executable}. Its trials need a Python that it can run."
        )

    def _succeeds(self, argv: list[str]) -> bool:
        try:
            run_tool([*self.prefix, *argv], env={"PATH": os.defpath}, cwd=Path("/"), limit_s=60)
        except ToolError:
            return False
        return True


class Accounts:
    """The accounts of one worker, from `--run-as`: comma-separated names in which {workspace} stands for the
    workspace's slug. With several names, no two trials that run at the same time share an account. Thread-safe."""

    def __init__(self, text: str, *, slots: int) -> None:
        """Raise BoundaryError for invalid names, or for several names that are fewer than the slots."""
        self.names = [name.strip() for name in text.split(",")]
        for name in self.names:
            if not _NAME.fullmatch(name.replace(WORKSPACE, "x")):
                raise BoundaryError(
                    f"--run-as {text}: {name!r} is not a valid account name. Separate several names "
                    f"with commas; {WORKSPACE} becomes the workspace's slug."
                )
        if len(set(self.names)) < len(self.names):
            raise BoundaryError(f"--run-as {text}: an account is listed twice.")
        if 1 < len(self.names) < slots:
            raise BoundaryError(
                f"--run-as lists {len(self.names)} accounts for {slots} slots. With several accounts, "
                "each running trial needs its own: list more, or lower --slots."
            )
        self._in_use: dict[str, int] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return ", ".join(self.names)

    def check(self) -> None:
        """Raise BoundaryError unless trials can run as these accounts now. Accounts that depend on the workspace are
        looked up when one of its trials starts."""
        if os.geteuid() != 0:
            raise BoundaryError(
                "--run-as needs a worker that runs as root, to start trials as other users: start it by systemd "
                "(User=root) or with sudo, or use --sandbox bubblewrap, which needs no root."
            )
        if not shutil.which(PROGRAM):
            raise BoundaryError(f"--run-as needs the program {PROGRAM}. Install the package util-linux.")
        self._fixed()

    def check_package(self, package: Path) -> None:
        """Raise BoundaryError unless the accounts can import the content of the folder `package`."""
        for account in self._fixed():
            if problem := account.check(package):
                logger.warning(problem)

    def first(self) -> Account:
        """Return the first account that does not depend on the workspace. Raise BoundaryError when there is none."""
        for account in self._fixed():
            return account
        raise BoundaryError("Not checked: the account of trials depends on the workspace here.")

    def prefixes(self) -> list[list[str]]:
        """Return `Account.prefix` of each account that does not depend on the workspace."""
        return [account.prefix for account in self._fixed()]

    def _fixed(self) -> list[Account]:
        return [Account.find(name) for name in self.names if WORKSPACE not in name]

    @contextmanager
    def held(self, workspace: str) -> Iterator[Account]:
        """Yield the account for a trial of this workspace: of several, one that no other trial uses now. Raise
        BoundaryError when it does not exist."""
        name = self._take(workspace)
        try:
            yield Account.find(name)
        finally:
            with self._lock:
                self._in_use[name] -= 1

    def _take(self, workspace: str) -> str:
        names = [name.replace(WORKSPACE, workspace) for name in self.names]
        for name in names:
            if not _NAME.fullmatch(name):
                raise BoundaryError(
                    f"{name!r}, the account for trials of the workspace {workspace}, is not a valid "
                    "account name. Change --run-as."
                )
        with self._lock:
            name = min(names, key=lambda name: self._in_use.get(name, 0))
            self._in_use[name] = self._in_use.get(name, 0) + 1
        return name


def allow_traversal(data: Path) -> None:
    """Let other accounts traverse the data folder to their own folders. They cannot list it, and everything else in it
    stays private."""
    for folder in (data, *(data / name for name in SHARED_FOLDERS)):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(TRAVERSE_MODE)

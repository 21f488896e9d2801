"""The boundary around the trials of a worker: the account as which they run, and their sandbox."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from experiments.models import Trial
from experiments.runner import allow_lists
from experiments.runner.boundary import Account, Accounts, BoundaryError, Sandbox
from experiments.runner.boundary.accounts import TRAVERSE_MODE, allow_traversal
from experiments.runner.file_ownership import give_to
from experiments.runner.safe_files import OutsideFolder, opened_folder
from experiments.runner.shell_variables import inherited
from experiments.runner.trial_folder import TrialFolder, package_folder

logger = logging.getLogger(__name__)

PRIVATE_UMASK = 0o077
READABLE = 0o050  # for the account's group; execute for folders and programs


class Boundary:
    """The isolation of a worker's trials from its machine: `accounts`, a `sandbox`, both, or none."""

    def __init__(
        self, data: Path, *, accounts: Accounts | None = None, sandbox: Sandbox | None = None
    ) -> None:
        self.data, self.accounts, self.sandbox = data, accounts, sandbox
        self._marks = data / "given"  # an empty file for each trial's folder that an account has

    @cached_property
    def inherited(self) -> Mapping[str, str]:
        """What trials inherit from the environment that this process was started with."""
        return inherited(os.environ)

    def __str__(self) -> str:
        """Return the text that pages show; empty without a boundary."""
        measures = [f"run as {self.accounts}"] if self.accounts else []
        return "; ".join([*measures, *([str(self.sandbox)] if self.sandbox else [])])

    def check(self) -> None:
        """Prepare this machine. Raise BoundaryError if trials cannot run within the boundary."""
        package = Path(package_folder(self.data / "trials"))
        if self.accounts:
            self.accounts.check()
            allow_traversal(self.data)
            package.chmod(0o755)
            self.accounts.check_package(package)
            self._take_back_all()
            allow_lists.require_listed_folders()
        if self.sandbox:
            prefixes = self.accounts.prefixes() if self.accounts else [[]]
            for prefix in prefixes:
                self.sandbox.check(prefix)

    @contextmanager
    def around(self, trial: Trial, folder: TrialFolder) -> Iterator[TrialBoundary]:
        """Yield the boundary around a trial. At the end, its folder belongs to the worker again. Raise
        BoundaryError."""
        if self.accounts is None:
            yield TrialBoundary(self, folder)
            return
        with self.accounts.held(trial.experiment.workspace.slug) as account:
            bounded = TrialBoundary(self, folder, account)
            try:
                yield bounded
            finally:
                bounded.take_back()

    def for_a_check(self, folder: Path) -> tuple[list[str], Mapping[str, str]]:
        """Return the beginning of a command line that runs an interpreter within it, in this folder, and the
        environment that it inherits. Raise BoundaryError where the account depends on the workspace."""
        prefix: list[str] = []
        environment: Mapping[str, str] = os.environ
        if self.sandbox:
            prefix = self.sandbox.argv([], cwd=folder, readable=[folder])
        if self.accounts:
            account = self.accounts.first()
            prefix = [*account.prefix, *prefix]
            environment = account.environment(environment, homes=self.data / "homes")
        return prefix, environment

    def _take_back_all(self) -> None:
        """Take back the folders that a killed worker left in the ownership of accounts. Their processes have ended."""
        self._marks.mkdir(mode=0o700, exist_ok=True)
        for mark in self._marks.iterdir():
            experiment_id, _, trial_number = mark.name.rpartition("-")
            number, _, uid = trial_number.partition("+")
            folder = TrialFolder(self.data / "trials", experiment_id, int(number))
            self.take_back(folder, uid=int(uid))

    def mark(self, folder: TrialFolder, *, uid: int) -> Path:
        """Return the file that records which account owns a trial's folder."""
        return self._marks / f"{folder.path.parent.name}-{folder.path.name}+{uid}"

    def take_back(self, folder: TrialFolder, *, uid: int) -> None:
        """Make a trial's folder belong to the owner of the data folder again, private to it."""
        owner = self.data.stat()
        relative = folder.path.relative_to(folder.root)
        try:
            with opened_folder(relative, below=folder.root) as number:
                os.fchmod(number, 0o700)
            give_to(relative, below=folder.root, uid=owner.st_uid, gid=owner.st_gid, only_of=uid)
        except FileNotFoundError:
            pass  # deleted meanwhile
        except (OSError, OutsideFolder) as error:
            logger.error("The folder %s cannot be taken back from its account: %s", folder.path, error)
            return
        self.mark(folder, uid=uid).unlink(missing_ok=True)


class TrialBoundary:
    """The boundary around one trial. Without `account`, it runs as the worker's user."""

    def __init__(self, boundary: Boundary, folder: TrialFolder, account: Account | None = None) -> None:
        self.boundary, self.folder, self.account = boundary, folder, account
        self._belongs_to_account = False
        self._shown: list[Path] = []

    @property
    def umask(self) -> int | None:
        """The umask of its process; None: unchanged."""
        return PRIVATE_UMASK if self.account else None

    def base(self) -> Mapping[str, str]:
        """Return what this trial inherits from the worker's environment."""
        if self.account is None:
            return self.boundary.inherited
        return self.account.environment(self.boundary.inherited, homes=self.boundary.data / "homes")

    def require_entrance(self, cwd: Path) -> None:
        """Raise BoundaryError unless the trial may use this working directory outside of its own folder."""
        if self.account and not cwd.is_relative_to(self.folder.path) and not self.account.may_enter(cwd):
            raise BoundaryError(
                f"The account {self.account.name}, which runs this worker's trials, has no access to "
                f"the working directory {cwd}. Grant access, or enter another directory."
            )

    def give(self) -> None:
        """Give the trial's folder to the account and to no other user. Call it again for files added later."""
        if self.account is None:
            return
        folder = self.folder
        self._belongs_to_account = True
        self.boundary.mark(folder, uid=self.account.uid).touch()
        folder.path.parent.chmod(TRAVERSE_MODE)
        relative = folder.path.relative_to(folder.root)
        give_to(relative, below=folder.root, uid=self.account.uid, gid=self.account.gid)
        with opened_folder(relative, below=folder.root) as number:
            os.fchmod(number, 0o700)

    def show(self, path: Path) -> None:
        """Let the trial read a folder in another trial's folder, through the group of its account."""
        self._shown.append(path)
        if self.account is None:
            return
        root, owner = self.folder.root, self.boundary.data.stat().st_uid
        give_to(path, below=root, uid=owner, gid=self.account.gid, modes=READABLE)
        with opened_folder(path.parent, below=root) as number:
            os.fchown(number, owner, self.account.gid)
            os.fchmod(number, 0o710)

    def take_back(self) -> None:
        """Return ownership of the folder to the worker. The trial's processes have ended. Idempotent."""
        if self.account is None:
            return
        if self._belongs_to_account:
            self._belongs_to_account = False
            self.boundary.take_back(self.folder, uid=self.account.uid)
        while self._shown:
            with opened_folder(self._shown.pop().parent, below=self.folder.root) as number:
                os.fchmod(number, 0o700)

    def wrapped(self, argv: Sequence[str], *, cwd: Path, readable: Sequence[Path | None] = ()) -> list[str]:
        """Return the command line that runs `argv` within the boundary. `readable`: paths that the trial needs to read,
        besides its own folder and the system."""
        command = list(argv)
        if sandbox := self.boundary.sandbox:
            root = self.folder.root
            seen = [root / ".package", *filter(None, readable), *self._shown]
            if not cwd.is_relative_to(self.folder.path):
                seen.append(cwd)
            command = sandbox.argv(command, cwd=cwd, readable=seen, writable=[self.folder.path])
        return [*self.account.prefix, *command] if self.account else command

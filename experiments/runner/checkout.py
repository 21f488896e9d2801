"""The code of a trial: one mirror per repository, one immutable tree per commit, one copy per trial.

git never asks for anything, fetches by few protocols, runs no hooks, and takes nothing that a person typed for an
option. Credentials are the worker's own: its ssh keys, its credential helper, its netrc.
"""

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from experiments.runner.folder import Escapes, inside
from experiments.runner.source import PROTOCOLS, check_reference, check_repository
from experiments.runner.tool_process import ToolFailed, locked, one_line, run

_SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "gc.auto=0",
    "-c", "advice.detachedHead=false",
)  # fmt: skip
_PIECE = re.compile(r"^(?=diff --git |--- .*\n\+\+\+ )", re.MULTILINE)
Check = Callable[[], bool]


class SourceError(Exception):
    """Code that cannot be had. `str()` is one sentence for people, with git's own word."""


class Sources:
    """The repositories that this machine has seen, below `root`. Safe among threads and processes.

    `marks` are variables that git gets, too.
    """

    def __init__(self, root: Path, *, marks: Mapping[str, str] = MappingProxyType({})) -> None:
        self.mirrors, self.trees, self.marks = root / "mirrors", root / "trees", marks

    def resolve(self, repository: str, kind: str, reference: str, *, is_cancelled: Check) -> str:
        """The commit (its whole hash) that a branch, tag or commit means now. Raises `SourceError`."""
        if said := check_repository(repository) or check_reference(kind, reference):
            raise SourceError(said)
        mirror = self._mirror(repository)
        with locked(mirror.with_suffix(".lock"), is_cancelled=is_cancelled):
            # A commit that is there already means the same for ever; a branch moves.
            if kind != "commit" or not self._has(mirror, reference, is_cancelled):
                self._fetch(mirror, repository, is_cancelled)
            return self._commit(mirror, repository, kind, reference, is_cancelled)

    def tree(self, repository: str, commit: str, *, is_cancelled: Check) -> Path:
        """A folder with all files of this commit, never to be written to. Raises `SourceError`."""
        mirror = self._mirror(repository)
        tree = self.trees / mirror.stem / commit
        if tree.is_dir():
            return tree
        with locked(mirror.with_suffix(".lock"), is_cancelled=is_cancelled):
            if tree.is_dir():
                return tree
            if not self._has(mirror, commit, is_cancelled):
                self._fetch(mirror, repository, is_cancelled)
            if not self._has(mirror, commit, is_cancelled):
                raise SourceError(f"The commit {commit[:12]} is not in {repository} any more.")
            for left in tree.parent.glob(".*"):
                left.unlink() if left.is_file() else shutil.rmtree(left, ignore_errors=True)
            fresh = tree.with_name(f".{uuid.uuid4().hex}")
            fresh.mkdir(parents=True)
            try:
                self._git(
                    [f"--git-dir={mirror}", f"--work-tree={fresh}", "checkout", "--force", commit, "--", "."],
                    is_cancelled,
                    env={"GIT_INDEX_FILE": str(fresh.with_suffix(".index"))},
                )
                fresh.rename(tree)
            except ToolFailed as failed:
                raise SourceError(
                    f"git could not check out {commit[:12]}: {one_line(failed.told)}"
                ) from failed
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.with_suffix(".index").unlink(missing_ok=True)
        return tree

    def copy(self, into: Path, *, tree: Path | None, diff: str, literal: str, is_cancelled: Check) -> None:
        """The trial's own copy of a tree in the folder `into`, with the uncommitted changes applied.

        Without a tree, `diff` is no diff but a script of its own, written to the file `literal`. Raises
        `SourceError` when the diff does not apply: nothing of it is applied then.
        """
        if tree is None:
            into.mkdir(parents=True)
            if diff:
                inside(into, literal).write_text(diff, "utf-8")
            return None
        shutil.copytree(tree, into, symlinks=True)
        if not diff.strip():
            return None
        text = diff if diff.endswith("\n") else diff + "\n"
        try:
            self._apply(text, into, is_cancelled)
        except ToolFailed as failed:
            if (other := fitted(text, into)) != text:
                with contextlib.suppress(ToolFailed):
                    return self._apply(other, into, is_cancelled)
            raise SourceError(
                f"The uncommitted changes do not apply to this commit: {one_line(failed.told)}. Make them anew from "
                "it, or discard them."
            ) from failed

    def _apply(self, diff: str, folder: Path, is_cancelled: Check) -> None:
        """All of it, or nothing. From within the folder and not as a repository: a path that leads out of it is
        refused by git."""
        self._git(
            ["apply", "--unidiff-zero", "--whitespace=nowarn", "-"],
            is_cancelled,
            cwd=folder,
            stdin=diff.encode(),
            env={"GIT_CEILING_DIRECTORIES": str(folder.parent)},
        )

    # --- git -----------------------------------------------------------------------------------------------

    def _mirror(self, repository: str) -> Path:
        return self.mirrors / f"{hashlib.sha256(repository.encode()).hexdigest()[:32]}.git"

    def _fetch(self, mirror: Path, repository: str, is_cancelled: Check) -> None:
        address = str(Path(repository).expanduser()) if repository.startswith("~") else repository
        fresh = mirror.with_name(f".{mirror.stem}-{uuid.uuid4().hex}")  # broken off, it must not look whole
        self._tidy(mirror)
        try:
            if mirror.is_dir():
                refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
                self._git(
                    [f"--git-dir={mirror}", "fetch", "--quiet", "--prune", "--", address, *refs], is_cancelled
                )
            else:
                mirror.parent.mkdir(parents=True, exist_ok=True)
                self._git(["clone", "--quiet", "--mirror", "--", address, str(fresh)], is_cancelled)
                fresh.rename(mirror)
        except ToolFailed as failed:
            raise SourceError(
                f"The repository {repository[:150]} cannot be fetched: {_reason(failed)}"
            ) from failed
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _tidy(self, mirror: Path) -> None:
        """Removes what was left here by git when it was killed (the machine lost power, say). Nobody else is at
        work on this mirror: its lock is ours."""
        for left in self.mirrors.glob(f".{mirror.stem}-*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in mirror.rglob("*.lock"):  # each would make every fetch fail from now on
            left.unlink(missing_ok=True)

    def _commit(self, mirror: Path, repository: str, kind: str, reference: str, is_cancelled: Check) -> str:
        name = {
            "branch": f"refs/heads/{reference}" if reference else "HEAD",
            "tag": f"refs/tags/{reference}",
            "commit": reference,
        }[kind]
        try:
            asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"]
            return self._git([f"--git-dir={mirror}", *asked], is_cancelled).strip()
        except ToolFailed:
            what = f"{kind} {reference[:80]}" if reference else "default branch"
            hint = self._others(mirror, kind, is_cancelled)
            raise SourceError(f"There is no {what} in {repository[:150]}. {hint}") from None

    def _others(self, mirror: Path, kind: str, is_cancelled: Check) -> str:
        """What could have been meant."""
        if kind == "commit":
            return "Push it to a branch or a tag there, or name another one."
        kept = "refs/tags" if kind == "tag" else "refs/heads"
        asked = ["for-each-ref", "--count=6", "--sort=-creatordate", "--format=%(refname:lstrip=2)", kept]
        names = self._git([f"--git-dir={mirror}", *asked], is_cancelled).split()
        whose = "tags" if kind == "tag" else "branches"
        more = ", …" if len(names) > 5 else ""
        return f"Its {whose}: {', '.join(names[:5])}{more}." if names else f"It has no {whose}."

    def _has(self, mirror: Path, commit: str, is_cancelled: Check) -> bool:
        if not mirror.is_dir():
            return False
        try:
            self._git([f"--git-dir={mirror}", "cat-file", "-e", commit + "^{commit}"], is_cancelled)
        except ToolFailed:
            return False
        return True

    def _git(
        self,
        arguments: list[str],
        is_cancelled: Check,
        *,
        cwd: Path | None = None,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
    ) -> str:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TRIALDECK_"))
        }
        safe = {
            **kept,
            **self.marks,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
            "GIT_LFS_SKIP_SMUDGE": os.environ.get("GIT_LFS_SKIP_SMUDGE", "0"),
            "GCM_INTERACTIVE": "never",
            "LC_ALL": "C.UTF-8",
        }
        if "GIT_CONFIG_GLOBAL" in os.environ:
            safe["GIT_CONFIG_GLOBAL"] = os.environ["GIT_CONFIG_GLOBAL"]
        return run(
            ["git", *_SAFE, *arguments],
            env={**safe, **(env or {})},
            cwd=cwd,
            stdin=stdin,
            is_cancelled=is_cancelled,
        )


def _reason(failed: ToolFailed) -> str:
    """What git said, and what to do. ssh says the reason itself, before git says that there was one."""
    told, said = failed.told, one_line(failed.told) or str(failed)
    if "could not read Username" in told or "Authentication failed" in told:
        return "it needs a password, and the worker has none. Give its user a credential helper or a .netrc."
    if "does not exist" in told or "does not appear to be a git repository" in told:
        return "there is no git repository. (A folder is looked up on the worker's machine.)"
    if "Permission denied (" in told:
        return "the worker's ssh key is not accepted. Give its user a key that may read it."
    if "Host key verification failed" in told:
        return "ssh does not know this host. Add it to known_hosts of the worker's user."
    if "Could not read from remote repository" in told:
        return next((line.strip() for line in told.splitlines() if line.startswith("ssh: ")), said)
    return said


def fitted(diff: str, folder: Path) -> str:
    """The diff with the newlines of each file in `folder` that it changes: on its way through a browser or a
    clipboard it may have lost, or got, its CRLF."""
    pieces = _PIECE.split(diff.replace("\r\n", "\n"))
    return "".join(
        piece.replace("\n", "\r\n") if _has_crlf(piece.partition("\n")[0], folder) else piece
        for piece in pieces
    )


def _has_crlf(line: str, folder: Path) -> bool:
    """Does `--- a/file` name a file with CRLF?"""
    if not line.startswith("--- "):
        return False
    try:
        path = inside(folder, line[4:].split("\t")[0].partition("/")[2])
        return path.is_file() and b"\r\n" in path.read_bytes()
    except (Escapes, OSError):
        return False

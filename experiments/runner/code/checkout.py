"""Check out the code of a trial: one mirror per repository, one immutable tree per commit, one copy per trial.

git runs without prompts and hooks, fetches by a few protocols only, and never reads user input as an option.
Credentials are the worker's: its ssh keys, credential helper and netrc.
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
from urllib.parse import urljoin

from experiments.runner import allow_lists, checked_http
from experiments.runner.code.repository_address import PROTOCOLS, check_reference, check_repository
from experiments.runner.tool_process import ToolError, error_line, locked, run_tool
from experiments.runner.trial_folder import OutsideFolder, inside

_SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "gc.auto=0",
    "-c", "advice.detachedHead=false",
)  # fmt: skip
_PIECE = re.compile(r"^(?=diff --git |--- .*\n\+\+\+ )", re.MULTILINE)
_REDIRECTED = re.compile(r"returned error: 30[12378]\b")
MOST_REDIRECTS = 5
_LOCATION = re.compile(r"Recv header: location: (\S+)", re.IGNORECASE)
_REFERENCES = "/info/refs?service=git-upload-pack"  # git's first request
Check = Callable[[], bool]


class SourceError(Exception):
    """The code cannot be checked out. `str()` is a message for users, with git's error."""


class Repositories:
    """The cache of repositories on this machine, below `root`. Safe for threads and processes.

    `marks` are environment variables for git.
    """

    def __init__(self, root: Path, *, marks: Mapping[str, str] = MappingProxyType({})) -> None:
        self.mirrors, self.trees, self.marks = root / "mirrors", root / "trees", marks

    def resolve(self, repository: str, kind: str, reference: str, *, is_cancelled: Check) -> str:
        """Return the full hash of the commit that a branch, tag or commit refers to now. Raise SourceError."""
        if message := check_repository(repository) or check_reference(kind, reference):
            raise SourceError(message)
        mirror = self._mirror(repository)
        with locked(mirror.with_suffix(".lock"), is_cancelled=is_cancelled):
            # A commit that is in the mirror never changes; a branch moves.
            if kind != "commit" or not self._has(mirror, reference, is_cancelled):
                self._fetch(mirror, repository, is_cancelled)
            return self._commit(mirror, repository, kind, reference, is_cancelled)

    def tree(self, repository: str, commit: str, *, is_cancelled: Check) -> Path:
        """Return a folder with all files of this commit, which must not be changed. Raise SourceError."""
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
                raise SourceError(f"The commit {commit[:12]} no longer exists in {repository}.")
            for leftover in tree.parent.glob(".*"):
                leftover.unlink() if leftover.is_file() else shutil.rmtree(leftover, ignore_errors=True)
            fresh = tree.with_name(f".{uuid.uuid4().hex}")
            fresh.mkdir(parents=True)
            try:
                self._git(
                    [f"--git-dir={mirror}", f"--work-tree={fresh}", "checkout", "--force", commit, "--", "."],
                    is_cancelled,
                    env={"GIT_INDEX_FILE": str(fresh.with_suffix(".index"))},
                )
                fresh.rename(tree)
            except ToolError as failed:
                raise SourceError(
                    f"git could not check out {commit[:12]}: {error_line(failed.output)}"
                ) from failed
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.with_suffix(".index").unlink(missing_ok=True)
        return tree

    def copy(self, into: Path, *, tree: Path | None, diff: str, literal: str, is_cancelled: Check) -> None:
        """Copy a tree into the trial's folder `into`, and apply the uncommitted changes.

        Without a tree, `diff` is not a diff but a script, which is written to the file `literal`. Raise SourceError
        when the diff does not apply; then nothing of it is applied.
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
        except ToolError as failed:
            if (converted := with_newlines_of(text, into)) != text:
                with contextlib.suppress(ToolError):
                    return self._apply(converted, into, is_cancelled)
            raise SourceError(
                f"The uncommitted changes do not apply to this commit: {error_line(failed.output)}. Recreate them from "
                "this commit, or discard them."
            ) from failed

    def _apply(self, diff: str, folder: Path, is_cancelled: Check) -> None:
        """Apply the whole diff or nothing. git runs in the folder without a repository, so that it refuses paths
        outside the folder."""
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
        fresh = mirror.with_name(
            f".{mirror.stem}-{uuid.uuid4().hex}"
        )  # an aborted clone must not look complete
        self._remove_leftovers(mirror)
        try:
            if mirror.is_dir():
                refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
                self._reach(
                    address, [f"--git-dir={mirror}", "fetch", "--quiet", "--prune"], refs, is_cancelled
                )
            else:
                mirror.parent.mkdir(parents=True, exist_ok=True)
                self._reach(address, ["clone", "--quiet", "--mirror"], [str(fresh)], is_cancelled)
                fresh.rename(mirror)
        except ToolError as failed:
            raise SourceError(
                f"The repository {repository[:150]} cannot be fetched: {_reason(failed)}"
            ) from failed
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _reach(self, address: str, command: list[str], operands: list[str], is_cancelled: Check) -> None:
        """Run a git command that takes an address. Redirects are followed by this method, because git would follow them
        to hosts that are not allowed."""
        for _ in range(MOST_REDIRECTS):
            try:
                self._git([*_pinned(address), *command, "--", address, *operands], is_cancelled)
                return
            except ToolError as failed:
                if not _REDIRECTED.search(failed.output) or not (
                    target := self._redirected(address, is_cancelled)
                ):
                    raise
                address = target
        raise SourceError(f"The repository {address[:150]} redirects more than {MOST_REDIRECTS} times.")

    def _redirected(self, address: str, is_cancelled: Check) -> str:
        """Return the repository that this one redirects to, or "" if that cannot be determined. Raise SourceError if it
        is not allowed."""
        try:
            command = [*_pinned(address), "ls-remote", "--quiet", "--", address]
            self._git(command, is_cancelled, env={"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1"})
            return ""
        except ToolError as failed:
            location = _LOCATION.search(failed.output)
        target = urljoin(f"{address.rstrip('/')}{_REFERENCES}", location[1].strip()) if location else ""
        if not target.endswith(_REFERENCES):
            return ""
        target = target.removesuffix(_REFERENCES)
        if message := check_repository(target):
            raise SourceError(f"The repository {address[:150]} redirects to {target[:150]}: {message}")
        try:
            allow_lists.check_repository(target)
        except allow_lists.NotAllowed as refusal:
            raise SourceError(
                f"The repository {address[:150]} redirects to another host. {refusal}"
            ) from refusal
        return target

    def _remove_leftovers(self, mirror: Path) -> None:
        """Remove the lock files that a killed git left, for example after a power failure. The caller holds the lock of
        this mirror."""
        for leftover in self.mirrors.glob(f".{mirror.stem}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for leftover in mirror.rglob("*.lock"):  # each would make all later fetches fail
            leftover.unlink(missing_ok=True)

    def _commit(self, mirror: Path, repository: str, kind: str, reference: str, is_cancelled: Check) -> str:
        name = {
            "branch": f"refs/heads/{reference}" if reference else "HEAD",
            "tag": f"refs/tags/{reference}",
            "commit": reference,
        }[kind]
        try:
            arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"]
            return self._git([f"--git-dir={mirror}", *arguments], is_cancelled).strip()
        except ToolError:
            missing = f"{kind} {reference[:80]}" if reference else "default branch"
            hint = self._alternatives(mirror, kind, is_cancelled)
            raise SourceError(f"There is no {missing} in {repository[:150]}. {hint}") from None

    def _alternatives(self, mirror: Path, kind: str, is_cancelled: Check) -> str:
        if kind == "commit":
            return "Push it to a branch or tag, or choose another commit."
        prefix = "refs/tags" if kind == "tag" else "refs/heads"
        arguments = [
            "for-each-ref",
            "--count=6",
            "--sort=-creatordate",
            "--format=%(refname:lstrip=2)",
            prefix,
        ]
        names = self._git([f"--git-dir={mirror}", *arguments], is_cancelled).split()
        plural = "tags" if kind == "tag" else "branches"
        more = ", …" if len(names) > 5 else ""
        return (
            f"Available {plural}: {', '.join(names[:5])}{more}."
            if names
            else f"The repository has no {plural}."
        )

    def _has(self, mirror: Path, commit: str, is_cancelled: Check) -> bool:
        if not mirror.is_dir():
            return False
        try:
            self._git([f"--git-dir={mirror}", "cat-file", "-e", commit + "^{commit}"], is_cancelled)
        except ToolError:
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
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TRIALDECK_"))
        }
        safe = {
            **inherited,
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
        return run_tool(
            ["git", *_SAFE, *arguments],
            env={**safe, **(env or {})},
            cwd=cwd,
            stdin=stdin,
            is_cancelled=is_cancelled,
        )


def _pinned(address: str) -> list[str]:
    """Return git options for an http or https address: connect only to checked addresses, and do not follow redirects.
    Raise SourceError for a host that is not allowed."""
    if not address.startswith(("http://", "https://")):
        return []
    options = ["-c", "http.followRedirects=false"]
    try:
        host, port = checked_http.host_and_port(address)
        addresses = allow_lists.addresses_of(host, port)
    except allow_lists.NotAllowed as refusal:
        raise SourceError(str(refusal)) from refusal
    except (OSError, ValueError):
        return options  # git reports the invalid name
    listed = ",".join(f"[{each}]" if each.version == 6 else str(each) for each in addresses)
    return [*options, "-c", f"http.curloptResolve={host}:{port}:{listed}"]


def _reason(failed: ToolError) -> str:
    """Return git's error and the next step. ssh prints the cause before git's own message."""
    output, error = failed.output, error_line(failed.output) or str(failed)
    if "could not read Username" in output or "Authentication failed" in output:
        return "authentication failed. Set up a credential helper or .netrc for the worker's user."
    if "does not exist" in output or "does not appear to be a git repository" in output:
        return "not a git repository. Folders are looked up on the worker's machine."
    if "Permission denied (" in output:
        return "the worker's ssh key was rejected. Grant its user's key read access."
    if "Host key verification failed" in output:
        return "unknown ssh host key. Add the host to known_hosts of the worker's user."
    if "Could not read from remote repository" in output:
        return next((line.strip() for line in output.splitlines() if line.startswith("ssh: ")), error)
    return error


def with_newlines_of(diff: str, folder: Path) -> str:
    """Return the diff with the newlines of each file in `folder` that it changes: a browser or a clipboard may have
    removed or added carriage returns."""
    pieces = _PIECE.split(diff.replace("\r\n", "\n"))
    return "".join(
        piece.replace("\n", "\r\n") if _has_crlf(piece.partition("\n")[0], folder) else piece
        for piece in pieces
    )


def _has_crlf(line: str, folder: Path) -> bool:
    """Return whether the file in a line such as `--- a/file` has CRLF newlines."""
    if not line.startswith("--- "):
        return False
    try:
        path = inside(folder, line[4:].split("\t")[0].partition("/")[2])
        return path.is_file() and b"\r\n" in path.read_bytes()
    except (OutsideFolder, OSError):
        return False

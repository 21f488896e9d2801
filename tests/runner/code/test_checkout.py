"""Code from git: mirrors, immutable trees, a copy per trial. With real repositories and the real git."""

import os
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiments.runner.code.checkout import Repositories, SourceError
from experiments.runner.tool_process import Cancelled

pytestmark = pytest.mark.once

DIFF = """\
--- a/train.py
+++ b/train.py
@@ -1 +1 @@
-print("first")
+print("changed")
"""
WAYOUT = """\
--- /dev/null
+++ b/../../escaped.txt
@@ -0,0 +1 @@
+here
"""


def never():
    return False


def git(folder, *arguments):
    names = {"GIT_AUTHOR_NAME": "alice", "GIT_AUTHOR_EMAIL": "alice@example.org"}
    env = {
        **os.environ,
        **names,
        **{name.replace("AUTHOR", "COMMITTER"): value for name, value in names.items()},
    }
    argv = ["git", "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(
        argv, cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text('print("first")\n')
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    git(folder, "tag", "v1")
    return folder


@pytest.fixture
def sources(tmp_path):
    return Repositories(tmp_path / "sources")


def commit(repository, text):
    (repository / "train.py").write_text(text)
    git(repository, "commit", "-qam", "next")
    return git(repository, "rev-parse", "HEAD")


def test_a_branch_means_its_last_commit_and_a_tag_stays(repository, sources):
    """CML-S1: by branch, tag, commit ID; a branch is looked up anew each time."""
    first = git(repository, "rev-parse", "HEAD")
    assert sources.resolve(str(repository), "branch", "main", is_cancelled=never) == first
    second = commit(repository, 'print("second")\n')
    assert sources.resolve(str(repository), "branch", "main", is_cancelled=never) == second
    assert sources.resolve(str(repository), "branch", "", is_cancelled=never) == second
    assert sources.resolve(str(repository), "tag", "v1", is_cancelled=never) == first
    assert sources.resolve(str(repository), "commit", first[:10], is_cancelled=never) == first


def test_a_tree_holds_the_commit_and_copies_do_not_touch_it(repository, sources, tmp_path):
    """CML-S1: what a trial writes into its copy is no other trial's."""
    first = git(repository, "rev-parse", "HEAD")
    commit(repository, 'print("second")\n')
    tree = sources.tree(str(repository), first, is_cancelled=never)
    assert [path.name for path in tree.iterdir()] == ["train.py"]
    sources.copy(tmp_path / "code", tree=tree, diff=DIFF, literal="x.py", is_cancelled=never)
    assert (tmp_path / "code/train.py").read_text() == 'print("changed")\n'
    assert (tree / "train.py").read_text() == 'print("first")\n'


def test_what_a_killed_git_left_behind_does_not_hinder_the_next(repository, sources):
    """CML-S1: the machine lost power during a fetch, a clone and a checkout; git itself would refuse for ever."""
    git(repository, "branch", "old")
    sources.resolve(str(repository), "branch", "main", is_cancelled=never)
    (mirror,) = sources.mirrors.glob("*.git")
    for name in ("packed-refs.lock", "refs/heads/main.lock"):
        (mirror / name).touch()
    half = [sources.mirrors / f".{mirror.stem}-1f", sources.trees / mirror.stem / ".2f"]
    for folder in half:
        folder.mkdir(parents=True)
    git(repository, "branch", "-D", "old")
    second = commit(repository, 'print("second")\n')
    assert sources.resolve(str(repository), "branch", "main", is_cancelled=never) == second
    sources.tree(str(repository), second, is_cancelled=never)
    assert not any(folder.exists() for folder in half)


def test_many_at_once_make_one_tree(repository, sources):
    """CML-S1: two slots, or two workers of one machine, start with the same commit."""
    first = git(repository, "rev-parse", "HEAD")
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(sources.tree(str(repository), first, is_cancelled=never)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6 and len(set(made)) == 1
    assert os.listdir(made[0].parent) == [first]


@pytest.mark.parametrize(
    ("diff", "message"),
    [
        (DIFF.replace("first", "another"), "patch does not apply"),
        (DIFF.replace("train.py", "lost.py"), "lost.py"),
        (WAYOUT, "invalid path"),
        ("no diff at all\n", "No valid patches"),
    ],
)
def test_a_diff_that_does_not_apply_says_so(repository, sources, tmp_path, diff, message):
    """CML-S3: git's message; nothing outside the copy is touched."""
    tree = sources.tree(str(repository), git(repository, "rev-parse", "HEAD"), is_cancelled=never)
    with pytest.raises(SourceError, match=message):
        sources.copy(tmp_path / "a/b/code", tree=tree, diff=diff, literal="x.py", is_cancelled=never)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_diff_finds_the_newlines_of_its_files(repository, sources, tmp_path):
    """CML-S3: files with CRLF and without in one diff: as git wrote it, and without or with CRLF throughout, as
    browsers and clipboards leave it. What it adds ends as its file does."""
    for name in ("windows.py", "dir/ü x.py"):
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    git(repository, "config", "core.quotePath", "false")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "windows")
    tree = sources.tree(str(repository), git(repository, "rev-parse", "HEAD"), is_cancelled=never)
    for name in ("windows.py", "dir/ü x.py"):
        (repository / name).write_bytes(b"one\r\n2\r\n2.5\r\nthree\r\n")
    (repository / "train.py").write_text('print("changed")\n')
    whole = subprocess.run(["git", "diff"], cwd=repository, capture_output=True, check=True).stdout.decode()
    assert "+2\r\n" in whole and "+++ b/train.py\n" in whole
    plain = whole.replace("\r\n", "\n")
    for place, diff in enumerate((whole, plain, plain.replace("\n", "\r\n"))):
        into = tmp_path / str(place) / "code"
        into.parent.mkdir()
        sources.copy(into, tree=tree, diff=diff, literal="x.py", is_cancelled=never)
        for name in ("windows.py", "dir/ü x.py", "train.py"):
            assert (into / name).read_bytes() == (repository / name).read_bytes(), (place, name)


def test_a_link_in_the_repository_does_not_lead_a_diff_out(repository, sources, tmp_path):
    """CML-S3: a link to a folder elsewhere, and a diff that writes through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository / "link").symlink_to(outside)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "link")
    tree = sources.tree(str(repository), git(repository, "rev-parse", "HEAD"), is_cancelled=never)
    through = WAYOUT.replace("../../escaped.txt", "link/escaped.txt")
    with pytest.raises(SourceError, match="beyond a symbolic link|link"):
        sources.copy(tmp_path / "code", tree=tree, diff=through, literal="x.py", is_cancelled=never)
    assert not list(outside.iterdir())


def test_a_text_without_a_repository_is_a_script(sources, tmp_path):
    """CML-S3: it is written to a file of its own."""
    sources.copy(tmp_path / "code", tree=None, diff="print(1)\n", literal="script.py", is_cancelled=never)
    assert (tmp_path / "code/script.py").read_text() == "print(1)\n"


@pytest.mark.parametrize(
    ("kind", "reference", "message"),
    [
        ("branch", "nowhere", r"no branch nowhere in .*\. Available branches: main\."),
        ("tag", "v9", r"no tag v9 in .*\. Available tags: v1\."),
        ("commit", "deadbeef", "no commit deadbeef in .* Push it"),
    ],
)
def test_a_reference_that_is_not_there(repository, sources, kind, reference, message):
    """CML-S1: a commit that is no commit."""
    with pytest.raises(SourceError, match=message):
        sources.resolve(str(repository), kind, reference, is_cancelled=never)


def test_a_repository_that_is_not_there(sources, tmp_path):
    """CML-S1: git's own word, and no half mirror that the next one would trust."""
    where = tmp_path / "nothing"
    for address in (str(where), f"file://{where}"):
        with pytest.raises(SourceError, match=f"{where} cannot be fetched: not a git repository"):
            sources.resolve(address, "branch", "", is_cancelled=never)
    where.mkdir()
    git(where, "init", "-q")
    (where / "a").write_text("a")
    git(where, "add", ".")
    git(where, "commit", "-qm", "first")
    assert sources.resolve(str(where), "branch", "main", is_cancelled=never)


@pytest.mark.parametrize("address", ["--upload-pack=touch x", "ext::sh -c id", "-x"])
def test_an_address_is_never_an_option(sources, address):
    """CML-S1: refused before git sees it."""
    with pytest.raises(SourceError):
        sources.resolve(address, "branch", "", is_cancelled=never)


@pytest.fixture
def locked_server(monkeypatch):
    """A server that asks for a password, and counts who tried."""
    monkeypatch.setenv("TRIALDECK_NETWORKS", "127.0.0.0/8")

    class Locked(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="code"')
            self.end_headers()

        def log_message(self, *message):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Locked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/code.git"
    server.shutdown()


def test_a_repository_that_needs_a_password_fails_and_does_not_ask(sources, locked_server):
    """CML-S1: git must not wait for somebody to type."""
    with pytest.raises(SourceError, match="authentication failed. Set up a credential helper"):
        sources.resolve(locked_server, "branch", "", is_cancelled=never)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("git@h: Permission denied (publickey).", "ssh key was rejected"),
        ("Host key verification failed.", "Add the host to known_hosts"),
        ("ssh: Could not resolve hostname h: Name or service not known", "ssh: Could not resolve hostname h"),
    ],
)
def test_what_ssh_says_is_the_reason(sources, monkeypatch, tmp_path, expected, message):
    """CML-S1: git itself only says that it could not read."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho '{expected}' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    with pytest.raises(SourceError, match=message):
        sources.resolve("git@h:team/code.git", "branch", "", is_cancelled=never)


def test_a_fetch_that_nobody_waits_for_ends(sources, monkeypatch):
    """CML-S1: Stop while the code is fetched, from a server that does not answer; no half mirror is left."""
    monkeypatch.setenv("TRIALDECK_NETWORKS", "127.0.0.0/8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/code.git"
        with pytest.raises(Cancelled):
            sources.resolve(address, "branch", "", is_cancelled=lambda: True)
    assert [path for path in sources.mirrors.iterdir() if path.is_dir()] == []

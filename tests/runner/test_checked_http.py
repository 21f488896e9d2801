"""URLs that users enter, of models and repositories: no redirect and no changed name leads past the allow-lists."""

import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiments.runner import checked_http
from experiments.runner.allow_lists import NotAllowed
from experiments.runner.code.checkout import Repositories, SourceError
from experiments.runner.tool_process import Cancelled
from tests.runner.code.test_checkout import git

pytestmark = pytest.mark.once


def never():
    return False


class Redirecting(SimpleHTTPRequestHandler):
    """Serves a folder; what is below /to/HOST/ is redirected to that host, what is below /loop/ to itself. What is
    below /silent/ is redirected the first time, and then not answered."""

    paths: list[str] = []
    ending: threading.Event

    def do_GET(self):
        self.paths.append(self.path)
        _, first, *rest = self.path.split("/", 3)
        port = self.server.server_address[1]
        target = {"to": lambda: f"http://{rest[0]}:{port}/{rest[1]}", "loop": lambda: self.path}.get(first)
        if first == "silent" and len(self.paths) > 1:
            self.ending.wait()
        elif first == "silent":
            self.send_error(302)
        elif target is None:
            super().do_GET()
        else:
            self.send_response(302)
            self.send_header("Location", target())
            self.end_headers()

    def log_message(self, *message):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server of a folder on all addresses of this machine, which has a repository `code.git` and a file; its port."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TRIALDECK_NETWORKS", raising=False)
    origin, folder = tmp_path / "origin", tmp_path / "site"
    origin.mkdir()
    folder.mkdir()
    git(origin, "init", "-q")
    (origin / "train.py").write_text("print(1)\n")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "first")
    git(tmp_path, "clone", "-q", "--bare", str(origin), str(folder / "code.git"))
    git(folder / "code.git", "update-server-info")
    (folder / "model.bin").write_bytes(b"weights")
    Redirecting.paths, Redirecting.ending = [], threading.Event()
    server = ThreadingHTTPServer(("0.0.0.0", 0), partial(Redirecting, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    Redirecting.ending.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def only_first(site, monkeypatch):
    """Of this machine, only 127.0.0.1 may be reached."""
    monkeypatch.setenv("TRIALDECK_NETWORKS", "127.0.0.1/32")


def resolve(tmp_path, address):
    return Repositories(tmp_path / "sources").resolve(address, "branch", "", is_cancelled=never)


def test_a_repository_that_moved_is_followed(site, only_first, tmp_path):
    """TD-Z1: renamed repositories and http → https are redirects, too."""
    commit = resolve(tmp_path, f"http://127.0.0.1:{site}/to/127.0.0.1/code.git")
    assert commit == git(tmp_path / "origin", "rev-parse", "HEAD")


@pytest.mark.parametrize("path", ["to/127.0.0.2/code.git", "to/127.0.0.1/to/127.0.0.2/code.git"])
def test_a_repository_cannot_redirect_to_an_address_that_is_refused(site, only_first, tmp_path, path):
    """TD-Z1: git would follow. The first redirect or a later one; nothing is asked of the address."""
    with pytest.raises(
        SourceError, match=r"redirects to another host. 127.0.0.2 resolves to 127.0.0.2, which is"
    ):
        resolve(tmp_path, f"http://127.0.0.1:{site}/{path}")
    assert not [path for path in Redirecting.paths if path.startswith("/code.git")]


def test_a_repository_cannot_redirect_to_a_host_that_is_not_listed(site, tmp_path, monkeypatch):
    """TD-Z1: TRIALDECK_GIT_HOSTS counts for redirects, too."""
    monkeypatch.setenv("TRIALDECK_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("TRIALDECK_GIT_HOSTS", "127.0.0.1")
    with pytest.raises(SourceError, match="Repositories at 127.0.0.2 are not allowed on this worker"):
        resolve(tmp_path, f"http://127.0.0.1:{site}/to/127.0.0.2/code.git")


def test_a_repository_that_redirects_to_itself_ends(site, only_first, tmp_path):
    """TD-Z1: a loop is an error, not a wait."""
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        resolve(tmp_path, f"http://127.0.0.1:{site}/loop/code.git")


def test_stop_ends_the_search_for_a_redirect(site, only_first, tmp_path):
    """TD-S2: a host that answers no more must not hold a trial that was stopped."""
    sources = Repositories(tmp_path / "sources")
    address = f"http://127.0.0.1:{site}/silent/code.git"
    with pytest.raises(Cancelled):
        sources.resolve(address, "branch", "", is_cancelled=lambda: len(Redirecting.paths) > 1)


def test_a_repository_at_a_refused_address_is_not_asked_for(site, tmp_path):
    """TD-Z1: the address is checked when git connects, too, not only when the trial begins."""
    with pytest.raises(SourceError, match="127.0.0.1 resolves to 127.0.0.1, which is a loopback"):
        resolve(tmp_path, f"http://127.0.0.1:{site}/code.git")
    assert Redirecting.paths == []


def test_git_connects_to_the_address_that_was_checked(site, only_first, tmp_path, monkeypatch):
    """TD-Z1: a name that leads elsewhere when git asks for it changes nothing; here only we can resolve it."""
    monkeypatch.setattr(socket, "getaddrinfo", names({"code.example.org": ["127.0.0.1"]}))
    assert resolve(tmp_path, f"http://code.example.org:{site}/code.git")


def test_a_model_may_be_redirected(site, only_first):
    """CML-M1: object stores and hubs redirect to where the file is."""
    with checked_http.open_url(f"http://127.0.0.1:{site}/to/127.0.0.1/model.bin", timeout_s=10) as response:
        assert response.read() == b"weights"


def test_a_model_cannot_be_redirected_to_an_address_that_is_refused(site, only_first):
    """TD-Z1: neither the metadata of a cloud nor a service of the worker's machine is a model."""
    with pytest.raises(NotAllowed, match="127.0.0.2 resolves to 127.0.0.2"):
        checked_http.open_url(f"http://127.0.0.1:{site}/to/127.0.0.2/model.bin", timeout_s=10)
    assert "/model.bin" not in Redirecting.paths


def test_a_model_is_not_read_from_a_name_that_changes_after_the_check(site, only_first, monkeypatch):
    """TD-Z1: DNS rebinding: allowed when checked, refused when connected."""
    addresses = iter([["127.0.0.1"], ["127.0.0.2"]])
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: entries(next(addresses)))
    with pytest.raises(NotAllowed, match=r"models.example.org resolves to 127.0.0.2"):
        checked_http.open_url(f"http://models.example.org:{site}/model.bin", timeout_s=10)
    assert Redirecting.paths == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/model.bin", "http://", "model.bin"])
def test_only_http_is_opened(url):
    """TD-Z1: urllib opens files, too."""
    with pytest.raises(ValueError, match="is not an http or https URL"):
        checked_http.open_url(url, timeout_s=1)


def entries(addresses):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


def names(addresses):
    real = socket.getaddrinfo
    return lambda host, *rest, **more: (
        entries(addresses[host]) if host in addresses else real(host, *rest, **more)
    )

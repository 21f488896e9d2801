"""`trialdeck nni-bridge`: NNI's own client, unchanged, steers an experiment of a console.

NNI's client knows nothing but http://localhost:<port>, has no token, and waits in `stop()` for the end of a process
whose pid it was told. So this serves that address on this machine only, passes on to the console what is asked, with
the token, and keeps a small process, the holder, that ends when the experiment has ended.
"""

from __future__ import annotations  # for Python 3.8

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trialdeck import errors
from trialdeck.console import Console

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    import argparse
    from types import FrameType

BASE = "/api/v1/nni/"
LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
LARGEST = 50 << 20  # of a request's body, as in NNI
LOOK_S = 0.4
TRIAL_PATIENCE_S = 15.0  # NNI's client gives up after 20 s
HOLD = "import sys; sys.stdin.read()"


class Bridge:
    """Serves NNI's addresses for one experiment on 127.0.0.1:`port`; 0: a free one. Raises trialdeck.Error."""

    def __init__(self, console: Console, experiment: str, *, port: int) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]{1,32}", experiment):
            raise errors.Invalid(f"{experiment!r} is not the ID of an experiment.")
        self.console, self.experiment = console, experiment
        self.last_words = "The experiment goes on."
        self._lock = threading.Lock()
        self._holder: subprocess.Popen | None = None
        self._is_ending = False
        found = json.loads(self._must("GET", "experiment-metadata"))
        self.page = found["webuiUrl"][0]
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise errors.Error(
                f"The port {port} cannot be used: {error.strerror}. Give another one with --port."
            ) from None
        self._server.bridge = self
        self.port = self._server.server_address[1]

    def serve(self) -> None:
        """Until a client has stopped the experiment and it has ended, or `close`."""
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()
            self._release()

    def close(self) -> None:
        """Ends `serve`. The experiment goes on."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    # --- what is asked ---------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """(status, type, body) for a path below BASE."""
        status, kind, data = self._ask(method, path, body)
        if not 200 <= status < 300:
            return status, kind, data
        what = path.partition("?")[0]
        if method == "GET" and what in ("experiments-info", "experiment-metadata"):
            return status, kind, self._with_pid(data)
        if method == "DELETE" and what.startswith("trial-jobs/"):
            self._await_trial(what)
        return status, kind, data

    def answered(self, method: str, path: str, status: int) -> None:
        """After the answer has gone out: this process may end soon."""
        if method == "DELETE" and path.partition("?")[0] == "experiment" and status == 200:
            self._end_soon()

    def _with_pid(self, data: bytes) -> bytes:
        told = json.loads(data)
        for one in told if isinstance(told, list) else [told]:
            if one["id"] == self.experiment:
                one.update(port=self.port, pid=self._hold())
        return json.dumps(told).encode()

    def _await_trial(self, what: str) -> None:
        """NNI answers when the trial's process is gone."""
        deadline = time.monotonic() + TRIAL_PATIENCE_S
        while time.monotonic() < deadline:
            status, _, data = self._ask("GET", what)
            if status != 200 or json.loads(data)["status"] != "RUNNING":
                return
            time.sleep(LOOK_S)

    # --- the holder ------------------------------------------------------------------------------------------

    def _hold(self) -> int:
        """The pid of the holder. It ends with this process, whatever happens to it, and by nobody's signal but a
        client's that could not stop the experiment: then there is a new one."""
        with self._lock:
            if self._holder is None or self._holder.poll() is not None:
                self._holder = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", HOLD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                # Reaped as soon as it ends: to a client a zombie is a process that lives.
                threading.Thread(target=self._holder.wait, daemon=True).start()
            return self._holder.pid

    def _release(self) -> None:
        with self._lock:
            if self._holder is not None:
                self._holder.stdin.close()
                self._holder.wait()

    def _end_soon(self) -> None:
        with self._lock:
            if self._is_ending:
                return
            self._is_ending = True
        threading.Thread(target=self._await_end, daemon=True).start()

    def _await_end(self) -> None:
        while True:
            status, _, data = self._ask("GET", "check-status")
            if status == 200 and json.loads(data)["status"] != "STOPPING":
                self.last_words = "The experiment has ended."
                break
            if status in (401, 403, 404):  # a token that was revoked, an experiment in the trash
                self.last_words = f"The experiment cannot be seen any more: {_sentence(data)}"
                break
            time.sleep(LOOK_S)
        self._release()
        self._server.shutdown()

    # --- the console -----------------------------------------------------------------------------------------

    def _must(self, method: str, path: str) -> bytes:
        """The answer, or an exception with the console's sentence."""
        status, _, data = self._ask(method, path)
        if status == 200:
            return data
        raise errors.BY_STATUS.get(status, errors.Error)(_sentence(data), status=status)

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        url = f"{self.console.url}/api/v1/experiments/{self.experiment}/nni/{path}"
        headers = {"Accept": "application/json", "User-Agent": "trialdeck-nni-bridge"}
        if self.console.token:
            headers["Authorization"] = f"Bearer {self.console.token}"
        if method in ("PUT", "POST"):
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, body or None, headers, method=method)
        try:
            with self.console._opener.open(request, timeout=self.console.timeout_s) as answer:
                return answer.status, _kind(answer), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                data = error.read()
            if _kind(error).startswith("application/json"):
                return error.code, _kind(error), data
            return _told(
                502, f"What answers at {self.console.url} ({error.code}) is not a Trialdeck console."
            )
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            return _told(502, f"The console at {self.console.url} cannot be reached: {reason}.")


class _Server(ThreadingHTTPServer):
    bridge: Bridge
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # of a connection on which nothing is asked

    def do_GET(self) -> None:
        path = self.path
        origin = urllib.parse.urlsplit(self.headers.get("Origin") or "http://localhost").netloc
        if not LOCAL.fullmatch(self.headers.get("Host") or "") or not LOCAL.fullmatch(origin):
            # A page of elsewhere whose name was made to mean this machine.
            return self._send(
                *_told(403, "Only programs on this machine may ask here, by the name localhost.")
            )
        body = self._body()
        if body is None:
            self.close_connection = True
            return self._send(
                *_told(413, f"The body's length must be told, and be at most {LARGEST >> 20} MiB.")
            )
        if not path.startswith(BASE) or ".." in path:
            page = self.server.bridge.page
            return self._send(
                *_told(404, f"Only NNI's addresses below {BASE} are here. The pages are at {page}")
            )
        path = path[len(BASE) :]
        status, kind, data = self.server.bridge.answer(self.command, path, body)
        self._send(status, kind, data)
        return self.server.bridge.answered(self.command, path, status)

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > LARGEST:
            return None
        return self.rfile.read(int(length))

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: the console has a log."""


def _told(status: int, sentence: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": sentence}).encode()


def _sentence(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return "The console's answer cannot be read."


def _kind(answer: object) -> str:
    return answer.headers.get("Content-Type") or "application/json"  # type: ignore[attr-defined]


def run(console: Console, experiment: str, *, port: int) -> int:
    """Serves until the end, and says what happens. Raises trialdeck.Error when it cannot begin."""
    bridge = Bridge(console, experiment, port=port)

    def end(number: int, frame: FrameType | None) -> None:
        bridge.close()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"NNI's client can steer {experiment} ({bridge.page}) now:", flush=True)
    print(f"    nni.experiment.Experiment.connect({bridge.port})", flush=True)
    bridge.serve()
    print(bridge.last_words, flush=True)
    return 0


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("experiment", help="the experiment's ID")
    parser.add_argument(
        "--port", type=int, default=8080, help="of this machine; 0: a free one (default: 8080)"
    )
    parser.add_argument("--url", help="of the console; without it TRIALDECK_URL, or the one that runs here")
    parser.add_argument("--token", help="for the console; without it TRIALDECK_TOKEN")

"""`trialdeck nni-bridge`: lets NNI's own, unmodified client control an experiment.

NNI's client connects to http://localhost:<port> without a token, and its `stop()` waits for the end of the process
whose pid the server reported. The bridge therefore listens on this machine only, forwards requests to the console with
the token, and runs a small holder process that ends when the experiment has ended.
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
    from typing import Any

BASE = "/api/v1/nni/"
LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
MAX_BODY_BYTES = 50 << 20  # as in NNI
POLL_S = 0.4
TRIAL_STOP_WITHIN_S = 15.0  # NNI's client gives up after 20 s
HOLDER_SCRIPT = "import sys; sys.stdin.read()"


class Bridge:
    """Serves NNI's REST API for one experiment on 127.0.0.1:`port` (0: any free port). Raises trialdeck.Error."""

    def __init__(self, console: Console, experiment: str, *, port: int) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]{1,32}", experiment):
            raise errors.Invalid(f"Invalid experiment ID {experiment!r}.")
        self.console, self.experiment = console, experiment
        self.closing_message = "The experiment continues."
        self._lock = threading.Lock()
        self._holder: subprocess.Popen | None = None
        self._is_ending = False
        metadata = json.loads(self._require("GET", "experiment-metadata"))
        self.page = metadata["webuiUrl"][0]
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise errors.Error(
                f"Cannot use port {port}: {error.strerror}. Choose another one with --port."
            ) from None
        self._server.bridge = self
        self.port = self._server.server_address[1]

    def serve(self) -> None:
        """Serve until a client has stopped the experiment and it has ended, or until `close`."""
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()
            self._release()

    def close(self) -> None:
        """End `serve`. The experiment continues."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    # --- requests --------------------------------------------------------------------------------------------

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Return (status, content type, body) for a path below BASE."""
        status, kind, data = self._forward(method, path, body)
        if not 200 <= status < 300:
            return status, kind, data
        resource = path.partition("?")[0]
        if method == "GET" and resource in ("experiments-info", "experiment-metadata"):
            return status, kind, self._with_pid(data)
        if method == "DELETE" and resource.startswith("trial-jobs/"):
            self._await_trial(resource)
        return status, kind, data

    def after_response(self, method: str, path: str, status: int) -> None:
        """Called when the response was sent: the process may end soon."""
        if method == "DELETE" and path.partition("?")[0] == "experiment" and status == 200:
            self._end_soon()

    def _with_pid(self, data: bytes) -> bytes:
        document = json.loads(data)
        for metadata in document if isinstance(document, list) else [document]:
            if metadata["id"] == self.experiment:
                metadata.update(port=self.port, pid=self._holder_pid())
        return json.dumps(document).encode()

    def _await_trial(self, resource: str) -> None:
        """Wait for the trial to end: NNI responds when its process is gone."""
        deadline = time.monotonic() + TRIAL_STOP_WITHIN_S
        while time.monotonic() < deadline:
            status, _, data = self._forward("GET", resource)
            if status != 200 or json.loads(data)["status"] != "RUNNING":
                return
            time.sleep(POLL_S)

    # --- the holder ------------------------------------------------------------------------------------------

    def _holder_pid(self) -> int:
        """Return the pid of the holder, started if needed. The holder ends with this process. A client that could not
        stop the experiment kills the holder; the next call starts a new one."""
        with self._lock:
            if self._holder is None or self._holder.poll() is not None:
                self._holder = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", HOLDER_SCRIPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                # Reaped as soon as it ends: clients take a zombie for a running process.
                threading.Thread(target=self._holder.wait, daemon=True).start()
            return self._holder.pid

    def _release(self) -> None:
        with self._lock:
            if self._holder is not None and self._holder.stdin is not None:
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
            status, _, data = self._forward("GET", "check-status")
            if status == 200 and json.loads(data)["status"] != "STOPPING":
                self.closing_message = "The experiment has ended."
                break
            if status in (401, 403, 404):  # a token that was revoked, an experiment in the trash
                self.closing_message = f"The experiment is no longer accessible: {_error_text(data)}"
                break
            time.sleep(POLL_S)
        self._release()
        self._server.shutdown()

    # --- the console -----------------------------------------------------------------------------------------

    def _require(self, method: str, path: str) -> bytes:
        """Return the body of the response. Raise trialdeck.Error with the console's message."""
        status, _, data = self._forward(method, path)
        if status == 200:
            return data
        raise errors.BY_STATUS.get(status, errors.Error)(_error_text(data), status=status)

    def _forward(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        url = f"{self.console.url}/api/v1/experiments/{self.experiment}/nni/{path}"
        headers = {"Accept": "application/json", "User-Agent": "trialdeck-nni-bridge"}
        if self.console.token:
            headers["Authorization"] = f"Bearer {self.console.token}"
        if method in ("PUT", "POST"):
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, body or None, headers, method=method)
        try:
            with self.console._opener.open(request, timeout=self.console.timeout_s) as response:
                return response.status, _content_type(response), response.read()
        except urllib.error.HTTPError as error:
            with error:
                data = error.read()
            if _content_type(error).startswith("application/json"):
                return error.code, _content_type(error), data
            return _error(502, f"The server at {self.console.url} ({error.code}) is not a Trialdeck console.")
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            return _error(502, f"The console at {self.console.url} cannot be reached: {reason}.")


class _Server(ThreadingHTTPServer):
    bridge: Bridge
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # of an idle connection

    def do_GET(self) -> None:
        path = self.path
        origin = urllib.parse.urlsplit(self.headers.get("Origin") or "http://localhost").netloc
        if not LOCAL.fullmatch(self.headers.get("Host") or "") or not LOCAL.fullmatch(origin):
            # A foreign web page whose host name resolves to this machine (DNS rebinding).
            return self._send(*_error(403, "Only programs on this machine may connect, as localhost."))
        body = self._body()
        if body is None:
            self.close_connection = True
            return self._send(
                *_error(
                    413, f"The request body needs a Content-Length of at most {MAX_BODY_BYTES >> 20} MiB."
                )
            )
        if not path.startswith(BASE) or ".." in path:
            page = self.server.bridge.page
            return self._send(
                *_error(
                    404, f"Not found: only NNI's API below {BASE} is available here. The console is at {page}"
                )
            )
        path = path[len(BASE) :]
        status, kind, data = self.server.bridge.respond(self.command, path, body)
        self._send(status, kind, data)
        return self.server.bridge.after_response(self.command, path, status)

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return None
        return self.rfile.read(int(length))

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing: the console has a log."""


def _error(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": message}).encode()


def _error_text(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return "Unreadable response of the console."


def _content_type(response: Any) -> str:
    return response.headers.get("Content-Type") or "application/json"


def run(console: Console, experiment: str, *, port: int) -> int:
    """Serve until the end, and print what happens. Raise trialdeck.Error if the bridge cannot start."""
    bridge = Bridge(console, experiment, port=port)

    def end(number: int, frame: FrameType | None) -> None:
        bridge.close()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"NNI's client can now connect to {experiment} ({bridge.page}):", flush=True)
    print(f"    nni.experiment.Experiment.connect({bridge.port})", flush=True)
    bridge.serve()
    print(bridge.closing_message, flush=True)
    return 0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("experiment", help="experiment ID")
    parser.add_argument(
        "--port", type=int, default=8080, help="port to listen on; 0: any free port (default: 8080)"
    )
    parser.add_argument(
        "--url", help="address of the console (default: TRIALDECK_URL, or the one running here)"
    )
    parser.add_argument("--token", help="API token (default: TRIALDECK_TOKEN)")

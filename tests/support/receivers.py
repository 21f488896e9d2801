"""Servers that notifications go to: HTTP and SMTP, as real ones as a test needs. Each keeps what it has received."""

from __future__ import annotations

import email
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpReceiver(ThreadingHTTPServer):
    """Answers each POST with `answers`, the last of which counts for all later ones: (status, headers)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.before_answer: Callable[[], object] = lambda: None
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # (path, headers, body)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/trialdeck"


class _Post(BaseHTTPRequestHandler):
    server: HttpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.before_answer()
        answers = self.server.answers
        status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), b""))
        self.send_error(405)

    def log_message(self, format: str, *args: object) -> None:
        """No log."""


class SmtpReceiver(socketserver.ThreadingTCPServer):
    """Accepts every message, unless `refusal` has the answer to RCPT."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.refusal = ""
        self.messages: list[Message] = []

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Smtp(socketserver.StreamRequestHandler):
    server: SmtpReceiver

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.messages.append(email.message_from_bytes(b"".join(lines)))
                self._say("250 accepted")
            elif verb == b"RCPT" and self.server.refusal:
                self._say(self.server.refusal)
            else:
                self._say("221 bye" if verb == b"QUIT" else "250 fine")
            if verb == b"QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Have the server answer in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A proxy before PostgreSQL that loses answers: a COMMIT has its effect, and whoever sent it never learns of it."""

from __future__ import annotations

import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

SOCKET = ".s.PGSQL.5432"
CHUNK = 1 << 16


class LossyProxy:
    """Listens on a socket of its own. `url` is the DATABASE_URL through it. Ends with the process."""

    def __init__(self, url: str) -> None:
        """`url`: DATABASE_URL of a server on a unix socket."""
        folder = dict(parse_qsl(urlsplit(url).query))["host"]
        self._server = Path(folder) / SOCKET
        self._folder = Path(tempfile.mkdtemp(prefix="lossy-"))
        self.url = url.replace(folder, str(self._folder))
        self._lock = threading.Lock()
        self._due = 0  # answers to lose
        self.lost = 0  # answers that were lost
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / SOCKET))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, count: int) -> None:
        """Lose the answers to the next `count` COMMITs, and their connections with them."""
        with self._lock:
            self._due = count

    def close(self) -> None:
        self._listener.close()
        (self._folder / SOCKET).unlink()
        self._folder.rmdir()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._server))
                except OSError:
                    client.close()
                    continue
                link = _Link(self, client, server)
                threading.Thread(target=link.pass_requests, daemon=True).start()
                threading.Thread(target=link.pass_answers, daemon=True).start()

    def takes(self, request: bytes) -> bool:
        """Whether the answer to this request is to be lost."""
        if b"COMMIT" not in request:
            return False
        with self._lock:
            if not self._due:
                return False
            self._due -= 1
            self.lost += 1
            return True


class _Link:
    """One connection."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.is_losing = False

    def pass_requests(self) -> None:
        with suppress(OSError):
            while request := self.client.recv(CHUNK):
                self.is_losing = self.proxy.takes(request)
                self.server.sendall(request)
        self._end()

    def pass_answers(self) -> None:
        with suppress(OSError):
            while (answer := self.server.recv(CHUNK)) and not self.is_losing:
                self.client.sendall(answer)
        self._end()

    def _end(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

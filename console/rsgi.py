"""The RSGI entry point behind a proxy: console.wsgi, after a check of the names of headers.

WSGI maps `X-Remote-User` and `X_Remote_User` to the same name, and the last one wins: a client could send the second
one through a proxy that replaces only the first. RSGI has the original names.

    granian --interface rsgi console.rsgi:application
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings

from console import wsgi

THREADS = 4
FORWARDED = (
    "FORWARDED",
    "X_FORWARDED_FOR",
    "X_FORWARDED_PROTO",
    "X_FORWARDED_HOST",
    "X_FORWARDED_PORT",
    "X_REAL_IP",
)
PLAIN_TEXT = [("content-type", "text/plain; charset=utf-8")]

log = logging.getLogger(__name__)
Wait = Callable[..., Any]  # calls an async function in the event loop, from a thread


class Body(io.RawIOBase):
    """The body of a request, read by a thread as it arrives."""

    def __init__(self, chunks: AsyncIterator[bytes], wait: Wait) -> None:
        self._chunks, self._wait, self._rest = chunks, wait, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = self._wait(anext, self._chunks, None)
            if chunk is None:
                return 0
            self._rest = bytes(chunk)
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class Application:
    """Runs the WSGI application in threads, like granian's own WSGI interface."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="web")
        trusted = {*FORWARDED, settings.REMOTE_USER_HEADER.upper().replace("-", "_")}
        self.trusted = {name for name in trusted if "_" in name}

    async def __call__(self, scope: Any, protocol: Any) -> None:
        if name := self.spoofed(scope.headers.keys()):
            sentence = f"The header {name} is not accepted: its name has an underscore in place of a dash.\n"
            protocol.response_str(400, PLAIN_TEXT, sentence)
            return
        loop = asyncio.get_running_loop()

        def wait(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
            async def called() -> Any:
                return await function(*arguments)

            return asyncio.run_coroutine_threadsafe(called(), loop).result()

        await loop.run_in_executor(self.threads, self.respond, scope, protocol, wait)

    def spoofed(self, names: Iterable[str]) -> str:
        """Return the first header name that WSGI would map to a header that only the proxy may send, or ""."""
        return next(
            (name for name in names if "_" in name and name.upper().replace("-", "_") in self.trusted), ""
        )

    def respond(self, scope: Any, protocol: Any, wait: Wait) -> None:
        status, headers = 500, PLAIN_TEXT

        def start_response(line: str, fields: list[tuple[str, str]], _: object = None) -> None:
            nonlocal status, headers
            status, headers = int(line.split(" ", 1)[0]), [(name.lower(), text) for name, text in fields]

        result = self.application(environ_of(scope, Body(protocol.__aiter__(), wait)), start_response)
        try:
            if not getattr(result, "streaming", False):
                protocol.response_bytes(status, headers, b"".join(result))
                return
            transport = protocol.response_stream(status, headers)
            for chunk in result:
                wait(transport.send_bytes, bytes(chunk))
        except (OSError, RuntimeError) as error:
            log.info("The client of %s is gone: %s", scope.path, error)
        finally:
            if close := getattr(result, "close", None):
                close()


def environ_of(scope: Any, body: Body) -> dict[str, Any]:
    """Return the WSGI environment of a request. Headers with an underscore in their name are omitted."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_SOFTWARE": "Granian",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BufferedReader(body, 1 << 16),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    for name, text in scope.headers.items():
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ and key != "HTTP_HOST" else text
    return environ


application = Application(wsgi.application)

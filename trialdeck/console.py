"""A console over HTTP: requests, pages of lists, and errors as one family."""

from __future__ import annotations  # for Python 3.8

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

TIMEOUT_S = 20.0
PATIENCE_S = 30.0  # how long a "too many requests" is waited for, all in all
LARGEST = 64 << 20


class Console:
    """The console at `url`, asked with `token`. Safe to share between threads: it keeps no connection."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = _checked(url)
        self.token = token
        self.timeout_s = timeout_s
        handlers: list[Any] = [_NoRedirect()]
        if self.is_here:
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy could not reach this machine
        self._opener = urllib.request.build_opener(*handlers)

    def __repr__(self) -> str:
        return f"<Console {self.url}>"

    @property
    def port(self) -> int:
        parts = urllib.parse.urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_here(self) -> bool:
        """Whether it is asked on this machine's own address."""
        return urllib.parse.urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    def get(self, path: str, **query: object) -> Any:
        """What is at `path` (below /api/v1/). Values of None are left out of the query. Raises trialdeck.Error."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(given)}" if given else path)

    def items(self, path: str, *, limit: int = 200, **query: object) -> Iterator[dict]:
        """All items of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, limit=limit, **query, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def post(self, path: str, body: object = None) -> Any:
        """Does it once, even when the connection breaks and it has to be asked for twice."""
        return self._ask("POST", path, body if body is not None else {}, key=os.urandom(16).hex())

    def patch(self, path: str, body: object, **query: object) -> Any:
        return self._ask("PATCH", f"{path}?{urllib.parse.urlencode(query)}" if query else path, body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def is_healthy(self, *, timeout_s: float = 2.0) -> bool:
        """Whether a console answers there, its database included."""
        try:
            with self._opener.open(f"{self.url}/healthz", timeout=timeout_s) as answer:
                return answer.status == 200 and answer.read(16) == b"ok\n"
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        request = self._request(method, path, body, key)
        deadline = time.monotonic() + PATIENCE_S
        is_second = False
        while True:
            try:
                return self._answer(request)
            except errors.TooManyRequests as error:
                pause_s = getattr(error, "after_s", 1.0)
                if time.monotonic() + pause_s > deadline:
                    raise
                time.sleep(pause_s)
            except _Broken as error:
                # Asked again only where asking twice does it once.
                if is_second or not (key or method == "GET"):
                    raise errors.Unreachable(str(error)) from None
                is_second = True

    def _request(self, method: str, path: str, body: object, key: str) -> urllib.request.Request:
        headers = {"Accept": "application/json", "User-Agent": "trialdeck"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if key:
            headers["Idempotency-Key"] = key
        data = None
        if method in ("POST", "PATCH"):
            headers["Content-Type"] = "application/json"
            data = to_json(body).encode()
        return urllib.request.Request(f"{self.url}/api/v1/{path}", data, headers, method=method)

    def _answer(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=self.timeout_s) as answer:
                return _read(answer, self.url)
        except urllib.error.HTTPError as error:
            with error:
                raise _error(error, self.url) from None
        except urllib.error.URLError as error:
            raise errors.Unreachable(self._unreachable(error.reason)) from None
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            raise _Broken(self._unreachable(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.Unreachable(self._unreachable(error)) from None

    def _unreachable(self, error: object) -> str:
        text = str(error)
        if "timed out" in text:
            return f"The console at {self.url} did not answer within {self.timeout_s:g} s."
        if isinstance(error, ConnectionRefusedError):
            return f"Nobody answers at {self.url}. Is the console running? (make up starts it)"
        return f"The console at {self.url} cannot be reached: {text or type(error).__name__}."


def to_json(value: object) -> str:
    """JSON text. Raises Invalid for what JSON cannot say."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.Invalid(f"This cannot be sent, because it is not plain JSON: {error}.") from None


class _Broken(Exception):
    """The connection ended before the answer came: it may have been done or not."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the token must not follow it to somebody else."""

    def redirect_request(self, *_: object) -> None:
        return None


def _checked(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    try:
        is_good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.query or parts.fragment or any(c <= " " for c in url):
        raise errors.Invalid(
            f"{url!r} is not the address of a console. Write http://127.0.0.1:8000, or https://deck.example.org."
        )
    return url.rstrip("/")


def _plain(value: object) -> object:
    """Numbers of numpy and the like, as Python's."""
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "__fspath__"):
        return os.fspath(value)  # type: ignore[call-overload]
    raise TypeError(f"{type(value).__name__} {value!r:.60}")


def _read(answer: Any, url: str) -> Any:
    data = bytearray()
    while piece := answer.read(1 << 16):  # older Pythons make room for all that is asked for
        data += piece
        if len(data) > LARGEST:
            raise errors.Unreachable(f"What {url} answers is larger than {LARGEST >> 20} MiB.")
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise errors.Unreachable(
            f"What answers at {url} is not a Trialdeck console, or one that has no API yet."
        ) from None


def _error(answer: urllib.error.HTTPError, url: str) -> errors.Error:
    try:
        said = json.loads(answer.read(1 << 20))
        detail, fields = str(said["detail"]), said.get("fields") or {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, http.client.HTTPException):
        said, detail, fields = None, "", {}
    if said is None:
        return _strange(answer, url)
    if not isinstance(fields, dict) or not all(isinstance(said, list) for said in fields.values()):
        fields = {}
    kind = errors.BY_STATUS.get(answer.code, errors.Error)
    error = kind(detail, status=answer.code, fields={str(k): list(map(str, v)) for k, v in fields.items()})
    if answer.code == 429:
        after = answer.headers.get("Retry-After", "")
        error.after_s = float(after) if after.isdigit() else 1.0  # type: ignore[attr-defined]
    return error


def _strange(answer: urllib.error.HTTPError, url: str) -> errors.Error:
    """An error that is not in the API's words: of a proxy, of a login page, of something else."""
    if answer.code in (502, 503, 504):
        return errors.Unavailable(
            f"The console at {url} is not available now ({answer.code}).", status=answer.code
        )
    if 300 <= answer.code < 400:
        where = answer.headers.get("Location", "elsewhere")
        return errors.Unreachable(
            f"{url} sends on to {where}. Use the address of the console itself, https included.",
            status=answer.code,
        )
    return errors.Unreachable(
        f"What answers at {url} ({answer.code}) is not a Trialdeck console, or one that has no API yet.",
        status=answer.code,
    )

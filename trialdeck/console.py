"""HTTP client of a console: requests, lists, errors."""

from __future__ import annotations  # for Python 3.8

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

TIMEOUT_S = 20.0
FILE_TIMEOUT_S = 120.0  # without a byte, while a file is sent or received
RATE_LIMIT_WAIT_S = 30.0  # total time to wait for a rate limit
MAX_RESPONSE_BYTES = 64 << 20


class Console:
    """The console at `url`, with `token`. Thread-safe: no connection is kept open."""

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
        parsed_url = urllib.parse.urlsplit(self.url)
        return parsed_url.port or (443 if parsed_url.scheme == "https" else 80)

    @property
    def is_here(self) -> bool:
        """Whether the address is this machine's own."""
        return urllib.parse.urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    def get(self, path: str, **query: object) -> Any:
        """GET `path` below /api/v1/. Query values of None are omitted; lists are repeated parameters. Raise
        trialdeck.Error."""
        values = {name: value for name, value in query.items() if value is not None}
        return self._request(
            "GET", f"{path}?{urllib.parse.urlencode(values, doseq=True)}" if values else path
        )

    def items(self, path: str, *, limit: int = 200, **query: object) -> Iterator[dict]:
        """Yield all items of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, limit=limit, **query, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def post(self, path: str, body: object = None) -> Any:
        """POST once: a retry after a broken connection has the same idempotency key."""
        return self._request("POST", path, body if body is not None else {}, key=os.urandom(16).hex())

    def patch(self, path: str, body: object, **query: object) -> Any:
        return self._request("PATCH", f"{path}?{urllib.parse.urlencode(query)}" if query else path, body)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def upload(self, path: str, file: Path) -> Any:
        """POST a file as the request body, piece by piece. It is not repeated after a broken connection."""
        size = file.stat().st_size
        headers = {**self._headers(), "Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with file.open("rb") as stream:
            request = urllib.request.Request(
                f"{self.url}/api/v1/{path}", _pieces(stream, size), headers, method="POST"
            )
            try:
                return self._send(request, timeout_s=FILE_TIMEOUT_S)
            except _Broken as error:
                raise errors.Unreachable(str(error)) from None

    def download(self, path: str, target: Path) -> None:
        """GET a file and store it at `target`, whole or not at all. Raise trialdeck.Error, OSError."""
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", None, self._headers())
        try:
            with draft.open("wb") as file:
                self._send(request, timeout_s=FILE_TIMEOUT_S, read=lambda response: _copy(response, file))
            draft.replace(target)
        except _Broken as error:
            raise errors.Unreachable(str(error)) from None
        except OSError as error:
            if error.filename == str(draft):  # the user named the target
                error.filename, error.filename2 = str(target), None
            raise
        finally:
            if draft.exists():
                draft.unlink()

    def is_healthy(self, *, timeout_s: float = 2.0) -> bool:
        """Return whether a console responds and its database works."""
        try:
            with self._opener.open(f"{self.url}/healthz", timeout=timeout_s) as response:
                return response.status == 200 and response.read(16) == b"ok\n"
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _request(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        request = self._build(method, path, body, key)
        deadline = time.monotonic() + RATE_LIMIT_WAIT_S
        is_retry = False
        while True:
            try:
                return self._send(request)
            except errors.TooManyRequests as error:
                pause_s = error.retry_after_s
                if time.monotonic() + pause_s > deadline:
                    raise
                time.sleep(pause_s)
            except _Broken as error:
                # Retried only if a repeated request has no second effect.
                if is_retry or not (key or method == "GET"):
                    raise errors.Unreachable(str(error)) from None
                is_retry = True

    def _build(self, method: str, path: str, body: object, key: str) -> urllib.request.Request:
        headers = self._headers()
        if key:
            headers["Idempotency-Key"] = key
        data = None
        if method in ("POST", "PATCH"):
            headers["Content-Type"] = "application/json"
            data = to_json(body).encode()
        return urllib.request.Request(f"{self.url}/api/v1/{path}", data, headers, method=method)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "trialdeck"}
        return {**headers, "Authorization": f"Bearer {self.token}"} if self.token else headers

    def _send(
        self,
        request: urllib.request.Request,
        *,
        timeout_s: float | None = None,
        read: Callable[[Any], Any] | None = None,
    ) -> Any:
        try:
            with self._opener.open(request, timeout=timeout_s or self.timeout_s) as response:
                return read(response) if read else _read(response, self.url)
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
            return f"The console at {self.url} did not respond within {self.timeout_s:g} s."
        if isinstance(error, ConnectionRefusedError):
            return f"No console is running at {self.url}. Start one with `trialdeck up`."
        return f"The console at {self.url} cannot be reached: {text or type(error).__name__}."


def to_json(value: object) -> str:
    """Return JSON text. Raise Invalid for values that JSON cannot represent."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        _check_finite(value, ())
        raise errors.Invalid(f"Not representable as JSON: {error}.") from None


def _check_finite(value: object, path: tuple[str | int, ...]) -> None:
    """Raise Invalid, with its field, for the first number in this document that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        field, *rest = path[1:] if path[:1] == ("settings",) and len(path) > 1 else path or ("",)
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in rest).lstrip(".")
        message = f"Must be a finite number, not {value}."
        raise errors.Invalid("", fields={str(field): [f"{place}: {message}" if place else message]})
    if isinstance(value, dict):
        for key, item in value.items():
            _check_finite(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_finite(item, (*path, index))
    elif hasattr(value, "tolist"):
        _check_finite(value.tolist(), path)


class _Broken(Exception):
    """The connection ended before the response arrived: the request may or may not have had an effect."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the token must not be sent to another server."""

    def redirect_request(self, *_: object) -> None:
        return None


def _checked(url: str) -> str:
    parsed_url = urllib.parse.urlsplit(url)
    try:
        is_good = parsed_url.scheme in ("http", "https") and parsed_url.hostname and (parsed_url.port or 1)
    except ValueError:
        is_good = False
    if (
        not is_good
        or parsed_url.username
        or parsed_url.query
        or parsed_url.fragment
        or any(c <= " " for c in url)
    ):
        raise errors.Invalid(
            f"Invalid console address {url!r}. Use the form http://127.0.0.1:8000 or https://deck.example.org."
        )
    return url.rstrip("/")


def _plain(value: object) -> object:
    """Convert numpy values and similar types to plain Python values."""
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r:.60}")


def _pieces(file: Any, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file, also of one that grows meanwhile."""
    while size and (piece := file.read(min(size, 1 << 18))):
        size -= len(piece)
        yield piece


def _copy(response: Any, file: Any) -> None:
    while piece := response.read(1 << 18):
        file.write(piece)


def _read(response: Any, url: str) -> Any:
    data = bytearray()
    while piece := response.read(1 << 16):  # older Pythons allocate the whole requested size
        data += piece
        if len(data) > MAX_RESPONSE_BYTES:
            raise errors.Unreachable(f"The response of {url} is larger than {MAX_RESPONSE_BYTES >> 20} MiB.")
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise errors.Unreachable(
            f"The server at {url} is not a Trialdeck console, or has no API yet."
        ) from None


def _error(response: urllib.error.HTTPError, url: str) -> errors.Error:
    try:
        body = json.loads(response.read(1 << 20))
        detail, fields = str(body["detail"]), body.get("fields") or {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, http.client.HTTPException):
        return _foreign_error(response, url)
    if not isinstance(fields, dict) or not all(isinstance(messages, list) for messages in fields.values()):
        fields = {}
    kind = errors.BY_STATUS.get(response.code, errors.Error)
    error = kind(detail, status=response.code, fields={str(k): list(map(str, v)) for k, v in fields.items()})
    if isinstance(error, errors.TooManyRequests):
        after = response.headers.get("Retry-After", "")
        error.retry_after_s = float(after) if after.isdigit() else 1.0
    return error


def _foreign_error(response: urllib.error.HTTPError, url: str) -> errors.Error:
    """Return an error for a response that is not the API's: of a proxy, a login page, another server."""
    if response.code in (502, 503, 504):
        return errors.Unavailable(
            f"The console at {url} is temporarily unavailable ({response.code}).", status=response.code
        )
    if 300 <= response.code < 400:
        target = response.headers.get("Location", "another address")
        return errors.Unreachable(
            f"{url} redirects to {target}. Use the address of the console itself, including https.",
            status=response.code,
        )
    return errors.Unreachable(
        f"The server at {url} ({response.code}) is not a Trialdeck console, or has no API yet.",
        status=response.code,
    )

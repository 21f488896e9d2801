"""Requests against real servers that answer well, badly, late or not at all: one family of errors, no hang."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.processes import free_port
from trialdeck import Console, Error, errors


class Server:
    """Answers each request as `say(handler)` does; keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict, str]] = []
        self.say: Callable[[BaseHTTPRequestHandler], None] = lambda handler: answer(handler, 200, {})
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802  as the standard library calls it
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                server.requests.append((self.command, self.path, dict(self.headers), body))
                server.say(self)

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()


def answer(handler: BaseHTTPRequestHandler, status: int, body: object, **headers: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_it_asks_with_its_token_and_reads_lists_to_their_end(server):
    pages = {"": {"items": [1, 2], "next": "b+/"}, "b%2B%2F": {"items": [3], "next": None}}
    server.say = lambda handler: answer(handler, 200, pages[handler.path.partition("cursor=")[2]])
    console = Console(server.url + "/", "td_secret")
    assert list(console.items("experiments/7f3k2m9q/trials", state="failed")) == [1, 2, 3]
    method, path, headers, _ = server.requests[0]
    assert (method, path) == ("GET", "/api/v1/experiments/7f3k2m9q/trials?limit=200&state=failed")
    assert headers["Authorization"] == "Bearer td_secret"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 503])
def test_an_error_has_its_class_its_sentence_and_its_fields(server, status):
    body = {"error": "word", "detail": "So it is.", "fields": {"concurrency": ["This must be at least 1."]}}
    server.say = lambda handler: answer(handler, status, body)
    with pytest.raises(errors.BY_STATUS[status]) as error:
        Console(server.url).patch("experiments/7f3k2m9q", {"settings": {"concurrency": 0}})
    assert isinstance(error.value, Error)
    assert (error.value.status, error.value.detail) == (status, "So it is.")
    assert error.value.fields == {"concurrency": ["This must be at least 1."]}
    assert str(error.value) == "So it is. (concurrency: This must be at least 1.)"
    assert error.value.__cause__ is None


def test_a_post_is_done_once_though_the_connection_broke(server):
    """The second time it carries the same key, by which the console knows it again."""

    def say(handler: BaseHTTPRequestHandler) -> None:
        if len(server.requests) == 1:
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            answer(handler, 201, {"id": "7f3k2m9q"})

    server.say = say
    assert Console(server.url).post("workspaces/lab/experiments", {"name": "é"}) == {"id": "7f3k2m9q"}
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.requests}
    assert len(server.requests) == 2 and len(keys) == 1
    with pytest.raises(errors.Unreachable):
        server.requests.clear()
        Console(server.url).patch("experiments/7f3k2m9q", {})  # has no key: asked once
    assert len(server.requests) == 1


def test_too_many_requests_are_waited_for(server):
    def say(handler: BaseHTTPRequestHandler) -> None:
        if len(server.requests) == 1:
            answer(handler, 429, {"error": "too_many_requests", "detail": "Slowly."}, Retry_After="0")
        else:
            answer(handler, 200, {"user": "alice"})

    server.say = say
    assert Console(server.url).get("me") == {"user": "alice"}
    server.requests.clear()
    server.say = lambda handler: answer(handler, 429, {"detail": "Slowly."}, Retry_After="3600")
    with pytest.raises(errors.TooManyRequests, match="Slowly."):
        Console(server.url).get("me")


def test_nobody_there_is_one_sentence():
    with pytest.raises(errors.Unreachable, match="No console is running at http://127.0.0.1:.*trialdeck up"):
        Console(f"http://127.0.0.1:{free_port()}").get("me")


def test_one_that_does_not_answer_is_given_up(server):
    waiting = threading.Event()
    server.say = lambda handler: waiting.wait(30)
    try:
        with pytest.raises(errors.Unreachable, match=r"did not respond within 0.2 s"):
            Console(server.url, timeout_s=0.2).get("me")
        assert not Console(server.url).is_healthy(timeout_s=0.2)
    finally:
        waiting.set()


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>a router</html>"), (404, b"nothing"), (500, b'["?"]'), (200, b"\xff")]
)
def test_something_else_that_answers_is_named(server, status, body):
    server.say = lambda handler: answer(handler, status, body)
    with pytest.raises(errors.Unreachable, match="is not a Trialdeck console"):
        Console(server.url).get("me")


def test_the_token_does_not_follow_a_redirect(server):
    other = Server()
    server.say = lambda handler: answer(handler, 302, b"", Location=f"{other.url}/api/v1/me")
    with pytest.raises(errors.Unreachable, match="redirects to"):
        Console(server.url, "td_secret").get("me")
    assert other.requests == []
    other.http.shutdown()
    other.http.server_close()


@pytest.mark.parametrize(
    "url",
    ["", "8000", "localhost:8000", "ftp://a", "http://", "http://a:b@c", "http://a:99999", "http://a b"],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(errors.Invalid, match="Invalid console address"):
        Console(url)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": object()}, "Not representable as JSON"),
        ({1, "a"}, "Not representable as JSON"),
        (float("nan"), "^value: Must be a finite number, not nan"),
        ({"a": [1, float("inf")]}, r"^value: a\[1\]: Must be a finite number, not inf"),
    ],
)
def test_what_is_no_json_is_refused(value, message):
    with pytest.raises(errors.Invalid, match=message):
        Console("http://127.0.0.1:9").post("x", {"value": value})

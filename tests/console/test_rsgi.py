"""Behind a proxy, a real web server: no client writes the proxy's headers in another spelling."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.support import processes

pytestmark = pytest.mark.once


@pytest.fixture
def console(fresh):
    env = {**fresh, "TRIALDECK_TRUSTED_PROXIES": "127.0.0.1", "TRIALDECK_REMOTE_USER_HEADER": "X-Remote-User"}
    with processes.Console(env, "--no-demo") as console:
        console.says(r"Trialdeck is at http://127\.0\.0\.1:\d+/", within=180)
        yield console


def send(
    console, path: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b""
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=30)
    connection.putrequest(method, path)
    for name, text in (*headers, ("Content-Length", str(len(body)))):
        connection.putheader(name, text)
    connection.endheaders(body or None)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_a_header_in_another_spelling_is_refused(console):
    """TD-Z4: alone, before and after the proxy's own, in any case; the address and the scheme likewise."""
    bob = ("X-Remote-User", "bob")
    for spelling in ("X_Remote_User", "x_remote_user", "X-Remote_User", "X_REMOTE-USER"):
        for headers in ([(spelling, "owner")], [(spelling, "owner"), bob], [bob, (spelling, "owner")]):
            status, content = send(console, "/api/v1/me", *headers)
            assert status == 400 and b"is not accepted" in content, headers
    for spelling in ("X_Forwarded_For", "X_Forwarded_Proto", "X_FORWARDED-HOST"):
        assert send(console, "/healthz", (spelling, "192.0.2.1"))[0] == 400
    assert send(console, "/healthz", ("Any_Other", "x")) == (200, b"ok\n"), "left out, as other servers do"

    # And the server behaves as the one without a proxy.
    status, content = send(console, "/api/v1/me", bob)
    assert status == 200 and json.loads(content)["user"] == "bob"
    assert send(console, "/api/v1/me")[0] == 401
    css = (processes.ROOT / "static" / "css" / "base.css").read_bytes()
    assert len(send(console, "/sign-in/")[1]) > 1000
    assert send(console, "/static/css/base.css", method="HEAD") == (200, b"")
    status, content = send(console, "/static/css/base.css")
    assert (status, content) == (200, css)
    status, content = send(console, "/static/css/base.css", ("Range", "bytes=10-19"))
    assert (status, content) == (206, css[10:20])
    json_body = ("Content-Type", "application/json")
    status, content = send(
        console, "/api/v1/queues/default/pause", bob, json_body, method="POST", body=b"{}" * 9
    )
    assert status == 403 and b"CSRF" in content

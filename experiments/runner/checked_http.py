"""Open URLs that users enter. Hosts that the allow-list does not permit are refused, at the first request and at each
redirect, and connections are made only to checked addresses."""

import http.client
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from experiments.runner import allow_lists

MOST_REDIRECTS = 5
_PORTS = {"https": 443, "http": 80}


def open_url(url: str, *, timeout_s: float) -> Any:
    """Return the response to a GET, as `urllib.request.urlopen` does; redirects are followed.

    Raise NotAllowed, OSError (`URLError` among them), HTTPException or ValueError.
    """
    _check(url)
    opener = urllib.request.build_opener(_CheckedRedirects, _PinnedHTTP, _PinnedHTTPS)
    return opener.open(url, timeout=timeout_s)


def host_and_port(url: str) -> tuple[str, int]:
    """Return host and port of an http or https URL. Raise ValueError for any other URL."""
    parsed_url = urlsplit(url)
    if parsed_url.scheme not in _PORTS or not parsed_url.hostname:
        raise ValueError(f"{url} is not an http or https URL")
    return parsed_url.hostname, parsed_url.port or _PORTS[parsed_url.scheme]


def _check(url: str) -> None:
    allow_lists.check_host(*host_and_port(url))


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _connect(address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> socket.socket:
    """Connect as `socket.create_connection` does, but only to allowed addresses. The name is resolved only once,
    because another lookup may return another address."""
    host, port = address
    error = OSError(f"{host} has no address")
    for each in allow_lists.addresses_of(host, port):
        try:
            return socket.create_connection((str(each), port), timeout, source_address)
        except OSError as failure:
            error = failure
    raise error


class _HTTPConnection(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._create_connection = _connect


class _HTTPSConnection(http.client.HTTPSConnection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._create_connection = _connect


# A request through a proxy connects to the proxy, which the administrator chose and which resolves the name.


class _PinnedHTTP(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(http.client.HTTPConnection if req.has_proxy() else _HTTPConnection, req)


class _PinnedHTTPS(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        # For a tunnel through a proxy, `_tunnel_host` is the name of the host, and `host` that of the proxy.
        is_proxied = req.has_proxy() or bool(req._tunnel_host)
        return self.do_open(http.client.HTTPSConnection if is_proxied else _HTTPSConnection, req)

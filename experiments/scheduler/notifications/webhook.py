"""Post to webhooks. A URL may name any machine, so addresses within the network of the console are refused, at the
moment of the connection and after the name was resolved; redirects are not followed."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from django.conf import settings

from trialdeck import __version__

TIMEOUT_S = 10.0  # of one step: resolving, connecting, reading
DEADLINE_S = 20.0  # of the whole request: an endpoint that sends a byte now and then must not block a thread
MOST_ADDRESSES = 4  # of one name that are tried
MOST_READ = 1000  # bytes of a response

# Networks whose IPv6 addresses stand for IPv4 ones: NAT64, 6to4, Teredo, IPv4-compatible.
TRANSLATED = [
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """The URL leads to an address that is not allowed. `str()` says why."""


class NotDelivered(Exception):
    """The receiver could not be reached, or did not accept the message. `str()` says why."""


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the header `Trialdeck-Signature`: `t=<seconds since 1970>,v1=<HMAC-SHA256 of "t.body", hexadecimal>`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"


def post(url: str, body: bytes, headers: dict[str, str]) -> str:
    """Post a document. Return the status, `200 OK`. Raise `NotDelivered`, or `AddressRefused`."""
    parsed_url = urlsplit(url)
    host = parsed_url.hostname or ""
    port = parsed_url.port or (443 if parsed_url.scheme == "https" else 80)
    connection = _Connection(host, port, is_encrypted=parsed_url.scheme == "https")
    target = (parsed_url.path or "/") + (f"?{parsed_url.query}" if parsed_url.query else "")
    everything = {"Content-Type": "application/json", "User-Agent": f"Trialdeck/{__version__}", **headers}
    watchdog = threading.Timer(DEADLINE_S, connection.abort)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target, body=body, headers=everything)
        response = connection.getresponse()
        response.read(MOST_READ)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDelivered(_reason(error, connection.was_aborted)) from None
    finally:
        watchdog.cancel()
        connection.close()
    answer = f"{response.status} {response.reason}".strip()[:100]
    if 300 <= response.status < 400:
        raise NotDelivered(f"{answer}: redirects are not followed. Enter the URL that the redirect leads to.")
    if not 200 <= response.status < 300:
        raise NotDelivered(answer)
    return answer


class _Connection(http.client.HTTPConnection):
    """A connection to exactly the address that was checked after resolving the name."""

    def __init__(self, host: str, port: int, *, is_encrypted: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self.default_port = 443 if is_encrypted else 80
        self._is_encrypted = is_encrypted
        self.was_aborted = False

    def connect(self) -> None:
        plain = _connected(allowed_addresses(self.host, self.port), self.port)
        self.sock = plain
        if self._is_encrypted:
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)

    def abort(self) -> None:
        """Close the connection, even while it is waiting."""
        self.was_aborted = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def allowed_addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of a name, if all of them may be posted to. Raise `AddressRefused`, or `OSError`."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is too long, or empty
        raise NotDelivered(f"{host} is not a valid host name.") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in entries]
    for address in addresses:
        if not is_allowed(address):
            raise AddressRefused(
                f"{host} resolves to {address}, which is not a public address. An administrator can "
                "allow its network in "
                "TRIALDECK_WEBHOOK_NETWORKS."
            )
    return list(dict.fromkeys(addresses))[:MOST_ADDRESSES]


def is_allowed(address: Address) -> bool:
    """Return whether messages may be sent to this address: public, or in a network that an administrator allows."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    if any(plain in network for network in settings.WEBHOOK_NETWORKS):
        return True
    if plain.is_multicast or plain.is_reserved or plain.is_unspecified or not plain.is_global:
        return False
    return not any(plain in network for network in TRANSLATED if network.version == plain.version)


def _connected(addresses: list[Address], port: int) -> socket.socket:
    error: OSError = OSError("the name has no address")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), timeout=TIMEOUT_S)
        except OSError as failure:
            error = failure
    raise error


def _reason(error: Exception, was_aborted: bool) -> str:
    if was_aborted:
        return f"no complete answer within {DEADLINE_S:g} s"
    if isinstance(error, TimeoutError):
        return f"timed out after {TIMEOUT_S:g} s"
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be resolved: {error.strerror}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"invalid certificate: {error.verify_message}"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__)[:300]

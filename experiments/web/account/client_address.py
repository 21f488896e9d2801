"""The IP address of a client, also behind trusted proxies."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return the client address of a request: behind trusted proxies, the address that the outermost of them saw."""
    address = request.META.get("REMOTE_ADDR", "")
    if is_trusted(address):
        for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            if not hop.strip() or not is_trusted(address):
                break
            address = hop.strip()
    return address[:64]


def is_trusted(address: str) -> bool:
    """Return whether the address is one of TRIALDECK_TRUSTED_PROXIES."""
    try:
        at = ip_address(address)
    except ValueError:
        return False
    at = getattr(at, "ipv4_mapped", None) or at
    return any(at in network for network in settings.TRUSTED_PROXIES)

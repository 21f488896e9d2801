"""The OpenID provider that the environment names, and what it tells about itself. See docs/people.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512")
KNOWN_S = 3600  # how long what it tells about itself is believed
TIMEOUT_S = 10
ON_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Provider:
    """Who vouches for people. `knows_by` (email, username): how an account is found that was here before;
    `admits_anybody`: somebody new gets an account without any right."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    scopes: str
    algorithm: str
    knows_by: str
    admits_anybody: bool

    def told(self) -> dict:
        """Its discovery document, asked for once an hour. Raises requests' errors; ValueError for another's."""
        return cache.get_or_set(f"openid:{self.issuer}", self._discover, KNOWN_S)

    def _discover(self) -> dict:
        import requests  # most installations never need it

        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = requests.get(address, timeout=TIMEOUT_S)
        answer.raise_for_status()
        told = answer.json()
        if told["issuer"].rstrip("/") != self.issuer.rstrip("/"):
            raise ValueError(f"{address} speaks for {told['issuer']}")
        return told


def of(environ: Mapping[str, str]) -> Provider | None:
    """What TRIALDECK_OIDC_… say; None without an issuer. Raises `ImproperlyConfigured` with one sentence."""

    def chosen(name: str, default: str = "") -> str:
        return environ.get(f"TRIALDECK_OIDC_{name}", "").strip() or default

    issuer = chosen("ISSUER")
    if not issuer:
        return None
    at = urlsplit(issuer)
    if not at.hostname or not (
        at.scheme == "https" or (at.scheme == "http" and at.hostname in ON_THIS_MACHINE)
    ):
        raise ImproperlyConfigured(
            "TRIALDECK_OIDC_ISSUER must be an address such as https://login.example.org."
        )
    if not chosen("CLIENT_ID") or not chosen("CLIENT_SECRET"):
        raise ImproperlyConfigured(
            "TRIALDECK_OIDC_ISSUER needs TRIALDECK_OIDC_CLIENT_ID and TRIALDECK_OIDC_CLIENT_SECRET."
        )
    for name, known in (
        ("ALGORITHM", ALGORITHMS),
        ("KNOWS_BY", ("email", "username")),
        ("ADMITS", ("known", "anybody")),
    ):
        if chosen(name, known[0]) not in known:
            raise ImproperlyConfigured(f"TRIALDECK_OIDC_{name} must be one of: {', '.join(known)}.")
    return Provider(
        issuer=issuer,
        client_id=chosen("CLIENT_ID"),
        client_secret=chosen("CLIENT_SECRET"),
        name=chosen("NAME", at.hostname),
        scopes=chosen("SCOPES", "openid profile email"),
        algorithm=chosen("ALGORITHM", "RS256"),
        knows_by=chosen("KNOWS_BY", "email"),
        admits_anybody=chosen("ADMITS", "known") == "anybody",
    )

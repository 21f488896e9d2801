"""The OpenID provider from the environment, and its discovery document. See docs/admin/people.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512")
ROLES, ADMINISTRATOR = ("viewer", "operator", "owner"), "administrator"
METADATA_MAX_AGE_S = 3600
TIMEOUT_S = 10
ON_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Provider:
    """The configuration of an OpenID provider. `knows_by` (email or username) is how existing accounts are matched;
    `admits_anybody`: unknown users get an account without permissions."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    scopes: str
    algorithm: str
    knows_by: str
    admits_anybody: bool
    groups_claim: str = "groups"
    groups: tuple[
        tuple[str, str, str], ...
    ] = ()  # (group, workspace's slug, role); the slug "" for administrators

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document, cached for an hour. Raise requests' errors or ValueError."""
        key = f"openid:{self.issuer}"
        metadata: dict[str, Any] | None = cache.get(key)
        if metadata is None:
            metadata = self._discover()
            cache.set(key, metadata, METADATA_MAX_AGE_S)
        return metadata

    def _discover(self) -> dict[str, Any]:
        import requests  # not needed in most installations

        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        response = requests.get(address, timeout=TIMEOUT_S)
        response.raise_for_status()
        metadata = response.json()
        if metadata["issuer"].rstrip("/") != self.issuer.rstrip("/"):
            raise ValueError(f"{address} has the issuer {metadata['issuer']}")
        return metadata


def from_environment(environ: Mapping[str, str]) -> Provider | None:
    """Return the provider configured by TRIALDECK_OIDC_…, None without an issuer. Raise ImproperlyConfigured."""

    def chosen(name: str, default: str = "") -> str:
        return environ.get(f"TRIALDECK_OIDC_{name}", "").strip() or default

    issuer = chosen("ISSUER")
    if not issuer:
        return None
    at = urlsplit(issuer)
    if not at.hostname or not (
        at.scheme == "https" or (at.scheme == "http" and at.hostname in ON_THIS_MACHINE)
    ):
        raise ImproperlyConfigured("TRIALDECK_OIDC_ISSUER must be a URL such as https://login.example.org.")
    if not chosen("CLIENT_ID") or not chosen("CLIENT_SECRET"):
        raise ImproperlyConfigured(
            "TRIALDECK_OIDC_ISSUER requires TRIALDECK_OIDC_CLIENT_ID and TRIALDECK_OIDC_CLIENT_SECRET."
        )
    for name, options in (
        ("ALGORITHM", ALGORITHMS),
        ("KNOWS_BY", ("email", "username")),
        ("ADMITS", ("known", "anybody")),
    ):
        if chosen(name, options[0]) not in options:
            raise ImproperlyConfigured(f"TRIALDECK_OIDC_{name} must be one of: {', '.join(options)}.")
    return Provider(
        issuer=issuer,
        client_id=chosen("CLIENT_ID"),
        client_secret=chosen("CLIENT_SECRET"),
        name=chosen("NAME", at.hostname),
        scopes=chosen("SCOPES", "openid profile email"),
        algorithm=chosen("ALGORITHM", "RS256"),
        knows_by=chosen("KNOWS_BY", "email"),
        admits_anybody=chosen("ADMITS", "known") == "anybody",
        groups_claim=chosen("GROUPS_CLAIM", "groups"),
        groups=_groups(chosen("GROUPS")),
    )


def _groups(text: str) -> tuple[tuple[str, str, str], ...]:
    """Parse a mapping such as `lab=vision:operator, admins=administrator`. Raise ImproperlyConfigured."""
    mapping = []
    for part in filter(None, map(str.strip, text.split(","))):
        group, equals, target = (side.strip() for side in part.rpartition("="))
        slug, _, role = target.rpartition(":")
        is_valid = (role in ROLES and slug) or target == ADMINISTRATOR
        if not (equals and group and is_valid):
            raise ImproperlyConfigured(
                f"TRIALDECK_OIDC_GROUPS: {part!r} must look like group=workspace:role, where the role is one of "
                f"{', '.join(ROLES)}, or like group={ADMINISTRATOR}."
            )
        mapping.append((group, slug, role))
    return tuple(mapping)

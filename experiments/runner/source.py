"""Where code comes from: repositories and references as people write them, checked before git sees them."""

import re
from urllib.parse import urlsplit

PROTOCOLS = ("https", "http", "ssh", "git", "file")
REFERENCE_KINDS = ("branch", "tag", "commit")

_SCP = re.compile(r"(?:[A-Za-z0-9._~-]+@)?[A-Za-z0-9.\[\]:_-]+:(?!//)[^\s].*")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
# What git refuses in a name (git-check-ref-format), and what could be taken for an option or a revision's grammar.
_NO_NAME = re.compile(r"^[-/.]|[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|/$|\.$|\.lock$|^@$|/\.")


def check_repository(address: str) -> str:
    """What is wrong with this address of a repository, as a sentence; empty when nothing is.

    A URL (https, http, ssh, git, file), `user@host:path`, or the whole path of a folder on the worker's machine.
    """
    if address.startswith("-"):
        return "A repository's address must not begin with a minus: git would take it for an option."
    if re.search(r"[\x00-\x20\x7f]", address):
        return "A repository's address has no spaces or control characters in it."
    if address.startswith(("/", "~/")):
        return ""
    scheme, separator, _ = address.partition("://")
    if separator:
        if scheme.casefold() not in PROTOCOLS:
            return f"git may fetch by {', '.join(PROTOCOLS)} here, not by {scheme[:20]!r}."
        return _check_url(address)
    if "::" in address:
        return "Addresses with a helper (transport::address) are not fetched: they could run any command."
    if _SCP.fullmatch(address):
        return (
            "" if not address.partition(":")[2].startswith("-") else "The path must not begin with a minus."
        )
    return "Write a URL (https://…, ssh://…), user@host:path, or the whole path of a folder."


def _check_url(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, password = parts.hostname, parts.password
    except ValueError:
        return "This is not a URL."
    if parts.scheme.casefold() != "file" and not host:
        return "There is no host in this URL."
    if (host or "").startswith("-"):
        return "A host's name must not begin with a minus."
    if password:
        return (
            "Leave the password out: everybody in the workspace could read it here. Credentials belong into the "
            "worker's environment."
        )
    return ""


def check_reference(kind: str, reference: str) -> str:
    """What is wrong with this branch, tag or commit, as a sentence; empty when nothing is.

    An empty branch means the repository's default branch.
    """
    if kind not in REFERENCE_KINDS:
        return f"This must be one of: {', '.join(REFERENCE_KINDS)}."
    if not reference:
        return "" if kind == "branch" else f"Give the {kind}."
    if kind == "commit" and not _COMMIT.fullmatch(reference):
        return "A commit is its hash: 7 to 64 digits and letters from a to f."
    if _NO_NAME.search(reference):
        return f"git has no {kind} of such a name."
    return ""

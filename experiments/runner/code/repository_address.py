"""Check repository addresses and references that users enter, before git sees them."""

import re
from urllib.parse import urlsplit

PROTOCOLS = ("https", "http", "ssh", "git", "file")
REFERENCE_KINDS = ("branch", "tag", "commit")

_SCP = re.compile(r"(?:[A-Za-z0-9._~-]+@)?[A-Za-z0-9.\[\]:_-]+:(?!//)[^\s].*")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
# What git refuses in a name (git-check-ref-format), and what it could read as an option or a revision expression.
_INVALID_NAME = re.compile(r"^[-/.]|[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|/$|\.$|\.lock$|^@$|/\.")


def check_repository(address: str) -> str:
    """Return what is wrong with a repository address, or "".

    Valid are a URL (https, http, ssh, git, file), `user@host:path`, or the absolute path of a folder on the worker's
    machine.
    """
    if address.startswith("-"):
        return "A repository address must not begin with “-”; git would read it as an option."
    if re.search(r"[\x00-\x20\x7f]", address):
        return "A repository address must not contain spaces or control characters."
    if address.startswith(("/", "~/")):
        return ""
    scheme, separator, _ = address.partition("://")
    if separator:
        if scheme.casefold() not in PROTOCOLS:
            return f"The protocol {scheme[:20]!r} is not supported. Use one of {', '.join(PROTOCOLS)}."
        return _check_url(address)
    if "::" in address:
        return "Addresses with a helper (transport::address) are not allowed: they could run any command."
    if _SCP.fullmatch(address):
        return "" if not address.partition(":")[2].startswith("-") else "The path must not begin with “-”."
    return "Enter a URL (https://…, ssh://…), user@host:path, or the absolute path of a folder."


def _check_url(address: str) -> str:
    try:
        parsed_url = urlsplit(address)
        host, password = parsed_url.hostname, parsed_url.password
    except ValueError:
        return "This is not a valid URL."
    if parsed_url.scheme.casefold() != "file" and not host:
        return "The URL has no host."
    if (host or "").startswith("-"):
        return "A host name must not begin with “-”."
    if password:
        return (
            "Remove the password; all members of the workspace could read it here. Put credentials in the worker's "
            "environment."
        )
    return ""


def check_reference(kind: str, reference: str) -> str:
    """Return what is wrong with a branch, tag or commit, or "". An empty branch means the default branch."""
    if kind not in REFERENCE_KINDS:
        return f"Must be one of: {', '.join(REFERENCE_KINDS)}."
    if not reference:
        return "" if kind == "branch" else f"Enter the {kind}."
    if kind == "commit" and not _COMMIT.fullmatch(reference):
        return "Enter the hash of the commit: 7 to 64 hexadecimal digits."
    if _INVALID_NAME.search(reference):
        return f"This is not a valid {kind} name in git."
    return ""

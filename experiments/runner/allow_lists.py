"""Allow-lists set by an administrator: git hosts, destinations, container arguments and networks of experiments.

Set in environment variables of workers and the web server, as comma-separated lists. An empty list allows everything:

TRIALDECK_GIT_HOSTS            hosts of repositories (github.com, *.example.org), and folders (/srv/git) for local ones
TRIALDECK_DESTINATIONS         prefixes of output destinations (/mnt/share, s3://bucket/, s3://minio.lab:9000/)
TRIALDECK_CONTAINER_ARGUMENTS  options allowed in container arguments (--shm-size, --ipc); "none" for none
TRIALDECK_NETWORKS             loopback and link-local networks that git, object stores and model URLs may reach,
                               such as 127.0.0.0/8
"""

import ipaddress
import os
import re
import shlex
import socket
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Cloud metadata addresses, which hand out credentials, besides link-local ones.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16")
)
_SCP = re.compile(r"(?:[^@/:]+@)?(\[[^\]]+\]|[^:/\[\]]+):")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_must_list_folders = False


class NotAllowed(Exception):
    """An allow-list does not permit it. `str()` is a message for users."""


def require_listed_folders() -> None:
    """From now on, require local folders of repositories and destinations to be listed: this process can read and write
    where the users who choose them cannot."""
    global _must_list_folders
    _must_list_folders = True


def check_repository(address: str) -> None:
    """Raise NotAllowed for a repository that is not listed, or whose host is loopback or link-local."""
    allowed = _listed("TRIALDECK_GIT_HOSTS")
    folder = _folder_of(address)
    if folder is not None:
        if (allowed or _must_list_folders) and not any(_is_below(folder, each) for each in allowed):
            raise NotAllowed(
                f"Repositories in the folder {folder} are not allowed on this worker. An administrator can allow it in "
                "TRIALDECK_GIT_HOSTS."
            )
        return
    host, port = _host_of(address)
    if allowed and not any(fnmatchcase(host.casefold(), each.casefold()) for each in allowed):
        raise NotAllowed(
            f"Repositories at {host} are not allowed on this worker. Allowed: {', '.join(allowed)} "
            "(TRIALDECK_GIT_HOSTS)."
        )
    check_host(host, port)


def check_destination(text: str) -> None:
    """Raise NotAllowed for an output destination that is not listed."""
    allowed = _listed("TRIALDECK_DESTINATIONS")
    if not allowed and not (_must_list_folders and text.startswith("/")):
        return
    if any(_is_below(text, each) for each in allowed):
        return
    raise NotAllowed(
        f"The output destination {text} is not allowed on this worker. "
        f"Allowed: {', '.join(allowed) or 'no local folder'} (TRIALDECK_DESTINATIONS)."
    )


def check_container_arguments(text: str) -> None:
    """Raise NotAllowed for container arguments with an option that is not listed."""
    allowed = _listed("TRIALDECK_CONTAINER_ARGUMENTS")
    if not allowed:
        return
    try:
        arguments = shlex.split(text)
    except ValueError:
        return  # the engine's own check reports the error
    names = [] if allowed == ["none"] else allowed
    is_value = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if not argument.startswith("-"):
            if is_value:
                is_value = False
                continue
            name = argument
        if name not in names:
            raise NotAllowed(
                f"The container argument {name} is not allowed on this worker. Allowed: {', '.join(names) or 'none'} "
                "(TRIALDECK_CONTAINER_ARGUMENTS)."
            )
        is_value = not equals
    return


def check_host(host: str, port: int) -> None:
    """Raise NotAllowed for a host that resolves to a loopback, link-local or cloud metadata address, unless its network
    is listed. Do nothing for a name that does not resolve: connecting to it raises the caller's own error."""
    with suppress(OSError):
        addresses_of(host, port)


def addresses_of(host: str, port: int) -> list[Address]:
    """Return the addresses of a host. Raise NotAllowed, as `check_host` does, if any of them is refused; OSError if the
    name does not resolve."""
    try:
        entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long, or empty
        raise OSError(f"{host} is not a valid host name") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in entries]
    for address in addresses:
        if is_near(address) and not any(address in network for network in _networks()):
            raise NotAllowed(
                f"{host} resolves to {address}, which is a loopback, link-local or cloud metadata "
                "address. An administrator can allow its network in TRIALDECK_NETWORKS."
            )
    return list(dict.fromkeys(addresses))


def is_near(address: Address) -> bool:
    """Return whether this is a loopback, link-local or cloud metadata address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    return plain.is_loopback or plain.is_link_local or plain.is_unspecified or plain in METADATA


def _networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text) for text in _listed("TRIALDECK_NETWORKS")]
    except ValueError as error:
        raise NotAllowed(f"TRIALDECK_NETWORKS: {error}. An administrator must correct it.") from error


def _listed(name: str) -> list[str]:
    return [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]


def _folder_of(repository: str) -> str | None:
    """Return the folder of a local repository; None for one on a host."""
    if repository.startswith(("/", "~")):
        return repository
    parsed_url = urlsplit(repository)
    return parsed_url.path if parsed_url.scheme.casefold() == "file" else None


def _host_of(repository: str) -> tuple[str, int]:
    if "://" in repository:
        parsed_url = urlsplit(repository)
        return parsed_url.hostname or "", parsed_url.port or _PORTS.get(parsed_url.scheme.casefold(), 443)
    match = _SCP.match(repository)
    return (match[1] if match else repository), 22


def _is_below(text: str, beginning: str) -> bool:
    """Return whether a path or address equals the prefix or is below it; False for a path with `..`."""
    if ".." in PurePosixPath(text).parts:
        return False
    beginning = beginning.rstrip("/")
    return text == beginning or text.startswith(f"{beginning}/")

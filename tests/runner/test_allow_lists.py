"""What an administrator allows: repositories, destinations, container arguments, and addresses near this machine."""

from __future__ import annotations

import ipaddress

import pytest

from experiments.runner import allow_lists
from experiments.runner.allow_lists import NotAllowed
from experiments.runner.destination import Store, StoreError


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("GIT_HOSTS", "DESTINATIONS", "CONTAINER_ARGUMENTS", "NETWORKS"):
        monkeypatch.delenv(f"TRIALDECK_{name}", raising=False)
    monkeypatch.setattr(allow_lists, "_must_list_folders", False)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:3000/r.git",
        "https://localhost/r.git",
        "http://[::1]/r.git",
        "http://169.254.169.254/latest/meta-data",
        "git@127.0.0.1:r.git",
        "ssh://git@[::1]:22/r",
        "git://0.0.0.0/r",
        "http://[::ffff:127.0.0.1]/r.git",
        "http://2130706433/r.git",
    ],
)
def test_repositories_near_this_machine_are_refused(address, monkeypatch):
    """TD-Z1."""
    with pytest.raises(NotAllowed, match="TRIALDECK_NETWORKS"):
        allow_lists.check_repository(address)


def test_an_administrator_allows_a_network(monkeypatch):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_NETWORKS", "127.0.0.0/8")
    allow_lists.check_repository("http://127.0.0.1:3000/r.git")
    with pytest.raises(NotAllowed):
        allow_lists.check_repository("http://169.254.169.254/r.git")
    monkeypatch.setenv("TRIALDECK_NETWORKS", "nonsense")
    with pytest.raises(NotAllowed, match="must correct it"):
        allow_lists.check_repository("http://127.0.0.1:3000/r.git")


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.9.9.9", "169.254.0.1", "fe80::1", "::1", "100.100.100.200", "fd00:ec2::254"]
)
def test_addresses_of_machine_link_and_metadata_are_near(text):
    """TD-Z1."""
    assert allow_lists.is_near(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.5", "192.168.1.9", "8.8.8.8", "fd12::5", "2001:db8::1"])
def test_addresses_of_the_organization_are_not(text):
    """TD-Z1."""
    assert not allow_lists.is_near(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("https://github.com/a/b", True),
        ("https://GitHub.com/a/b", True),
        ("git@git.example.org:a/b.git", True),
        ("https://github.com.evil.example/a", False),
        ("https://evil.example/github.com", False),
        ("https://github.com@evil.example/a", False),
        ("/srv/git/repo", True),
        ("file:///srv/git/repo", True),
        ("/srv/github/repo", False),
        ("/srv/git/../private", False),
        ("~/repo", False),
    ],
)
def test_only_listed_hosts_and_folders(monkeypatch, address, is_allowed):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_GIT_HOSTS", "github.com, *.example.org, /srv/git")
    if is_allowed:
        allow_lists.check_repository(address)
    else:
        with pytest.raises(NotAllowed, match="TRIALDECK_GIT_HOSTS"):
            allow_lists.check_repository(address)


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("/mnt/share", True),
        ("/mnt/share/a", True),
        ("/mnt/shared", False),
        ("/etc/cron.d", False),
        ("s3://bucket/runs", True),
        ("s3://bucket2/runs", False),
    ],
)
def test_only_listed_destinations(monkeypatch, text, is_allowed):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_DESTINATIONS", "/mnt/share,s3://bucket/")
    if is_allowed:
        allow_lists.check_destination(text)
    else:
        with pytest.raises(NotAllowed, match="TRIALDECK_DESTINATIONS"):
            allow_lists.check_destination(text)


def test_nothing_is_stored_where_it_is_not_allowed(monkeypatch, tmp_path):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_DESTINATIONS", "/mnt/share")
    file = tmp_path / "model.pt"
    file.write_text("weights")
    with pytest.raises(StoreError, match="is not allowed on this worker"):
        Store(str(tmp_path / "out")).put(file, "model.pt")
    assert not (tmp_path / "out").exists()


def test_no_store_of_this_machine_is_asked():
    """TD-Z1: a console would otherwise read any service of its machine."""
    with pytest.raises(StoreError, match="TRIALDECK_NETWORKS"):
        list(Store("s3://127.0.0.1:9/bucket").read("x"))


def test_a_worker_of_root_needs_lists_for_folders(monkeypatch):
    """TD-Z1: it writes and reads where those who choose the folder cannot."""
    allow_lists.require_listed_folders()
    for check, text in (
        (allow_lists.check_destination, "/etc/cron.d"),
        (allow_lists.check_repository, "/srv/private"),
    ):
        with pytest.raises(NotAllowed):
            check(text)
    allow_lists.check_destination("s3://bucket/runs")
    monkeypatch.setenv("TRIALDECK_DESTINATIONS", "/mnt")
    allow_lists.check_destination("/mnt/a")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ""),
        ("--shm-size 8g --ipc=host", ""),
        ("--shm-size=8g", ""),
        ("--volume /:/host", "--volume"),
        ("-v /:/host", "-v"),
        ("--ipc host --privileged", "--privileged"),
        ("--shm-size 8g alpine", "alpine"),
    ],
)
def test_only_listed_container_arguments(monkeypatch, text, fault):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_CONTAINER_ARGUMENTS", "--shm-size,--ipc")
    if fault:
        with pytest.raises(NotAllowed, match=f"argument {fault} is not allowed"):
            allow_lists.check_container_arguments(text)
    else:
        allow_lists.check_container_arguments(text)


def test_no_container_arguments_at_all(monkeypatch):
    """TD-Z1."""
    monkeypatch.setenv("TRIALDECK_CONTAINER_ARGUMENTS", "none")
    allow_lists.check_container_arguments("")
    with pytest.raises(NotAllowed, match="Allowed: none"):
        allow_lists.check_container_arguments("--gpus all")

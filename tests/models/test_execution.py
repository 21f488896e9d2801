"""What a trial runs from, checked: sources, packages, destinations, hyperparameters, objects."""

import pytest

from experiments.models import Invalid, Settings
from experiments.runner.code.repository_address import check_reference, check_repository
from experiments.runner.destination import Destination, DestinationError, parse

pytestmark = pytest.mark.once

SPACE = {"lr": {"_type": "uniform", "_value": [0, 1]}}


def settings(**options):
    return Settings.checked({"command": "python train.py", "space_document": SPACE, **options})


def faults(**options):
    with pytest.raises(Invalid) as invalid:
        settings(**options)
    return invalid.value.errors


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/team/code.git",
        "ssh://git@example.org:2222/code",
        "git@example.org:team/code.git",
        "/srv/code",
        "file:///srv/code.git",
    ],
)
def test_a_repository_may_be(address):
    """CML-S1"""
    assert check_repository(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c id",
        "fd::17",
        "ssh://-oProxyCommand=id/x",
        "git@host:-x",
        "https://",
        "https://me:secret@example.org/code",
        "ftp://example.org/code",
        "https://exa mple.org/x",
        "code",
    ],
)
def test_a_repository_may_not_be(address):
    """CML-S1: what git could take for an option, a helper, or a password that everybody reads."""
    assert check_repository(address)


@pytest.mark.parametrize(
    ("kind", "reference", "is_good"),
    [
        ("branch", "", True),
        ("branch", "feature/x", True),
        ("branch", "-x", False),
        ("branch", "a..b", False),
        ("branch", "x@{1}", False),
        ("tag", "", False),
        ("tag", "v1.0", True),
        ("commit", "main", False),
        ("commit", "0123abc", True),
        ("commit", "", False),
    ],
)
def test_a_reference(kind, reference, is_good):
    """CML-S1"""
    assert (check_reference(kind, reference) == "") is is_good


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("/mnt/share/folder", Destination("folder", "/mnt/share/folder")),
        ("s3://bucket/folder/a", Destination("s3", "folder/a", container="bucket")),
        ("s3://host:9000/bucket", Destination("s3", "", container="bucket", endpoint="host:9000")),
        ("gs://bucket-name/folder", Destination("gs", "folder", container="bucket-name")),
        (
            "azure://account.blob.core.windows.net/path/to/file",
            Destination("azure", "to/file", container="path", account="account"),
        ),
    ],
)
def test_a_destination(text, read):
    """CML-O1: the forms that the reference lists."""
    assert parse(text) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://10.0.0.7/bucket", "requires a port"),
        ("s3://localhost/bucket", "requires a port"),
        ("s3://host:9000", "bucket after the port"),
        ("s3://host:99999/b", "port"),
        ("s3://host:/bucket", "Add the port after host"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("gs://bucket/../x", ".."),
        ("azure://account/x", "account and container"),
        ("ftp://x/y", "Enter a folder"),
        ("folder", "Enter a folder"),
    ],
)
def test_a_destination_that_cannot_be(text, message):
    """CML-O1: says what to write instead; the port of an S3-like service is explained."""
    with pytest.raises(DestinationError, match=message):
        parse(text)
    assert "destination" in faults(destination=text)


def test_the_meanings_of_empty_packages_stay_apart():
    """CML-S2: nothing at all, the repository's list, the worker's own, and a list."""
    kept = {
        settings(packages_from=source, repository="/srv/code").document()["packages_from"]
        for source in ("none", "repository", "worker")
    }
    assert kept == {"none", "repository", "worker"}
    assert "packages" in faults(packages_from="list")
    assert "packages_from" in faults(packages_from="repository")


def test_a_script_stands_in_for_the_command():
    """CML-S1: with a script, or a text of its own, no command is needed; with neither there is nothing to run."""
    assert settings(command="", repository="/srv/code", script="train.py").has_code
    assert settings(command="", diff="print(1)\n").has_code
    assert "command" in faults(command="")
    assert "script" in faults(script="../../etc/passwd")


def test_a_text_beside_a_repository_must_be_a_diff():
    """CML-S3: a script, or what somebody pasted instead."""
    assert settings(repository="/srv/code", diff="--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n").diff
    assert settings(repository="/srv/code", diff="\n").diff == "\n"
    assert faults(repository="/srv/code", diff="print(1)\n")["diff"][0].startswith("Not a diff")


def test_any_characters_of_hyperparameters_and_objects_come_back():
    """CML-H1, CML-G1: dots, dollars, slashes, per cents, 4-byte characters."""
    odd = {"a.b": {"value": "$x"}, "p/q %": {"value": "🦀", "type": "str"}}
    kept = settings(hyperparameters={"Args": odd}, objects={"net ü": "depth: 3\n"})
    again = Settings.stored(kept.document())
    assert again.hyperparameters == {"Args": odd}
    assert again.objects == {"net ü": "depth: 3\n"}
    assert "hyperparameters" in faults(hyperparameters={"Args": {"": {"value": "1"}}})
    assert "hyperparameters" in faults(hyperparameters={"Args": {"x": 1}})
    assert "objects" in faults(objects={"x": "\ud800"})


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ({"command": "make all", "script": "train.py"}, "make all"),
        ({"command": "", "script": "train it.py", "repository": "/srv/code"}, "python 'train it.py'"),
        ({"command": "", "script": "-m pkg.train", "binary": "python3.11"}, "python3.11 -m pkg.train"),
        ({"command": "", "diff": "print(1)\n", "binary": "bash"}, "bash script.py"),
    ],
)
def test_what_a_trial_runs(options, run):
    """CML-S1: the command, or else the script by its binary."""
    assert settings(**options).run_command == run

"""What must be true of the repository as a whole."""

import functools
import re
import tomllib

import pytest
from django.core.management import call_command
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository_rules.repository import ROOT, files, name_of, text_of

# Written in parts, or this file would find itself.
REGISTRIES = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "index" + "-url",
    "extra" + "-index",
]
MACHINE_PATHS = ["/work" + "/", "/tmp/" + "brief", "/root" + "/"]
# What keeps addresses out of the lock, and what keeps the options of a list of packages.
MAY_NAME_AN_OPTION = {"Makefile", "experiments/runner/code/packages.py"}


@pytest.mark.parametrize("word", [*REGISTRIES, *MACHINE_PATHS])
def test_it_names_no_registry_and_nobodys_machine(word: str) -> None:
    results = [name_of(path) for path in files() if word in text_of(path)]
    assert [name for name in results if name not in MAY_NAME_AN_OPTION] == []


def test_scripts_and_styles_are_our_own() -> None:
    """No vendored JavaScript or CSS: nothing minified, nothing with another's licence, nothing from elsewhere."""
    for path in files(".js", ".css"):
        text = text_of(path)
        assert ".min." not in path.name
        assert max(map(len, text.splitlines()), default=0) <= 400, f"{name_of(path)} looks minified"
        assert not re.search(r"@license|licensed under|\(c\) \d{4}|copyright", text, re.I), name_of(path)
        assert not re.search(r"""(from|import|url)\s*\(?\s*["']?(https?:)?//""", text), name_of(path)


def test_what_is_served_as_a_file_is_a_style_a_small_script_or_a_drawing() -> None:
    """htmx comes from the django-htmx wheel, and what a script would imitate of it stays out."""
    served = [path for path in files() if name_of(path).startswith("static/")]
    assert {path.suffix for path in served} == {".css", ".js", ".svg"}
    assert not [name_of(path) for path in served if "htmx" in path.name]
    lines = {name_of(path): len(text_of(path).splitlines()) for path in files(".js")}
    assert max(lines.values()) <= 100 and sum(lines.values()) <= 486, lines


LOCKS = {"requirements.lock": ("build",), "requirements-test.lock": ("build", "test")}


def requirements() -> list[tuple[str, Requirement]]:
    """Return what each lock has to hold, with its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    return [
        (lock, Requirement(line))
        for lock, names in LOCKS.items()
        for line in [*project["project"]["dependencies"], *(line for name in names for line in groups[name])]
        if isinstance(line, str)  # not a group within a group
    ]


@functools.cache
def locked(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in the lock."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    versions = {}
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line):
            versions[canonicalize_name(match[1])] = (match[2], line.count("--hash=sha256:"))
    return versions


@pytest.mark.parametrize(("lock", "requirement"), requirements(), ids=str)
def test_the_lock_is_in_step_with_what_is_asked_for(lock: str, requirement: Requirement) -> None:
    """make lock writes it anew."""
    version, _ = locked(lock)[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_by_hash(lock: str) -> None:
    assert len(locked(lock)) > 30
    assert [name for name, (_, hashes) in locked(lock).items() if not hashes] == []


def test_tests_run_with_the_versions_of_the_console_and_the_console_without_what_only_tests_need() -> None:
    console, tests = locked("requirements.lock"), locked("requirements-test.lock")
    assert console.items() <= tests.items()
    assert not {"pytest", "playwright", "moto", "mypy", "ruff", "hypothesis"} & console.keys()


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """`makemigrations --check` ends with an error when a model differs from its migrations."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)

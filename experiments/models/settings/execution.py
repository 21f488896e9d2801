"""Execution settings of a trial: source, packages, container, output, configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from experiments.models.secret import LONGEST, is_sealed
from experiments.runner import destination as destinations
from experiments.runner.code import repository_address

from .reader import SettingsReader

# Where a trial's Python packages come from.
PACKAGES_FROM = {
    "worker": "Worker's Python environment",
    "list": "The list below",
    "repository": "The repository's requirements.txt",
    "none": "No packages",
}
LITERAL = "script.py"  # file name of a literal script
MOST_GPUS = 64
MOST_CORES = 1024
LEAST_MIB, MOST_MIB = 16, 64 << 20  # plausible limits of memory
MAX_GROUPS, MAX_KEYS = 50, 1000
MAX_TEXT = 1_000_000
MAX_PROPERTY = 10_000
TRAITS = {"value", "type", "description", "secret"}  # of a hyperparameter; `secret` is an encrypted value

_TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}
_READS: dict[str, Callable[[str], object]] = {"int": int, "float": float}

_DIFF = re.compile(r"^(?:diff --git |@@ )", re.MULTILINE)
_BINARY = re.compile(r"[A-Za-z0-9_./+-]+")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The execution environment of a trial: code, packages, container, resources, output.

    `reference` is a branch, tag or commit, as `reference_kind` says; empty means the default branch. `diff` without a
    repository is a literal script. `packages` applies when `packages_from` is "list"; `original_packages` is the list
    before a run resolved it, empty for the repository's list. `hyperparameters` are
    {group: {name: {value, type, description}}}, values as text; `objects` are configuration texts by name.
    """

    repository: str = ""
    reference_kind: str = "branch"
    reference: str = ""
    script: str = ""
    binary: str = ""
    diff: str = ""
    packages_from: str = "worker"
    packages: str = ""
    original_packages: str | None = None
    image: str = ""
    image_arguments: str = ""
    setup_script: str = ""
    destination: str = ""
    keeps_best: int | None = None  # keep artifacts of this many best trials; None: of all
    hyperparameters: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    input_model: str = ""
    gpus: int | None = None  # exclusive devices per trial; None: not managed, 0: no device is visible
    cores: int | None = None  # exclusive cores per trial; None: shares the worker's
    memory_mib: int | None = None  # per trial, in MiB; None: neither reserved nor limited

    @property
    def has_code(self) -> bool:
        """Whether there is a script to run when the command is empty."""
        return bool(self.script or (self.diff and not self.repository))


class ExecutionChecks(SettingsReader):
    """The part of the settings checker that reads `Execution`."""

    def execution(self) -> dict[str, Any]:
        """Return the fields of `Execution`, with defaults for invalid ones."""
        values: dict[str, Any] = {
            "repository": self.text("repository", limit=2000, single_line=True),
            "reference_kind": self.one_of(
                "reference_kind", repository_address.REFERENCE_KINDS, default="branch"
            ),
            "reference": self.text("reference", limit=250, single_line=True),
            "script": self.script(),
            "binary": self.text("binary", limit=200, single_line=True),
            "diff": self.diff(),
            "packages_from": self.one_of("packages_from", tuple(PACKAGES_FROM), default="worker"),
            "packages": self.lines("packages").strip(),
            "original_packages": self.original_packages(),
            "image": self.text("image", limit=500, single_line=True),
            "image_arguments": self.text("image_arguments", limit=2000, single_line=True),
            "setup_script": self.lines("setup_script"),
            "destination": self.text("destination", limit=1000, single_line=True),
            "keeps_best": self.integer("keeps_best", default=None, low=1, high=1_000_000, empty=None),
            "hyperparameters": self.hyperparameters(),
            "objects": self.objects(),
            "input_model": self.text("input_model", limit=64, single_line=True),
            "gpus": self.integer("gpus", default=None, low=0, high=MOST_GPUS, empty=None),
            "cores": self.integer("cores", default=None, low=1, high=MOST_CORES, empty=None),
            "memory_mib": self.integer("memory_mib", default=None, low=LEAST_MIB, high=MOST_MIB, empty=None),
        }
        if values["repository"] and (fault := repository_address.check_repository(values["repository"])):
            self.fault("repository", fault)
        if fault := repository_address.check_reference(values["reference_kind"], values["reference"]):
            self.fault("reference", fault)
        if values["binary"] and (not _BINARY.fullmatch(values["binary"]) or values["binary"].startswith("-")):
            self.fault("binary", "Enter the name or path of a program, for example python3.11 or bash.")
        if values["packages_from"] == "repository" and not values["repository"]:
            self.fault("packages_from", "Using requirements.txt requires a repository.")
        if values["packages_from"] == "list" and not values["packages"]:
            self.fault("packages", "List at least one package, or choose “No packages”.")
        if values["image"].startswith("-"):
            self.fault("image", "The image must not begin with “-”.")
        if values["destination"]:
            try:
                destinations.parse(values["destination"])
            except destinations.DestinationError as error:
                self.fault("destination", str(error))
        return values

    def has_code(self) -> bool:
        """Whether there will be a script to run when the command is empty."""
        document = self.document
        return bool(document.get("script") or (document.get("diff") and not document.get("repository")))

    def script(self) -> str:
        script = self.text("script", limit=1000, single_line=True)
        if script.startswith("-m ") or not script:
            return script
        if script.startswith("-"):
            self.fault("script", "Enter the path of a script, or -m and a module.")
        elif ".." in PurePosixPath(script).parts:
            self.fault("script", "The script's path must not contain “..”.")
        return script

    def lines(self, name: str) -> str:
        return self.text(name, limit=MAX_TEXT).replace("\r\n", "\n")

    def diff(self) -> str:
        """Return the diff unchanged, because a diff of a file with CRLF must keep them; a literal script without CR."""
        if not self.document.get("repository"):
            return self.lines("diff")
        diff = self.text("diff", limit=MAX_TEXT)
        if diff.strip() and not _DIFF.search(diff):
            self.fault(
                "diff",
                "Not a diff. Paste the output of git diff, or clear the repository to run this text as the script.",
            )
        return diff

    def original_packages(self) -> str | None:
        return None if self.document.get("original_packages") is None else self.lines("original_packages")

    def hyperparameters(self) -> dict[str, dict[str, dict[str, str]]]:
        groups = self.named("hyperparameters", most=MAX_GROUPS)
        for group, parameters in groups.items():
            if not isinstance(parameters, dict) or len(parameters) > MAX_KEYS:
                self.fault(
                    "hyperparameters",
                    f"“{group[:64]}” must be an object with at most {MAX_KEYS:,} names and values.",
                )
                continue
            for name, traits in parameters.items():
                if fault := _name_fault(name):
                    self.fault("hyperparameters", f"{group[:64]}: {fault}")
                elif (
                    not isinstance(traits, dict)
                    or not traits.keys() <= TRAITS
                    or not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in traits.values())
                    or any(_is_broken(text) for text in traits.values())
                    or not traits.keys() & {"value", "secret"}
                ):
                    self.fault(
                        "hyperparameters",
                        f'{group[:64]}/{name[:64]}: must be an object such as {{"value": "0.1"}}; '
                        "all values must be strings.",
                    )
                elif "secret" in traits and not is_sealed(traits["secret"]):
                    self.fault(
                        "hyperparameters",
                        f"{group[:64]}/{name[:64]}: enter the secret (at most {LONGEST:,} characters).",
                    )
        return groups if "hyperparameters" not in self.errors else {}

    def objects(self) -> dict[str, str]:
        objects = self.named("objects", most=MAX_GROUPS)
        for name, text in objects.items():
            if not isinstance(text, str) or len(text) > MAX_TEXT or _is_broken(text):
                self.fault("objects", f"“{name[:64]}” must be text of at most {MAX_TEXT:,} characters.")
        return objects if "objects" not in self.errors else {}

    def named(self, name: str, *, most: int) -> dict:
        """Return a mapping with valid names; unlike `mapping`, its text may have any length."""
        value = self.document.get(name, {})
        if not isinstance(value, dict) or len(value) > most:
            self.fault(name, f"This must be a JSON object with at most {most} names.")
            return {}
        for key in value:
            if fault := _name_fault(key):
                self.fault(name, fault)
        return value if name not in self.errors else {}


def fault_of_value(kind: str, text: str) -> str:
    """Return why `text` is not a value of the type `int`, `float` or `bool`, or "". Values of other types are not
    checked. "" and "None" mean no value."""
    value, type_name = text.strip(), kind.strip()
    if value in ("", "None"):
        return ""
    if type_name == "bool":
        return "" if value.casefold() in _TRUTHS else f"“{value[:64]}” is not a bool: write true or false."
    try:
        _READS.get(type_name, str)(value)
    except ValueError:
        return f"“{value[:64]}” is not {'an int' if type_name == 'int' else 'a float'}."
    return ""


def faults_of_values(groups: dict, *, before: dict) -> list[str]:
    """Return the faults of hyperparameters whose value or type differs from `before`. Unchanged ones are accepted as
    the script declared them."""
    faults = []
    for group, named in groups.items():
        for name, traits in named.items():
            was = before.get(group, {}).get(name, {})
            now = traits.get("type", ""), traits.get("value", "")
            if now != (was.get("type", ""), was.get("value", "")) and (fault := fault_of_value(*now)):
                faults.append(f"{group[:64]}/{name[:64]}: {fault}")
    return faults


def faults_of_texts(texts: Mapping[str, object]) -> list[str]:
    """Return the faults of texts by name, as sentences."""
    if len(texts) > MAX_KEYS:
        return [f"At most {MAX_KEYS:,} are allowed."]
    faults = [fault for name in texts if (fault := _name_fault(name))]
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > MAX_PROPERTY or _is_broken(text):
            faults.append(f"“{str(name)[:64]}” must be text of at most {MAX_PROPERTY:,} characters.")
    return faults


def _name_fault(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        return "Enter a name."
    if len(name) > 200 or _is_broken(name):
        return f"“{name[:64]}”: a name can have at most 200 characters, and no NUL characters."
    return ""


def _is_broken(text: str) -> bool:
    """Whether the text contains NUL or a lone surrogate, which cannot be stored or passed on."""
    return bool(re.search("[\x00\ud800-\udfff]", text))

"""The documents tell the truth: links lead somewhere, examples work, sentences are those that are said."""

import json
import re
from pathlib import Path

import pytest

from experiments.search.early_stopping import EARLY_STOPPING
from experiments.search.engine import ALGORITHMS
from experiments.search.space import SpaceError, parse_text
from tests.repository_rules.repository import ROOT, files, name_of, text_of

PAGES = files(".md")
SPACES = (ROOT / "docs" / "search" / "search-spaces.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", SPACES, re.S)
FAULTS = re.findall(r"^\| `(\{.*?)` \| (.*) \|$", SPACES, re.M)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text_of(page), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_a_search_space_is_accepted(example: str) -> None:
    """NNI-S1: what the page shows can be pasted."""
    assert parse_text(example).parameters


def test_the_examples_show_every_type() -> None:
    """NNI-S1: every type of the dialect stands in the table and in an example."""
    types = set(re.findall(r"^\| `(\w+)` \| `\[", SPACES, re.M))
    assert len(types) == 11
    assert {
        definition["_type"] for example in EXAMPLES for definition in json.loads(example).values()
    } == types


@pytest.mark.parametrize(("space", "message"), FAULTS)
def test_a_fault_is_told_in_these_words(space: str, message: str) -> None:
    """NNI-S1: a wrong space is refused with the path of the fault."""
    with pytest.raises(SpaceError) as error:
        parse_text(space)
    assert str(error.value) == message


def test_there_are_faults_to_check() -> None:
    assert len(FAULTS) >= 12 and len(EXAMPLES) >= 2


def test_every_algorithm_is_described_with_its_arguments_and_defaults() -> None:
    """NNI-S2."""
    table = (ROOT / "docs" / "search" / "algorithms.md").read_text()
    for name, algorithm in ALGORITHMS.items():
        row = re.search(rf"^\| `{name}` .*$", table, re.M)[0]
        for argument in algorithm.arguments:
            default = "automatic" if argument.default is None else json.dumps(argument.default)
            assert f"`{argument.name}` ({default})" in row


def test_every_early_stopping_rule_is_described_with_its_arguments_and_defaults() -> None:
    """NNI-S2."""
    text = (ROOT / "docs" / "search" / "early-stopping.md").read_text()
    for name, rule in EARLY_STOPPING.items():
        row = "none" if name == "none" else re.search(rf"^\| `{name}` .*$", text, re.M)[0]
        for argument in rule.arguments:
            default = "" if argument.default is None else f" ({json.dumps(argument.default)})"
            assert f"`{argument.name}`{default}" in row


def test_operations_names_every_variable_that_the_code_reads() -> None:
    text = (ROOT / "docs" / "admin" / "operations.md").read_text()
    read = set()
    for path in files(".py"):
        if name_of(path).startswith(("console/", "experiments/")):
            read |= set(re.findall(r"""environ(?:\.get\(|\[)["']([A-Z_]+)""", text_of(path)))
            read |= set(re.findall(r"""(?:env\.get\(|_listed\(|_chosen\()["']([A-Z_]+)""", text_of(path)))
    ours = {name for name in read if name.startswith("TRIALDECK_") or name.endswith("_URL") or name == "TZ"}
    assert len(ours) >= 9
    assert [name for name in sorted(ours) if f"`{name}`" not in text] == []


def test_every_command_of_the_console_is_told() -> None:
    text = "".join(text_of(page) for page in PAGES)
    for path in (ROOT / "experiments" / "management" / "commands").glob("[a-z]*.py"):
        assert f"trialdeck {path.stem.replace('_', '-')}" in text

"""Names of variables, parameters, functions and classes: they tell what a value is, in the field's own words."""

import ast
from collections.abc import Iterator

import pytest

from tests.repository_rules.repository import files, name_of, text_of

pytestmark = pytest.mark.once

# Words that do not tell what a value is: a message, a match, a query, a workspace, an action, …
VAGUE = {"told", "said", "given", "asked", "found", "known", "one", "room", "act", "acts"}
# Pronouns and adverbs that stand for a thing: rejected in the code, not in tests.
PRONOUNS = {"wanted", "mine", "theirs", "here", "there", "both", "it", "thing", "things"}


def _bound_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of all variables, attributes, parameters, functions and classes that the code defines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def _vague_names(source: str, words: set[str] = VAGUE) -> list[tuple[int, str]]:
    return [(line, name) for line, name in _bound_names(source) if name.strip("_").lower() in words]


def test_every_name_tells_what_its_value_is() -> None:
    vague = [
        f"{name_of(path)}:{line}: {name}"
        for path in files(".py")
        if not name_of(path).startswith("examples/")
        for line, name in _vague_names(text_of(path))
    ]
    assert vague == []


def test_a_name_in_the_code_is_a_noun_not_a_pronoun() -> None:
    vague = [
        f"{name_of(path)}:{line}: {name}"
        for path in files(".py")
        if name_of(path).startswith(("console/", "experiments/", "trialdeck/"))
        for line, name in _vague_names(text_of(path), PRONOUNS)
        if name != "MINE"  # a choice of notification rules, named as its value
    ]
    assert vague == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("said = 1", ["said"]),
        ("for one in range(3): pass", ["one"]),
        ("[name for name, found in {}.items()]", ["found"]),
        ("def _told(given, *, room=1): pass", ["_told", "given", "room"]),
        ("class Asked:\n    known: str = ''", ["Asked", "known"]),
        ("self.said = lambda act: act", ["said", "act"]),
        ("TOLD = {}", ["TOLD"]),
        ("from hypothesis import given\nmessage = find(one=1)", []),
        ("one_of, found_at = 1, 2", []),
    ],
)
def test_the_rule_itself(source: str, names: list[str]) -> None:
    assert sorted(name for _, name in _vague_names(source)) == sorted(names)

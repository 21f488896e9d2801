"""How the product speaks: plain English, subject first (templates, messages, errors, e-mails, command output).

Docstrings and comments are not the product's words, so they are not checked here.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.repository_rules.repository import files, name_of, text_of

pytestmark = pytest.mark.once

# At the beginning of a text or of a sentence in it.
OPENING = re.compile(r"(?:^|[.:;!?] )(?:It|It's|What its?|Nobody|Somebody)\b")
ANYWHERE = re.compile(r"\b(?:stands|by it)\b|\bEmpty:|\b[Nn]obody\b|\b[Ss]omebody\b|\be\.g\.|\bi\.e\.")
# Of pages: what has a control is selected. (A command line lets people choose a name or a folder.)
WITHOUT_CONTROL = re.compile(r"\b[Cc]hoose\b(?!-)")  # not the ID of an element

_TEMPLATE_COMMENT = re.compile(r"{% comment .*?{% endcomment %}|{#.*?#}", re.DOTALL)
_VARIABLE = re.compile(r"{{.*?}}", re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"')
_TAG = re.compile(r"<[^>]*>|{%.*?%}", re.DOTALL)


def _is_banned(text: str) -> bool:
    text = " ".join(text.split())
    return bool(OPENING.search(text) or ANYWHERE.search(text))


def _texts_of_template(source: str) -> Iterator[str]:
    """Yield the text between tags, and quoted strings inside tags (labels, headings of included components)."""
    source = _VARIABLE.sub("X", _TEMPLATE_COMMENT.sub("", source))
    for tag in _TAG.findall(source):
        yield from _QUOTED.findall(tag)
    yield from _TAG.split(source)


def _texts_of_python(source: str) -> Iterator[str]:
    """Yield the string constants, with X for the values of f-strings. Docstrings are left out."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))  # a docstring
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def test_no_text_of_a_template_or_email_uses_a_banned_phrase() -> None:
    banned = [
        f"{name_of(path)}: {' '.join(text.split())}"
        for path in files(".html", ".txt")
        if name_of(path).startswith("templates/")
        for text in _texts_of_template(text_of(path))
        if _is_banned(text)
    ]
    assert banned == []


def test_no_message_label_or_error_uses_a_banned_phrase() -> None:
    banned = [
        f"{name_of(path)}: {' '.join(text.split())}"
        for path in files(".py")
        if name_of(path).startswith(("experiments/", "console/", "trialdeck/"))
        for text in _texts_of_python(text_of(path))
        if _is_banned(text)
    ]
    assert banned == []


def test_pages_say_select_for_what_a_control_offers() -> None:
    texts = [
        (name_of(path), " ".join(text.split()))
        for path, read in (
            *((path, _texts_of_template) for path in files(".html", ".txt")),
            *((path, _texts_of_python) for path in files(".py")),
        )
        if name_of(path).startswith(("templates/", "experiments/web/"))
        for text in read(text_of(path))
    ]
    assert [text for text in texts if WITHOUT_CONTROL.search(text[1])] == []


@pytest.mark.parametrize(
    ("text", "is_banned"),
    [
        ("It is paused.", True),
        ("Saved. It goes on.", True),
        ("What it is for", True),
        ("3 more stands behind", True),
        ("Nothing was changed: somebody was faster.", True),
        ("Empty: no limit", True),
        ("Enter a duration, e.g. 90s.", True),
        ("Blank = no limit", False),
        ("Paused: 3 trials keep running", False),
        ("Items", False),
    ],
)
def test_the_rule_itself(text: str, *, is_banned: bool) -> None:
    assert _is_banned(text) == is_banned


def test_the_texts_of_templates_and_code_are_read() -> None:
    template = '{% include "_x.html" with heading="It is so" %}<p title="Somebody">It {{ n }}</p>{# It is #}'
    assert [text for text in _texts_of_template(template) if _is_banned(text)] == [
        "It is so",
        "Somebody",
        "It X",
    ]
    python = '"""It is a docstring."""\nx = f"It is {y}."\nz = ("Nobody " "is here")\n'
    assert [text for text in _texts_of_python(python) if _is_banned(text)] == ["It is X.", "Nobody is here"]

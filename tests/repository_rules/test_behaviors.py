"""The specification, docs/behaviors.md, agrees with the tests and the code. Only tests and that page cite its IDs."""

import re
from pathlib import Path

from experiments.models import Failure, status
from tests.repository_rules.repository import ROOT, files, name_of, text_of

PAGE = "docs/behaviors.md"
TEXT = (ROOT / PAGE).read_text("utf-8")

ID = re.compile(r"\b(?:PAI|TD|NNI|CML)-[A-Z]\d+\b")
# An ID, or its group alone.
ID_OR_GROUP = re.compile(r"\b(?:PAI|TD|NNI|CML)-[A-Z]\d*\b")
# A range or an abbreviation whose last ID a search for that ID does not find.
SHORTHAND = re.compile(r"\b(?:PAI|TD|NNI|CML)-[A-Z]\d*(?:,| to| …| ?–)? ?[A-Z]\d+\b")
# An entry is an item of a list or a row of a table that begins with the ID.
ENTRY = re.compile(rf"^(?:- |\| )\*\*({ID.pattern})\*\*( \(planned\))?", re.M)
ENTRIES = ENTRY.findall(TEXT)
DOCUMENTED = {identifier for identifier, _ in ENTRIES}
PLANNED = {identifier for identifier, mark in ENTRIES if mark}
# A specification outside the repository. Split, so that this file does not match itself.
ELSEWHERE = re.compile(r"\bproduct" + r"\.md\b|\bshared" + r"/design\b")


def is_test(path: Path) -> bool:
    """True for a test file but this one, which cites IDs as examples only."""
    return name_of(path).startswith("tests/") and path != Path(__file__).resolve()


def cited(pattern: re.Pattern[str] = ID) -> dict[str, list[str]]:
    """What tests cite, with the names of the files."""
    places: dict[str, list[str]] = {}
    for path in filter(is_test, files(".py")):
        for citation in set(pattern.findall(text_of(path))):
            places.setdefault(citation, []).append(name_of(path))
    return places


def test_every_behavior_has_one_entry() -> None:
    assert len(ENTRIES) == len(DOCUMENTED) > 130
    assert TEXT.count("** (planned)") == len(PLANNED)


def test_the_page_mentions_no_id_without_an_entry() -> None:
    assert set(ID.findall(TEXT)) - DOCUMENTED == set()


def test_tests_cite_only_behaviors_of_the_page() -> None:
    """A misspelled ID would prove nothing: `grep -rw PAI-R3 tests` lists the proof."""
    assert {identifier: where for identifier, where in cited().items() if identifier not in DOCUMENTED} == {}


def test_tests_cite_only_groups_of_the_page() -> None:
    """TD-A alone is the table of actions."""
    groups = {identifier.rstrip("0123456789") for identifier in DOCUMENTED}
    assert cited(ID_OR_GROUP).keys() - DOCUMENTED - groups == set()


def test_every_behavior_is_cited_or_planned() -> None:
    assert sorted(DOCUMENTED - PLANNED - cited().keys()) == [], "cite it in a test, or mark it as (planned)"


def test_no_planned_behavior_is_cited() -> None:
    assert {identifier: where for identifier, where in cited().items() if identifier in PLANNED} == {}


def test_tests_write_every_id_in_full() -> None:
    """`grep -rw` finds neither the end of "TD-A1 to A4" nor "TD-F F2"."""
    assert cited(SHORTHAND) == {}


def test_only_tests_and_the_page_cite_ids() -> None:
    """Code, templates, the API schema and the other pages say in words what they mean."""
    places = {
        name_of(path): citations
        for path in files()
        if name_of(path) != PAGE and not name_of(path).startswith("tests/")
        if (citations := ID_OR_GROUP.findall(text_of(path)))
    }
    assert places == {}


def test_no_file_names_a_specification_elsewhere() -> None:
    """The specification is in this repository, so that every clone has it."""
    places = {name_of(path): mentions for path in files() if (mentions := ELSEWHERE.findall(text_of(path)))}
    assert places == {}


# --- tables --------------------------------------------------------------------------------------------------------


def table(*header: str) -> list[list[str]]:
    """The cells of the rows below the table head that begins with these cells."""
    lines = iter(TEXT.splitlines())
    for line in lines:
        if _cells(line)[: len(header)] == list(header):
            break
    assert set(next(lines)) <= set("|-"), f"no table {header}"
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    assert rows, f"no rows below {header}"
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def _states_after(rows: list[list[str]]) -> dict[str, set[str]]:
    return {before: set(re.findall(r"[a-z_]+", after)) for before, after in rows}


def test_the_page_lists_the_possible_changes_of_state() -> None:
    before_enqueue = "or (dequeue) the state it was enqueued from: "
    rows = [[before, after.replace(before_enqueue, "")] for before, after in table("experiment is")]
    assert _states_after(rows) == {
        before: set(after) for before, after in status.EXPERIMENT_MAY_BECOME.items()
    }
    assert _states_after(table("trial is")) == {
        before: set(after) for before, after in status.TRIAL_MAY_BECOME.items()
    }


def test_the_page_lists_every_kind_of_failure() -> None:
    assert [kind for kind, _ in table("failure")] == [f"`{kind}`" for kind in Failure.values]


def test_the_page_lists_every_action_in_every_state() -> None:
    head = _cells(next(line for line in TEXT.splitlines() if line.startswith("| ID | action |")))
    states = head[3:]
    assert states == list(status.EXPERIMENT_STATES)
    listed = {}
    for _, action, _, *marks in table("ID", "action"):
        listed[action.strip("`")] = (
            {state for state, mark in zip(states, marks, strict=True) if mark == "o"},
            {state for state, mark in zip(states, marks, strict=True) if mark == "="},
        )
    assert listed == {
        name: (set(action.offered), set(action.already)) for name, action in status.ACTIONS.items()
    }

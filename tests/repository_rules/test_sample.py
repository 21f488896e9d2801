"""What `make test` leaves out: a draw within a budget, the same for everybody."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import sample


def items_of(counts: dict[str, int]) -> list[SimpleNamespace]:
    """As many cases of each test as are asked for."""
    return [
        SimpleNamespace(nodeid=f"{name}[{number}]", fixturenames=[], get_closest_marker=lambda _: None)
        for name, count in counts.items()
        for number in range(count)
    ]


@pytest.fixture
def costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.json"
    seconds = {f"tests/web/test_{file}.py::test_{name}": 2.0 for file in "ab" for name in range(600)}
    seconds |= {
        "tests/life/test_kill.py::test_long": 30.0,
        "tests/repository_rules/test_rules.py::test_all": 9.0,
    }
    seconds |= {"tests/web/test_cases.py::test_many": 1.0}
    path.write_text(json.dumps(seconds))
    monkeypatch.setattr(sample, "COSTS", path)


SUITE = {f"tests/web/test_{file}.py::test_{name}": 1 for file in "ab" for name in range(600)} | {
    "tests/life/test_kill.py::test_long": 1,
    "tests/repository_rules/test_rules.py::test_all": 1,
    "tests/web/test_cases.py::test_many": 9,
    "tests/filters/test_grammar.py::test_cheap": 500,
}


def kept(seed: str = "1", **options: bool) -> Counter[str]:
    items = items_of(SUITE)
    left = {item.nodeid for item in sample.left_out(items, seed=seed, **({"on_postgres": False} | options))}
    return Counter(item.nodeid.partition("[")[0] for item in items if item.nodeid not in left)


@pytest.mark.usefixtures("costs")
def test_each_file_keeps_a_test_and_what_costs_nothing_always_runs() -> None:
    names = kept()
    assert names["tests/life/test_kill.py::test_long"] == 1, "the only test of its file, whatever it costs"
    assert names["tests/repository_rules/test_rules.py::test_all"] == 1
    assert names["tests/filters/test_grammar.py::test_cheap"] == 500
    assert {name.partition("::")[0] for name in names} == {name.partition("::")[0] for name in SUITE}


@pytest.mark.usefixtures("costs")
def test_the_draw_keeps_to_the_budget_and_takes_evenly_from_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "BUDGET", 30.0 + 400.0)
    names = kept()
    pages = Counter(name.partition("::")[0] for name in names if "/test_a.py" in name or "/test_b.py" in name)
    assert sum(pages.values()) * 2.0 + names["tests/web/test_cases.py::test_many"] * 1.0 == pytest.approx(
        400, abs=2
    )
    assert abs(pages["tests/web/test_a.py"] - pages["tests/web/test_b.py"]) <= 1
    assert names["tests/web/test_cases.py::test_many"] == sample.CASES


@pytest.mark.usefixtures("costs")
def test_a_seed_is_a_draw_and_postgres_has_a_budget_of_its_own() -> None:
    assert kept("1") == kept("1") != kept("2")
    assert sum(kept(on_postgres=True).values()) < sum(kept().values())
    assert "tests/life/test_kill.py::test_long" not in kept(on_postgres=True), "too long for a second time"


def test_each_test_with_a_cost_on_record_exists() -> None:
    root = Path(__file__).parents[2]
    files = {function.partition("::")[0] for function in json.loads(sample.COSTS.read_text())}
    assert sorted(name for name in files if not (root / name).is_file()) == []

"""What `make test` runs of the whole suite, so that it takes minutes; `make soak` runs all.

Tests that cost next to nothing always run, and so do the rules of the repository. The others are drawn: one of each
file that has a short enough one, then round by round a further one of each, until a budget of seconds is spent. The
draw depends on the seed and on the costs alone, so that it is the same for everybody. The costs are measured: `make
costs`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import pytest

COSTS = Path(__file__).parents[1] / "costs.json"  # seconds of a case, by function
LEAST_COST = 0.3  # seconds, of the tests that have a cost on record
COST_WITH_DATABASE = 0.15  # of a test that is not on record
BUDGET, BUDGET_POSTGRES = 300.0, 110.0  # seconds of all drawn tests together, one after the other
FIRST_COST = 1.0  # seconds; what costs more is a file's first test only where all do
LONGEST, LONGEST_POSTGRES = 60.0, 20.0  # seconds; a file whose tests all take longer is left to `make soak`
CASES, CASES_POSTGRES = 3, 2  # of many cases alike
ALWAYS = "repository_rules"
DATABASE = {"db", "transactional_db"}


class Costs:
    """A plugin that notes what each test takes, and writes it to the file."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[function_of(report.nodeid)][report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        costs = json.loads(COSTS.read_text()) if COSTS.exists() else {}
        for function, cases in self.seconds.items():
            costs[function] = round(sum(cases.values()) / len(cases), 1)
        lasting = {function: cost for function, cost in sorted(costs.items()) if cost >= LEAST_COST}
        COSTS.write_text(json.dumps(lasting, indent=0) + "\n")


def function_of(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def left_out(items: Iterable[pytest.Item], *, seed: str, on_postgres: bool) -> list[pytest.Item]:
    """Return the items that this draw leaves out."""
    costs = json.loads(COSTS.read_text())

    def cost(item: pytest.Item) -> float:
        uses_database = DATABASE & set(getattr(item, "fixturenames", ())) or item.get_closest_marker(
            "django_db"
        )
        return costs.get(function_of(item.nodeid), COST_WITH_DATABASE if uses_database else 0.0)

    def drawn(name: str) -> str:
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    files: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if cost(item) and item.nodeid.split("/")[1] != ALWAYS:
            files[item.nodeid.partition("::")[0]].append(item)

    left: list[pytest.Item] = []
    queues: list[list[pytest.Item]] = []
    for name in sorted(files, key=drawn):
        queue: list[pytest.Item] = []
        cases: Counter[str] = Counter()
        for item in sorted(files[name], key=lambda item: drawn(item.nodeid)):
            cases[function_of(item.nodeid)] += 1
            is_enough = cases[function_of(item.nodeid)] > (CASES_POSTGRES if on_postgres else CASES)
            (left if is_enough else queue).append(item)
        first = next((item for item in queue if cost(item) <= FIRST_COST), min(queue, key=cost))
        if cost(first) > (LONGEST_POSTGRES if on_postgres else LONGEST):
            left += queue
            continue
        queues.append([first, *(item for item in queue if item is not first)])

    seconds = BUDGET_POSTGRES if on_postgres else BUDGET
    for number, turn in enumerate(zip_longest(*queues)):
        for item in turn:
            if item is None:
                continue
            if number and cost(item) > seconds:
                left.append(item)
            else:
                seconds -= cost(item)
    return left

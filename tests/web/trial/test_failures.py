"""Failures by cause: which failed alike, what tells them from the others, and what can be done with all of them."""

from __future__ import annotations

import random
from html import unescape

import pytest
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.models import Experiment, Failure, Outcome, Trial
from experiments.models.trial import failure_cause, failure_groups
from experiments.web.trial import failures
from tests.people import as_
from tests.web.trial.test_table import many, numbers


def overview(user, experiment: Experiment) -> str:
    url = reverse("experiment", args=["lab", experiment.public_id])
    return unescape(as_(user).get(url).content.decode())


def table(user, experiment: Experiment, query: str):
    return as_(user).get(reverse("experiment-trials", args=["lab", experiment.public_id]) + query)


def out_of_memory(gigabytes: float) -> Outcome:
    return Outcome(
        exit_code=1,
        failure=Failure.OUT_OF_MEMORY,
        detail=f"CUDA out of memory. Tried to allocate {gigabytes} GiB at 0x7f{int(gigabytes * 1000):x}",
    )


BROKEN = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="KeyError: 'label'")
GOOD = Outcome(exit_code=0, value=0.5)


@pytest.fixture
def mixed(running) -> Experiment:
    """#1 to #6 ran out of memory with three layers, #7 failed otherwise, #8 to #24 succeeded with fewer layers."""
    experiment = running(taken=8, concurrency=24, max_trials=24)
    for _ in range(16):
        Trial.take(experiment.trials.get(number=1).worker, ["default"])
    for trial in experiment.trials.order_by("number"):
        layers = 3 if trial.number <= 6 else 1 + trial.number % 2
        Trial.objects.filter(pk=trial.pk).update(params=trial.params | {"layers": layers})
        outcome = out_of_memory(trial.number) if trial.number <= 6 else BROKEN if trial.number == 7 else GOOD
        trial.settle(outcome)
    experiment.refresh_from_db()
    return experiment


def test_those_that_failed_alike_are_one_group_the_biggest_first(mixed, bob):
    """TD-X3: numbers and addresses in the detail do not count."""
    groups, others = failure_groups.groups_of(mixed)
    assert [sorted(group.numbers) for group in groups] == [[1, 2, 3, 4, 5, 6], [7]]
    assert len(others) == 17
    page = overview(bob, mixed)
    assert "6 trials" in page and "Out of memory" in page and "CUDA out of memory" in page
    assert page.index("Out of memory") < page.index("KeyError: 'label'")


def test_the_parameter_that_separates_them_is_said(mixed, bob):
    """TD-X3."""
    assert "All 6 had layers = 3, compared with 0 of 17 trials that did not fail." in overview(bob, mixed)


def test_show_them_filters_the_table_and_its_files(mixed, bob):
    """TD-X3, TD-X6: the filter is in the address and survives sorting."""
    key = failure_groups.groups_of(mixed)[0][0].key
    assert f"?filter=error_group:{key}" in overview(bob, mixed)
    response = table(bob, mixed, f"?failure={key}&sort=number")
    assert f'value="error_group:{key}"' in unescape(response.content.decode()), "an earlier address"
    assert numbers(response) == [1, 2, 3, 4, 5, 6]
    page = unescape(response.content.decode())
    assert "1 to 6 of 6" in page and "Showing trials with the same error: out of memory" in page
    assert numbers(table(bob, mixed, f"?failure={key}&state=succeeded")) == []
    rows = as_(bob).get(reverse("trials-csv", args=["lab", mixed.public_id]) + f"?failure={key}")
    assert len(b"".join(rows.streaming_content).splitlines()) == 7


@pytest.mark.parametrize("key", ["gone", "%", "'", "x" * 10_000])
def test_a_group_that_is_not_there_is_an_empty_table_not_a_full_one(mixed, bob, key):
    response = table(bob, mixed, f"?failure={key}")
    assert numbers(response) == [] and "No matching trials" in response.content.decode()
    client = as_(bob)
    rerun = reverse("trials-bulk", args=["lab", mixed.public_id, "rerun"])
    assert client.get(rerun, {"failure": key}).status_code == 302


def test_rerun_of_a_group_asks_and_then_the_group_is_gone(mixed, bob):
    """TD-X3, TD-X2: what was tried again is looked at no more, and is no longer in the way."""
    key = failure_groups.groups_of(mixed)[0][0].key
    rerun = reverse("trials-bulk", args=["lab", mixed.public_id, "rerun"])
    page = overview(bob, mixed)
    assert f'hx-get="{rerun}?failure={key}" hx-target="#dialog"' in page and "Rerun all 6" in page
    question = as_(bob).get(f"{rerun}?failure={key}")
    assert "Rerun 6 trials?" in question.content.decode() and not mixed.trials.filter(source="rerun").exists()
    sent = [row.key for row in question.context["selection"].rows]
    as_(bob).post(rerun, {"trial": sent})
    assert mixed.trials.filter(source="rerun").count() == 6
    mixed.refresh_from_db()
    assert [group.numbers for group in failure_groups.groups_of(mixed)[0]] == [[7]]


def test_where_rerun_is_not_possible_the_group_is_shown_without_it(mixed, bob, carol):
    rerun = reverse("trials-bulk", args=["lab", mixed.public_id, "rerun"])
    assert rerun not in overview(carol, mixed) and "Failures by cause" in overview(carol, mixed)
    mixed.stop(by=bob)
    assert rerun not in overview(bob, mixed)


def test_at_most_five_groups_and_how_many_more(running, bob):
    experiment = running(taken=8, concurrency=8, max_trials=8)
    for trial in experiment.trials.all():
        word = "abcdefgh"[trial.number - 1] * 3
        outcome = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail=f"Error: {word}")
        trial.settle(outcome)
    page = overview(bob, experiment)
    assert page.count('data-key="failure-') == 5 and "3 other causes" in page


def test_no_failures_no_panel(running, bob):
    assert "Failures by cause" not in overview(bob, running())


def test_only_the_last_500_are_read(draft, bob, django_assert_max_num_queries):
    """TD-X7: one query and 500 rows, however many trials there are; the page says so."""
    experiment = draft()
    many(experiment, 1200)
    Experiment.objects.filter(pk=experiment.pk).update(failed_count=120, settled_count=1200, last_number=1200)
    experiment.refresh_from_db()
    with django_assert_max_num_queries(2):
        groups, others = failure_groups.groups_of(experiment)
    assert sum(len(group.trials) for group in groups) == 50 and len(others) == 450
    assert min(groups[0].numbers) > 700
    assert "among the last 500" in overview(bob, experiment)


def test_details_are_shown_as_text(running, bob):
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    outcome = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="<script>alert(1)</script>")
    trial.settle(outcome)
    url = reverse("experiment", args=["lab", experiment.public_id])
    assert b"<script>alert" not in as_(bob).get(url).content


# --- alike ---------------------------------------------------------------------------------------------------------


def key(detail: str, failure: str = "exit_code", exit_code: int = 1) -> str:
    return failure_cause.key_of(Trial(detail=detail, failure=failure, exit_code=exit_code))


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("bad lr: -0.5", "bad lr: 0.5"),
        ("step 12: loss is 3.5e-7", "step 9000: loss is 1"),
        ("no such file: /data/a/x.csv", "no such file: /other/b-2/y_1.csv"),
        ("at 0x7ffe12", "at 0x1"),
        ("object 9f86d081884c7d65 is gone", "object 60303ae22b998861 is gone"),
        ("run 123e4567-e89b-12d3-a456-426614174000", "run 00000000-0000-0000-0000-000000000001"),
        ("Too  many\tspaces", "too many spaces"),
    ],
)
def test_alike(first, other):
    assert key(first) == key(other)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (key("KeyError: 'a'"), key("KeyError: 'b'")),
        (key("x"), key("x", exit_code=2)),
        (key("x"), key("x", failure="setup")),
        (key("defaced"), key("effaced")),
    ],
)
def test_not_alike(first, other):
    assert first != other


# --- what tells them apart -----------------------------------------------------------------------------------------


def of(name: str, values: list) -> list[dict]:
    return [{name: value, "constant": 1} for value in values]


@pytest.mark.parametrize(
    ("failed", "others", "message"),
    [
        ([256, 512] * 4, [32, 64, 128] * 8, "batch ≥ 256, compared with 0 of 24"),
        ([256, 512] * 6, [32, 64, 128] * 8 + [512], "batch ≥ 256, compared with 1 of 25"),
        ([1, 2] * 4, [32, 64, 128] * 8, "batch ≤ 2, compared with 0 of 24"),
        ([256] * 8, [32, 512] * 8, "batch = 256, compared with 0 of 16"),
        (["gelu"] * 8, ["relu"] * 16, "batch = gelu, compared with 0 of 16"),
        ([True] * 8, [False, 1] * 8, "batch = true, compared with 0 of 16"),
        ([[1, 2]] * 8, [[2, 1]] * 16, "batch = [1,2], compared with 0 of 16"),
        ([None] * 8, [0] * 16, "batch = null, compared with 0 of 16"),
    ],
)
def test_a_condition_that_separates_them_is_said(failed, others, message):
    assert message in failures.separating(of("batch", failed), of("batch", others))[1]


@pytest.mark.parametrize(
    ("failed", "others"),
    [
        ([256] * 8, [256] * 8),
        ([256] * 8, []),
        ([256], [1] * 20),  # one is no pattern
        ([256] * 2, [1] * 5),
        ([256] * 8, [32] * 10 + [256] * 5),  # a third of the others, too
        ([1, "a"] * 8, [2] * 16),
        ([], [1]),
    ],
)
def test_what_does_not_separate_well_is_not_said(failed, others):
    assert failures.separating(of("batch", failed), of("batch", others)) == (None, "")


def test_chance_alone_hardly_ever_makes_a_condition():
    """Twenty parameters without any meaning: said in at most two of a hundred."""
    rng, hits = random.Random(7), 0
    for _ in range(100):
        trials = [{f"p{n}": rng.random() for n in range(20)} for _ in range(30)]
        hits += failures.separating(trials[:4], trials[4:]) != (None, "")
    assert hits <= 2


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
PARAMS = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), VALUES), max_size=20)


@settings(max_examples=100, deadline=None)
@given(PARAMS, PARAMS)
def test_no_values_break_it(failed, others):
    assert isinstance(failures.separating(failed, others)[1], str)

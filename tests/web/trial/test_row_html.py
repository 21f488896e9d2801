"""The rows of the trials table, their heads and their menus as HTML, for each kind of trial."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from experiments.models import Experiment, FrontTrial, Trial, TrialState, Worker
from tests.models.test_pareto_front import TWO
from tests.web.trial.test_table import table

STOP = (
    '<form method="post" action="…1/stop/" hx-post="…1/stop/" hx-swap="none" hx-disabled-elt="find button">'
    '<input type="hidden" name="csrfmiddlewaretoken" value="…">'
    '<button class="btn is-quiet is-small on-hover" type="submit" aria-keyshortcuts="s">'
    'Stop<span class="sr-only"> trial 1</span></button></form>'
)
RERUN = (
    '<a class="btn is-quiet is-small on-hover" href="…1/rerun/" hx-get="…1/rerun/" hx-target="#dialog" '
    'hx-swap="morph" aria-keyshortcuts="r">Rerun<span class="sr-only"> trial 1</span></a>'
)
FAILED = {"state": "failed", "failure": "exit_code", "exit_code": 3, "detail": 'No "<layer>"'}
REASON = "Exit code 3: No &quot;&lt;layer&gt;&quot;"
DASH = '<span class="muted">—</span>'


def status(state: str, label: str) -> str:
    return f'<span class="status" data-status="{state}">[{state}]{label}</span>'


def button(term: str, text: str) -> str:
    attributes = f'class="cell-btn" type="submit" form="filter" name="cell" value="{term}" title="{term}"'
    return f"<button {attributes}>{text}</button>"


def cells(html: str) -> list[str]:
    """Return what is in the cells of the row of trial 1 after its checkbox. Icons are `[name]`."""
    row = html.split('<tr data-key="trial-1"')[1].split("</tr>")[0]
    row = re.sub(r'<svg class="\w+" aria-hidden="true"><use href="[^"]*#[gi]-([\w-]+)"/></svg>', r"[\1]", row)
    row = re.sub(r'"/w/lab/experiments/\w+/trials/', '"…', row)
    row = re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1…", row)
    return [cell.strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)][1:]


@pytest.fixture
def drawn(draft: Callable[..., Experiment], bob: Any) -> Callable[..., list[str]]:
    """Draws the cells of trial 1 with these columns of its row."""

    def draw(columns: str = "value", **row: Any) -> list[str]:
        experiment = draft()
        Trial.objects.create(
            experiment=experiment, revision=experiment.revision, number=1, **{"params": {}, **row}
        )
        Experiment.objects.filter(pk=experiment.pk).update(
            state="running", last_number=1, running_count=1, started_at=timezone.now()
        )
        query = "&".join(f"columns={column}" for column in columns.split())
        return cells(table(bob, experiment, f"?{query}").content.decode())

    return draw


@pytest.mark.parametrize(
    ("row", "value", "state", "action"),
    [
        pytest.param(
            {"state": "running", "last_value": 0.25, "last_step": 1200},
            '<span class="muted" title="Last intermediate value, at step 1,200: 0.25">0.2500</span>',
            f'<span class="with-why">{status("running", "Running")}</span>',
            STOP,
            id="running",
        ),
        pytest.param(
            {"state": "waiting"},
            DASH,
            f'<span class="with-why">{status("waiting", "Waiting")}</span>',
            STOP,
            id="waiting",
        ),
        pytest.param(
            FAILED,
            DASH,
            f'<span class="with-why">{status("failed", "Failed")} '
            f'<small class="truncate muted">{REASON}</small></span>',
            RERUN,
            id="failed",
        ),
        pytest.param(
            {"state": "early_stopped", "value": 0.5, "last_step": 7},
            '<span class="tag" title="partial, stopped early at step 7">partial</span> '
            '<span class="muted" title="0.5">0.5000</span>',
            f'<span class="with-why">{status("early_stopped", "Stopped early")}</span>',
            "",
            id="early stopped",
        ),
        pytest.param(
            {"state": "succeeded", "value": 2e7, "starred_at": timezone.now(), "comment_count": 2},
            '<span title="20000000.0">20000000</span>',
            f'<span class="with-why">{status("succeeded", "Succeeded")} '
            '<span class="noted is-starred" title="Starred">[star]<span class="sr-only">Starred</span></span> '
            '<span class="noted" title="2 comments">[note]<span class="sr-only">2 comments</span></span></span>',
            "",
            id="starred, with comments",
        ),
    ],
)
def test_each_kind_of_trial_has_its_row(drawn, row, value, state, action) -> None:
    """PAI-N3: value, state with its reason, and what can be done."""
    assert drawn(**row) == ['<a href="…1/">#1</a>', value, state, f'<div class="row-actions">{action}</div>']


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (1e-05, button("lr=1e-05", "1.00e-5")),
        (-3, button("lr=-3", "-3")),
        (2.0, button("lr=2.0", "2")),
        (True, button("lr=true", "true")),
        (None, DASH),
        ("adam", button("lr=adam", "adam")),
        ('s "g<d', button("lr=&quot;s \\&quot;g&lt;d&quot;", "s &quot;g&lt;d")),
        ("none", button("lr=&quot;none&quot;", "none")),
        ([1, "a b"], button("lr=&quot;[1, \\&quot;a b\\&quot;]&quot;", "[1, &quot;a b&quot;]")),
    ],
)
def test_a_click_on_a_value_adds_the_condition_that_selects_it(drawn, value, cell) -> None:
    """PAI-F1: written as the filter needs it, and never as HTML."""
    assert drawn("p.lr", state="succeeded", value=1.0, params={"lr": value})[2] == cell


def test_cells_beside_the_values(drawn, worker: Worker) -> None:
    """PAI-N3: worker, revision, times, memory; a dash where there is nothing."""
    columns = "duration_s started_at ended_at worker revision peak_memory_bytes cpu_s"
    blank = drawn(columns, state="waiting")
    assert blank[2:-1] == ["—", "—", "—", DASH, button("revision=1", "1"), "—", "—"]


def test_times_memory_and_worker_of_a_trial_that_ended(drawn, worker: Worker) -> None:
    """PAI-N3."""
    ended = timezone.now() - timedelta(days=1000)
    columns = "duration_s ended_at worker peak_memory_bytes cpu_s"
    row = {"duration_s": 95.0, "ended_at": ended, "worker": worker, "peak_memory": 2 * 10**9, "cpu_s": 61.0}
    at = f'<time datetime="{ended.isoformat()}" title="{ended:%Y-%m-%d %H:%M:%S} UTC">{ended.day} {ended:%b %Y}</time>'
    expected = ["2 m", at, button("worker=w1", "w1"), "2.0 GB", "1 m 01 s"]
    assert drawn(columns, state="succeeded", value=1.0, **row)[2:-1] == expected


def test_thirty_parameters_are_thirty_cells(draft, bob) -> None:
    """PAI-N3: each with its own condition, in the order of the search space, and a menu for each head."""
    names = [f"p.{number:02}" for number in range(30)]
    experiment = draft(
        space_document={name: {"_type": "uniform", "_value": [0, 100]} for name in names}, command="x"
    )
    params = {name: place / 7 for place, name in enumerate(names)}
    Trial.objects.create(
        experiment=experiment, revision=experiment.revision, number=1, params=params, state="waiting"
    )
    Experiment.objects.filter(pk=experiment.pk).update(waiting_count=1)
    html = table(bob, experiment, "?sort=-p.p.03&page=1&state=waiting").content.decode()
    terms = [f"{name}={value!r}" for name, value in params.items()]
    assert re.findall(r'class="cell-btn"[^>]* value="(p\.[^"]+)"', html) == terms
    for name in names:
        menu = html.split(f'<span class="at"><code>{name}</code>')[1].split("</div>")[0]
        assert f'href="?sort=p.{name}&amp;state=waiting"' in menu, (
            "the order stays in its place, the page does not"
        )
        assert f'href="?sort=-p.{name}&amp;state=waiting"' in menu
        for step in ("first", "left", "right", "pin", "hide"):
            assert f'name="move" value="{step}:p.{name}"' in menu
        turned = f'href="?sort=p.{name}&amp;state=waiting" title="{name}"'
        assert turned in html


def test_reruns_and_replicas_name_their_source(draft, bob) -> None:
    """TD-V2."""
    experiment = draft()
    first = Trial.objects.create(
        experiment=experiment, revision=experiment.revision, number=7, params={}, state=TrialState.FAILED
    )
    for source, mark in (
        ("rerun", 'title="Attempt 2, after #7">[rerun]'),
        ("replica", 'title="Replica of #7">[clone]'),
    ):
        Trial.objects.filter(number=1).delete()
        Trial.objects.create(
            experiment=experiment,
            revision=experiment.revision,
            number=1,
            params={},
            state="waiting",
            rerun_of=first,
            attempt=2,
            source=source,
        )
        Experiment.objects.filter(pk=experiment.pk).update(waiting_count=1, failed_count=1)
        state = cells(table(bob, experiment).content.decode())[2]
        assert f'<a class="chain" href="…7/" {mark} #7</a>' in state


def test_trials_on_the_pareto_front_are_marked(draft, bob) -> None:
    """TD-C9."""
    experiment = draft(**TWO)
    trial = Trial.objects.create(
        experiment=experiment, revision=experiment.revision, number=1, params={}, state="succeeded", value=0.5
    )
    FrontTrial.objects.create(
        experiment=experiment, trial=trial, number=1, joined_result=1, loss_1=0, loss_2=0
    )
    Experiment.objects.filter(pk=experiment.pk).update(
        succeeded_count=1, front_size=1, objective_bounds=[[0.5, 0.5, 1]] * 2
    )
    html = table(bob, experiment).content.decode()
    mark = '<span class="tag" data-role="good" title="On the Pareto front">front</span>'
    assert cells(html)[1] == f'{mark} <span title="0.5">0.5000</span>'
    assert '<tr data-key="trial-1" class="is-best">' in html

"""TD-X7: no page reads a large table as a whole, not even after ANALYZE."""

from __future__ import annotations

import json
import re
import sys
from itertools import count
from urllib.parse import quote

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.filters import matches
from experiments.filters.trials import TrialFields
from experiments.models import Experiment, MetricValue, Trial, plain_sql
from experiments.web.trial import trial_query
from experiments.web.trial.trial_query import TrialQuery
from tests.people import as_
from tests.web.trial.test_table import many

TRIALS = 1500
LARGE = {
    "experiments_trial",
    "experiments_trialparameter",
    "experiments_metricvalue",
    "experiments_point",
    "experiments_logpiece",
}
PAGES = [
    "",
    "charts/",
    "activity/",
    "trials/",
    "trials/?page=12",
    "trials/?state=failed",
    "trials/?sort=value",
    "trials/?sort=-value&state=failed",
    "trials/?sort=p.lr",
    "trials/?sort=-p.lr&state=failed",
    "trials/?sort=m.f1",
    "trials/?sort=-m.f1",
    "trials/?sort=-duration",
    "trials/?sort=-started",
    f"trials/{TRIALS - 3}/",
    "configuration/",
    "resume/",
    "compare/?trial=1&trial=2",
]
LISTS = ["/w/lab/", "/w/lab/experiments/", "/w/lab/leaderboard/", "/w/lab/wall/", "/w/lab/usage/"]
SMALL = 30  # experiments beside the large one: on average an experiment has few trials


def plans(sql: str, how: str = "") -> list[str]:
    """Return which tables the query reads as a whole. `how`: an option of PostgreSQL's EXPLAIN."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            names = dict(_aliases(sql))
            steps = [row[3] for row in cursor.fetchall()]
            whole = re.compile(
                r"SCAN (\S+)|SEARCH (\S+) USING (?:AUTOMATIC|(?:COVERING )?INDEX \w+ \(experiment_id=\?\)|"
                r"INDEX trial_by_start \(experiment_id=\? AND started_at>\?\))"  # all that have started
            )
            if re.search(r" LIMIT \d+( OFFSET \d+)?$", sql):  # in the order of the index it ends early
                whole = re.compile(r"SCAN (\S+)(?! USING)|SEARCH (\S+) USING AUTOMATIC")
            scans = [match for step in steps if (match := whole.match(step))]
            return [names.get(name, name) for scan in scans if (name := scan[1] or scan[2])]
        cursor.execute(
            "SET LOCAL enable_seqscan = off"
        )  # so that a table is read as a whole where there is no index
        cursor.execute(f"EXPLAIN ({how}FORMAT JSON) {sql}")
        read_whole: list[str] = []
        plan = cursor.fetchone()[0]
        _walk(json.loads(plan) if isinstance(plan, str) else plan, read_whole)
        return read_whole


def _aliases(sql: str) -> list[tuple[str, str]]:
    return [(alias, table) for table, alias in re.findall(r'"(experiments_\w+)" (U\d+|T\d+|V\d+)\b', sql)]


def _walk(plan: object, read_whole: list[str]) -> None:
    if isinstance(plan, list):
        for part in plan:
            _walk(part, read_whole)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            read_whole.append(plan["Relation Name"])
        for part in plan.values():
            if isinstance(part, list | dict):
                _walk(part, read_whole)


def large_among_small(draft) -> Experiment:
    """One large experiment among many small ones, after ANALYZE."""
    experiment = draft("large")
    many(experiment, TRIALS)
    Trial.objects.filter(experiment=experiment, number__in=(2, 3)).update(
        rerun_of=Trial.objects.get(experiment=experiment, number=1)
    )
    Experiment.objects.filter(pk=experiment.pk).update(state="completed", ended_at=timezone.now())
    keys = experiment.trials.filter(number__gt=10).values_list("pk", flat=True)
    MetricValue.objects.bulk_create(
        MetricValue(trial_id=pk, experiment=experiment, name="f1", number=pk / 7) for pk in keys
    )
    for number in range(SMALL):
        small = draft(f"small {number}")
        many(small, 3)
        Experiment.objects.filter(pk=small.pk).update(
            state="running", started_at=timezone.now(), settled_count=2, running_count=1
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return experiment


def compiled() -> dict[str, plain_sql.Statement]:
    """The statements that are compiled once, by module and name."""
    return {
        f"{module}.{name}": value
        for module in sorted(sys.modules)
        if module.startswith("experiments.")
        for name, value in list(vars(sys.modules[module]).items())
        if isinstance(value, plain_sql.Statement)
    }


def test_no_page_reads_all_trials(draft, bob):
    experiment = large_among_small(draft)
    client, root, seen = as_(bob), f"/w/lab/experiments/{experiment.public_id}/", {}
    for page in [*(root + page for page in PAGES), *LISTS]:
        with CaptureQueriesContext(connection) as queries:
            response = client.get(page)
        assert response.status_code == 200, (page, response.status_code)
        for query in list(queries):
            if query["sql"].startswith("SELECT"):
                seen.setdefault(query["sql"], page)
    whole = [(page, table, sql) for sql, page in seen.items() for table in plans(sql) if table in LARGE]
    assert not whole, "\n\n".join(f"{page} reads all of {table}: {sql}" for page, table, sql in whole)
    assert len(seen) > 60


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("filter=value>0.01 (lr<0.009 or layers=1)&sort=-duration", "trial_by_duration"),
        ("filter=value>0.01 (lr<0.009 or layers=1)&sort=started", "trial_by_start"),
        ("filter=value>0.01 number<1400 duration<50&sort=p.lr", "parameter_by_value"),
        ("filter=value>0.01 number<1400 duration<50&sort=-p.layers", "parameter_by_value"),
        ("filter=value>0.01 number<1400 duration<50&sort=m.f1", "metric_by_value"),
        ("filter=number<1400 duration<50&sort=-value", "trial_by_result"),
        ("state=failed&sort=value", "trial_by_result"),
        ("filter=state:failed&sort=-value", "trial_by_result"),
        ("state=failed&sort=duration", "trial_by_duration"),
        ("state=failed&sort=-p.layers", "parameter_by_value"),
        ("filter=state:failed&sort=m.f1", "metric_by_value"),
        ("sort=p.layers", "parameter_by_value"),
    ],
)
def test_an_order_of_many_selected_trials_follows_its_index(draft, monkeypatch, query, index):
    """TD-X7: neither the index of a condition nor a sort of all that it selects, which takes seconds."""
    experiment = large_among_small(draft)
    experiment.refresh_from_db()
    monkeypatch.setattr(trial_query, "EXACT_TO", 100)
    monkeypatch.setattr(trial_query, "SORTED_TO", 50)
    selected = TrialQuery.of(QueryDict(query), experiment)
    assert selected.selection.error is None and selected.total[0] >= 100
    parts = [part.values_list("pk", flat=True)[:50] for part in selected.parts]
    with CaptureQueriesContext(connection) as queries:
        keys = [list(part) for part in parts]
    statements = [query["sql"] for query in list(queries)]
    assert any(keys) and not [table for sql in statements for table in plans(sql) if table in LARGE]
    if connection.vendor == "sqlite":  # PostgreSQL chooses by the number of rows
        for sql in statements[:1]:  # the others have no value
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
                steps = [row[3] for row in cursor.fetchall()]
            assert index in steps[0], (sql, steps)
            assert "USE TEMP B-TREE FOR ORDER BY" not in steps, (sql, steps)


@pytest.mark.parametrize(
    "text",
    [
        "lr<0.005",
        "lr<0.005 layers=1",
        "lr<0.005 or f1>100",
        "value>0.01 lr<0.009",
        "not state:failed layers=1",
        "value!=none layers!=1",
        "f1>20 or partial>0.1",
    ],
)
def test_matches_are_counted_without_reading_a_row(draft, monkeypatch, text):
    """TD-X7: indexes contain all that is read; on PostgreSQL, those of trials do not contain their keys."""
    experiment = large_among_small(draft)
    experiment.refresh_from_db()
    monkeypatch.setattr(trial_query, "EXACT_TO", 100)
    monkeypatch.setattr(matches, "_most_read", lambda own: 0)
    selected = TrialQuery.of(QueryDict(f"filter={quote(text)}"), experiment)
    with CaptureQueriesContext(connection) as queries:
        assert selected.total == (100, False)
    for query in list(queries):
        if connection.vendor == "postgresql":
            assert not [table for table in plans(query["sql"]) if table in LARGE]
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            steps = [row[3] for row in cursor.fetchall() if "experiments_" in row[3]]
        # SQLite never calls an index with a generated column covering, but seeks no row either.
        covering = ("COVERING INDEX", "INDEX trial_by_result")
        assert steps and all(any(name in step for name in covering) for step in steps), (query["sql"], steps)


def test_a_range_of_a_parameter_reads_what_lies_in_it(draft):
    """TD-X7: not what lies on either side of each end."""
    experiment = draft()
    for field in ("lr", "metric.f1"):
        for by_trial in (False, True):
            fields = TrialFields(experiment, [], by_trial=by_trial)
            sql = str(fields.filter(experiment.trials.all(), f"{field}:0.1..0.2").query)
            assert sql.count("SELECT") == 2, sql


def test_no_plan_for_any_values_reads_all_trials(draft, bob):
    """PostgreSQL may plan a prepared statement without knowing its values: partial indexes must stay usable."""
    import experiments.tasks  # noqa: F401  (imports the worker and the scheduler)

    experiment = large_among_small(draft)
    as_(bob).get(f"/w/lab/experiments/{experiment.public_id}/")  # imports the pages
    statements = compiled()
    assert len(statements) > 25
    if connection.vendor != "postgresql":
        return  # SQLite plans them as it plans those of the test above
    whole = []
    for name, statement in statements.items():
        sql, _ = statement._compile()
        places = count(1)
        text = re.sub("%s", lambda _: f"${next(places)}", sql).replace("%%", "%")  # noqa: B023
        whole += [
            f"{name} reads all of {table}: {text}"
            for table in plans(text, "GENERIC_PLAN, ")
            if table in LARGE
        ]
    assert not whole, "\n\n".join(whole)

"""The Trials tab: filters, orders and pages in the address; what a row tells and offers."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models import Count
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Failure, MetricValue, Outcome, Trial, TrialParameter
from experiments.models.trial.parameter import digest
from experiments.web.trial import trial_query
from experiments.web.trial.table_order import Order
from tests.people import as_, end_all, look_at


def table(user, experiment: Experiment, query: str = ""):
    """The answer of the Trials tab."""
    return as_(user).get(reverse("experiment-trials", args=["lab", experiment.public_id]) + query)


def numbers(response) -> list[int]:
    """The trials of the page, in its order."""
    return [int(number) for number in re.findall(r'<tr data-key="trial-(\d+)"', response.content.decode())]


def row(response, number: int) -> str:
    """The markup of one row."""
    return response.content.decode().split(f'data-key="trial-{number}"')[1].split("</tr>")[0]


def many(experiment: Experiment, count: int, *, last: int = 0) -> None:
    """Settled trials by the thousand, straight into the tables: number n has the value n / 10,000."""
    started = timezone.now() - timedelta(days=1)
    params = [
        {"lr": (n * 7919 % 1000 + 1) / 1e5, "layers": n % 3 + 1} for n in range(last + 1, last + count + 1)
    ]
    trials = [
        Trial(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            params=values,
            values_digest=digest(values, "x"),
            state="failed" if number % 10 == 0 else "succeeded",
            failure=Failure.EXIT_CODE if number % 10 == 0 else "",
            exit_code=1 if number % 10 == 0 else 0,
            detail="ValueError: no" if number % 10 == 0 else "",
            value=None if number % 10 == 0 else number / 10_000,
            started_at=started + timedelta(seconds=number),
            ended_at=started + timedelta(seconds=number + number % 60),
            duration_s=number % 60,
            settled_rank=number,
        )
        for number, values in enumerate(params, last + 1)
    ]
    Trial.objects.bulk_create(trials, batch_size=500)
    rows = [TrialParameter.of(trial, *pair) for trial in trials for pair in trial.params.items()]
    TrialParameter.objects.bulk_create(rows, batch_size=2000)
    with experiment.locked():
        failed = sum(trial.state == "failed" for trial in trials)
        experiment.failed_count += failed
        experiment.succeeded_count += count - failed
        experiment.last_number = experiment.proposed_count = last + count
        experiment.best_number, experiment.best_value = last + count - 1, (last + count - 1) / 10_000
        experiment.trace = [[n, n / 10_000] for n in range(1, last + count, max(1, count // 100))]
        experiment.started_at = started


@pytest.fixture
def hundred(draft) -> Experiment:
    """An experiment with 120 settled trials, every tenth failed."""
    experiment = draft()
    many(experiment, 120)
    return experiment


def test_the_newest_come_first_and_the_total_is_exact(hundred, bob):
    """PAI-N3: a URL of its own, with every trial."""
    page = table(bob, hundred)
    assert numbers(page) == list(range(120, 70, -1))
    assert "1 to 50 of 120" in page.content.decode()
    assert '<a href="?page=2" rel="next">' in page.content.decode()


@pytest.mark.parametrize("size", [1, 49, 50, 51, 99, 100, 101, 149, 250])
def test_pages_hold_every_trial_once_in_order(draft, bob, size):
    """Also those read from the end."""
    experiment = draft()
    many(experiment, size)
    results = [
        n for page in range(1, -(-size // 50) + 1) for n in numbers(table(bob, experiment, f"?page={page}"))
    ]
    assert results == list(range(size, 0, -1))


@pytest.mark.parametrize("page", ["0", "-1", "abc", "²", "99999999999999999999", "", "1e3", "4"])
def test_a_page_that_does_not_exist_is_the_nearest(hundred, bob, page):
    """A bad address gives a page, never an error."""
    results = numbers(table(bob, hundred, f"?page={page}"))
    assert results == (list(range(20, 0, -1)) if page == "4" else list(range(120, 70, -1)))


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("number", lambda t: t.number),
        ("-number", lambda t: -t.number),
        ("value", lambda t: (t.value is None, t.value, -t.number)),
        ("-value", lambda t: (t.value is None, -(t.value or 0), -t.number)),
        ("duration", lambda t: (t.duration_s, -t.number)),
        ("-started", lambda t: -t.number),
        ("state", lambda t: (t.state, -t.number)),
        ("p.lr", lambda t: (t.params["lr"], -t.number)),
        ("-p.lr", lambda t: (-t.params["lr"], -t.number)),
        ("p.layers", lambda t: (t.params["layers"], t.number)),
        ("-p.layers", lambda t: (-t.params["layers"], -t.number)),
    ],
)
def test_every_column_sorts_and_what_has_no_value_comes_last(hundred, bob, sort, key):
    expected = [trial.number for trial in sorted(hundred.trials.all(), key=key)]
    results = [n for page in (1, 2, 3) for n in numbers(table(bob, hundred, f"?sort={sort}&page={page}"))]
    assert results == expected


def test_text_parameters_sort_by_their_text(draft, bob):
    experiment = draft(
        space_document={"optimizer": {"_type": "choice", "_value": ["sgd", "adam", "lamb"]}},
        command="x ${optimizer}",
    )
    many(experiment, 3)
    for number, name in ((1, "sgd"), (2, "adam"), (3, "lamb")):
        trial = experiment.trials.get(number=number)
        Trial.objects.filter(pk=trial.pk).update(params={"optimizer": name})
        TrialParameter.of(trial, "optimizer", name).save()
    assert numbers(table(bob, experiment, "?sort=p.optimizer")) == [2, 3, 1]
    assert numbers(table(bob, experiment, "?sort=-p.optimizer")) == [1, 3, 2]


def test_a_parameter_may_be_called_like_a_column(draft, bob):
    """`value` is the objective, `p.value` the parameter."""
    experiment = draft(space_document={"value": {"_type": "uniform", "_value": [0, 1]}}, command="x ${value}")
    many(experiment, 2)
    for number, at in ((1, 0.9), (2, 0.1)):
        trial = experiment.trials.get(number=number)
        TrialParameter.of(trial, "value", at).save()
    assert numbers(table(bob, experiment, "?sort=value")) == [1, 2]
    assert numbers(table(bob, experiment, "?sort=p.value")) == [2, 1]


def test_a_trial_without_a_parameter_of_today_stays_in_the_table(hundred, bob):
    """TD-U5: parameters come and go under way."""
    TrialParameter.objects.filter(trial__number=120, trial__experiment=hundred, name="lr").delete()
    Trial.objects.filter(experiment=hundred, number=120).update(params={"layers": 1})
    assert numbers(table(bob, hundred, "?sort=p.lr&page=3"))[-1] == 120


@pytest.mark.parametrize(
    "sort", ["p.nothing", "-", "p.", "detail", "experiment__workspace", "p.lr'--", "--number"]
)
def test_an_unknown_order_is_answered_and_the_newest_come_first(hundred, bob, sort):
    """TD-C3"""
    response = table(bob, hundred, f"?sort={sort}")
    assert response.status_code == 400 and numbers(response)[:2] == [120, 119]
    assert "Invalid sort: “" in response.content.decode() and "p.lr" in response.content.decode()


def test_a_state_filters_with_its_count_and_survives_sorting_and_paging(hundred, bob):
    """PAI-S2: states with words, glyphs and counts."""
    page = table(bob, hundred, "?state=failed&sort=number")
    html = page.content.decode()
    assert numbers(page) == list(range(10, 121, 10))
    assert "1 to 12 of 12" in html
    assert re.search(r'aria-current="true"><svg.*?g-failed.*?Failed <span class="count">12</span>', html)
    assert re.search(r'data-status="succeeded".*?Succeeded <span class="count">108</span>', html)
    assert 'href="?state=failed&amp;sort=-value"' in html
    assert 'aria-sort="ascending"' in html


def test_an_empty_filter_says_so_and_leads_on(hundred, bob):
    html = table(bob, hundred, "?state=stopped").content.decode()
    assert "No matching trials" in html and '<span class="count">120</span>' in html


def test_an_experiment_without_trials_teaches_the_next_step(draft, alice, bob):
    experiment = draft()
    assert "This experiment is a draft. Enqueue it" in table(bob, experiment).content.decode()
    experiment.enqueue(by=alice)
    assert "when the search proposes the first values" in table(bob, experiment).content.decode()


def test_the_best_row_is_marked(hundred, bob):
    page = table(bob, hundred)
    assert page.content.decode().count('class="is-best"') == 1
    assert "best</span>" in row(page, 119)


def test_a_failed_row_tells_the_reason(hundred, bob):
    """PAI-S1: with its cause."""
    assert "Exit code 1: ValueError: no" in row(table(bob, hundred), 120)


def test_a_running_row_shows_its_value_so_far_and_can_be_stopped(running, bob):
    """PAI-T1."""
    experiment = running()
    Trial.objects.filter(experiment=experiment, number=1).update(last_step=4, last_value=0.4321)
    page = table(bob, experiment)
    assert "at step 4" in row(page, 1) and "0.4321" in row(page, 1)
    for number in (1, 2):  # the second waits
        url = reverse("trial-stop", args=["lab", experiment.public_id, number])
        assert f'<form method="post" action="{url}"' in row(page, number)


def test_a_viewer_sees_no_actions_in_the_rows(running, carol):
    assert "<form" not in row(table(carol, running()), 1)


def failed_one(running) -> Experiment:
    """A running experiment whose first trial failed."""
    experiment = running(concurrency=1)
    end_all(experiment, Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="ValueError: no"))
    return experiment


def test_rerun_stands_in_the_row_of_a_failed_trial(running, bob):
    """PAI-R1: running (or paused), failed, no equal."""
    experiment = failed_one(running)
    url = reverse("trial-rerun", args=["lab", experiment.public_id, 1])
    assert f'hx-get="{url}" hx-target="#dialog"' in row(table(bob, experiment), 1)
    experiment.pause(by=bob)
    assert f'href="{url}"' in row(table(bob, experiment), 1)


def test_where_rerun_is_not_possible_the_row_says_why(running, bob):
    """PAI-R1: an equal trial waits; then the experiment has stopped."""
    experiment = failed_one(running)
    experiment.trials.get(number=1).rerun(by=bob)
    again = experiment.trials.get(source="rerun")
    assert f"#{again.number} has the same values and is waiting" in row(table(bob, experiment), 1)
    experiment.stop(by=bob)
    look_at(experiment)
    assert "Rerun is not possible while the experiment is stop" in row(table(bob, experiment), 1)


def test_a_rerun_links_to_what_it_repeats(running, bob):
    experiment = failed_one(running)
    again = experiment.trials.get(number=1).rerun(by=bob)
    url = reverse("trial", args=["lab", experiment.public_id, 1])
    assert f'<a class="chain" href="{url}" title="Attempt 2, after #1">' in row(
        table(bob, experiment), again.number
    )


def test_thirty_parameters_are_thirty_columns(draft, bob):
    names = [f"parameter_{n}" for n in range(30)]
    experiment = draft(
        space_document={name: {"_type": "uniform", "_value": [0, 1]} for name in names}, command="x ${params}"
    )
    many(experiment, 1)
    html = table(bob, experiment).content.decode()
    assert all(f"sort=p.{name}" in html for name in names)


def test_values_that_look_like_html_are_only_values(draft, bob):
    experiment = draft(
        space_document={"tag": {"_type": "choice", "_value": ["<b>x</b>", '"><script>']}}, command="x ${tag}"
    )
    many(experiment, 1)
    Trial.objects.filter(experiment=experiment).update(
        params={"tag": '"><script>'}, detail="<script>alert(1)"
    )
    html = table(bob, experiment).content.decode()
    assert "<script>alert" not in html and '"><script>' not in html


def queries(django_assert_max_num_queries, user, experiment: Experiment, query: str) -> int:
    client = as_(user)
    with django_assert_max_num_queries(30) as seen:
        client.get(reverse("experiment-trials", args=["lab", experiment.public_id]) + query)
    return len(seen)


@pytest.mark.parametrize("query", ["", "?sort=p.lr", "?state=failed", "?page=2"])
def test_a_page_takes_as_many_queries_with_one_trial_as_with_many(
    draft, bob, query, django_assert_max_num_queries
):
    """TD-X7: with 20 trials and with 300, failures among both."""
    small, large = draft("small"), draft("large")
    many(small, 20)
    many(large, 300)
    assert queries(django_assert_max_num_queries, bob, small, query) == queries(
        django_assert_max_num_queries, bob, large, query
    )


def test_an_unchanged_table_is_not_drawn_and_a_new_value_is(running, bob):
    """Live rows: 304 until something that they show has changed, also what only the worker wrote."""
    experiment, client = running(), as_(bob)
    url = reverse("experiment-trials", args=["lab", experiment.public_id])
    asks = {"HX-Request": "true", "HX-Target": "rows"}
    first = client.get(url, headers=asks)
    assert first.content.decode().strip().startswith('<div id="rows"')
    headers = {**asks, "If-None-Match": first["ETag"]}
    assert client.get(url, headers=headers).status_code == 304
    Trial.objects.filter(experiment=experiment, number=1).update(last_step=1, last_value=0.777, version=99)
    changed = client.get(url, headers=headers)
    assert changed.status_code == 200 and "0.7770" in changed.content.decode()


def test_a_table_that_has_ended_asks_no_more(in_state, bob):
    assert 'data-live="' not in table(bob, in_state("completed")).content.decode()


def test_strangers_and_nobody(running, dave):
    """404 for who is not a member; who is not signed in goes to sign in, and comes back."""
    experiment = running()
    assert table(dave, experiment).status_code == 404
    url = reverse("experiment-trials", args=["lab", experiment.public_id])
    assert Client().get(url)["Location"] == f"{reverse('sign-in')}?next={url}"
    assert as_(dave).post(url).status_code == 405


# --- the filter line -------------------------------------------------------------------------------------------


def test_the_filter_line_selects_counts_and_stays_in_every_link(hundred, bob):
    """TD-C3: with the chips counting what it leaves."""
    page = table(bob, hundred, "?filter=number>90+layers=1&sort=number")
    html = unescape(page.content.decode())
    wanted = [n for n in range(91, 121) if n % 3 + 1 == 1]
    assert numbers(page) == wanted and f"1 to {len(wanted)} of {len(wanted)}" in html
    failed = len([n for n in wanted if n % 10 == 0])
    assert re.search(rf'Failed <span class="count">{failed}</span>', html)
    assert "?filter=number%3E90+layers%3D1&sort=number&state=failed" in html


def test_a_click_on_a_cell_adds_to_the_filter(hundred, bob):
    """TD-C3: with the value in full, beside what the line has already."""
    html = unescape(row(table(bob, hundred, "?filter=number<50"), 7))
    term = re.search(r'form="filter" name="cell" value="(lr=[^"]*)"', html)[1]
    assert term == f"lr={hundred.trials.get(number=7).params['lr']}"
    for name in ("cell", "and"):
        page = table(bob, hundred, f"?filter=number<50+or+number=60&{name}={quote(term)}")
        html = unescape(page.content.decode())
        assert numbers(page) == [7] and f'value="(number<50 or number=60) {term}"' in html


@pytest.mark.parametrize(
    ("term", "field", "value", "operators"),
    [
        ("lr=1e-05", "lr", "1e-05", ["=", "<=", ">=", "!="]),
        ('"p.a=b"=-3', '"p.a=b"', "-3", ["=", "<=", ">=", "!="]),
        ('opt="a=b"', "opt", '"a=b"', ["=", "!="]),
        ("worker=w1", "worker", "w1", ["=", "!="]),
    ],
)
def test_the_menu_of_a_cell_offers_bounds_for_numbers(hundred, bob, term, field, value, operators):
    """TD-C3: the conditions of the value; nothing of the page is replaced."""
    url = f"/w/lab/experiments/{hundred.public_id}/trials/"
    answer = as_(bob).get(url, {"cell": term}, headers={"HX-Request": "true", "HX-Target": "view"})
    html = answer.content.decode()
    offered = [unescape(each) for each in re.findall(r'name="and"\s+value="([^"]*)"', html)]
    assert offered == [f"{field}{operator}{value}" for operator in operators]
    assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#cell-menu", "innerHTML")
    assert "<table" not in html


def test_an_error_names_the_place_and_keeps_the_last_result(hundred, bob):
    """TD-C3: and a file is refused with the same sentence."""
    page = table(bob, hundred, "?filter=lrr<1&last=number<3")
    html = page.content.decode()
    assert page.status_code == 400 and numbers(page) == [2, 1]
    assert "<mark>lrr</mark>&lt;1" in html and "Character 1:" in html and "did you mean “lr”?" in html
    assert 'href="?filter=lr%3C1">Use lr' in html
    file = as_(bob).get(reverse("trials-csv", args=["lab", hundred.public_id]) + "?filter=lrr<1")
    assert file.status_code == 400 and "did you mean “lr”? (at character 1)" in file.content.decode()


@pytest.mark.parametrize("limit", [10, 120])
def test_of_very_many_matches_nobody_counts_all(hundred, bob, monkeypatch, limit):
    """TD-X7: the pages go on beyond what was counted."""
    monkeypatch.setattr(trial_query, "EXACT_TO", limit)
    results = [n for page in (1, 2) for n in numbers(table(bob, hundred, f"?filter=number>5&page={page}"))]
    assert results == list(range(120, 20, -1))
    html = table(bob, hundred, "?filter=number>5").content.decode()
    assert ("1 to 50 of 10+" if limit == 10 else "1 to 50 of 115") in html and 'rel="next"' in html


@pytest.mark.parametrize("sort", ["-number", "value", "-p.layers"])
def test_the_first_of_very_many_matches_are_looked_up_by_trial(hundred, bob, monkeypatch, sort):
    """TD-X7: a condition on a parameter that most trials meet is not read as a whole for the first page."""
    url = f"?filter=(lr<1 or layers>0) not lr=none&sort={sort}"
    whole = numbers(table(bob, hundred, url))
    monkeypatch.setattr(trial_query, "EXACT_TO", 10)
    with CaptureQueriesContext(connection) as queries:
        assert numbers(table(bob, hundred, url)) == whole
    sets = [query["sql"] for query in queries if 'IN (SELECT U0."trial_id"' in query["sql"]]
    counted = [query["sql"] for query in queries if query["sql"].startswith("WITH selected(key)")]
    assert len(whole) == 50 and not sets and len(counted) == 3  # each condition on a parameter


@pytest.mark.parametrize(
    "sort", ["value", "-value", "duration", "-started", "p.lr", "-p.layers", "m.f1", "state", "-state"]
)
def test_a_large_table_is_read_in_parts_and_sorts_alike(hundred, bob, monkeypatch, sort):
    """TD-X7: what has no value comes last, from page to page, forward and from the end."""
    MetricValue.objects.bulk_create(
        MetricValue(trial=trial, experiment=hundred, name="f1", number=trial.number % 7 or None)
        for trial in hundred.trials.filter(number__gt=60)
    )
    whole = [n for page in (1, 2, 3) for n in numbers(table(bob, hundred, f"?sort={sort}&page={page}"))]
    order = Order.of(sort, ["lr", "layers"])
    parts = [n for part in order.parts(hundred.trials.all()) for n in part.values_list("number", flat=True)]
    assert parts == list(order.in_order(hundred.trials.all()).values_list("number", flat=True)) == whole


# --- rows that keep their place --------------------------------------------------------------------------------


def poll(user, experiment: Experiment, page) -> str:
    """What the live table asks for after this page, and its answer."""
    url = unescape(re.search(r'id="rows"[^>]*hx-get="([^"]*)"', page.content.decode())[1])
    path = reverse("experiment-trials", args=["lab", experiment.public_id])
    return as_(user).get(path + url, headers={"HX-Request": "true", "HX-Target": "rows"})


def test_new_rows_wait_and_shown_ones_stay_where_they_are(running, bob):
    """TD-C6: also a row that the filter no longer selects; one polite announcement."""
    experiment = running(taken=3, concurrency=5, max_trials=9)
    first = table(bob, experiment, "?filter=state:running")
    assert numbers(first) == [3, 2, 1] and "Follow newest" not in first.content.decode()
    experiment.trials.get(number=2).settle(Outcome(value=0.5, exit_code=0))
    assert Trial.take(experiment.trials.get(number=1).worker, ["default"])
    again = poll(bob, experiment, first)
    html = again.content.decode()
    assert numbers(again) == [3, 2, 1] and "Succeeded" in row(again, 2)
    assert "1 new trial – show" in html and "New trials are available." in html
    assert 'role="status">New trials are available.<' in html
    assert "shown=" not in re.sub(r'hx-get="[^"]*shown[^"]*"', "", html), "no link keeps the place"
    assert numbers(poll(bob, experiment, again)) == [3, 2, 1]
    following = table(bob, experiment, "?filter=state:running&follow=on")
    assert numbers(poll(bob, experiment, following)) == [4, 3, 1]


@pytest.mark.parametrize("place", ["shown=a,b&upto=x", "shown=1,2", "shown=99999999999&upto=1", "upto=-1"])
def test_a_bad_place_is_answered(hundred, bob, place):
    assert table(bob, hundred, f"?{place}").status_code in (200, 400)


@pytest.mark.parametrize(
    "text",
    [
        "state:failed",
        "state=Failed",
        "state:failed,succeeded",
        "state:failed or state:stopped",
        "state:stopped",
    ],
)
def test_a_filter_by_state_is_counted_by_the_experiment(draft, text):
    """Reading thousands of trials only to count them would take longer than reading the page."""
    experiment = draft()
    many(experiment, 60)
    experiment.refresh_from_db()
    query = trial_query.TrialQuery.of(QueryDict(f"filter={text}"), experiment)
    with CaptureQueriesContext(connection) as queries:
        counts = {state: number for state, number in query.counts.items() if number}
    assert not queries
    by_state = query.selection.trials.order_by().values_list("state")
    assert counts == dict(by_state.annotate(Count("pk"))) and query.total == (sum(counts.values()), True)


@pytest.mark.parametrize(
    "text", ["not state:failed", "state!=failed", "state:failed value>0", "state:failed number<9"]
)
def test_a_filter_by_more_than_the_state_is_counted(draft, text):
    experiment = draft()
    many(experiment, 60)
    query = trial_query.TrialQuery.of(QueryDict(f"filter={text}"), experiment)
    with CaptureQueriesContext(connection) as queries:
        total, _ = query.total
    assert 1 <= len(queries) <= 2 and total == query.selection.trials.count()

"""The overview of an experiment: facts, why it waits, what runs, what happened; at the same cost for any size."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Failure, Outcome, Point, Queue, Trial, Worker
from experiments.scheduler.estimate import estimates
from experiments.web.experiment.charts import best_steps
from tests.people import as_, end_all, look_at
from tests.web.trial.test_table import many

pytestmark = pytest.mark.once


def url_of(experiment: Experiment) -> str:
    return reverse("experiment", args=["lab", experiment.public_id])


def overview(user, experiment: Experiment, query: str = "") -> str:
    response = as_(user).get(url_of(experiment) + query)
    assert response.status_code == 200
    return response.content.decode()


def fragment(client: Client, experiment: Experiment, name: str, tag: str = ""):
    """What live.js asks for."""
    headers = {"HX-Request": "true", "HX-Target": name} | ({"If-None-Match": tag} if tag else {})
    return client.get(url_of(experiment), headers=headers)


def test_the_head_tells_name_state_id_and_tags(draft, alice, bob):
    """PAI-S2: the state is a word with its glyph."""
    experiment = draft("a <b>bold</b> name")
    experiment.describe(by=alice, tags=["nightly", "cvpr"])
    html = overview(bob, experiment)
    assert "<h1>a &lt;b&gt;bold&lt;/b&gt; name</h1>" in html
    assert 'data-status="draft"' in html and "Draft</span>" in html
    assert experiment.public_id in html
    assert '<span class="tag">nightly</span>' in html


def test_tabs_lead_to_pages_that_exist(draft, bob):
    """PAI-N3: details have a Trials tab with an address of its own."""
    experiment = draft()
    html = overview(bob, experiment)
    trials = reverse("experiment-trials", args=["lab", experiment.public_id])
    assert f'<a href="{trials}">Trials<span class="count">0</span></a>' in html
    assert f'<a href="{url_of(experiment)}" aria-current="page">Overview</a>' in html


def test_a_draft_shows_what_it_would_run(draft, bob):
    html = overview(bob, draft())
    assert "python train.py --lr ${lr}" in html
    assert "loguniform" in html and "0.0001, 0.1" in html
    conv = {"_name": "Conv", "size": {"_type": "randint", "_value": [1, 9]}}
    space = {
        "layer": {"_type": "choice", "_value": [{"_name": "Empty"}, conv]},
        "decay": {"_type": "loguniform", "_value": [1e-6, 0.01]},
    }
    html = overview(bob, draft(space_document=space, command="run ${layer}", algorithm="Random"))
    assert ">Empty, Conv<" in html and ">1e-6, 0.01<" in html


def test_the_facts_tell_best_trials_running_and_search(running, bob):
    experiment = running(early_stopping="Medianstop")
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(value=0.8147, exit_code=0))
    html = overview(bob, experiment)
    assert "Best accuracy" in html and "0.8147" in html and 'trials/1/">#1</a>' in html
    assert '3 <span class="of">of 6</span>' in html, "the next one was lined up"
    assert "revision 1, Medianstop" in html
    assert 'aria-label="1 succeeded' in html, "the outcome bar says itself in words"


def test_the_reason_of_the_end_stands_beside_the_state(in_state, bob):
    html = overview(bob, in_state("completed"))
    assert "max trials reached" in html


def test_a_failed_search_says_why(in_state, bob):
    html = overview(bob, in_state("failed"))
    assert "Search failed" in html and "The search cannot continue" in html


def test_an_experiment_that_paused_itself_says_why_and_leads_to_the_failures(running, bob):
    """TD-X3: the breaker."""
    experiment = running(breaker=2, max_trials=9)
    for _ in range(2):
        for trial in experiment.trials.filter(state="running"):
            trial.settle(Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="no GPU"))
        Trial.take(Worker.objects.get(), ["default"])
    look_at(experiment)
    assert experiment.state == "paused"
    html = overview(bob, experiment)
    assert "Auto-paused" in html and "no GPU" in html
    assert f"{reverse('experiment-trials', args=['lab', experiment.public_id])}?state=failed" in html


# --- why it waits --------------------------------------------------------------------------------------------------


def test_nobody_serves_the_queue(in_state, bob):
    experiment = in_state("pending")
    Worker.objects.all().delete()
    html = overview(bob, experiment)
    assert "No worker serves queue default" in html
    assert "trialdeck worker --queue default" in html


def test_the_queue_is_paused(in_state, bob, worker):
    experiment = in_state("pending")
    Queue.objects.update(is_paused=True)
    assert "Queue default is paused" in overview(bob, experiment)


def test_all_slots_are_busy(running, in_state, bob):
    running("first", taken=2)
    Worker.objects.update(slots=2)
    waits = in_state("pending", name="second")
    assert "all 2 slots of queue default are busy" in overview(bob, waits)


def test_a_draining_worker_does_not_count(in_state, bob, worker):
    Worker.objects.update(is_draining=True)
    assert "The only worker of queue default, w1, is draining" in overview(bob, in_state("pending"))


def test_a_rerun_waits_for_the_concurrency(running, bob):
    experiment = running(taken=2)
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(exit_code=1, failure=Failure.EXIT_CODE))
    Trial.take(Worker.objects.get(), ["default"])
    trial.rerun(by=bob)
    assert "1 trial waits: concurrency limit reached" in overview(bob, experiment)


# --- running now ---------------------------------------------------------------------------------------------------


def test_what_runs_tells_its_worker_and_heartbeat(running, bob):
    """TD-X5: proof of life."""
    experiment = running()
    Trial.objects.filter(number=1).update(last_step=7, last_value=0.4321)
    html = overview(bob, experiment)
    assert re.search(r"w1 · last heartbeat [0-9]+ s ago", html) and "step 7" in html and "0.4321" in html
    stop = reverse("trial-stop", args=["lab", experiment.public_id, 1])
    assert f'<form method="post" action="{stop}"' in html


def test_what_runs_has_as_many_digits_as_tell_its_results_apart(running, bob):
    """TD-V10: among each other and from the best one; in full in the tooltip."""
    experiment = running(taken=2)
    for number, value in ((1, 0.8916666666666667), (2, 0.45)):
        Trial.objects.filter(number=number).update(last_step=7, last_value=value)
    html = overview(bob, experiment)
    assert 'title="0.8916666666666667">0.8917</span>' in html and 'title="0.45">0.4500</span>' in html
    Trial.objects.filter(number=2).update(last_value=0.89166412)
    html = overview(bob, experiment)
    assert ">0.89167</span>" in html and ">0.89166</span>" in html


def test_a_late_heartbeat_is_news(running, bob):
    """TD-X5: age is not in the entity tag, "late" is."""
    experiment, client = running(), as_(bob)
    tag = fragment(client, experiment, "running")["ETag"]
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=2))
    assert fragment(client, experiment, "running", tag).status_code == 304
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=9))
    late = fragment(client, experiment, "running", tag)
    assert late.status_code == 200 and "late, last heartbeat 9 s ago" in late.content.decode()


def test_a_hundred_that_run_are_a_dozen_and_a_link(running, worker, bob):
    Worker.objects.update(slots=20)
    experiment = running(taken=15, concurrency=15, max_trials=30)
    html = overview(bob, experiment)
    assert html.count('<li data-key="trial-') == 12
    assert "3 more</a>" in html


def test_a_running_trial_has_its_curve(running, bob):
    experiment = running()
    trial = experiment.trials.get(number=1)
    Point.keep([Point(trial=trial, name="accuracy", step=step, value=step / 100) for step in range(40)])
    Trial.objects.filter(pk=trial.pk).update(last_step=39, last_value=0.39)
    assert '<svg class="spark"' in overview(bob, experiment)


# --- history, activity ---------------------------------------------------------------------------------------------


def test_the_history_is_a_chart_with_its_numbers_one_link_away(draft, bob):
    experiment = draft()
    many(experiment, 30)
    html = overview(bob, experiment)
    assert 'class="chart is-wide"' in html and 'class="chart is-narrow"' in html
    assert 'href="?show=data"' in html
    data = overview(bob, experiment, "?show=data")
    assert "<td>succeeded</td>" in data and "0.002900" in data
    assert ">Optimization history</title>" in html and ">Optimization history</title>" not in data


def test_the_best_steps_follow_the_numbers_not_the_ends(draft):
    """Trial 3 ended before trial 2: as numbers go, 2 improved on 1, and 3 on 2."""
    experiment = draft()
    experiment.trace = [[1, 0.1], [3, 0.3], [5, 0.35], [2, 0.4], [7, 0.5]]
    assert best_steps(experiment) == [(1, 0.1), (2, 0.4), (7, 0.5)]
    experiment.direction = "minimize"
    experiment.trace = [[2, 0.5], [1, 0.4]]
    assert best_steps(experiment) == [(1, 0.4)]


def test_activity_says_who_did_what_in_words(running, alice, bob):
    experiment = running()
    trial = experiment.trials.get(number=1)
    trial.stop(by=bob)
    trial.settle(Outcome(signal=15))
    experiment.pause(by=bob)
    html = " ".join(overview(alice, experiment).split())
    for words in (
        "bob paused this experiment",
        "bob stopped <a",
        "</a> stopped</span>",
        "alice enqueued this experiment",
        "alice created this experiment",
    ):
        assert words in html, words


def test_an_edit_is_told_with_its_revision(draft, alice, bob):
    experiment = draft()
    experiment.edit(
        type(experiment.settings).checked({**experiment.settings.document(), "seed": 5}), by=bob, seen=1
    )
    assert "bob edited the settings, revision 2" in overview(alice, experiment)


def test_the_best_trial_shows_its_values_with_their_place(running, bob):
    experiment = running()
    end_all(experiment)
    html = overview(bob, experiment)
    assert "Best trial" in html and html.count('<svg class="place"') == 2


def test_a_value_that_no_longer_fits_the_space_is_shown_without_a_place(running, bob):
    """TD-U5: the space may change under way."""
    experiment = end_all(running())
    Trial.objects.filter(experiment=experiment).update(params={"lr": "odd", "layers": 9, "gone": [1, 2]})
    html = overview(bob, experiment)
    assert "odd" in html and "[1, 2]" in html and '<svg class="place"' not in html


# --- live, cost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head", "history", "running"])
def test_a_fragment_is_served_alone_and_not_again_unless_it_changed(running, bob, name):
    experiment, client = running(), as_(bob)
    first = fragment(client, experiment, name)
    html = first.content.decode().strip()
    assert html.startswith(f'<div id="{name}"') and "<html" not in html
    assert ('data-live="2"' if name == "head" else 'data-beside="head" data-every="2"') in html
    assert fragment(client, experiment, name, first["ETag"]).status_code == 304
    experiment.pause(by=bob)
    assert fragment(client, experiment, name, first["ETag"]).status_code == 200


def test_what_is_no_fragment_is_the_page(running, bob):
    """Which fragments a page serves is the view's list, never the request's word."""
    response = fragment(as_(bob), running(), "../base")
    assert "<html" in response.content.decode() and "ETag" not in response


def test_an_experiment_that_has_ended_asks_no_more(in_state, bob):
    html = overview(bob, in_state("stopped"))
    assert 'data-live="' not in html and 'data-every="' not in html


def test_a_running_trial_tells_how_far_it_is(running, bob):
    """TD-C2: by its own total of steps, else by what earlier trials took; the end as a range, and the slot time."""
    experiment = running(concurrency=2, taken=2, max_trials=20)
    now = timezone.now()
    first, second = experiment.trials.filter(state="running").order_by("number")
    Trial.objects.filter(pk=first.pk).update(
        started_at=now - timedelta(seconds=30), steps_done=15, steps_total=20, last_step=14, last_value=0.5
    )
    html = overview(bob, experiment)
    assert "step 15 of 20" in html and "about 10 s left" in html
    assert html.count("<progress") == 1 and 'value="75"' in html, "nothing tells how far the other one is"
    assert "no result yet" in html and "<dt>Ends</dt>" not in html
    Trial.objects.filter(pk=second.pk).update(started_at=now - timedelta(seconds=60))
    second.refresh_from_db()
    second.settle(Outcome(value=0.4))
    Experiment.objects.filter(pk=experiment.pk).update(compute_s=7200)
    html = overview(bob, experiment)
    assert "<dt>Ends</dt>" in html and " to " in html.split("<dt>Ends</dt>")[1].split("</div>")[0]
    assert '2.0 <span class="of">slot h</span>' in " ".join(html.split())


def test_a_running_trial_whose_worker_was_removed_says_so(running, bob):
    """No lone dot where the worker and its heartbeat would stand."""
    experiment = running(taken=1)
    Trial.objects.update(worker=None)
    html = overview(bob, experiment)
    block = html.split("Running now")[1].split("<h2>")[0]
    assert "Worker removed" in block and "·" not in block


def test_an_ended_experiment_has_no_estimate(in_state, bob):
    html = overview(bob, in_state("completed"))
    assert "<dt>Ends</dt>" not in html and "<progress" not in html


def test_an_unchanged_poll_is_a_handful_of_reads(running, bob, django_assert_max_num_queries):
    """Session, right, version."""
    experiment, client = running(taken=2), as_(bob)
    tag = fragment(client, experiment, "history")["ETag"]
    with django_assert_max_num_queries(5):  # session, user, experiment, role, what runs
        assert fragment(client, experiment, "history", tag).status_code == 304


def cost(django_assert_max_num_queries, user, experiment: Experiment) -> tuple[int, int]:
    client = as_(user)
    with django_assert_max_num_queries(25) as seen:
        response = client.get(url_of(experiment))
    assert response.status_code == 200
    return len(seen), len(response.content)


def test_ten_thousand_trials_cost_as_many_queries_as_a_hundred(draft, bob, django_assert_max_num_queries):
    """TD-X7: fixed queries, and a page that does not grow with the trials."""
    small, large = draft("small"), draft("large")
    many(small, 100)  # enough for advice, which looks at nothing before
    many(large, 10_000)
    few, _ = cost(django_assert_max_num_queries, bob, small)
    lots, size = cost(django_assert_max_num_queries, bob, large)
    assert few == lots
    assert size < 700_000
    assert " of 10,000 trials<" in overview(bob, large), "it says that not all are drawn"
    assert " of 100 trials<" not in overview(bob, small)


def test_after_a_reset_only_the_new_trials_are_drawn(in_state, alice, bob):
    """TD-A10: the old ones are in the trash, their numbers are not used again."""
    experiment = in_state("completed", concurrency=1)
    experiment.reset(by=alice)
    html = overview(bob, experiment)
    assert "Optimization history" not in html and "Best trial" not in html
    experiment.enqueue(by=alice)
    look_at(experiment)
    Worker.objects.get()
    html = overview(bob, experiment)
    assert "Optimization history" in html and 'trials/1/"' not in html.split('id="running"')[0]


def test_strangers_and_nobody(draft, dave):
    experiment = draft()
    assert as_(dave).get(url_of(experiment)).status_code == 404
    assert Client().get(url_of(experiment))["Location"] == f"{reverse('sign-in')}?next={url_of(experiment)}"


def test_readers_share_the_estimated_end_until_it_may_differ(running, alice, bob, monkeypatch):
    """Simulating the end takes half of the page; a changed budget counts at once."""
    experiment = running(max_trials=10)
    experiment.trials.filter(state="running").first().settle(Outcome(value=0.5, exit_code=0))
    simulated = []

    def counted(*arguments, **options):
        simulated.append(1)
        return estimates(*arguments, **options)

    monkeypatch.setattr("experiments.web.experiment.overview.estimates", counted)
    monkeypatch.setattr("experiments.web.ui.fragments.minute", lambda: 1)
    url = reverse("experiment", args=["lab", experiment.public_id])
    assert "Ends" in as_(alice).get(url).content.decode()
    as_(bob).get(url)
    assert len(simulated) == 1
    Worker.objects.update(slots=1)
    as_(bob).get(url)
    assert len(simulated) == 2
    experiment.describe(by=alice, name="renamed")  # as each trial that ends, while there are few
    as_(bob).get(url)
    assert len(simulated) == 3
    monkeypatch.setattr("experiments.web.ui.fragments.minute", lambda: 2)
    as_(alice).get(url)
    assert len(simulated) == 4

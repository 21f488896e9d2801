"""Home: of one workspace and of all of mine."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from experiments.models import (
    Baseline,
    Dismissal,
    Experiment,
    Outcome,
    Pin,
    Project,
    Queue,
    SlotUsage,
    Trial,
    Usage,
    User,
    Worker,
    Workspace,
)
from experiments.models.usage.slot_usage import day_of
from tests.people import as_

HOME = "/w/lab/"


def names(page) -> list[str]:
    return [row.experiment.name for row in page.context["rows"]]


def measure(worker: Worker, *, ago: timedelta = timedelta(), busy: float = 0.5) -> None:
    """Write a quarter of an hour of a worker's utilization."""
    at = timezone.now() - timedelta(hours=1) - ago
    slot_s = 900.0 * worker.slots
    Usage.objects.create(
        worker=worker, at=at, until_at=at + timedelta(minutes=15), slot_s=slot_s, busy_s=slot_s * busy
    )


def facts(page) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.note) for fact in page.context["facts"]}


def drafts(page) -> list[str]:
    return [row.experiment.name for row in page.context["drafts"]]


def test_it_shows_what_was_touched_last_and_its_projects(lab, alice, bob, draft, in_state):
    """CML-N1, TD-D1: recent experiments and project cards, each with VIEW ALL; active ones, then ended ones; drafts are
    their creator's."""
    vision = Project.create(lab, name="vision")
    done = in_state("completed", name="done")
    runs = in_state("running", name="runs")
    secret = draft("secret")
    secret.describe(by=alice, visibility="private")
    draft("idle").describe(by=alice, project=vision)
    page = as_(bob).get(HOME)
    assert names(page) == ["runs", "done"]
    assert [row.experiment.name for row in page.context["active_rows"]] == ["runs"]
    assert drafts(as_(alice).get(HOME)) == ["idle", "secret"]
    text = page.content.decode()
    for experiment in (runs, done):
        assert f'href="{reverse("experiment", args=["lab", experiment.public_id])}"' in text
    assert [card.project.name for card in page.context["cards"]] == ["vision", "Default"]
    assert f'href="{reverse("projects", args=["lab"])}">View all' in text
    assert f'href="{reverse("experiments", args=["lab"])}">View all' in text
    assert "secret" not in text


def test_it_says_what_needs_somebody_and_why(lab, alice, bob, in_state, draft, worker):
    """CML-N1: what failed, what paused itself, what nobody takes; a worker that is silent."""
    in_state("failed", name="broken")
    in_state("paused", name="by itself")
    Experiment.objects.filter(name="by itself").update(reason="10 failures alike: exit code 1")
    in_state("paused", name="by alice")
    draft("waits").enqueue(by=alice, queue=Queue.objects.create(name="gpu", is_open=True))
    draft("fine")
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=12))
    page = as_(bob).get(HOME)
    details = {need.name: need.detail for need in page.context["needs"]}
    assert details.pop("w1").startswith("2 running trials")
    assert re.search(r"last heartbeat <time [^>]*data-age=[^>]*>12 s ago<", page.content.decode())
    assert details == {
        "broken": "The search cannot continue",
        "by itself": "10 failures alike: exit code 1",
        "waits": "no worker serves queue gpu",
    }


def test_it_shows_capacity_and_lines(lab, bob, in_state):
    """CML-N1: workers, slots in use, queues waiting."""
    in_state("running")
    hidden = Queue.objects.create(name="not-ours")
    page = as_(bob).get(HOME)
    assert [(row["worker"].name, row["busy"], row["worker"].slots) for row in page.context["workers"]] == [
        ("w1", 1, 8)
    ]
    assert [(row.queue.name, row.length) for row in page.context["queues"]] == [("default", 1)]
    assert "1/8" in page.content.decode() and hidden.name not in page.content.decode()


def test_it_shows_how_many_trials_failed_and_how_busy_the_workers_were(
    lab, alice, bob, carol, running, worker
):
    """TD-D1: of the last seven days and of the last day; from kept sums, private experiments included, as on the page
    Usage; of one workspace, or of all of mine."""
    other = Workspace.open("other", owner=alice)
    secret = running("secret", taken=2, concurrency=2, max_trials=4)
    secret.describe(by=alice, visibility="private")
    for trial, failure in zip(secret.trials.filter(state="running"), ("exit_code", ""), strict=True):
        trial.settle(Outcome(failure=failure, exit_code=1) if failure else Outcome(value=0.5, exit_code=0))
    for workspace, days, failed in ((lab, 6, 6), (lab, 8, 100), (other, 1, 40)):
        at = day_of(timezone.now() - timedelta(days=days))
        SlotUsage.objects.create(
            workspace=workspace, is_day=True, at=at, seconds=36_000, trials=failed + 8, failed=failed
        )
    page = as_(carol).get(HOME)
    assert facts(page)["Failure rate (7 d)"] == ("44%", "7 of 16 trials")
    assert facts(page)["Compute (7 d)"][0] == "10.0" and "secret" not in page.content.decode()
    assert page.context["chart"] == [] and "No data yet" not in page.content.decode()
    assert facts(as_(alice).get("/"))["Failure rate (7 d)"] == ("73%", "47 of 64 trials")
    stranger = Worker.register("stranger", host="h", pid=1, queues=["not-ours"], slots=2, lease_s=15)
    Queue.objects.create(name="not-ours")
    measure(worker, busy=0.25), measure(stranger, busy=1)
    html = as_(carol).get(HOME).content.decode()
    assert "25% utilization (24 h)" in html and "Busy slots" in html


def test_nothing_has_run_yet(lab, alice, draft):
    draft()
    assert facts(as_(alice).get(HOME))["Failure rate (7 d)"] == ("—", "no trial has ended")


def test_a_queue_without_a_worker_is_marked(lab, alice, bob, draft, worker):
    Queue.objects.create(name="tpu", is_open=True)
    assert "no worker" not in as_(bob).get(HOME).content.decode(), "nothing waits in it"
    draft().enqueue(by=alice, queue=Queue.objects.get(name="tpu"))
    page = as_(bob).get(HOME)
    assert {row.queue.name: row.has_no_worker for row in page.context["queues"]} == {
        "tpu": True,
        "default": False,
    }
    assert "no worker</span>" in page.content.decode()


@pytest.mark.once
def test_the_number_of_queries_does_not_depend_on_how_much_there_is(
    lab, alice, in_state, draft, django_assert_num_queries
):
    """A fixed number of queries; an unchanged poll draws nothing."""
    in_state("failed", name="broken")
    client = as_(alice)
    client.get(HOME)  # notes the session
    # session, person, workspace, role; workers, busy, lines; queues; sums, projects; dismissed; utilization, slot
    # hours (2); served, needs (2); pinned; active, ended, pinned and drafts, their rows; baselines (6)
    with django_assert_num_queries(23):
        client.get(HOME)
    for number in range(12):
        in_state("failed", name=f"broken {number}").describe(
            by=alice, project=Project.create(lab, name=f"p{number}")
        )
        Queue.objects.create(name=f"q{number}", is_open=True)
        Worker.register(f"more-{number}", host="h", pid=number, queues=["q1"], slots=2, lease_s=15)
    for day in range(30):
        SlotUsage.objects.create(
            workspace=lab, is_day=True, at=timezone.now() - timedelta(days=day), trials=3, failed=1
        )
    for quarter, worker in enumerate(Worker.objects.all()):
        measure(worker, ago=timedelta(hours=quarter))
    with django_assert_num_queries(23):
        page = client.get(HOME)
    assert len(page.context["rows"]) == 6 and page.context["more_needs"] == 0, "grouped by their cause"
    Worker.objects.update(lease_s=3600)  # none is late, however slow this machine is
    Workspace.open("other", owner=alice)
    with django_assert_num_queries(23):
        everywhere = client.get("/")
    assert names(everywhere) == names(page)
    headers = {"HX-Request": "true", "HX-Target": "home"}
    Worker.objects.update(heard_at=timezone.now())  # a slow machine must not make them late in between
    part = client.get(HOME, headers=headers)
    assert b"<html" not in part.content and b'id="home"' in part.content
    assert client.get(HOME, headers={**headers, "If-None-Match": part["ETag"]}).status_code == 304


def test_whoever_has_one_workspace_is_led_there_and_who_has_more_sees_all(lab, alice, bob, draft):
    other = Workspace.open("other", name="Other room", owner=alice)
    draft("in the lab").clone(by=alice, name="over there", project=other.projects.get())
    assert as_(bob).get("/")["Location"] == HOME
    page = as_(alice).get("/")
    assert set(drafts(page)) == {"in the lab", "over there"} and "Other room" in page.content.decode()
    other.has_automl = False
    other.save()
    assert drafts(as_(alice).get("/")) == ["in the lab"]


def test_empty_it_teaches_the_first_step(lab, alice, carol, dave):
    first = as_(alice).get(HOME).content.decode()
    assert "No experiments yet" in first and reverse("experiment-new", args=["lab"]) in first
    assert "No workers running" in first and "trialdeck worker --queue default" in first
    assert reverse("experiment-new", args=["lab"]) not in as_(carol).get(HOME).content.decode()
    assert "Ask a workspace owner to add you" in as_(dave).get("/").content.decode()


def test_an_administrator_without_workspaces_is_not_told_to_ask_an_administrator(db):
    """What `make up DEMO=0` shows first."""
    page = as_(User.objects.create_superuser("owner")).get("/").content.decode()
    assert "Create the first one" in page and "Ask a workspace owner" not in page
    assert f'href="{reverse("workspaces")}"' in page


@pytest.mark.once
def test_estimates_are_written_anew_with_each_minute(lab, alice, in_state, monkeypatch):
    """In between the browser counts on."""
    in_state("running")
    client, headers = as_(alice), {"HX-Request": "true", "HX-Target": "home"}
    headers["If-None-Match"] = client.get(HOME, headers=headers)["ETag"]
    Worker.objects.update(heard_at=timezone.now(), lease_s=3600)
    assert client.get(HOME, headers=headers).status_code == 304
    monkeypatch.setattr("experiments.web.ui.fragments.minute", lambda: 1)
    assert client.get(HOME, headers=headers).status_code == 200


def test_a_full_disk_needs_somebody(lab, bob, worker):
    """TD-S2: no trials start there; named on Home, and gone from it with the next heartbeat that has room."""
    worker.heartbeat({"disk": 10 << 30, "disk_free": 200 << 20})
    html = as_(bob).get(reverse("workspace", args=["lab"])).content.decode()
    assert "Disk of worker w1" in html and "98% full, so no trials start" in html
    worker.heartbeat({"disk": 10 << 30, "disk_free": 5 << 30})
    assert "Disk of worker" not in as_(bob).get(reverse("workspace", args=["lab"])).content.decode()


def test_a_worker_that_loses_its_trials_again_and_again_needs_somebody(lab, bob, worker, running):
    """TD-S2: on Home and on Workers; one restart with many trials is no storm."""
    experiment = running(taken=4, concurrency=4, retries=0, max_trials=8)

    def lose(count: int) -> str:
        for trial in experiment.trials.filter(state="running")[:count]:
            trial.settle(Outcome.lost("The worker w1 was lost."))
        return as_(bob).get(HOME).content.decode() + as_(bob).get(reverse("workers")).content.decode()

    assert "lost in the last hour" not in lose(2)
    for boot in (uuid.uuid4(), uuid.uuid4()):
        Trial.objects.filter(pk=experiment.trials.filter(state="running").first().pk).update(boot=boot)
        html = lose(1)
    assert html.count("4 trials lost in the last hour") == 2
    experiment.trials.update(ended_at=timezone.now() - timedelta(minutes=61))
    assert "lost in the last hour" not in lose(0)


def test_what_has_the_same_cause_is_one_row_and_can_be_dismissed(lab, alice, bob, in_state):
    """TD-D1: with the others unfolded beneath; for this person only, until it happens again."""
    for name in ("first", "second", "third"):
        in_state("failed", name=name)
    in_state("paused", name="by itself")
    Experiment.objects.filter(name="by itself").update(reason="10 failures alike: exit code 1")
    Worker.objects.update(lease_s=1000)  # nobody sends its heartbeats: it would need attention, too
    page = as_(bob).get(HOME)
    assert page.context["need_count"] == 4
    rows = {need.name: need for need in page.context["needs"]}
    group = next(need for need in rows.values() if need.others)
    assert len(rows) == 2 and len(group.keys) == 3 and "2 more experiments</summary>" in page.content.decode()
    dismiss = reverse("needs-dismiss")
    assert as_(bob).post(dismiss, {"need": group.keys, "here": HOME})["Location"] == HOME
    assert as_(bob).post(dismiss, {"need": ["x y", ""], "here": "https://evil.example/"})["Location"] == "/"
    after = as_(bob).get(HOME)
    assert [need.name for need in after.context["needs"]] == ["by itself"]
    assert after.context["dismissed"] == 3 and "Show 3 dismissed" in after.content.decode()
    assert as_(alice).get(HOME).context["need_count"] == 4, "everybody for themselves"
    again = Experiment.objects.get(name="second")
    Experiment.objects.filter(pk=again.pk).update(updated_at=timezone.now() + timedelta(seconds=1))
    assert {need.name for need in as_(bob).get(HOME).context["needs"]} == {"by itself", "second"}
    as_(bob).post(dismiss, {"here": HOME})
    assert as_(bob).get(HOME).context["need_count"] == 4


def test_a_dismissed_worker_is_back_when_it_is_lost_again(lab, bob, worker):
    """TD-D1"""
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=60), lease_s=100)
    (need,) = as_(bob).get(HOME).context["needs"]
    as_(bob).post(reverse("needs-dismiss"), {"need": need.keys, "here": HOME})
    assert as_(bob).get(HOME).context["needs"] == []
    Dismissal.objects.update(
        at=timezone.now() - timedelta(seconds=90)
    )  # it was heard since, and is late again
    assert len(as_(bob).get(HOME).context["needs"]) == 1


def test_it_says_how_an_experiment_ended_and_what_it_gained(lab, alice, bob, in_state, draft):
    """TD-D1: state, reason, failures; the difference from the baseline of its project, if the reader sees that."""
    base, better, worse = (in_state("completed", name=name) for name in ("base", "better", "worse"))
    for experiment, best in ((base, 0.5), (better, 0.75), (worse, 0.25)):
        Experiment.objects.filter(pk=experiment.pk).update(
            best_value=best, best_number=1, reason="Goal reached"
        )
    base.refresh_from_db()
    Baseline.pin(base, by=alice)
    in_state("stopped", name="stopped early")
    rows = {row.experiment.name: row for row in as_(bob).get(HOME).context["ended_rows"]}
    assert set(rows) == {"base", "better", "worse", "stopped early"}
    assert (rows["better"].delta, rows["better"].delta_role) == ("+0.2500", "good")
    assert (rows["worse"].delta, rows["worse"].delta_role) == ("\N{MINUS SIGN}0.2500", "bad")
    assert rows["base"].delta == rows["stopped early"].delta == ""
    html = as_(bob).get(HOME).content.decode()
    assert (
        "Recently ended" in html and "Goal reached" in html and "No experiment is running or queued." in html
    )
    Experiment.objects.filter(pk=base.pk).update(visibility="private")
    rows = {row.experiment.name: row for row in as_(bob).get(HOME).context["ended_rows"]}
    assert "base" not in rows and rows["better"].delta == ""


def test_pins_are_of_one_person_and_end_with_the_right_to_see(lab, alice, bob, carol, in_state):
    """TD-D1: a viewer pins, too; what became private or went to the trash is absent; unpinned, the panel is gone."""
    first, second = in_state("completed", name="first one"), in_state("running", name="second one")
    viewer = as_(carol)
    for experiment in (first, second, second):
        url = reverse("experiment-pin", args=["lab", experiment.public_id])
        assert viewer.post(url)["Location"] == reverse("experiment", args=["lab", experiment.public_id])
    page = viewer.get(HOME)
    assert [row.experiment.name for row in page.context["pinned"]] == ["second one", "first one"]
    assert as_(bob).get(HOME).context["pinned"] == []
    overview = viewer.get(reverse("experiment", args=["lab", first.public_id])).content.decode()
    assert "Unpin from Home" in overview and "Pin to Home" not in overview
    Experiment.objects.filter(pk=second.pk).update(visibility="private")
    assert [row.experiment.name for row in viewer.get(HOME).context["pinned"]] == ["first one"]
    assert viewer.post(reverse("experiment-pin", args=["lab", second.public_id])).status_code == 404
    headers = {"HX-Request": "true", "HX-Target": "home"}
    headers["If-None-Match"] = viewer.get(HOME, headers=headers)["ETag"]
    viewer.post(reverse("experiment-unpin", args=["lab", first.public_id]))
    assert b"Pinned</h2>" not in viewer.get(HOME, headers=headers).content


def test_a_person_pins_at_most_fifty(lab, alice, draft, monkeypatch):
    """TD-D1"""
    monkeypatch.setattr("experiments.models.account.pin.MOST", 1)
    first, second = draft("one"), draft("two")
    assert Pin.put(first, by=alice) and not Pin.put(first, by=alice)
    refused = as_(alice).post(reverse("experiment-pin", args=["lab", second.public_id]))
    assert refused.status_code == 409 and "Unpin one first." in refused.content.decode()
    assert Pin.remove(first, by=alice) and not Pin.remove(first, by=alice)


def test_my_drafts_can_be_edited_and_enqueued(lab, alice, bob, draft):
    """TD-D1: mine only; the list of all of them is a click away."""
    mine = draft("of alice")
    for number in range(6):
        mine.clone(by=bob, name=f"of bob {number}")
    page = as_(alice).get(HOME)
    assert drafts(page) == ["of alice"]
    html = page.content.decode()
    for address in (
        reverse("experiment-edit", args=["lab", mine.public_id]),
        reverse("experiment-action", args=["lab", mine.public_id, "enqueue"]),
        reverse("experiments", args=["lab"]) + "?filter=creator:me&amp;status=draft",
    ):
        assert f'href="{address}"' in html
    assert len(drafts(as_(bob).get(HOME))) == 5
    assert (
        as_(alice).get(reverse("experiments", args=["lab"]) + "?filter=creator:me&status=draft").status_code
        == 200
    )

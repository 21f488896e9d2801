"""TD-D2, TD-D3, TD-D5, TD-D6, TD-Z4: a private experiment is on no page, in no file and in no answer of the API for
those who may not see it: neither its name nor its ID."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import (
    Baseline,
    Dashboard,
    Experiment,
    Kind,
    Occurrence,
    Outcome,
    SavedView,
    Schedule,
    ShareLink,
    User,
    Workspace,
)
from experiments.scheduler.schedules import run_due
from tests.people import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]

NAME = "covert-operation"
IN_LAB = (
    "workspace", "experiments", "experiments-csv", "experiments-json", "experiments-compare", "projects", "models",
    "leaderboard", "leaderboard-csv", "leaderboard-json",
    "usage", "usage-csv", "usage-json", "dashboards", "links", "notifications", "wall",
    "experiment-new", "imports", "members",
)  # fmt: skip
IN_API = (
    "", "/experiments", "/projects", "/views", "/dashboards", "/links", "/models", "/leaderboard", "/usage",
    "/notifications/rules", "/notifications/deliveries",
)  # fmt: skip


@pytest.fixture
def private(running, draft, lab: Workspace, alice: User, bob: User) -> tuple[Experiment, Dashboard]:
    """Alice's private experiment, which has ended, is the baseline, is repeated, and is on a shared dashboard with
    everything that a dashboard can show; and another one that needs attention."""
    experiment = running(NAME, taken=2, concurrency=2, max_trials=2)
    for trial in experiment.trials.filter(state="running"):
        trial.settle(Outcome(value=0.9, exit_code=0))
    experiment.refresh_from_db()
    Baseline.pin(experiment, by=alice)
    board = Dashboard.create(lab, by=alice, name="board", is_shared=True)
    view = SavedView.create(lab, by=alice, name="all", query="", is_shared=True)
    board.add("chart", experiment=experiment, chart="history")
    board.add("view", view=view)
    board.add("leaderboard", project=experiment.project)
    for figure in ("best", "slot_hours"):
        board.add("number", figure=figure)
    board.change(name="board", is_shared=True, is_on_wall=True)
    ShareLink.create(board, by=alice)
    Occurrence.note(Kind.BUDGET, experiment, key="a", used=4, limit=5, of="trials")
    schedule = Schedule.put(experiment, by=alice, cron="0 2 * * *")
    run_due(schedule.next_at)
    broken = draft(f"{NAME} broken")
    Experiment.objects.filter(pk=broken.pk).update(state="failed", reason=f"{NAME} failed")
    Experiment.objects.filter(name__startswith=NAME).update(visibility="private")
    return experiment, board


def is_shown(body: bytes, private: Experiment) -> bool:
    """Whether something of the private experiments is in an answer."""
    ids = Experiment.objects.filter(name__startswith=NAME).values_list("public_id", flat=True)
    return any(word.encode() in body for word in (NAME, *ids))


def body_of(answer) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_no_page_and_no_file_shows_it(private, lab, alice, bob, carol) -> None:
    experiment, board = private
    pages = [reverse(name, args=["lab"]) for name in IN_LAB]
    pages += [
        reverse("dashboard", args=["lab", board.pk]),
        f"{reverse('wall', args=['lab'])}?dashboard={board.pk}",
    ]
    pages += [
        f"{reverse('wall', args=['lab'])}?hold={key}" for key in ("running", "leaderboard", "attention")
    ]
    pages += [f"{reverse('leaderboard', args=['lab'])}?project=Default", f"/search/?q={NAME[:6]}", "/"]
    shown_to_her = 0
    for page in pages:
        shown_to_her += is_shown(body_of(as_(alice).get(page, follow=True)), experiment)
        for person in (bob, carol):
            answer = as_(person).get(page, follow=True)
            assert answer.status_code in (200, 403), page
            assert not is_shown(body_of(answer).replace(NAME[:6].encode(), b""), experiment), (
                person.username,
                page,
            )
    assert shown_to_her > 8, "alice sees it on most of them"
    for name in ("experiment", "experiment-schedule", "experiment-export-file", "experiment-trials"):
        for person in (bob, carol):
            assert as_(person).get(reverse(name, args=["lab", experiment.public_id])).status_code == 404


def test_no_share_link_shows_it(private, alice, client) -> None:
    """Not even a link to a dashboard that its owner made."""
    experiment, board = private
    _, secret = ShareLink.create(board, by=alice)
    answer = client.get(reverse("shared", args=[secret]))
    assert answer.status_code == 200 and not is_shown(answer.content, experiment)


def test_no_answer_of_the_api_has_it(private, api, alice, bob, carol) -> None:
    experiment, board = private
    paths = [f"/workspaces/lab{path}" for path in IN_API] + [f"/workspaces/lab/dashboards/{board.pk}"]
    seen_by_her = 0
    for path in paths:
        seen_by_her += is_shown(api(alice).get(path).content, experiment)
        for person in (bob, carol):
            answer = api(person).get(path)
            assert answer.status_code in (200, 403), (path, answer.content)
            assert not is_shown(answer.content, experiment), (person.username, path)
    assert seen_by_her >= 3
    for path in ("", "/schedule", "/trials", "/events", "/metrics"):
        assert api(bob).get(f"/experiments/{experiment.public_id}{path}").status_code == 404

"""Names as long as people write them: nothing is pushed out of its panel, over a neighbor, or off the page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from experiments.models import (
    Dashboard,
    HistoryImport,
    Outcome,
    Queue,
    SavedView,
    SlotUsage,
    Token,
    UsageLimit,
    User,
    Worker,
)
from experiments.models.usage.slot_usage import day_of
from tests.browser.conftest import DESK, PHONE, is_wider_than_its_window

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NAME = "perception and prediction research, Zurich and Toronto"
JOINED = "gpu-node-europe-west4-b-a100-0007.research-prod.internal"

# What a table or list lets one scroll to sideways, and what is drawn outside of its panel.
PUSHED_OUT = """() => [
    ...[...document.querySelectorAll(".table-scroll:not(details *)")]
        .filter((frame) => frame.scrollWidth > frame.clientWidth + 1)
        .map((frame) => `${frame.innerText.slice(0, 60)}: ${frame.scrollWidth} in ${frame.clientWidth}`),
    ...[...document.querySelectorAll(".panel")].flatMap((panel) =>
        [...panel.querySelectorAll("table, ul, footer")]
            .filter((part) => part.checkVisibility() && !part.closest("details"))
            .filter((part) => part.getBoundingClientRect().right > panel.getBoundingClientRect().right + 1)
            .map((part) => `outside: ${part.innerText.slice(0, 60)}`)),
]"""
# Pairs of words, squares and buttons in one row that lie on each other.
ON_EACH_OTHER = """() => [...document.querySelectorAll(".list .between, .worker, .copyable")].flatMap((row) => {
    const parts = [...row.children].flatMap((part) => part.matches(".is-named") ? [...part.children] : [part])
        .filter((part) => part.checkVisibility()).map((part) => [part, part.getBoundingClientRect()])
    return parts.flatMap(([one, a], place) => parts.slice(place + 1)
        .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
        .map(([other]) => `${one.outerHTML.slice(0, 80)} and ${other.outerHTML.slice(0, 80)}`))
})"""


@pytest.fixture
def pages(lab, running, worker, alice, root) -> list[str]:
    """A workspace where everything has a long name."""
    lab.name = NAME
    lab.save(update_fields=["name"])
    queue = Queue.objects.create(name="gpu-a100-80gb-preemptible-europe-west4", is_open=True)
    Worker.objects.filter(pk=worker.pk).update(
        slots=12, host=JOINED, heard_at=timezone.now() - timedelta(minutes=5)
    )
    Worker.register(JOINED, host=JOINED, pid=1, queues=[queue.name, "default"], slots=12, lease_s=600)
    experiment = running(f"{NAME}, second try", taken=2, metric="validation/top1_accuracy_after_averaging")
    experiment.describe(by=alice, tags=["cvpr", "long-tail-recognition-benchmark"])
    experiment.trials.get(number=1).settle(Outcome(value=0.5, exit_code=0))
    person = User.objects.create_user("somebody.with.a.very.long.name")
    lab.admit(person, "viewer")
    UsageLimit.put(lab, person=person, soft_h=100, hard_h=1000)
    SlotUsage.objects.create(
        workspace=lab,
        is_day=True,
        at=day_of(timezone.now()),
        person=person,
        queue=queue,
        seconds=3_600_000,
        trials=9,
    )
    for name in ("failed last week, not mine", "running on the large machines"):
        SavedView.create(lab, by=root, name=name, query="filter=state:failed", is_shared=True)
    Token.make(f"token of {JOINED}"[:60], user=root, workspace=lab, role="viewer")
    HistoryImport.receive(lab, by=root, file_name=f"{'export-' * 12}.csv", chunks=[b"lr,loss\n1,2\n"])
    # A number has its experiment's name in its footer, the leaderboard in a narrow cell.
    board = Dashboard.create(lab, by=root, name=NAME, is_shared=True)
    of = {"metric": experiment.metric, "direction": experiment.direction}
    board.add("number", figure="best", **of), board.add("number", figure="failure_rate")
    board.add("leaderboard", **of), board.add("capacity")
    named = (
        "workspace",
        "experiments",
        "usage",
        "leaderboard",
        "imports",
        "members",
        "workspace-settings",
        "notifications",
    )
    return [
        *(reverse(name, args=["lab"]) for name in named),
        *(reverse(name, args=["lab", board.pk]) for name in ("dashboard", "dashboard-edit")),
        f"{reverse('wall', args=['lab'])}?hold=capacity",
        *(
            "/",
            "/queues/",
            "/queues/default/",
            "/workers/",
            f"/workers/{JOINED}/",
            "/account/tokens/",
            "/workspaces/",
        ),
    ]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_long_names_stay_in_their_places(open_as, root, pages, viewport):
    """TD-X5: no page, table or row is wider than its place, and nothing lies on its neighbor."""
    page = open_as(root, "/", viewport)
    wrong = {}
    for path in pages:
        page.goto(path)
        problems = page.evaluate(PUSHED_OUT) + page.evaluate(ON_EACH_OTHER)
        if is_wider_than_its_window(page):
            problems.append("the page is wider than its window")
        if problems:
            wrong[path] = problems
    assert wrong == {}


def test_the_whole_command_of_a_worker_can_be_read_on_a_phone(open_as, root, worker):
    page: Page = open_as(root, "/workers/", PHONE)
    command = page.get_by_role("region", name="command")
    expect(command).to_contain_text("trialdeck worker")
    assert command.evaluate("(text) => text.scrollWidth <= text.clientWidth")
    button = page.get_by_role("button", name="Copy command").bounding_box()
    text = command.bounding_box()
    assert button and text and text["x"] + text["width"] <= button["x"] + 1

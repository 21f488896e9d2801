"""The page "Tuning Experiments" of ClearML's documentation, followed as it stands there, with real workers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from experiments.models import Experiment, Project, Queue, User
from tests.life.conftest import crew  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.django_db(transaction=True),
]

COMMAND = """sleep 1
echo '{"value": '${lr}', "final": true}' >> $TRIALDECK_METRICS"""
PATIENT = 45_000


def test_from_home_to_running(open_as, crew, data: Path, lab, alice, draft):  # noqa: F811
    """CML-N1, CML-C1, CML-O1, CML-Q1, CML-Q2: located, cloned into a new project, edited, enqueued, taken by the worker
    of that queue."""
    root = User.objects.create_superuser("root", password="root-knows")
    Queue.create("gpu", by=root, is_open=True)
    vision = Project.create(lab, name="vision")
    draft("resnet", command=COMMAND, max_trials=2).describe(by=alice, project=vision)
    crew.control()
    crew.worker(name="cpu-1", queue="default")

    # 1. Locate the experiment: RECENT EXPERIMENTS, or RECENT PROJECTS > VIEW ALL > project card > experiment.
    page = open_as(alice, "/")
    expect(page.get_by_role("region", name="My drafts")).to_contain_text("resnet")
    page.get_by_role("link", name="View all projects").click()
    expect(page.get_by_role("link", name="All experiments")).to_be_visible()
    page.get_by_role("link", name="vision").click()
    page.wait_for_url("**/experiments/?project=vision")

    # 2. Clone: the project is typed, and made.
    page.get_by_role("link", name="resnet", exact=True).click(button="right")
    page.locator(".menu:popover-open").get_by_role("link", name="Clone").click()
    clone = page.get_by_role("dialog", name="Clone resnet")
    project = clone.get_by_role("combobox", name="Project")
    expect(project).to_have_value("vision")
    project.fill("deep vision")
    clone.get_by_label("Create New “deep vision”").check()
    clone.get_by_label("Description").fill("with another destination")
    clone.get_by_role("button", name="Clone as draft").click()
    expect(page.locator("main").get_by_role("heading", level=1)).to_have_text("Clone of resnet")
    expect(page.locator(".page-head .status, .status").first).to_have_text("Draft")
    made = Experiment.objects.get(name="Clone of resnet")
    assert (made.project.name, made.description) == ("deep vision", "with another destination")

    # 3. Edit: EXECUTION > OUTPUT > DESTINATION > edit > SAVE.
    page.get_by_role("link", name="Execution", exact=True).click()
    page.locator("#output").get_by_role("link", name="Edit").click()
    share = data / "share"
    page.get_by_role("dialog").get_by_label("Destination").fill(str(share))
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#output")).to_contain_text(str(share))

    # 4. Right-click > Enqueue > select a queue > ENQUEUE.
    page.goto("/w/lab/experiments/?project=deep%20vision")
    row = page.locator("tr", has_text="Clone of resnet")
    row.get_by_role("link", name="Clone of resnet", exact=True).click(button="right")
    page.locator(".menu:popover-open").get_by_role("link", name="Enqueue").click()
    enqueue = page.get_by_role("dialog", name=re.compile("Enqueue"))
    enqueue.get_by_label(re.compile(r"^\s*gpu\b")).check()
    expect(enqueue.get_by_label(re.compile(r"^\s*gpu no worker serves this queue yet"))).to_be_checked()
    enqueue.get_by_role("button", name="Enqueue").click()
    expect(row.locator(".status")).to_have_text("Pending")
    expect(row).to_contain_text("no worker serves queue gpu")

    # The worker assigned to the queue fetches it: Running, without a reload, and tracked to its end.
    page.evaluate("document.body.dataset.untouched = 'yes'")
    crew.worker(name="gpu-1", queue="gpu", slots=1)
    expect(row.locator(".status")).to_have_text(re.compile("Running|Completed"), timeout=PATIENT)
    expect(row.locator(".status")).to_have_text("Completed", timeout=PATIENT)
    assert page.evaluate("document.body.dataset.untouched") == "yes"
    assert set(made.trials.values_list("worker__name", "state")) == {("gpu-1", "succeeded")}
    assert list(made.events.filter(trial=None).order_by("pk").values_list("verb", flat=True)) == [
        "create",
        "edit",
        "enqueue",
        "running",
        "completed",
    ]

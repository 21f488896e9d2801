"""The administrators' site leads into the console, groups its models, and filters by workspace and creator."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Event, Experiment, Trial, User, Worker, Workspace
from tests.people import as_, make_settings


@pytest.fixture
def site(root: User) -> Client:
    """A browser of an administrator."""
    return as_(root)


def changelist(name: str) -> str:
    return reverse(f"admin:experiments_{name}_changelist")


def console_links(page: str) -> list[str]:
    """The addresses in the column `console`."""
    cells = re.findall(r'<td class="field-console[^"]*">(.*?)</td>', page, re.DOTALL)
    return [html.unescape(url) for cell in cells for url in re.findall(r'href="([^"]*)"', cell)]


def test_each_row_links_to_its_page_in_the_console(
    site: Client, running: Callable[..., Experiment], lab: Workspace, worker: Worker
) -> None:
    """An administrator who has found a row gets to what people see of it, from the list and from the row."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    event = Event.objects.filter(trial=trial).first()
    where = ["lab", experiment.public_id]
    wanted = {
        "experiment": (experiment, reverse("experiment", args=where)),
        "trial": (trial, reverse("trial", args=[*where, 1])),
        "event": (event, reverse("trial", args=[*where, 1])),
        "revision": (experiment.revision, reverse("experiment", args=where)),
        "workspace": (lab, reverse("workspace", args=["lab"])),
        "project": (experiment.project, reverse("project-edit", args=["lab", experiment.project_id])),
        "queue": (experiment.queue, reverse("queue", args=["default"])),
        "worker": (worker, reverse("worker", args=["w1"])),
    }
    for name, (row, url) in wanted.items():
        assert url in console_links(site.get(changelist(name)).content.decode()), name
        page = site.get(reverse(f"admin:experiments_{name}_change", args=[row.pk])).content.decode()
        assert f'href="{url}" class="viewsitelink">Open in console' in page, name
        assert site.get(url).status_code == 200, name


def test_what_is_in_the_trash_links_to_the_trash(
    site: Client, draft: Callable[..., Experiment], alice: User
) -> None:
    """PAI-D2: its own pages are 404."""
    draft().delete_to_trash(by=alice)
    assert console_links(site.get(changelist("experiment")).content.decode()) == [
        reverse("trash", args=["lab"])
    ]


def test_the_start_page_groups_the_models(site: Client) -> None:
    page = site.get(reverse("admin:index")).content.decode()
    content = page[page.index('id="content"') :]
    groups = [
        " ".join(text.split()) for text in re.findall(r'class="section"[^>]*>(.*?)</a>', content, re.DOTALL)
    ]
    assert groups == [
        *("People and access", "Workspaces", "Experiments", "Files and models", "Compute", "Internals")
    ]
    compute = content[content.index(">Compute<".replace(">", "", 1)) if ">Compute<" not in content else 0 :]
    assert "Queues" in compute and "Workers" in compute
    assert site.get(reverse("admin:app_list", args=["experiments"])).status_code == 200


def test_lists_filter_by_workspace_and_creator(
    site: Client, draft: Callable[..., Experiment], running: Callable[..., Experiment], bob: User, dave: User
) -> None:
    """The choices are the workspaces, and the people who created something."""
    running("mine", taken=1)
    attic = Workspace.open("attic", name="Attic", owner=dave)
    theirs = Experiment.draft(attic, by=dave, name="theirs", settings=make_settings())

    def names(name: str, **query: object) -> list[str]:
        return [str(row) for row in site.get(changelist(name), query).context["cl"].result_list]

    assert names("experiment", workspace=attic.pk) == [str(theirs)]
    assert names("experiment", creator=dave.pk) == [str(theirs)]
    assert names("experiment", creator=bob.pk) == []
    assert len(names("experiment")) == 2
    assert len(names("trial", workspace=attic.pk)) == 0
    mine = Trial.objects.values_list("experiment__creator", "experiment__workspace").first()
    assert mine and len(names("trial", creator=mine[0], workspace=mine[1])) == Trial.objects.count()
    page = site.get(changelist("experiment")).content.decode()
    assert f"?creator={dave.pk}" in page and f"?workspace={attic.pk}" in page
    assert f"?creator={bob.pk}" not in page, "bob has created nothing"


@pytest.mark.parametrize("query", ["workspace=attic", "creator=-1", "workspace=²"])
def test_a_filter_that_is_no_key_is_not_taken_for_none(
    site: Client, draft: Callable[..., Experiment], query: str
) -> None:
    """TD-C3: Django's site says that the address is wrong; it does not show everything as if it were filtered."""
    draft()
    answer = site.get(f"{changelist('experiment')}?{query}")
    assert answer.status_code == 302 and answer["Location"].endswith("?e=1")

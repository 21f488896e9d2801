"""Projects: cards, and what operators do with them."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Model, Outcome, Project, Workspace
from experiments.web.workspace.projects import cards
from tests.people import as_, end_all

PAGE = "/w/lab/projects/"


@pytest.fixture
def vision(lab) -> Project:
    return Project.create(lab, name="vision", description="what sees")


def test_a_card_shows_what_its_experiments_come_to_and_leads_to_them(
    lab, vision, alice, bob, in_state, draft
):
    """CML-N1: totals, running, completed in 24 h, compute time; private ones of others do not count."""
    done, old = in_state("completed", name="done"), in_state("completed", name="old")
    for experiment in (done, old, in_state("running", name="runs"), secret := draft("secret")):
        experiment.describe(by=alice, project=vision)
    secret.describe(by=alice, visibility="private")
    now = timezone.now()
    Experiment.objects.filter(pk=old.pk).update(ended_at=now - timedelta(hours=25), compute_s=60)
    Experiment.objects.filter(pk=done.pk).update(compute_s=3600)
    draft("elsewhere")
    page = as_(bob).get(PAGE)
    shown = {
        card.project and card.project.name: (
            card.sums.total,
            card.sums.running,
            card.sums.completed,
            card.sums.compute_s,
        )
        for card in page.context["cards"]
    }
    assert shown == {None: (4, 1, 1, 3660), "vision": (3, 1, 1, 3660), "Default": (1, 0, 0, 0)}
    assert "1 h 01 m" in page.content.decode() and "what sees" in page.content.decode()
    card = next(card for card in page.context["cards"] if card.project == vision)
    assert card.url == "/w/lab/experiments/?project=vision" and f'href="{card.url}"' in page.content.decode()
    listed = as_(bob).get(card.url).content.decode()
    assert "done" in listed and "elsewhere" not in listed


def test_a_project_box_offers_to_create_a_name_that_no_project_has(lab, vision, bob, carol):
    """CML-C1: text without a match offers to create a new project."""

    def offered(text: str) -> str:
        page = as_(bob).get(f"{PAGE}name-check/", {"project_text": text}, headers={"HX-Request": "true"})
        assert page.status_code == 200 and "<b>" not in page.content.decode()
        assert ("Create New" in page.content.decode()) == bool(page.context["name"])
        return page.context["name"]

    assert offered(" VISION ") == "VISION"
    assert offered(" vision ") == offered("") == ""
    assert offered("a\0b  <b>") == "ab <b>"
    assert as_(carol).get(f"{PAGE}name-check/").status_code == 403


def test_compute_time_is_kept_when_a_trial_ends_and_outlives_a_reset(running, alice):
    """CML-N1: no page adds up trials."""
    experiment = running(taken=2)
    begun = timezone.now() - timedelta(seconds=90)
    experiment.trials.update(started_at=begun)
    end_all(experiment, Outcome(exit_code=1, failure="exit_code"))
    experiment.stop(by=alice)
    end_all(experiment)
    took = sum(experiment.trials.exclude(duration_s=None).values_list("duration_s", flat=True))
    assert experiment.compute_s == pytest.approx(took) and took >= 180
    experiment.reset(by=alice)
    experiment.refresh_from_db()
    assert experiment.compute_s == pytest.approx(took)


@pytest.mark.once
def test_the_number_of_queries_does_not_depend_on_how_many_there_are(
    lab, alice, draft, django_assert_num_queries
):
    """A fixed number of queries."""
    for number in range(3):
        draft().describe(by=alice, project=Project.create(lab, name=f"p{number}"))
    client = as_(alice)
    with django_assert_num_queries(6):  # session, person, workspace, role, sums, projects
        client.get(PAGE)
    other = Workspace.open("other", owner=alice)
    Project.create(other, name="theirs")
    with django_assert_num_queries(6):  # session, person, workspaces, roles, sums, projects
        page = client.get("/projects/").content.decode()
    assert "theirs" in page and "p2" in page
    assert [card.project.name for card in cards(alice, [other])] == ["Default", "theirs"]


def test_an_operator_makes_changes_and_deletes_one(lab, bob, draft, alice):
    """Create, rename, describe, default output destination, delete when empty."""
    client = as_(bob)
    sent = {"name": " Vision  lab ", "description": "why", "destination": "s3://minio.example:9000/deep"}
    assert client.post(PAGE + "new/", sent)["Location"] == PAGE
    made = lab.projects.get(name="Vision lab")
    assert (made.description, made.destination) == ("why", "s3://minio.example:9000/deep")
    url = reverse("project-edit", args=["lab", made.pk])
    client.post(url, {"name": "Vision", "description": "", "destination": ""})
    made.refresh_from_db()
    assert (made.name, made.description, made.destination) == ("Vision", "", "")
    delete = reverse("project-delete", args=["lab", made.pk])
    experiment = draft("in the way")
    experiment.describe(by=alice, project=made)
    Model.register(made, by=alice, name="weights", address="s3://bucket/weights.pt")
    question = client.get(delete).content.decode()
    assert (
        "1 experiment and 1 model are in this project" in question
        and 'type="submit">Delete project' not in question
    )
    refused = client.post(delete)
    assert refused.status_code == 409
    assert "not empty: 1 experiment and 1 model are in it" in refused.content.decode()
    Model.objects.all().delete()
    experiment.delete_to_trash(by=alice)
    assert client.post(delete)["Location"] == PAGE
    assert not Project.objects.filter(pk=made.pk).exists()
    assert Experiment.everything.get(pk=experiment.pk).project.name == "Default"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"name": "  "}, "Enter a name for the project."),
        ({"name": "vision"}, "The workspace Lab already has a project vision."),
        ({"name": "x" * 101}, "101 characters long; the maximum is 100"),
        ({"name": "n\0l"}, "This must not contain a NUL character."),
        ({"name": "n", "destination": "s3://localhost/bucket"}, "requires a port"),
        ({"name": "n", "destination": "ftp://somewhere"}, "s3://host:port/bucket"),
    ],
)
def test_what_cannot_be_is_told_at_its_field_and_nothing_changes(lab, vision, bob, sent, message):
    """CML-O1: validated as for an experiment."""
    other = Project.create(lab, name="other")
    for url in (PAGE + "new/", reverse("project-edit", args=["lab", other.pk])):
        answer = as_(bob).post(url, sent)
        assert answer.status_code == 422 and message in answer.content.decode()
    assert set(lab.projects.values_list("name", flat=True)) == {"Default", "other", "vision"}


def test_default_keeps_its_name_and_stays(lab, bob):
    default = lab.projects.get()
    as_(bob).post(reverse("project-edit", args=["lab", default.pk]), {"name": "mine", "description": "new"})
    default.refresh_from_db()
    assert (default.name, default.description) == ("Default", "new")
    answer = as_(bob).post(reverse("project-delete", args=["lab", default.pk]))
    assert answer.status_code == 409 and "default project cannot be deleted" in answer.content.decode()


def test_a_viewer_sees_them_and_may_not_change_them(lab, vision, carol):
    client = as_(carol)
    page = client.get(PAGE).content.decode()
    assert (
        "vision" in page and "New project" not in page and "project-edit" not in page and "/edit/" not in page
    )
    for url in (PAGE + "new/", reverse("project-edit", args=["lab", vision.pk])):
        assert client.post(url, {"name": "x"}).status_code == 403
    assert client.post(reverse("project-delete", args=["lab", vision.pk])).status_code == 403


def test_one_of_another_workspace_is_404(lab, alice):
    """PAI-P1."""
    other = Project.create(Workspace.open("other", owner=alice), name="theirs")
    assert as_(alice).get(reverse("project-edit", args=["lab", other.pk])).status_code == 404
    assert as_(alice).post(reverse("project-delete", args=["lab", other.pk])).status_code == 404


def test_what_ran_before_the_column_was_there_is_added_up(running, draft):
    ran, idle = running(taken=2), draft("idle")
    end_all(ran)
    ran.trials.filter(state="succeeded").update(duration_s=30.5)
    Experiment.objects.update(compute_s=-1)
    import_module("experiments.migrations.0011_compute").add_up(apps, None)
    assert [Experiment.objects.get(pk=project.pk).compute_s for project in (ran, idle)] == [61, 0]

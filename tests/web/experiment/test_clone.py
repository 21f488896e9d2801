"""Clone: a draft at once, or reviewed first; the parent and the differences from it."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import Experiment, Project, Workspace
from tests.people import as_
from tests.web.experiment.edit.test_edit import ODD
from tests.web.filled import filled

pytestmark = pytest.mark.once

NEW = "/w/lab/experiments/new/"


def url_of(experiment: Experiment, verb: str = "") -> str:
    args = ["lab", experiment.public_id]
    return reverse("experiment-action", args=[*args, verb]) if verb else reverse("experiment", args=args)


def test_the_page_says_what_it_copies_and_offers_two_ways(running, bob):
    """PAI-C1, CML-C1: name, project, description prefilled."""
    experiment = running("first & best")
    page = as_(bob).get(url_of(experiment, "clone")).content.decode()
    assert 'value="Clone of first &amp; best"' in page and "2 parameters" in page and "without trials" in page
    assert ">Clone as draft</button>" in page and ">Review and start</button>" in page
    assert f'formaction="{NEW}?from={experiment.public_id}"' in page


def test_a_new_project_is_made_by_its_name_once(draft, bob, lab):
    """CML-C1: Create new."""
    experiment = draft()
    for name in ("one", "two"):
        sent = {"name": name, "project": experiment.project_id, "new_project": " Vision  lab "}
        assert as_(bob).post(url_of(experiment, "clone"), sent).status_code == 302
    assert {clone.project.name for clone in Experiment.objects.exclude(pk=experiment.pk)} == {"Vision lab"}
    assert lab.projects.count() == 2


def test_a_project_is_typed_and_a_new_one_is_confirmed(draft, bob, lab):
    """CML-C1: the box offers the names; another name is created after Create New, under exactly that name."""
    experiment, vision = draft(), Project.create(lab, name="vision")
    page = as_(bob).get(url_of(experiment, "clone")).content.decode()
    assert '<option value="vision"></option>' in page and 'value="Default"' in page
    sent = {"name": "typed", "project": experiment.project_id}
    as_(bob).post(url_of(experiment, "clone"), {**sent, "project": "gone", "project_text": " vision "})
    assert Experiment.objects.get(name="typed").project == vision
    for confirmed in ("", "Other"):
        refused = as_(bob).post(
            url_of(experiment, "clone"), {**sent, "project_text": "Vision", "creates_project": confirmed}
        )
        html = refused.content.decode()
        assert refused.status_code == 422 and "No project is named “Vision”." in html
        assert "Create New “Vision”" in html and 'value="Vision"' in html
    assert lab.projects.count() == 2
    as_(bob).post(
        url_of(experiment, "clone"),
        {**sent, "name": "made", "project_text": "Vision", "creates_project": "Vision"},
    )
    assert Experiment.objects.get(name="made").project.name == "Vision"


def test_create_shows_the_default_project_in_the_box(bob, lab):
    """CML-C1: prefilled."""
    assert filled(as_(bob).get(NEW))["project_text"] == "Default"


def test_without_script_the_select_counts_beside_the_unchanged_box(draft, bob, lab):
    """CML-C1: the box that a page without script hides is sent as it was drawn."""
    experiment, vision = draft(), Project.create(lab, name="vision")
    sent = {"name": "chosen", "project": vision.pk, "project_text": "Default"}
    as_(bob).post(url_of(experiment, "clone"), sent)
    assert Experiment.objects.get(name="chosen").project == vision


def test_review_takes_the_typed_project_along(draft, bob, lab):
    """PAI-C1, CML-C1: a new name stays confirmed on the page Create experiment."""
    experiment = draft()
    sent = {"name": "reviewed", "project": "gone", "review": "1"}
    page = as_(bob).post(
        f"{NEW}?from={experiment.public_id}", {**sent, "project_text": "Vision", "creates_project": "Vision"}
    )
    fields = filled(page)
    assert (fields["project_text"], fields["creates_project"]) == ("Vision", "Vision")
    as_(bob).post(f"{NEW}?from={experiment.public_id}", {**fields, "draft": "1"})
    assert Experiment.objects.get(name="reviewed").project.name == "Vision"


def test_review_opens_create_filled_and_makes_nothing_yet(running, bob):
    """PAI-C1: Review and start."""
    experiment = running(**ODD)
    sent = {"name": "reviewed", "project": experiment.project_id, "description": "why", "review": "1"}
    page = as_(bob).post(f"{NEW}?from={experiment.public_id}", {**sent, "new_project": "Vision"})
    fields = filled(page)
    assert page.status_code == 200 and "The new experiment is a clone." in page.content.decode()
    assert (fields["name"], fields["description"], fields["new_project"]) == ("reviewed", "why", "Vision")
    assert fields["space-0-values"] == "1e-5, 0.1" and fields["max_trial_duration_s"] == "1d 1h 1m 1s"
    assert Experiment.objects.count() == 1 and Project.objects.count() == 1


def test_reviewed_unchanged_it_makes_an_equal_experiment_with_a_new_id(running, bob, worker):
    """PAI-C1: started, with its parent; the source is untouched."""
    odd = {**ODD, "environment": {"URL": "http://x/?a=b"}, "max_duration_s": 100_000}
    experiment = running(**odd)
    version = Experiment.objects.get(pk=experiment.pk).version
    client = as_(bob)
    url = f"{NEW}?from={experiment.public_id}"
    fields = filled(client.get(url))
    assert fields["name"] == "Clone of first"
    answer = client.post(url, {**fields, "start": "1"})
    made = Experiment.objects.exclude(pk=experiment.pk).get()
    assert answer["Location"] == url_of(made)
    assert (made.parent, made.state, made.creator) == (experiment, "pending", bob)
    assert made.settings == experiment.settings and made.public_id != experiment.public_id
    assert Experiment.objects.get(pk=experiment.pk).version == version


def test_changed_only_that_differs_and_the_clone_shows_it(running, bob, carol):
    """PAI-C1, PAI-C2."""
    experiment = running("the parent")
    client = as_(bob)
    url = f"{NEW}?from={experiment.public_id}"
    client.post(url, {**filled(client.get(url)), "max_trials": "77", "draft": "1"})
    made = Experiment.objects.get(parent=experiment)
    assert made.settings.differences(experiment.settings) == {"max_trials": (77, 6)}
    details = as_(carol).get(url_of(made)).content.decode()
    assert f'Clone of <a class="link" href="{url_of(experiment)}">the parent</a>' in details
    page = as_(carol).get(reverse("experiment-configuration", args=["lab", made.public_id])).content.decode()
    section = page.split('id="parent"')[1].split("</section>")[0]
    assert "<del>6</del>" in section and "<ins>77</ins>" in section


def test_an_equal_clone_says_that_nothing_differs(running, alice):
    made = running().clone(by=alice)
    page = as_(alice).get(reverse("experiment-configuration", args=["lab", made.public_id])).content.decode()
    assert "No differences." in page


def test_a_parent_that_one_may_not_see_is_not_told(draft, alice, bob):
    """PAI-L2: private, or in the trash."""
    parent = draft("the secret one")
    made = parent.clone(by=alice, name="seen")
    assert "the secret one" in as_(bob).get(url_of(made)).content.decode()
    parent.describe(by=alice, visibility="private")
    for page in (url_of(made), reverse("experiment-configuration", args=["lab", made.public_id])):
        assert "the secret one" not in as_(bob).get(page).content.decode()
    assert "the secret one" in as_(alice).get(url_of(made)).content.decode()
    parent.delete_to_trash(by=alice)
    assert "the secret one" not in as_(alice).get(url_of(made)).content.decode()


@pytest.mark.parametrize("public_id", ["zzzzzzzz", "'", "%00", "x" * 500])
def test_a_source_that_is_not_there_is_404(lab, bob, public_id):
    assert as_(bob).get(f"{NEW}?from={public_id}").status_code == 404


def test_a_source_of_another_workspace_or_a_private_one_is_404(draft, alice, bob):
    """PAI-P1, PAI-L2."""
    private = draft()
    private.describe(by=alice, visibility="private")
    assert as_(bob).get(f"{NEW}?from={private.public_id}").status_code == 404
    other = Workspace.open("other", owner=alice)
    assert as_(alice).get(f"/w/{other.slug}/experiments/new/?from={private.public_id}").status_code == 404


def test_an_empty_name_is_asked_for_when_it_is_reviewed(draft, bob):
    experiment = draft()
    client = as_(bob)
    url = f"{NEW}?from={experiment.public_id}"
    page = client.post(url, {"name": "", "project": "999", "review": "1"})
    answer = client.post(url, {**filled(page), "draft": "1"})
    assert answer.status_code == 422 and "Enter a name." in answer.content.decode()
    assert Experiment.objects.count() == 1

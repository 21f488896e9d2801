"""Search over everything that I may see."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import Model, Project, Workspace
from tests.people import as_


def results_of(user, q: str) -> dict[str, list[str]]:
    """Names by kind, of what the page shows."""
    results = as_(user).get("/search/", {"q": q}).context["results"]
    kinds = ("experiments", "trials", "projects", "models")
    return {
        kind: [str(getattr(row, "name", row)) for row in getattr(results, kind)]
        for kind in kinds
        if getattr(results, kind)
    }


def test_each_kind_is_found_by_what_people_know_of_it(lab, bob, alice, running):
    """Experiments by name or ID, trials by their ID, projects, models; letters fold alike everywhere."""
    experiment = running("Straßen-Detektor", taken=2)
    detektor = Project.create(lab, name="DETEKTOREN Ä")
    model = Model.register(detektor, by=alice, name="detektor-weights", address="s3://bucket/weights.pt")
    kinds = {
        "experiments": ["Straßen-Detektor"],
        "projects": ["DETEKTOREN Ä"],
        "models": ["detektor-weights"],
    }
    assert results_of(bob, " detektor ") == kinds
    assert results_of(bob, "STRASSEN") == {"experiments": ["Straßen-Detektor"]}
    assert results_of(bob, "detektoren ä") == {"projects": ["DETEKTOREN Ä"]}
    assert results_of(bob, experiment.public_id.upper()) == {"experiments": ["Straßen-Detektor"]}
    assert results_of(bob, f"{experiment.public_id}-2") == {"trials": [f"{experiment.public_id}-2"]}
    page = as_(bob).get("/search/", {"q": f"{experiment.public_id}-2"}).content.decode()
    assert f'href="{reverse("trial", args=["lab", experiment.public_id, 2])}"' in page
    page = as_(bob).get("/search/", {"q": "detektor"}).content.decode()
    assert f'href="{reverse("model", args=["lab", model.public_id])}"' in page
    assert (
        results_of(bob, f"{experiment.public_id}-99")
        == results_of(bob, "%")
        == results_of(bob, "x" * 5000)
        == {}
    )


def test_what_does_not_exist_for_me_is_not_found(lab, alice, bob, dave, running, draft):
    """PAI-P1, PAI-L2, PAI-D2: other workspaces, private ones, the trash, where AutoML is off."""
    secret = running("secret one")
    secret.describe(by=alice, visibility="private")
    gone = draft("secret two")
    gone.delete_to_trash(by=alice)
    other = Workspace.open("other", owner=alice)
    Model.register(
        Project.create(other, name="secret project"), by=alice, name="secret model", address="/m.pt"
    )
    for q in ("secret", secret.public_id, f"{secret.public_id}-1", gone.public_id):
        assert results_of(bob, q) == results_of(dave, q) == {}
    assert results_of(alice, "secret").keys() == {"experiments", "projects", "models"}
    assert results_of(alice, f"{secret.public_id}-1").keys() == {"trials"}
    Workspace.objects.update(has_automl=False)
    assert results_of(alice, "secret") == results_of(alice, f"{secret.public_id}-1") == {}


@pytest.mark.once
def test_it_is_limited_and_its_queries_do_not_grow(lab, alice, draft, django_assert_num_queries):
    """A fixed number of queries."""
    client = as_(alice)
    draft("sweep")
    # session, person; workspaces; experiments; names of projects (none fits), models
    with django_assert_num_queries(6):
        client.get("/search/?q=sweep")
    for number in range(12):
        draft(f"sweep {number}")
        Project.create(lab, name=f"sweep {number}")
    with django_assert_num_queries(7):  # and the projects
        page = client.get("/search/?q=sweep")
    assert [len(page.context["results"].experiments), len(page.context["results"].projects)] == [10, 10]
    assert page.content.decode().count("More results") == 2
    assert client.get("/search/?q=%00").context["results"] is None

"""Workspaces: mine, the way into one, and one where AutoML is off."""

import pytest
from django.urls import reverse

from experiments.models import Queue, Role, Workspace

pytestmark = pytest.mark.once


@pytest.fixture
def speech(alice) -> Workspace:
    """A second workspace, which bob does not know."""
    return Workspace.open("speech", name="Speech group", owner=alice)


def test_the_page_lists_mine_with_my_role_and_counts(client, lab, speech, alice, bob, draft, running):
    """PAI-N1: a name leads into the workspace; private experiments of others are not counted."""
    running("runs")
    mine = draft("private")
    mine.describe(by=alice, visibility="private")
    client.force_login(bob)
    page = client.get(reverse("workspaces"))
    assert [(row.workspace.slug, row.role, row.running, row.total) for row in page.context["rows"]] == [
        ("lab", "Operator", 1, 1)
    ]
    assert b"Speech group" not in page.content
    client.force_login(alice)
    rows = client.get(reverse("workspaces")).context["rows"]
    assert [(row.workspace.slug, row.role, row.total) for row in rows] == [
        ("lab", "Owner", 2),
        ("speech", "Owner", 0),
    ]
    way_in = client.get(reverse("workspace", args=["lab"]))
    assert way_in.status_code == 200


def test_the_number_of_queries_does_not_depend_on_the_number_of_workspaces(
    client, lab, alice, django_assert_num_queries
):
    client.force_login(alice)
    with django_assert_num_queries(5) as queries:  # session, person, roles, counts, workspaces
        client.get(reverse("workspaces"))
    for number in range(20):
        Workspace.open(f"room-{number}", owner=alice)
    with django_assert_num_queries(len(queries)):
        assert len(client.get(reverse("workspaces")).context["rows"]) == 21


def test_whoever_is_nowhere_learns_what_to_do(client, dave):
    client.force_login(dave)
    page = client.get(reverse("workspaces"))
    assert (
        b"You are not a member of any workspace yet" in page.content
        and b"Ask a workspace owner" in page.content
    )
    assert b"New workspace" not in page.content


def test_an_administrator_sees_all_and_can_make_one(client, lab, speech, root, bob):
    client.force_login(root)
    page = client.get(reverse("workspaces"))
    assert [(row.workspace.slug, row.role) for row in page.context["rows"]] == [
        ("lab", "Administrator"),
        ("speech", "Administrator"),
    ]
    add = reverse("workspace-new")
    assert f'href="{add}"' in page.content.decode()
    answer = client.post(add, {"name": "  Vision   Lab 2 ", "description": "images"})
    workspace = Workspace.objects.get(slug="vision-lab-2")
    assert answer["Location"] == reverse("workspace", args=["vision-lab-2"])
    assert (workspace.name, workspace.description) == ("Vision Lab 2", "images")
    assert workspace.role_of(root) == Role.OWNER and workspace.projects.get().name == "Default"
    client.force_login(bob)
    assert add not in client.get(reverse("workspaces")).content.decode()
    assert client.get(add).status_code == client.post(add, {"name": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"name": " "}, "name", "Enter a name"),
        ({"name": "Lab"}, "slug", "Another workspace uses the URL name lab."),
        ({"name": "見"}, "slug", "Enter a URL name"),
        ({"name": "x", "slug": "A b"}, "slug", "Use lowercase letters"),
        ({"name": "x", "slug": "-x"}, "slug", "Use lowercase letters"),
        ({"name": "x" * 101}, "name", "100"),
    ],
)
def test_a_faulty_workspace_is_a_sentence(client, lab, root, typed, field, sentence):
    client.force_login(root)
    page = client.post(reverse("workspace-new"), typed)
    assert page.status_code == 422 and sentence in " ".join(page.context["form"].errors[field])
    assert Workspace.objects.count() == 1


def test_a_stranger_finds_nothing(client, lab, dave):
    client.force_login(dave)
    for name in ("workspace", "experiments", "experiment-new"):
        assert client.get(reverse(name, args=["lab"])).status_code == 404


def test_where_automl_is_off_it_is_not_offered_and_every_request_is_refused_with_the_reason(
    client, lab, alice, draft
):
    """PAI-P1: not offered in the navigation, its requests refused with a reason."""
    kept = draft("kept from before")
    lab.has_automl = False
    lab.save()
    client.force_login(alice)
    of_one = ["lab", kept.public_id]
    for name, args in (
        ("experiments", ["lab"]),
        ("experiment-new", ["lab"]),
        ("experiments-csv", ["lab"]),
        ("trash", ["lab"]),
        ("experiment", of_one),
        ("experiment-trials", of_one),
        ("experiment-edit", of_one),
        ("experiments-bulk", ["lab", "delete"]),
    ):
        page = client.get(reverse(name, args=args))
        assert page.status_code == 409, name
        text = page.content.decode()
        assert "AutoML is turned off in the workspace Lab. An owner can turn it on." in text
        assert f'href="{reverse("experiments", args=["lab"])}"' not in text and kept.name not in text
        assert f'href="{reverse("workspace-settings", args=["lab"])}"' in text
    url = reverse("experiment-new", args=["lab"])
    refused = client.post(url, {"name": "sneaked in", "start": "1"})
    assert refused.status_code == 409 and b"AutoML is turned off" in refused.content
    assert lab.experiments.count() == 1
    assert b"AutoML is off" in client.get(reverse("workspaces")).content


def test_the_navigation_leads_to_automl_and_marks_where_i_am(client, lab, alice):
    """PAI-N2: Model training › AutoML, with aria-current."""
    client.force_login(alice)
    page = client.get(reverse("experiments", args=["lab"])).content.decode()
    assert "Model training" in page
    link = page.split("AutoML</a>")[0].rsplit("<a ", 1)[1]
    assert f'href="{reverse("experiments", args=["lab"])}"' in link and 'aria-current="page"' in link


def test_a_workspace_without_its_queue_default_still_opens(client, lab, bob):
    Queue.objects.all().delete()
    lab.admit(bob, Role.OPERATOR)
    client.force_login(bob)
    assert client.get(reverse("experiment-new", args=["lab"])).status_code == 200

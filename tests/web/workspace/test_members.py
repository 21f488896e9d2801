"""Who is in a workspace, what it is called, whether AutoML is on; and private experiments, wherever they could show."""

import threading
from functools import partial

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from experiments.models import Member, Refused, Role, User, Workspace
from experiments.web.workspace import members as rules
from tests.support.threads import Thread


def url(name: str, *args: str) -> str:
    return reverse(name, args=["lab", *args])


def message_text(answer) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def roles(workspace: Workspace) -> dict[str, str]:
    return dict(workspace.members.values_list("user__username", "role"))


# --- members -----------------------------------------------------------------------------------------------------


def test_everybody_in_it_sees_who_is_in_it_and_only_owners_may_manage(client, lab, alice, bob, carol):
    for person in (alice, bob, carol):
        client.force_login(person)
        page = client.get(url("members")).content.decode()
        assert all(f'<span class="name" title="{name}">' in page for name in ("alice", "bob", "carol"))
        assert (url("workspace-settings") in page) == (person == alice)
        assert "<select" not in page


def test_the_navigation_leads_owners_to_the_settings(client, lab, alice, bob):
    for person in (alice, bob):
        client.force_login(person)
        page = client.get(url("experiments")).content.decode()
        assert f'href="{url("members")}"' in page
        assert (f'href="{url("workspace-settings")}"' in page) == (person == alice)


@pytest.mark.parametrize("name", ["members", "workspace-settings"])
def test_more_members_need_no_more_queries(client, lab, alice, name, django_assert_num_queries):
    client.force_login(alice)
    # session, person, workspace, role, members; for the settings also what is active, and tokens
    with django_assert_num_queries(7 if name == "workspace-settings" else 5):
        client.get(url(name))
    for number in range(30):
        lab.admit(User.objects.create_user(f"more-{number}"), Role.VIEWER)
    with django_assert_num_queries(7 if name == "workspace-settings" else 5):
        assert b"more-29" in client.get(url(name)).content


def test_an_owner_admits_somebody_who_then_gets_in(client, lab, alice, dave):
    client.force_login(alice)
    answer = client.post(url("members"), {"username": " dave ", "role": "operator"}, follow=True)
    assert message_text(answer) == "dave added to Lab as operator."
    client.force_login(dave)
    assert client.get(url("experiment-new")).status_code == 200


def test_admitting_twice_is_harmless_and_never_changes_a_role(client, lab, alice, bob):
    client.force_login(alice)
    again = client.post(url("members"), {"username": "bob", "role": "operator"}, follow=True)
    assert message_text(again) == "bob is already a member of Lab."
    other = client.post(url("members"), {"username": "bob", "role": "owner"})
    assert other.status_code == 422 and b"bob is already a member of Lab. Change the role" in other.content
    assert roles(lab)["bob"] == "operator"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"username": "zoe", "role": "viewer"}, "No user named zoe"),
        ({"username": "gone", "role": "viewer"}, "The account gone is disabled"),
        ({"username": "", "role": "viewer"}, "Enter a username."),
        ({"username": "dave", "role": "king"}, "Invalid choice."),
        ({"username": "da\0ve", "role": "viewer"}, "This must not contain a NUL character."),
        ({"username": "<b>" * 60, "role": "viewer"}, "180 characters long; the maximum is 150"),
    ],
)
def test_whom_it_cannot_admit_it_names_and_keeps_what_was_typed(client, lab, alice, dave, typed, expected):
    User.objects.create_user("gone", is_active=False)
    client.force_login(alice)
    answer = client.post(url("members"), typed)
    assert answer.status_code == 422 and expected in answer.content.decode()
    assert answer.context["member_form"]["username"].value() == typed["username"]
    assert len(roles(lab)) == 3


def test_an_owner_gives_another_role_that_holds_at_once(client, lab, alice, carol):
    client.force_login(alice)
    answer = client.post(url("member-role", "carol"), {"role": "operator"}, follow=True)
    assert message_text(answer) == "carol now has the operator role in Lab."
    again = client.post(url("member-role", "carol"), {"role": "operator"}, follow=True)
    assert message_text(again) == "carol already has the operator role in Lab."
    client.force_login(carol)
    assert client.get(url("experiment-new")).status_code == 200


def test_a_removed_member_finds_nothing_any_more(client, lab, alice, bob):
    client.force_login(alice)
    answer = client.post(url("member-remove", "bob"), follow=True)
    assert message_text(answer) == "bob removed from Lab."
    client.force_login(bob)
    assert client.get(url("experiments")).status_code == 404


def test_leaving_asks_and_says_what_it_means(client, lab, alice, bob, draft):
    lab.admit(bob, Role.OWNER)
    draft("mine").describe(by=alice, visibility="private")
    client.force_login(alice)
    assert b'hx-swap="morph">Leave</a>' in client.get(url("workspace-settings")).content
    question = client.get(url("member-remove", "alice")).content.decode()
    assert (
        "Only another owner can add you again" in question
        and "1 private experiment is then visible" in question
    )
    assert "alice" in roles(lab)
    answer = client.post(url("member-remove", "alice"), follow=True)
    assert message_text(answer) == "You left Lab." and "alice" not in roles(lab)


def test_the_last_owner_stays(client, lab, alice, bob):
    """Not removed, not made less; somebody whose account is switched off does not count."""
    gone = User.objects.create_user("gone", is_active=False)
    lab.admit(gone, Role.OWNER)
    client.force_login(alice)
    for name, typed in (("member-role", {"role": "viewer"}), ("member-remove", {})):
        answer = client.post(url(name, "alice"), typed)
        assert answer.status_code == 409
        assert (
            "alice is the only owner of Lab. Make another member an owner first." in answer.content.decode()
        )
    assert roles(lab)["alice"] == "owner"
    lab.admit(bob, Role.OWNER)
    answer = client.post(url("member-role", "alice"), {"role": "viewer"})
    assert answer["Location"] == url("members")  # the settings are no longer hers
    assert client.get(url("workspace-settings")).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_remove_each_other_at_once_leave_one(lab, alice, bob):
    lab.admit(bob, Role.OWNER)
    both, refused = threading.Barrier(2), []

    def remove(person: User) -> None:
        both.wait(timeout=10)
        try:
            rules.remove_member(lab, person)
        except Refused as error:
            refused.append(str(error))

    for thread in [Thread(partial(remove, person)) for person in (alice, bob)]:
        thread.outcome()
    assert len(refused) == 1 and "is the only owner of Lab" in refused[0]
    assert lab.members.filter(role=Role.OWNER).count() == 1


@pytest.mark.parametrize(
    "name", ["members", "workspace-settings", "workspace-automl", "member-role", "member-remove"]
)
def test_only_owners_change_anything(client, lab, bob, carol, dave, name):
    """The role, not the button, decides."""
    before, args = roles(lab), ["carol"] if name.startswith("member-") else []
    typed = {"username": "dave", "role": "owner", "wanted": "off", "name": "Mine"}
    for person, status in ((carol, 403), (bob, 403), (dave, 404)):
        client.force_login(person)
        assert client.post(url(name, *args), typed).status_code == status
    lab.refresh_from_db()
    assert roles(lab) == before and lab.name == "Lab" and lab.has_automl


def test_members_of_another_workspace_are_not_found(client, lab, alice, bob, dave):
    Workspace.open("speech", owner=dave)
    client.force_login(alice)
    for name in ("member-role", "member-remove"):
        assert client.post(url(name, "dave"), {"role": "viewer"}).status_code == 404
        assert client.post(url(name, "no one"), {"role": "viewer"}).status_code == 404
        assert client.post(reverse(name, args=["speech", "dave"]), {"role": "viewer"}).status_code == 404
    assert Member.objects.filter(user=dave).count() == 1


def test_every_change_needs_the_forms_token(lab, alice):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    for name, *args in (
        ("members",),
        ("workspace-settings",),
        ("workspace-automl",),
        ("member-remove", "bob"),
    ):
        assert strict.post(url(name, *args), {"wanted": "off"}).status_code == 403
    assert "bob" in roles(lab)


def test_an_administrator_who_is_no_member_manages_too(client, lab, root, dave):
    client.force_login(root)
    assert client.get(url("workspace-settings")).status_code == 200
    client.post(url("members"), {"username": "dave", "role": "owner"})
    assert roles(lab)["dave"] == "owner" and "root" not in roles(lab)


# --- settings ----------------------------------------------------------------------------------------------------


def test_an_owner_renames_it_and_its_address_stays(client, lab, alice):
    client.force_login(alice)
    typed = {"name": "  Vision   group ", "description": "Cats & <dogs>"}
    page = client.post(url("workspace-settings"), typed, follow=True)
    lab.refresh_from_db()
    assert (lab.name, lab.slug, lab.description) == ("Vision group", "lab", "Cats & <dogs>")
    assert "Cats &amp; &lt;dogs&gt;" in page.content.decode()


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\0b"])
def test_a_bad_name_changes_nothing_and_stays_in_the_field(client, lab, alice, name):
    client.force_login(alice)
    answer = client.post(url("workspace-settings"), {"name": name, "description": "kept"})
    assert answer.status_code == 422 and answer.context["details_form"]["description"].value() == "kept"
    lab.refresh_from_db()
    assert lab.name == "Lab" and lab.description == ""


def test_automl_is_switched_off_and_on_by_owners(client, lab, alice, draft):
    """PAI-P1"""
    draft("kept")
    client.force_login(alice)
    client.post(url("workspace-automl"), {"wanted": "off"})
    assert b"AutoML is turned off in the workspace Lab" in client.get(url("experiments")).content
    settings = client.get(url("workspace-settings")).content
    assert b"Turn AutoML on" in settings
    client.post(url("workspace-automl"), {"wanted": "on"})
    assert b"kept" in client.get(url("experiments")).content


@pytest.mark.parametrize("state", ["pending", "running", "paused", "stopping"])
def test_automl_stays_on_while_something_is_active(client, lab, alice, bob, in_state, draft, state):
    """PAI-P1: the count is told, private ones included; beforehand too."""
    in_state(state).describe(by=alice, visibility="private")
    draft("only a draft")
    lab.admit(bob, Role.OWNER)
    client.force_login(bob)
    assert b"1 experiment is active" in client.get(url("workspace-settings")).content
    answer = client.post(url("workspace-automl"), {"wanted": "off"})
    assert answer.status_code == 409 and b"1 experiment is active in Lab. Stop or dequeue" in answer.content
    lab.refresh_from_db()
    assert lab.has_automl


# --- private experiments -----------------------------------------------------------------------------------------


@pytest.fixture
def secret(running, lab, bob):
    """A running experiment of bob's, private, with a tag and a trial."""
    experiment = running("secret plan")
    type(experiment).objects.filter(pk=experiment.pk).update(
        creator=bob, visibility="private", tags=["hush"], folded_name="secret plan"
    )
    experiment.refresh_from_db()
    return experiment


def about_one(resolver: URLResolver, namespace: str = "") -> list[tuple[str, URLPattern]]:
    """(name, pattern) of all addresses that lead to one experiment: new ones are found by themselves."""
    patterns = []
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            patterns += about_one(entry, f"{entry.namespace}:" if entry.namespace else namespace)
        elif isinstance(entry, URLPattern) and "public_id" in entry.pattern.converters:
            patterns.append((f"{namespace}{entry.name}", entry))
    return patterns


def test_a_private_experiment_has_no_address_for_other_members(client, lab, secret, alice, bob, carol):
    """PAI-L2: every page, act, log and file of it answers as if nobody had that ID."""
    patterns = about_one(get_resolver())
    assert len(patterns) >= 7
    not_found = opened = 0
    for name, pattern in patterns:
        sample = {"workspace_slug": "lab", "public_id": secret.public_id, "verb": "stop", "number": 1}
        kwargs = {key: sample.get(key, "1") for key in pattern.pattern.converters}
        address = reverse(name, kwargs=kwargs)
        nowhere = reverse(name, kwargs={**kwargs, "public_id": "zzzzzzzz"})
        client.force_login(carol)
        for ask in (client.get, client.post):
            answer = ask(address)
            assert answer.status_code == ask(nowhere).status_code >= 400, name
            assert b"secret plan" not in answer.content, name
            not_found += answer.status_code == 404
        for person in (alice, bob):
            client.force_login(person)
            opened += client.get(address).status_code == 200
    assert not_found >= len(patterns) and opened >= 10
    secret.refresh_from_db()
    assert secret.state == "running"


def test_a_private_experiment_is_in_no_list_count_search_or_filter_of_other_members(
    client, lab, secret, draft, alice, bob, carol
):
    """PAI-L2: its name, tag and creator do not show, nor does its number."""
    draft("open plan")
    for query in (
        "",
        "?q=plan",
        f"?q={secret.public_id}",
        "?creator=bob",
        "?tag=hush",
        "?state=running",
        "?status=running",
    ):
        client.force_login(carol)
        page = client.get(url("experiments") + query).content.decode()
        body = page.split("<main", 1)[1]
        for echo in ("tag=hush", "tag:hush", "tag%3Ahush", "“hush”"):  # the filter that carol has typed
            body = body.replace(echo, "")
        assert "secret plan" not in page and "hush" not in body
        assert f"/{secret.public_id}/" not in page
        for person in (alice, bob):
            client.force_login(person)
            assert "secret plan" in client.get(url("experiments") + query).content.decode()
    client.force_login(carol)
    row = client.get(reverse("workspaces")).context["rows"][0]
    assert (row.total, row.running) == (1, 0)
    for name in ("experiments-csv", "experiments-json"):
        file = client.get(url(name)).getvalue()
        assert b"open plan" in file and b"secret plan" not in file and secret.public_id.encode() not in file
    client.force_login(bob)
    row = client.get(reverse("workspaces")).context["rows"][0]
    assert (row.total, row.running) == (2, 1)


def test_a_private_experiment_stays_with_the_owners_when_its_creator_leaves(client, lab, secret, alice, bob):
    """PAI-L2"""
    page = reverse("experiment", args=["lab", secret.public_id])
    rules.remove_member(lab, bob)
    client.force_login(bob)
    assert client.get(page).status_code == 404
    client.force_login(alice)
    assert client.get(page).status_code == 200


def test_what_a_live_page_remembers_does_not_outlive_the_right_to_see_it(
    client, lab, secret, alice, bob, carol
):
    """PAI-L2: a fragment asked for again after it became private is 404, not 304."""
    secret.describe(by=alice, visibility="workspace")
    page = reverse("experiment", args=["lab", secret.public_id])
    client.force_login(carol)
    asks = {"HX-Request": "true", "HX-Target": "head"}
    tag = client.get(page, headers=asks)["ETag"]
    assert client.get(page, headers={**asks, "If-None-Match": tag}).status_code == 304
    secret.describe(by=bob, visibility="private")
    assert client.get(page, headers={**asks, "If-None-Match": tag}).status_code == 404

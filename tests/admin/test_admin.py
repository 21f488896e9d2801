"""The administrator's door: everything opens, history stays as it is, and no page grows with its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, sync_playwright

from experiments.models import (
    Answer,
    Artifact,
    Attempts,
    Baseline,
    Channel,
    ComputeEvent,
    Dashboard,
    Delivery,
    Dismissal,
    Event,
    Experiment,
    FolderRemoval,
    FormerExperiment,
    FrontTrial,
    HistoryImport,
    Hypervolume,
    Importance,
    Kind,
    Lease,
    LogPiece,
    Member,
    Model,
    Occurrence,
    Outcome,
    Pin,
    Point,
    Project,
    PythonCheck,
    Queue,
    RecoveryCode,
    RetentionRule,
    Rule,
    SavedView,
    Schedule,
    SecondFactor,
    SeenCause,
    ShareLink,
    SignInLink,
    Token,
    Trial,
    Usage,
    UsageLimit,
    User,
    WarmResults,
    Worker,
    Workspace,
)
from tests.people import end_all, look_at

pytestmark = pytest.mark.once

HISTORY = [
    "answer",
    "artifact",
    "attempts",
    "auditentry",
    "baseline",
    "channel",
    "comment",
    "computeevent",
    "dashboard",
    "delivery",
    "dismissal",
    "event",
    "experiment",
    "folderremoval",
    "formerexperiment",
    "fronttrial",
    "historyimport",
    "hypervolume",
    "importpiece",
    "importance",
    "lease",
    "logpiece",
    "occurrence",
    "pin",
    "point",
    "pythoncheck",
    "recoverycode",
    "retentionrule",
    "revision",
    "rule",
    "seencause",
    "savedview",
    "schedule",
    "sharelink",
    "slotusage",
    "suggestion",
    "tile",
    "trial",
    "trialparameter",
    "metricvalue",
    "usage",
    "usagelimit",
    "warmresults",
    "worker",
]
ALL = sorted(
    [
        *HISTORY,
        "model",
        "project",
        "queue",
        "secondfactor",
        "signinlink",
        "token",
        "user",
        "usersession",
        "workspace",
    ]
)


@pytest.fixture
def door(root: User) -> Client:
    """A browser in which the administrator is signed in."""
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def filled(running: Callable[..., Experiment], alice: User) -> Callable[..., Experiment]:
    """Makes experiments with something in every table."""

    def make(name: str = "first", trials: int = 3) -> Experiment:
        experiment = running(name, taken=trials, concurrency=trials, max_trials=9 * trials)
        for trial in experiment.trials.filter(state="running"):
            Point.keep([Point(trial=trial, name="accuracy", step=0, value=0.5)])
            LogPiece.keep([LogPiece(trial=trial, offset=0, size=12, data=b"<b>hello</b>")])
            trial.settle(Outcome(value=0.5, exit_code=0, final_metrics={"f1": 0.7}))
        look_at(experiment)
        Lease.hold(f"beat {name}", "me", for_=timedelta(seconds=9))
        SignInLink.issue(alice)
        SecondFactor.objects.get_or_create(user=alice, defaults={"sealed_secret": "sealed"})
        RecoveryCode.objects.create(user=alice, digest=name)
        Attempts.count_one(name, within_s=9)
        Answer.objects.create(holder="alice", key=name, digest="d", status=201, body="{}")
        Token.objects.create(name=name, user=alice, role="viewer", digest=name, hint="td_x")
        trial = experiment.trials.first()
        Artifact.see(trial, trial.worker, {"model.pt": (3, timezone.now())}, to="")
        Model.register(experiment.project, by=alice, name=name, artifact=trial.artifacts.get())
        WarmResults.upload(experiment.workspace, by=alice, name=name, results=[({"lr": 0.1}, 0.5)])
        HistoryImport.receive(experiment.workspace, by=alice, file_name=name, chunks=[b"a,value\n1,2\n"])
        SavedView.create(experiment.workspace, by=alice, name=name, query="filter=state:failed")
        dashboard = Dashboard.create(experiment.workspace, by=alice, name=name)
        dashboard.add("text", text="a <b>bold</b> claim")
        ShareLink.create(dashboard, by=alice)
        trial.comment("a <b>bold</b> claim", by=alice)
        channel, _ = Channel.create(
            experiment.workspace,
            owner=alice,
            kind="webhook",
            name=name,
            address="https://example.org/hooks/1",
        )
        rule = Rule.create(
            experiment.workspace, owner=alice, kind="new_best", scope="workspace", channels=[channel]
        )
        Delivery.test(channel, by=alice, rule=rule)
        Occurrence.note(Kind.BUDGET, experiment, key="a", used=4, limit=5, of="trials")
        SeenCause.objects.create(workspace=experiment.workspace, key=name, last_at=timezone.now())
        PythonCheck.ask(experiment.queue, python="python", folder="/", modules=[], variables={})
        Importance.objects.create(experiment=experiment, epoch=0, succeeded_count=3, trial_count=3)
        Hypervolume.objects.create(experiment=experiment, epoch=0, succeeded_count=3)
        FrontTrial.objects.create(
            experiment=experiment, trial=trial, number=trial.number, joined_result=1, loss_1=-0.5, loss_2=3
        )
        Baseline.objects.create(
            project=experiment.project, metric=name, direction="maximize", experiment=experiment, by=alice
        )
        Schedule.put(experiment, by=alice, cron="0 2 * * *")
        Dismissal.put(alice, [experiment.public_id])
        Pin.put(experiment, by=alice)
        UsageLimit.put(experiment.workspace, person=alice, soft_h=1, hard_h=None)
        keep = {"after_days": 30, "states": ["failed"], "keep_best": 1}
        retention = RetentionRule.objects.filter(workspace=experiment.workspace).first() or RetentionRule.put(
            experiment.workspace, "folder", by=alice, **keep
        )
        FolderRemoval.objects.create(trial=trial, worker=Worker.objects.first(), rule=retention)
        FormerExperiment.objects.create(public_id=f"gone{FormerExperiment.objects.count()}")
        ComputeEvent.note("pause", queue=experiment.queue, by=alice)
        at = timezone.now() + timedelta(hours=Usage.objects.count())
        Usage.objects.create(worker=Worker.objects.first(), at=at, until_at=at)
        return experiment

    return make


def address(name: str, action: str, *args: object) -> str:
    return reverse(f"admin:experiments_{name}_{action}", args=args)


def model(name: str) -> type:
    return apps.get_model("experiments", name)


def test_every_model_of_ours_is_there() -> None:
    ours = {experiment._meta.model_name for experiment in apps.get_app_config("experiments").get_models()}
    there = {
        experiment._meta.model_name
        for experiment in admin.site._registry
        if experiment._meta.app_label == "experiments"
    }
    assert there == ours - {"member"}  # members stand on their workspace's page
    assert there == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_list_and_a_row_open(name: str, door: Client, filled: Callable[..., Experiment]) -> None:
    filled()
    assert door.get(address(name, "changelist")).status_code == 200
    row = model(name)._default_manager.first()
    response = door.get(address(name, "change", row.pk))
    assert response.status_code == 200
    assert "<b>hello</b>" not in response.content.decode()


@pytest.mark.parametrize("name", HISTORY)
def test_history_cannot_be_changed(name: str, door: Client, filled: Callable[..., Experiment]) -> None:
    """Nothing to type into, no button, and the requests are refused too."""
    filled()
    rows = model(name)._default_manager
    row, count = rows.first(), rows.count()
    before = rows.filter(pk=row.pk).values().get()
    page = door.get(address(name, "change", row.pk)).content.decode()
    form = page[page.index("<form", page.index('id="content"')) :]
    inputs = re.findall(r"<(?:input|select|textarea)[^>]*>", form[: form.index("</form>")])
    assert [tag for tag in inputs if "csrfmiddlewaretoken" not in tag] == []
    assert "deletelink" not in page
    assert door.get(address(name, "add")).status_code == 403
    assert door.post(address(name, "add"), {}).status_code == 403
    assert door.post(address(name, "change", row.pk), {"name": "x", "state": "x"}).status_code == 403
    assert door.get(address(name, "delete", row.pk)).status_code == 403
    assert door.post(address(name, "delete", row.pk), {"post": "yes"}).status_code == 403
    picked = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    door.post(address(name, "changelist"), picked)
    assert rows.count() == count and rows.filter(pk=row.pk).values().get() == before


def queries(door: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert door.get(path).status_code == 200
    assert not [query["sql"] for query in queries if "DISTINCT" in query["sql"]], (
        "reads every row to learn its values"
    )
    return len(queries)


def test_lists_have_a_fixed_number_of_queries(door: Client, filled: Callable[..., Experiment]) -> None:
    """TD-X7: as many with 40 rows as with a few."""
    filled("one", trials=2)
    User.objects.create_user("erin")
    paths = [address(name, "changelist") for name in ALL]
    door.get(paths[0])  # content types are read once
    few = {path: queries(door, path) for path in paths}
    for number in range(12):
        filled(f"more {number}", trials=3)
        Queue.objects.create(name=f"q{number}")
        workspace = Workspace.open(f"room-{number}")
        workspace.admit(User.objects.create_user(f"user-{number}"), "viewer")
        Worker.register(f"w1{number}", host="h", pid=1, queues=["default"], slots=1, lease_s=15)
    many = {path: queries(door, path) for path in paths}
    assert many == few
    assert max(many.values()) <= 8


def test_a_workspace_with_many_members_has_a_fixed_number_of_queries(door: Client, lab: Workspace) -> None:
    path = address("workspace", "change", lab.pk)
    door.get(path)  # content types are read once
    few = queries(door, path)
    for number in range(20):
        lab.admit(User.objects.create_user(f"user-{number}"), "viewer")
    assert queries(door, path) == few


def test_a_row_does_not_read_what_belongs_to_it(door: Client, filled: Callable[..., Experiment]) -> None:
    """TD-X7: an experiment's page asks the same with 2 trials and with 20."""
    small, large = filled("small", trials=2), filled("large", trials=20)
    paths = [address("experiment", "change", experiment.pk) for experiment in (small, large)]
    queries(door, paths[0])
    assert queries(door, paths[0]) == queries(door, paths[1]) <= 8


def test_it_counts_to_ten_thousand_and_not_further(door: Client, filled: Callable[..., Experiment]) -> None:
    trial = filled().trials.first()
    points = (Point(trial=trial, name="loss", step=step, value=0.0) for step in range(10_010))
    Point.objects.bulk_create(points, batch_size=2000)
    page = door.get(address("point", "changelist")).content.decode()
    assert "10000 points" in page
    assert door.get(address("point", "changelist") + "?p=200").status_code == 200


@pytest.mark.parametrize("name", ["trial", "event", "point", "logpiece", "trialparameter"])
def test_rows_are_found_by_the_id_of_their_trial(
    name: str, door: Client, filled: Callable[..., Experiment]
) -> None:
    experiment = filled("one")
    filled("two")

    def count_of(term: str) -> int:
        response = door.get(address(name, "changelist"), {"q": term})
        return response.context["cl"].result_count

    rows = model(name).objects
    path = {"trial": "experiment", "event": "experiment"}.get(name, "trial__experiment")
    assert count_of(experiment.public_id) == rows.filter(**{path: experiment}).count() > 0
    query = {"number": 2} if name == "trial" else {"trial__number": 2}
    assert count_of(f"{experiment.public_id}-2") == rows.filter(**{path: experiment, **query}).count() > 0
    assert count_of("nothing-like-it") == count_of(f"{experiment.public_id}-99999999999") == 0
    assert door.get(address(name, "changelist"), {"q": "x\0" * 1000}).status_code == 200


def test_experiments_are_found_by_a_part_of_their_name_and_in_the_trash(
    door: Client, draft: Callable[..., Experiment], alice: User
) -> None:
    draft("Größe der Schichten").delete_to_trash(by=alice)
    draft("other")
    path = address("experiment", "changelist")

    def listed(**query: str) -> list[str]:
        return [experiment.name for experiment in door.get(path, query).context["cl"].result_list]

    assert listed(q="GRÖSSE") == ["Größe der Schichten"]
    assert listed(trash="yes") == ["Größe der Schichten"]
    assert listed(trash="no", state="draft") == ["other"]
    assert listed(state="running") == []


def test_a_new_workspace_has_its_project_and_members(door: Client, alice: User) -> None:
    members = {"members-TOTAL_FORMS": 0, "members-INITIAL_FORMS": 0}
    new = {
        "members-2-TOTAL_FORMS": 1,
        "members-2-INITIAL_FORMS": 0,
        "members-2-0-user": alice.pk,
        "members-2-0-role": "owner",
    }
    sent = {"name": "Vision", "slug": "vision", "has_automl": "on", **members, **new}
    response = door.post(address("workspace", "add"), sent)
    assert response.status_code == 302, response.context["errors"]
    workspace = Workspace.objects.get(slug="vision")
    assert workspace.role_of(alice) == "owner"
    assert list(workspace.projects.values_list("name", flat=True)) == ["Default"]


def test_somebody_who_is_in_already_is_refused_at_the_field(
    door: Client, lab: Workspace, alice: User
) -> None:
    kept = list(Member.objects.filter(workspace=lab).order_by("user__username"))
    sent = {"name": "Lab", "has_automl": "on", "members-TOTAL_FORMS": 3, "members-INITIAL_FORMS": 3}
    for number, member in enumerate(kept):
        sent |= {f"members-{number}-id": member.pk, f"members-{number}-role": member.role}
    sent |= {"members-2-TOTAL_FORMS": 1, "members-2-INITIAL_FORMS": 0, "members-2-0-user": alice.pk}
    response = door.post(address("workspace", "change", lab.pk), {**sent, "members-2-0-role": "viewer"})
    assert response.status_code == 200
    assert "alice is already a member" in response.content.decode()
    assert lab.role_of(alice) == "owner"
    sent["members-2-0-user"] = ""
    response = door.post(
        address("workspace", "change", lab.pk), {**sent, "members-2-0-role": "", "members-1-role": "viewer"}
    )
    assert response.status_code == 302
    assert [lab.role_of(member.user) for member in kept] == ["owner", "viewer", "viewer"]


def test_automl_stays_on_while_something_is_active(
    door: Client, running: Callable[..., Experiment], lab: Workspace
) -> None:
    """PAI-P1: AutoML can be switched off, not while something in the workspace is active."""
    experiment = running()
    Member.objects.all().delete()
    forms = {f"members{n}-{what}_FORMS": 0 for n in ("", "-2") for what in ("TOTAL", "INITIAL")}
    response = door.post(address("workspace", "change", lab.pk), {"name": "Lab", **forms})
    assert "AutoML cannot be turned off" in response.content.decode()
    experiment.stop(by=None)
    end_all(experiment)
    assert door.post(address("workspace", "change", lab.pk), {"name": "Lab", **forms}).status_code == 302
    lab.refresh_from_db()
    assert not lab.has_automl and lab.slug == "lab"


def test_what_holds_history_cannot_be_deleted(
    door: Client, running: Callable[..., Experiment], alice: User, dave: User
) -> None:
    """Accounts, workspaces, projects and queues in use stay; unused ones may go."""
    experiment = running()
    spare = Project.objects.create(workspace=experiment.workspace, name="Spare")
    for name, used, unused in (
        ("user", alice, dave),
        ("workspace", experiment.workspace, Workspace.open("empty")),
        ("project", experiment.project, spare),
        ("queue", experiment.queue, Queue.objects.create(name="gpu")),
    ):
        assert door.post(address(name, "delete", used.pk), {"post": "yes"}).status_code == 403
        assert door.post(address(name, "delete", unused.pk), {"post": "yes"}).status_code == 302
        assert model(name).objects.filter(pk=used.pk).exists()
        assert not model(name).objects.filter(pk=unused.pk).exists()
    assert Event.objects.filter(by=alice).exists() and Trial.objects.exists()


def test_names_that_others_rely_on_stay(door: Client, lab: Workspace) -> None:
    """A queue's name (workers serve it), a workspace's address, the name of the project Default."""
    queue, project = Queue.default(), lab.projects.get()
    door.post(address("queue", "change", queue.pk), {"name": "other", "is_open": "on", "is_paused": "on"})
    door.post(address("project", "change", project.pk), {"name": "other", "description": "new"})
    queue.refresh_from_db()
    project.refresh_from_db()
    assert (queue.name, queue.is_paused) == ("default", True)
    assert (project.name, project.description) == ("Default", "new")


def test_a_one_time_sign_in_link_is_shown_once(door: Client, alice: User, dave: User) -> None:
    User.objects.filter(pk=dave.pk).update(is_active=False)
    picked = {"action": "make_sign_in_link", "_selected_action": [alice.pk, dave.pk]}
    response = door.post(address("user", "changelist"), picked)
    assert "no-store" in response["Cache-Control"]
    page = response.content.decode()
    [link] = re.findall(r"http://testserver(/enter/[^/]+/)", page)
    assert "No link for dave" in page
    token = link.split("/")[2]
    for name in ("signinlink", "token", "user"):
        assert token not in door.get(address(name, "changelist")).content.decode()
    visitor = Client()
    assert visitor.post(link).status_code == 302
    assert visitor.session["_auth_user_id"] == str(alice.pk)
    assert visitor.post(link).status_code == 410


def test_an_account_without_a_password_can_be_made(door: Client) -> None:
    """The way in is then a one-time link."""
    sent = {"username": "erin", "usable_password": "false"}
    assert door.post(address("user", "add"), sent).status_code == 302
    erin = User.objects.get(username="erin")
    assert not erin.has_usable_password() and not erin.is_staff
    sent = {"username": "erin", "is_active": "on", "is_superuser": "on"}
    assert door.post(address("user", "change", erin.pk), sent).status_code == 302
    erin.refresh_from_db()
    assert erin.is_superuser and erin.is_staff


def test_only_administrators_come_in(lab: Workspace, alice: User) -> None:
    client = Client()
    client.force_login(alice)
    for path in ("/admin/", address("experiment", "changelist"), address("user", "changelist")):
        assert client.get(path).status_code == 302
    alice.is_staff = True  # stock rights: none were given, so nothing may be done
    alice.save()
    assert client.get(address("user", "changelist")).status_code == 403
    picked = {"action": "make_sign_in_link", "_selected_action": [alice.pk]}
    assert client.post(address("user", "changelist"), picked).status_code == 403
    assert not SignInLink.objects.exists()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_it_works_under_our_csp(
    chromium: str,
    live_server: object,
    filled: Callable[..., Experiment],
    root: User,
    lab: Workspace,
    door: Client,  # a session of somebody is there
) -> None:
    """The CSP has no unsafe-*, for the stock admin too."""
    filled()
    paths = ["/admin/", address("user", "add"), address("queue", "add"), address("workspace", "add")]
    paths += [address(name, "changelist") for name in ALL]
    paths += [address(name, "change", model(name)._default_manager.first().pk) for name in ALL]
    token = SignInLink.issue(root)
    messages: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(f"{live_server.url}/enter/{token}/")
        page.click("form button[type=submit]")
        messages.clear()  # that page belongs to others
        for path in paths:
            page.goto(live_server.url + path)
            assert page.title().endswith("Trialdeck"), path
        page.goto(live_server.url + address("workspace", "add"))
        page.fill("#id_name", "A new room")
        page.locator("#id_name").press("End")
        page.keyboard.type("!")
        assert page.input_value("#id_slug") == "a-new-room"  # its scripts run
        browser.close()
    assert messages == []


def choose(page: Page, theme: str) -> None:
    """Choose the theme in the sidebar, which a narrow window opens first."""
    if not page.locator("#nav .toggle").is_visible():
        page.get_by_role("button", name="Menu").click()
    with page.expect_response("**/preferences/theme/"):
        page.locator("#nav .toggle").get_by_text(theme.title(), exact=True).click()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [1360, 390])
def test_it_wears_the_consoles_look_in_both_themes(
    chromium: str, live_server: object, filled: Callable[..., Experiment], root: User, width: int
) -> None:
    """Our tokens, our switch, one choice for both; nothing wider than the window; every text can be read."""
    filled()
    token = SignInLink.issue(root)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(f"{live_server.url}/enter/{token}/")
        page.click("form button[type=submit]")
        colour = "getComputedStyle(document.body).backgroundColor"
        console = {}
        for theme in ("light", "dark"):
            page.goto(f"{live_server.url}/workspaces/")
            choose(page, theme)
            console[theme] = page.evaluate(colour)
        page.goto(live_server.url + address("trial", "changelist"))
        assert page.evaluate(colour) == console["dark"]
        page.goto(f"{live_server.url}/workspaces/")
        choose(page, "light")
        assert console["light"] != console["dark"]
        for path in ("/admin/", address("trial", "changelist"), address("user", "change", root.pk)):
            page.goto(live_server.url + path)
            assert page.evaluate(colour) == console["light"], "the choice is kept"
            assert not page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        page.get_by_role("link", name="Back to the console").click()
        page.wait_for_function("document.title.endsWith('Trialdeck')")  # Home leads on to the workspace
        assert "/admin/" not in page.url
        browser.close()

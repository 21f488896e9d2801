"""Every address, walked as nobody, a stranger, a viewer, an operator, an owner and an administrator.

A new route fails here until it has been told what each of them gets.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from experiments.models import (
    Channel,
    Dashboard,
    Delivery,
    HistoryImport,
    Model,
    Outcome,
    Role,
    Rule,
    SavedView,
    ShareLink,
    SignInLink,
    Token,
    User,
    WarmResults,
)
from experiments.transfer.background import run_next
from tests.web.files import leave

pytestmark = pytest.mark.once

PEOPLE = ("nobody", "dave", "carol", "bob", "alice")  # in this order: whoever may not comes first


@dataclass(frozen=True)
class Route:
    """The status of GET and of POST, one number for each of PEOPLE; one number alone is for all of them."""

    get: str
    post: str
    number: int = 1  # of the trial that it is about
    verb: str = "pause"
    root: str = ""  # GET and POST of an administrator, where an owner may not
    block: str = ""

    def wanted(self, method: str, person: str) -> int:
        """The status that `person` gets; an administrator gets what an owner does."""
        if person not in PEOPLE:
            if self.root:
                return int(self.root.split()[method == "post"])
            person = PEOPLE[-1]
        statuses = [int(status) for status in (self.get if method == "get" else self.post).split()]
        return (statuses * len(PEOPLE) if len(statuses) == 1 else statuses)[PEOPLE.index(person)]


SEES = "302 404 200 200 200"  # members of the workspace; the signed-out are sent to sign in
ONLY_LOOKS = "302 405 405 405 405"
MINE = "302 200 200 200 200"
ONLY_POSTS = ONLY_LOOKS
ACTIONS = "302 404 403 200 200"
LOCKED = "302 404 403 409 409"  # of an experiment that runs
OWNS = "302 404 403 403 200"
ADMINISTERS = "302 403 403 403 403"
ACTED = "302 404 403 302 302"
REFUSES = "302 404 409 409 409"

ROUTES = {
    "healthz": Route(get="200", post="200"),
    "readyz": Route(get="200", post="200"),
    "metrics": Route(get="404", post="405"),  # without a token
    "home": Route(get="302 200 302 302 302", post=ONLY_LOOKS),  # whoever has one workspace is led there
    "needs-dismiss": Route(get=ONLY_POSTS, post="302"),  # everybody for themselves
    "sign-in": Route(get="200 302 302 302 302", post="200 302 302 302 302"),
    "sign-out": Route(get="405", post="302"),
    "sign-in-code": Route(get="302", post="302"),  # the first step comes before
    "security": Route(get=MINE, post=ONLY_LOOKS),
    "second-factor": Route(get=MINE, post="302 422 422 422 422"),  # no code
    "second-factor-off": Route(get=ONLY_POSTS, post="302"),  # it is off
    "recovery-codes": Route(get=ONLY_POSTS, post="302"),
    "session-end": Route(get=ONLY_POSTS, post="302 404 404 404 404"),  # nobody's
    "enter": Route(get="200", post="302 410 410 410 410"),  # it works once
    "patterns": Route(get="404", post="404"),  # in debug only
    "workspaces": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "workspace-new": Route(get=ADMINISTERS, post=ADMINISTERS, root="200 422"),  # an empty form is drawn again
    "workspace": Route(get=SEES, post=ONLY_LOOKS),
    "sample": Route(get=ONLY_POSTS, post=ACTED),
    "python": Route(get=ONLY_POSTS, post=ACTIONS),
    "wall": Route(get=SEES, post=ONLY_LOOKS),
    "trash": Route(get="302 404 403 403 200", post=ONLY_LOOKS),
    "trash-restore": Route(get=ONLY_LOOKS, post="302 404 403 403 302"),
    "experiments": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-complete": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-csv": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-json": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-bulk": Route(get=ACTED, post=ACTED),  # nothing is ticked: back, with a message
    "experiments-compare": Route(get=SEES, post=ONLY_LOOKS),  # nothing is picked: a list to pick from
    "experiments-compare-csv": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-compare-json": Route(get=SEES, post=ONLY_LOOKS),
    "experiments-compare-chart-svg": Route(get="302 404 404 404 404", post=ONLY_LOOKS),  # nothing is picked
    "experiments-compare-chart-csv": Route(get="302 404 404 404 404", post=ONLY_LOOKS),
    "trials-compare": Route(get=SEES, post=ONLY_LOOKS),
    "trials-compare-json": Route(get=SEES, post=ONLY_LOOKS),
    "trials-compare-chart-svg": Route(get="302 404 404 404 404", post=ONLY_LOOKS),  # nothing is selected
    "trials-compare-chart-csv": Route(get="302 404 404 404 404", post=ONLY_LOOKS),
    "trials-compare-csv": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-new": Route(get=ACTIONS, post=ACTIONS),  # an empty form is drawn again
    "imports": Route(get=ACTIONS, post="302 404 403 422 422"),  # no file is chosen
    "import": Route(
        get="302 404 403 404 200", post="302 404 403 404 422"
    ),  # alice's; the metric is not chosen
    "import-cancel": Route(get="302 404 403 404 200", post="302 404 403 404 302"),
    "experiment-export": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-export-file": Route(get=SEES, post=ONLY_LOOKS),
    "results-new": Route(get=ACTIONS, post="302 404 403 422 422"),  # no file is chosen
    "results": Route(get=SEES, post=ONLY_LOOKS),
    "results-delete": Route(get=ACTIONS, post="302 404 403 302 404", root="200 302"),  # it is gone then
    "experiment": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-trials": Route(get=SEES, post=ONLY_LOOKS),
    "trials-columns": Route(get=ONLY_POSTS, post="302 404 302 302 302"),  # everybody chooses their own
    "trials-complete": Route(get=SEES, post=ONLY_LOOKS),
    "trials-csv": Route(get=SEES, post=ONLY_LOOKS),
    "trials-json": Route(get=SEES, post=ONLY_LOOKS),
    "trials-bulk": Route(get=ACTED, post=ACTED, verb="rerun"),
    "experiment-configuration": Route(get=SEES, post=ONLY_LOOKS),
    "configuration-group": Route(get=LOCKED, post=LOCKED),
    "configuration-group-action": Route(get="302 404 404 404 404", post="302 404 404 404 404", verb="remove"),
    "configuration-object": Route(get=LOCKED, post=LOCKED),
    "configuration-object-action": Route(get="302 404 404 404 404", post="302 404 404 404 404", verb="clear"),
    "configuration-properties": Route(get=ACTIONS, post="302 404 403 422 422"),
    "experiment-execution": Route(get=SEES, post=ONLY_LOOKS),
    "execution-edit": Route(get=LOCKED, post=LOCKED, block="source"),
    "execution-action": Route(get=LOCKED, post=LOCKED, block="packages", verb="clear"),
    "experiment-charts": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-chart": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-chart-svg": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-chart-csv": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-artifacts": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-artifacts-store": Route(
        get=ACTIONS, post="302 404 403 422 422"
    ),  # an empty form is drawn again
    "experiment-input": Route(get="302 404 403 409 409", post="302 404 403 409 409"),  # it is no draft
    "experiment-input-remove": Route(get=ONLY_POSTS, post="302 404 403 409 409"),
    "artifact-download": Route(get=REFUSES, post=ONLY_LOOKS),  # it is not on this machine
    "artifact-register": Route(get=ACTIONS, post="302 404 403 422 422"),  # an empty form is drawn again
    "artifact-image": Route(get="302 404 404 404 404", post=ONLY_LOOKS),  # it is no image
    "artifact-viewer": Route(get=SEES, post=ONLY_LOOKS),
    "models": Route(get=SEES, post=ONLY_LOOKS),
    "model-add": Route(get=ACTIONS, post="302 404 403 422 422"),  # an empty form is drawn again
    "model": Route(get=SEES, post="302 404 403 422 422"),  # an empty form is drawn again
    "model-network": Route(get=SEES, post=ACTED),
    "model-clear": Route(get=ACTIONS, post=ACTED),
    "model-labels": Route(get=SEES, post="302 404 403 422 422"),
    "model-publish": Route(get=ACTIONS, post=ACTED),
    "model-delete": Route(get=OWNS, post="302 404 403 403 302"),  # it is published by now
    "model-download": Route(get=REFUSES, post=ONLY_LOOKS),  # nor is this
    "experiment-edit": Route(get=ACTIONS, post=ACTIONS),  # without a button it only shows the consequences
    "experiment-pin": Route(get=ONLY_POSTS, post="302 404 302 302 302"),  # everybody for themselves
    "experiment-unpin": Route(get=ONLY_POSTS, post="302 404 302 302 302"),
    "experiment-schedule": Route(get=ACTIONS, post="302 404 403 422 422"),  # an empty form is drawn again
    "experiment-add": Route(get=ACTIONS, post="302 404 403 422 422"),  # an empty form is drawn again
    "experiment-description": Route(get=ACTIONS, post=ACTED),
    "audit": Route(get=OWNS, post=ONLY_LOOKS),
    "audit-csv": Route(get=OWNS, post=ONLY_LOOKS),
    "audit-json": Route(get=OWNS, post=ONLY_LOOKS),
    "installation-audit": Route(get=ADMINISTERS, post=ONLY_LOOKS, root="200 405"),
    "installation-audit-csv": Route(get=ADMINISTERS, post=ONLY_LOOKS, root="200 405"),
    "installation-audit-json": Route(get=ADMINISTERS, post=ONLY_LOOKS, root="200 405"),
    "experiment-activity": Route(get=SEES, post=ONLY_LOOKS),
    "activity-csv": Route(get=SEES, post=ONLY_LOOKS),
    "activity-json": Route(get=SEES, post=ONLY_LOOKS),
    "experiment-action": Route(get=ACTIONS, post=ACTED),
    "trial": Route(get=SEES, post=ONLY_LOOKS),
    "trial-log": Route(get=SEES, post=ONLY_LOOKS),
    "trial-stop": Route(get=ACTIONS, post=ACTED, number=2),
    "trial-mark-lost": Route(get="302 404 403 403 302", post="302 404 403 403 302"),
    "trial-star": Route(get=ONLY_POSTS, post=ACTED),
    "trial-unstar": Route(get=ONLY_POSTS, post=ACTED),
    "trial-comment": Route(
        get=ONLY_POSTS, post="302 404 302 302 302"
    ),  # an empty one is answered with a sentence
    "trial-comment-edit": Route(get=ONLY_POSTS, post="302 404 404 404 404"),  # there is none
    "trial-comment-delete": Route(get=ONLY_POSTS, post="302 404 404 404 404"),  # there is none
    "trial-rerun": Route(get=ACTIONS, post=ACTED),
    "trial-script": Route(get=SEES, post=ONLY_LOOKS),
    "trial-parameters": Route(get=SEES, post=ONLY_LOOKS),
    "trial-replicate": Route(get=ACTIONS, post="302 404 403 422 422", number=3),
    "search": Route(get=MINE, post=ONLY_LOOKS),
    "projects": Route(get=SEES, post=ONLY_LOOKS),
    "projects-everywhere": Route(get=MINE, post=ONLY_LOOKS),
    "project-name-check": Route(get=ACTIONS, post=ONLY_LOOKS),
    "project-new": Route(get=ACTIONS, post="302 404 403 422 422"),
    "project-edit": Route(get=ACTIONS, post=ACTED),
    "project-delete": Route(get=ACTIONS, post="302 404 403 409 409"),  # it is Default
    "view-new": Route(get=SEES, post="302 404 422 422 422"),  # an empty form is drawn again
    "view-edit": Route(get="302 404 403 403 200", post="302 404 403 403 422"),  # of alice, shared
    "view-update": Route(get=ONLY_POSTS, post="302 404 403 403 302"),
    "view-delete": Route(get="302 404 403 403 200", post="302 404 403 403 302"),
    "dashboards": Route(get=SEES, post=ONLY_LOOKS),
    "dashboard-new": Route(get=ACTIONS, post="302 404 403 422 422"),  # an empty form is drawn again
    "dashboard": Route(get=SEES, post=ONLY_LOOKS),
    "dashboard-tile": Route(
        get="302 404 302 302 302", post=ONLY_LOOKS
    ),  # a fragment: alone it leads to its page
    "dashboard-edit": Route(get=ACTIONS, post=ONLY_LOOKS),
    "dashboard-arrange": Route(get=ONLY_POSTS, post="302 404 403 409 409"),  # no button is pressed
    "tile-add": Route(get=ACTIONS, post="302 404 403 422 422"),
    "tile-edit": Route(get=ACTIONS, post="302 404 403 422 422"),
    "dashboard-settings": Route(get=ONLY_POSTS, post="302 404 403 422 422"),
    "dashboard-duplicate": Route(get=ONLY_POSTS, post=ACTED),
    "dashboard-link": Route(get=ONLY_POSTS, post="302 404 403 201 201"),
    "dashboard-delete": Route(get=OWNS, post="302 404 403 403 302"),
    "experiment-share": Route(get=ACTIONS, post="302 404 403 201 201"),
    "links": Route(get=ACTIONS, post=ONLY_LOOKS),
    "link-revoke": Route(get=ONLY_POSTS, post="302 404 403 403 302"),  # alice's
    "shared": Route(get="200", post="405"),  # whoever has the link
    "shared-tile": Route(get="302", post="405"),
    "leaderboard": Route(get=SEES, post=ONLY_LOOKS),
    "members-csv": Route(get=SEES, post=ONLY_LOOKS),
    "members-json": Route(get=SEES, post=ONLY_LOOKS),
    "models-csv": Route(get=SEES, post=ONLY_LOOKS),
    "models-json": Route(get=SEES, post=ONLY_LOOKS),
    "dashboards-csv": Route(get=SEES, post=ONLY_LOOKS),
    "dashboards-json": Route(get=SEES, post=ONLY_LOOKS),
    "deliveries-csv": Route(get=SEES, post=ONLY_LOOKS),
    "deliveries-json": Route(get=SEES, post=ONLY_LOOKS),
    "workspace-tokens-csv": Route(get="302 404 403 403 200", post=ONLY_LOOKS),
    "workspace-tokens-json": Route(get="302 404 403 403 200", post=ONLY_LOOKS),
    "tokens-csv": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "tokens-json": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "queues-csv": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "queues-json": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "workers-csv": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "workers-json": Route(get="302 200 200 200 200", post=ONLY_LOOKS),
    "leaderboard-csv": Route(get=SEES, post=ONLY_LOOKS),
    "leaderboard-json": Route(get=SEES, post=ONLY_LOOKS),
    "baseline-pin": Route(get=ONLY_POSTS, post=ACTED),
    "baseline-unpin": Route(get=ONLY_POSTS, post=ACTED),
    "usage": Route(get=SEES, post=ONLY_LOOKS),
    "usage-csv": Route(get=SEES, post=ONLY_LOOKS),
    "usage-json": Route(get=SEES, post=ONLY_LOOKS),
    "usage-limits": Route(get=OWNS, post=OWNS.replace("200", "302")),  # blank fields remove the limit
    "notifications": Route(get=SEES, post=ONLY_LOOKS),
    "quiet-hours": Route(get="302 405 405 405 405", post="302 404 302 302 302"),
    "rule-new": Route(get=SEES, post="302 404 422 422 422"),  # an empty form is drawn again
    "rule-edit": Route(get="302 404 403 403 200", post="302 404 403 403 422"),  # of the workspace
    "rule-switch": Route(get=ONLY_POSTS, post="302 404 403 403 302"),
    "rule-test": Route(get=ONLY_POSTS, post="302 404 403 403 302"),
    "rule-delete": Route(get=OWNS, post="302 404 403 403 302", root="200 302"),
    "channel-new": Route(get=SEES, post="302 404 422 422 422"),
    "channel-edit": Route(get="302 404 404 404 200", post="302 404 404 404 422"),  # others do not see it
    "channel-test": Route(get=ONLY_POSTS, post="302 404 404 404 302"),
    "channel-secret": Route(get=ONLY_POSTS, post="302 404 404 404 201"),
    "delivery-send": Route(get=ONLY_POSTS, post="302 404 404 404 302"),
    "channel-delete": Route(get="302 404 404 404 200", post="302 404 404 404 302"),
    "prefer": Route(get="405", post="204"),  # everybody chooses their own
    "unseen": Route(get=ONLY_POSTS, post="302 200 200 200 200"),
    "workspace-settings": Route(get=OWNS, post="302 404 403 403 422"),  # an empty form is drawn again
    "workspace-destination": Route(get=ONLY_POSTS, post="302 404 403 403 302"),
    "workspace-automl": Route(get=ONLY_POSTS, post="302 404 403 403 422"),
    "workspace-retention": Route(get=OWNS, post=ONLY_LOOKS),
    "workspace-retention-change": Route(get=ONLY_POSTS, post="302 404 403 403 422", verb="save"),
    "retention": Route(get=ADMINISTERS, post=ONLY_LOOKS, root="200 405"),
    "retention-change": Route(get=ONLY_POSTS, post=ADMINISTERS, root="405 422", verb="save"),
    "members": Route(get=SEES, post="302 404 403 403 422"),
    "member-role": Route(get=ONLY_POSTS, post="302 404 403 403 422"),
    "member-remove": Route(get=OWNS, post="302 404 403 403 302"),
    "queues": Route(get=MINE, post=ONLY_LOOKS),
    "queue": Route(get=MINE, post=ONLY_LOOKS),
    "queue-new": Route(get=ADMINISTERS, post=ADMINISTERS, root="200 422"),
    "queue-edit": Route(get=ADMINISTERS, post=ADMINISTERS, root="200 302"),
    "queue-action": Route(get=ADMINISTERS, post=ADMINISTERS, root="200 302"),
    "workers": Route(get=MINE, post=ONLY_LOOKS),
    "worker": Route(get=SEES, post=ONLY_LOOKS),
    "worker-action": Route(get=ADMINISTERS, post=ADMINISTERS, root="200 302", verb="drain"),
    "account": Route(get=MINE, post="302"),
    "account-password": Route(get=MINE, post="302 422 422 422 422"),
    "tokens": Route(get=MINE, post="302 422 422 422 422"),
    "token-revoke": Route(get=ONLY_POSTS, post="302 404 404 404 302"),  # alice's
    "workspace-token-revoke": Route(get=ONLY_POSTS, post="302 404 403 403 302"),
    "api-schema": Route(get="200", post="405"),
    "api-docs": Route(get=MINE, post=ONLY_LOOKS),
    "sign-out-elsewhere": Route(get=ONLY_POSTS, post="302 422 422 422 422"),
    "password-reset": Route(get="404", post="404"),  # here no e-mail is configured
    "password-reset-sent": Route(get="404", post="404"),
    "password-reset-confirm": Route(get="404", post="404"),
}


def routes(resolver: URLResolver, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """(name, pattern) of every address; names of rooms stand before a colon."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry, f"{entry.namespace}:" if entry.namespace else namespace)
        else:
            yield f"{namespace}{entry.name}", entry


@pytest.fixture
def browser(alice, bob, carol, dave) -> Callable[[str], Client]:
    """A fresh browser of one of PEOPLE."""
    people = {person.username: person for person in (dave, carol, bob, alice)}
    people["root"] = User.objects.create_superuser("root", password="root-knows")

    def open_as(name: str) -> Client:
        client = Client()
        if name in people:
            client.force_login(people[name])
        return client

    return open_as


@pytest.fixture
def sample(running, bob, alice) -> dict[str, object]:
    """What the addresses are about, by the names in their patterns."""
    experiment = running(taken=3, concurrency=3)
    good = experiment.trials.get(number=3)
    good.settle(Outcome(value=0.5, exit_code=0))
    failed = experiment.trials.get(number=1)
    failed.settle(Outcome(failure="exit_code", detail="boom", exit_code=1))
    erin = User.objects.create_user("erin")
    experiment.workspace.admit(erin, Role.VIEWER)
    model = Model.register(experiment.project, by=alice, name="m", address="/nowhere/m.pt")
    view = SavedView.create(
        experiment.workspace, by=alice, name="failed", query="filter=state:failed", is_shared=True
    )
    channel, _ = Channel.create(
        experiment.workspace, owner=None, kind="webhook", name="all", address="https://example.org/hooks/1"
    )
    rule = Rule.create(experiment.workspace, owner=None, kind="ended", scope="workspace", channels=[channel])
    results = WarmResults.upload(experiment.workspace, by=bob, name="r.csv", results=[({"lr": 1}, 1.0)])
    ready = HistoryImport.receive(
        experiment.workspace, by=alice, file_name="a.csv", chunks=[b"lr,loss,acc\n1,2,3\n"]
    )
    run_next()
    dashboard = Dashboard.create(experiment.workspace, by=alice, name="CVPR", is_shared=True)
    link, _ = ShareLink.create(experiment, by=alice)
    return {
        "dashboard_pk": dashboard.pk,
        "tile_pk": dashboard.add("text", text="x").pk,
        "kind": "text",
        "link_pk": link.pk,
        "secret": ShareLink.create(experiment, by=alice)[1],
        "artifact_pk": leave(good, data=None).pk,
        "chart": "history",
        "preference": "theme",
        "model_id": model.public_id,
        "view_pk": view.pk,
        "channel_pk": channel.pk,
        "rule_pk": rule.pk,
        "delivery_pk": Delivery.test(channel, by=alice).pk,
        "results_id": results.public_id,
        "import_id": ready.public_id,
        "workspace_slug": "lab",
        "part": "log",
        "queue_name": "default",
        "project_pk": experiment.project_id,
        "worker_name": "w1",
        "public_id": experiment.public_id,
        "token": SignInLink.issue(bob),
        "username": erin.username,
        "session_id": uuid.uuid4(),
        "pk": Token.make("ci", user=alice, workspace=experiment.workspace, role="viewer")[0].pk,
    }


def test_each_address_lets_in_whom_it_should(browser, sample):
    """PAI-P1: what does not exist for you is 404, what you may not do is 403."""
    assert addresses().keys() == ROUTES.keys(), "tell ROUTES what each of PEOPLE gets there"

    assert walk(browser, sample, PEOPLE) == []


def test_an_administrator_is_let_in_like_an_owner(browser, sample):
    """docs/behaviors.md, Terms: without being a member of anything. (The one-time link is somebody else's.)"""
    assert walk(browser, sample, ("nobody", "root")) == []


def walk(browser: Callable[[str], Client], sample: dict[str, object], people: tuple[str, ...]) -> list[str]:
    """What answers otherwise than ROUTES says."""
    wrong = []
    for name, pattern in addresses().items():
        route = ROUTES[name]
        arguments = {**sample, "verb": route.verb, "action": route.verb, "block": route.block}
        kwargs = {key: arguments.get(key, route.number) for key in pattern.pattern.converters}
        url = reverse(name, kwargs=kwargs)
        for method in ("get", "post"):
            for person in people:
                wanted = route.wanted(method, person)
                got = getattr(browser(person), method)(url).status_code
                if got != wanted:
                    wrong.append(f"{method.upper()} {name} as {person}: {got} instead of {wanted}")
    return wrong


def addresses() -> dict[str, URLPattern]:
    """Every address but the administration's, and the API's: tests/api/test_routes.py walks those."""
    apart = ("admin:", "api:")
    return {name: pattern for name, pattern in routes(get_resolver()) if not name.startswith(apart)}


def test_the_administration_is_for_administrators(browser):
    """Everybody else is sent to its sign-in page, whatever the address."""
    wrong, seen = [], 0
    for name, pattern in routes(get_resolver()):
        if not name.startswith("admin:") or name in ("admin:login", "admin:None"):
            continue  # its door, and addresses that only lead on
        kwargs = dict.fromkeys(pattern.pattern.regex.groupindex, "1")
        if "app_label" in kwargs:
            kwargs["app_label"] = "experiments"
        url, seen = reverse(name, kwargs=kwargs), seen + 1
        for person in PEOPLE:
            for method in ("get", "post"):
                answer = getattr(browser(person), method)(url)
                if answer.status_code != 302 or not answer["Location"].startswith("/admin/"):
                    wrong.append(f"{method.upper()} {url} as {person}: {answer.status_code}")
    assert wrong == [] and seen > 20

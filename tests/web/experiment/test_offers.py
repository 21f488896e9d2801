"""Whatever a page offers can be done: every link and every form, in every state, walked as a person would."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse

from experiments.models import Experiment, Failure, Outcome, Queue, Refused, Trial, User, Worker
from experiments.models.experiment.lifecycle import note_what_is_left
from tests.models.test_matrix import STATES
from tests.people import as_, end_all, look_at, make_settings, undone

BAD = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="ValueError: no")
GOOD = Outcome(value=0.5, exit_code=0)
GRID = {"space_document": {"lr": {"_type": "choice", "_value": [1, 2]}}, "algorithm": "GridSearch"}


@dataclass
class Form:
    action: str
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[dict[str, str]] = field(default_factory=list)  # empty: a button without a name


class Offers(HTMLParser):
    """The links and forms of a page, each form with what a browser would send if nothing was changed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select, self._area, self._template = "", "", 0
        self.feed(html)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in pairs}
        self._template += tag == "template"
        if self._template:
            return
        if tag == "a" and at.get("href"):
            self.links.append(at["href"])
        if tag == "form":
            self._form = Form(at.get("action", ""), at.get("method", "get"))
            self.forms.append(self._form)
        form = self._form
        if form is None:
            return
        name, value = at.get("name", ""), at.get("value", "")
        if tag == "button" and at.get("type", "submit") == "submit" and "disabled" not in at:
            form.buttons.append({name: value} if name else {})
        is_choice = at.get("type") in ("checkbox", "radio")
        if tag == "input" and name and "disabled" not in at and (not is_choice or "checked" in at):
            form.fields[name] = value or ("on" if is_choice else "")
        if tag == "select":
            self._select = name
        if tag == "option" and self._select and ("selected" in at or self._select not in form.fields):
            form.fields[self._select] = value
        if tag == "textarea" and name:
            self._area, form.fields[name] = name, "a text" if "required" in at else ""

    def handle_data(self, text: str) -> None:
        if self._area and self._form:
            self._form.fields[self._area] += text

    def handle_endtag(self, tag: str) -> None:
        self._template -= tag == "template"
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = ""
        if tag == "textarea":
            self._area = ""


pytestmark = pytest.mark.once

PAGES = ("experiment", "experiment-trials", "experiment-execution", "experiment-configuration")
ACTIONS = ("action", "edit", "add", "bulk", "schedule", "share", "description", "input", "stop", "rerun", "replicate",
        "mark-lost", "group", "object", "properties", "new", "register")  # fmt: skip


def ended(experiment: Experiment, *outcomes: Outcome) -> Experiment:
    """Its trials end, each with the next of these outcomes; the last for all that follow."""
    left = list(outcomes)
    for _ in range(20):
        look_at(experiment)
        worker = Worker.objects.get()
        while trial := Trial.take(worker, ["default"]):
            pass
        trial = experiment.trials.filter(state="running").order_by("number").first()
        if trial is None:
            return look_at(experiment)
        trial.settle(left.pop(0) if len(left) > 1 else left[0])
    raise AssertionError("it does not end")


# Ends that leave different things to do.
ENDS: dict[str, Callable[[Callable[..., Experiment], User], Experiment]] = {
    "max trials reached": lambda running, by: ended(running(max_trials=2), GOOD),
    "goal reached": lambda running, by: ended(running(goal=0.4), GOOD),
    "max duration reached": lambda running, by: _out_of_time(running(max_duration_s=60)),
    "grid tried": lambda running, by: ended(running(max_trials=9, **GRID), GOOD),
    "grid tried with the last trial of the budget": lambda running, by: ended(
        running(max_trials=2, **GRID), GOOD
    ),
    "grid tried by TPE": lambda running, by: ended(
        running(max_trials=2, **GRID | {"algorithm": "TPE"}), GOOD
    ),
    "grid tried, a trial failed": lambda running, by: ended(running(max_trials=2, **GRID), BAD, GOOD),
    "grid tried, all failed": lambda running, by: ended(running(max_trials=9, **GRID), BAD),
    "grid tried after a stop": lambda running, by: _resumed(running(max_trials=9, **GRID), by),
    "some failed": lambda running, by: ended(running(max_trials=2), BAD, GOOD),
    "stopped, with trials to retry": lambda running, by: _stopped(running(), by, Outcome(signal=15)),
    "stopped, with a result": lambda running, by: _stopped(running(), by, GOOD),
}
NOTHING_LEFT = (
    "grid tried",
    "grid tried with the last trial of the budget",
    "grid tried by TPE",
    "grid tried after a stop",
)


def _out_of_time(experiment: Experiment) -> Experiment:
    with experiment.locked():
        experiment.ran_s = 100.0
    return ended(experiment, GOOD)


def _stopped(experiment: Experiment, by: User, outcome: Outcome) -> Experiment:
    experiment.stop(by=by)
    return end_all(experiment, outcome)


def _resumed(experiment: Experiment, by: User) -> Experiment:
    _stopped(experiment, by, Outcome(signal=15, failure=Failure.SIGNAL, detail="SIGTERM")).resume(by=by)
    return ended(experiment, GOOD)


def walk(experiment: Experiment, user: User, *pages: str) -> set[str]:
    """Do all that these pages, and the rows of lists, offer for this experiment, each in its own try. Return what was
    done, by its address."""
    at = [experiment.workspace.slug, experiment.public_id]
    addresses = [reverse(name, args=at) for name in pages]
    addresses += [reverse("experiments", args=at[:1]), reverse("queues"), reverse("workspace", args=at[:1])]
    firsts = {trial.state: trial.number for trial in experiment.trials.order_by("-number")}
    addresses += [reverse("trial", args=[*at, number]) for number in firsts.values()]
    client, done = as_(user), set()
    for page in addresses:
        offers = Offers(client.get(page).content.decode())
        links = {urljoin(page, link) for link in offers.links} - done
        for link in {link for link in links if experiment.public_id in link and _is_act(link)}:
            done.add(link)
            _follow(client, link)
        for form in offers.forms:
            address = urljoin(page, form.action)
            if form.method == "post" and experiment.public_id in address and address not in done:
                done.add(address)
                _send(client, page, form)
    return done


def _is_act(link: str) -> bool:
    return not urlsplit(link).netloc and resolve(urlsplit(link).path).url_name.endswith(ACTIONS)


def _follow(client, link: str) -> None:
    """A link to a question leads to its answer, too."""
    response = client.get(link)
    assert response.status_code in (200, 302), (link, response.status_code)
    assert not _complaints(response), link
    if response.status_code == 200 and response.get("Content-Type", "").startswith("text/html"):
        for form in Offers(response.content.decode()).forms:
            if form.method == "post" and urlsplit(urljoin(link, form.action)).path == urlsplit(link).path:
                _send(client, link, form)


def _send(client, page: str, form: Form) -> None:
    for button in form.buttons or [{}]:
        with undone():
            response = client.post(urljoin(page, form.action), {**form.fields, **button})
            # 422: something is to be filled in, which is not refused.
            assert response.status_code in (200, 201, 204, 302, 422), (
                page,
                form,
                response.content.decode()[-3000:],
            )
            assert not _complaints(response), (page, form)


def _complaints(response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request) if message.level_tag == "error"]


@pytest.mark.parametrize("state", STATES)
def test_whatever_a_state_offers_can_be_done(state, in_state, alice):
    """TD-A1 TD-A9: no button points at a door that is shut."""
    assert walk(in_state(state), alice, *PAGES)


@pytest.mark.parametrize("end", ENDS)
def test_resume_is_offered_exactly_where_it_has_something_to_do(end, running, worker, alice, api):
    """TD-A9: on details, in the list, in the API and in the sentences of refusals; and where it is, it does it."""
    experiment = ENDS[end](running, alice)
    resume = reverse("experiment-action", args=["lab", experiment.public_id, "resume"])
    client = as_(alice)
    details, experiments = (
        Offers(client.get(reverse(name, args=args)).content.decode()).links
        for name, args in (("experiment", ["lab", experiment.public_id]), ("experiments", ["lab"]))
    )
    row = api(alice).get(f"/experiments/{experiment.public_id}").json()
    is_offered = end not in NOTHING_LEFT
    assert [
        resume in details,
        resume in experiments,
        bool(row["to_resume"]),
        "Resume" in experiment.way_out("rerun"),
    ] == [is_offered] * 4
    if is_offered:
        _follow(client, resume)
    else:
        assert client.get(resume).status_code == 409
        with pytest.raises(Refused, match="Clone the experiment to search a larger space"):
            experiment.resume(by=alice, max_trials=100)


def test_a_list_looks_for_what_is_left_in_one_query(running, worker, alice):
    """TD-A9: for any number of rows."""
    ends = [ENDS[end](running, alice) for end in ("grid tried", "grid tried, a trial failed", "some failed")]
    with CaptureQueriesContext(connection) as queries:
        note_what_is_left(ends)
        assert [experiment.offers("resume") for experiment in ends] == [False, True, True]
    assert len(queries) == 1


def test_a_changed_search_space_is_no_longer_exhausted(running, worker, alice):
    """TD-A9, TD-U5: what was tried whole is not the space that was entered since; nor after a reset."""
    experiment = ended(running(taken=1, max_trials=9, **GRID), BAD, GOOD)
    assert experiment.is_exhausted and experiment.resume(by=alice, rerun_failed=True)
    look_at(experiment)
    assert Trial.take(worker, ["default"])
    experiment.refresh_from_db()
    larger = {"lr": {"_type": "choice", "_value": [1, 2, 3]}}
    settings = make_settings(**{**experiment.settings.document(), "space_document": larger})
    assert experiment.update(settings, by=alice, seen=experiment.revision.number)
    assert not experiment.is_exhausted
    experiment = ended(experiment, GOOD)
    assert (experiment.is_exhausted, experiment.succeeded_count) == (True, 3)
    experiment.reset(by=alice)
    assert not experiment.is_exhausted


@pytest.mark.parametrize("verb", ["enqueue", "resume"])
def test_another_queue_is_offered_when_its_own_was_taken_away(verb, draft, running, worker, alice):
    """TD-A5 TD-A9: the form as it stands is accepted."""
    own = Queue.objects.create(name="gpu", is_open=True)
    if verb == "enqueue":
        experiment = draft()
        experiment.enqueue(by=alice, queue=own)
        experiment.dequeue(by=alice)
    else:
        experiment = _stopped(running(), alice, GOOD)
        with experiment.locked():
            experiment.queue = own
    Queue.objects.filter(pk=own.pk).update(is_open=False)
    _follow(as_(alice), reverse("experiment-action", args=["lab", experiment.public_id, verb]))


def test_a_draft_without_a_command_says_so_at_the_button(draft, alice, lab):
    """TD-A5: as that of an imported experiment, whose clone is to be edited first."""
    settings = dataclasses.replace(make_settings(), command="")
    experiment = Experiment.draft(lab, by=alice, name="imported", settings=settings)
    enqueue = reverse("experiment-action", args=["lab", experiment.public_id, "enqueue"])
    for name, args in (("experiment", ["lab", experiment.public_id]), ("experiments", ["lab"])):
        html = as_(alice).get(reverse(name, args=args)).content.decode()
        assert enqueue not in Offers(html).links
        assert "The experiment has no command. Edit it and enter one first." in html

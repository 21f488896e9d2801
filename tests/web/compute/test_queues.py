"""Queues in the browser: the list, one line, moves, and what administrators do (CML-Q1, CML-Q2, CML-Q3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.charts.utilization import Bar
from experiments.models import Experiment, Queue, Trial, Usage, User, Worker, Workspace
from experiments.web.compute.utilization import used
from tests.people import as_, look_at, make_settings

pytestmark = pytest.mark.once


@pytest.fixture
def attic(dave: User) -> Workspace:
    """dave's workspace, which nobody else knows."""
    return Workspace.open("attic", name="Attic", owner=dave)


@pytest.fixture
def enqueued(draft: Callable[..., Experiment], alice: User) -> Callable[..., list[Experiment]]:
    def make(*names: str, **changes: object) -> list[Experiment]:
        made = [draft(name, **changes) for name in names]
        for experiment in made:
            experiment.enqueue(by=alice)
        return made

    return make


def page(client: Client, name: str = "default") -> str:
    response = client.get(reverse("queue", args=[name]))
    assert response.status_code == 200
    return response.content.decode()


def action(experiment: Experiment, verb: str) -> str:
    return reverse("experiment-action", args=[experiment.workspace.slug, experiment.public_id, verb])


def order() -> str:
    return "".join(Queue.default().active_experiments().values_list("name", flat=True))


# --- what is seen ----------------------------------------------------------------------------------------------


def test_the_list_tells_workers_slots_line_and_wait(enqueued, worker, carol, gpu_of_attic):
    """CML-Q3: each queue with who serves it, what runs, what waits; a queue of others does not exist here."""
    first, _ = enqueued("first", "second")
    look_at(first)
    Trial.take(worker, ["default"])
    Queue.objects.filter(name="default").update(waits=[100])
    html = as_(carol).get(reverse("queues")).content.decode()
    assert ">default</a>" in html and "1/8" in html and "2 experiments" in html
    assert "1 running, 1 trial" in html and "1 m 40 s" in html and ">w1<" in html
    assert "gpu-of-attic" not in html and "New queue" not in html
    assert as_(carol).get(reverse("queue", args=["gpu-of-attic"])).status_code == 404


@pytest.fixture
def gpu_of_attic(attic: Workspace, root: User) -> Queue:
    return Queue.create("gpu-of-attic", by=root, workspaces=[attic])


def test_what_i_may_not_see_is_named_by_what_it_is(enqueued, attic, alice, bob, dave, carol):
    """docs/behaviors.md, Terms: "another workspace", "private"; its name, ID and creator are not on the page."""
    mine, secret = enqueued("mine", "hush-hush")
    secret.describe(by=alice, visibility="private")
    theirs = Experiment.draft(attic, by=dave, name="up-there", settings=make_settings())
    theirs.enqueue(by=dave)
    for reader in (bob, carol):
        html = page(as_(reader))
        assert mine.name in html and ">private<" in html and ">another workspace<" in html
        for hidden in ("hush-hush", "up-there", secret.public_id, theirs.public_id, "Attic", "dave"):
            assert hidden not in html, f"{hidden} is shown to {reader}"
    seen = page(as_(dave))
    assert "up-there" in seen and seen.count(">another workspace<") == 2


def test_a_queue_that_nobody_serves_teaches_how_to_start_a_worker(enqueued, bob, root, worker):
    """The command, with the queue's name in it; draining ones are told apart."""
    enqueued("first")
    worker.drain(by=root)
    assert "All workers of default are draining" in page(as_(bob))
    worker.leave()
    html = page(as_(bob))
    assert "No worker serves default" in html and "trialdeck worker --queue default --slots 4" in html
    assert "no worker serves queue default" in html, "and each experiment says why it waits"


def test_the_first_hour_is_counted_in_minutes() -> None:
    """TD-X4: not 0 of 0 hours."""
    start = timezone.now()
    bars = [Bar(start, start + timedelta(minutes=15), 0.8, 2)]
    assert used(bars).note == "12 of 30 slot minutes"
    assert used(bars * 4).note == "1 of 2 slot hours"


def test_it_tells_the_last_day_and_what_waits_longest(enqueued, worker, attic, dave, bob, carol, root):
    """CML-Q3, TD-X4: busy slots as a chart and in numbers, waits of the queues that I may use, and why each waits."""
    first, second = enqueued("first", "second")
    theirs = Experiment.draft(attic, by=dave, name="up-there", settings=make_settings())
    theirs.enqueue(by=dave)
    for experiment in (first, second, theirs):
        look_at(experiment)
    Trial.take(worker, ["default"])
    Queue.objects.filter(name="default").update(waits=[10] * 9 + [240])
    Queue.create("gpu-of-attic", by=root, workspaces=[attic]).waited(99999)
    Queue.default().pause(by=root)
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    end = start + timedelta(minutes=15)
    Usage.objects.create(worker=worker, at=start, until_at=end, busy_s=900 * 2, slot_s=900 * 8)
    html = as_(bob).get(reverse("queues")).content.decode()
    for text in (
        "5 trials",
        "of 3 experiments",
        "90% under 10 s",
        "25%",
        "of 2 slot hours",
        "Waiting longest",
    ):
        assert text in html, text
    assert html.count("queue default is paused") == 2, "of what I may not see only the place is told"
    assert "another workspace" in html and "position 3" in html and "up-there" not in html
    front = f'"{action(second, "front")}"'
    assert front in html and f'"{action(first, "front")}"' not in html, "it stands there"
    assert front not in as_(carol).get(reverse("queues")).content.decode()
    table = as_(bob).get(reverse("queues"), {"show": "data"}).content.decode()
    assert re.search(r"<th[^>]*>\s*Busy slots\s*</th>", table) and ">2.0<" in table and ">8.0<" in table


def test_an_empty_queue_says_how_to_get_into_it(carol):
    assert "Queue is empty" in page(as_(carol))


def test_a_line_has_a_fixed_number_of_queries(enqueued, attic, dave, bob, worker, root):
    """A fixed number of queries: whatever the number of experiments, workspaces, workers."""

    client = as_(bob)

    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    paths = (reverse("queue", args=["default"]), reverse("queues"))
    enqueued("first", "second")
    Experiment.draft(attic, by=dave, name="x", settings=make_settings()).enqueue(by=dave)
    few = [queries(path) for path in paths]
    enqueued(*(f"n{number}" for number in range(10)))
    for number in range(5):
        Worker.register(f"w2{number}", host="h", pid=1, queues=["default"], slots=1, lease_s=15)
        Queue.create(f"q{number}", by=root, is_open=True)
        workspace = Workspace.open(f"room{number}", owner=dave)
        Experiment.draft(workspace, by=dave, name="x", settings=make_settings()).enqueue(by=dave)
    assert [queries(path) for path in paths] == few
    assert max(few) <= 13


def test_a_fragment_is_not_drawn_again_unless_the_line_changed(enqueued, bob):
    """An unchanged poll is answered with 304; a move is news."""
    first, second = enqueued("first", "second")
    client, url = as_(bob), reverse("queue", args=["default"])
    headers = {"HX-Request": "true", "HX-Target": "experiments"}
    response = client.get(url, headers=headers)
    assert response.content.decode().lstrip().startswith("<section") and b"<html" not in response.content
    again = client.get(url, headers={**headers, "If-None-Match": response["ETag"]})
    assert again.status_code == 304
    second.front(by=bob)
    news = client.get(url, headers={**headers, "If-None-Match": response["ETag"]})
    assert news.status_code == 200
    html = news.content.decode()
    assert html.index("second</a>") < html.index("first</a>")


# --- moves -----------------------------------------------------------------------------------------------------


def test_an_operator_moves_what_they_may_operate(enqueued, bob, carol, dave):
    """CML-Q3: by the buttons of the queue's page, and back to it."""
    a, b, c = enqueued("a", "b", "c")
    client, there = as_(bob), reverse("queue", args=["default"])
    html = page(client)
    for experiment, verb in ((b, "front"), (a, "back"), (a, "before"), (a, "move_to"), (a, "dequeue")):
        assert f'"{action(experiment, verb)}"' in html
    assert action(a, "front") not in html, "it stands there"
    assert action(b, "front") not in page(as_(carol)), "a viewer only looks"
    response = client.post(action(c, "front"), headers={"Referer": f"http://testserver{there}"}, follow=True)
    assert response.redirect_chain == [(there, 302)] and order() == "cab"
    assert "c is at the front of default." in response.content.decode()
    assert "is already at the front" in client.post(action(c, "front"), follow=True).content.decode()
    assert client.post(action(b, "before"), {"other": a.pk}).status_code == 302 and order() == "cba"
    assert client.post(action(c, "dequeue")).status_code == 302 and order() == "ba"
    assert as_(carol).post(action(a, "front")).status_code == 403
    assert as_(dave).post(action(a, "front")).status_code == 404
    assert order() == "ba"


def test_the_question_before_whom_tells_no_names_of_others(enqueued, attic, dave, bob):
    """docs/behaviors.md, Terms: the choice is by place; what I may not see is told as on the page."""
    (mine,) = enqueued("mine")
    theirs = Experiment.draft(attic, by=dave, name="up-there", settings=make_settings())
    theirs.enqueue(by=dave)
    html = as_(bob).get(action(mine, "before")).content.decode()
    assert "2. another workspace" in html and "up-there" not in html
    wrong = as_(bob).post(action(mine, "before"), {"other": 10**9})
    assert wrong.status_code == 422 and "This experiment left the queue." in wrong.content.decode()


def test_an_experiment_moves_to_a_queue_that_its_workspace_may_use(enqueued, bob, root, lab, gpu_of_attic):
    """CML-Q3: only granted ones are offered and accepted."""
    (mine,) = enqueued("mine")
    gpu = Queue.create("gpu", by=root, workspaces=[lab])
    html = as_(bob).get(action(mine, "move_to")).content.decode()
    assert ">gpu <" in html and "gpu-of-attic" not in html and ">default <" not in html
    assert "no worker serves this queue yet" in html and "queue is empty" in html
    assert as_(bob).post(action(mine, "move_to"), {"queue": gpu_of_attic.pk}).status_code == 422
    assert as_(bob).post(action(mine, "move_to"), {}).status_code == 422
    assert as_(bob).post(action(mine, "move_to"), {"queue": gpu.pk}).status_code == 302
    mine.refresh_from_db()
    assert (mine.queue, mine.state) == (gpu, "pending")


# --- managed ---------------------------------------------------------------------------------------------------


def test_an_administrator_makes_and_changes_a_queue(root, lab):
    """CML-Q3: name, grants, fair share by one form; what is refused changes nothing."""
    client = as_(root)
    nobodys = client.post(reverse("queue-new"), {"name": "gpu", "granted": "listed"})
    assert nobodys.status_code == 422 and "No workspace could use this queue" in nobodys.content.decode()
    form = {"name": "gpu", "granted": "listed", "workspaces": [lab.pk], "slots_per_person": "4"}
    assert client.post(reverse("queue-new"), form).status_code == 302
    queue = Queue.objects.get(name="gpu")
    assert (queue.is_open, list(queue.workspaces.all()), queue.slots_per_person) == (False, [lab], 4)
    Queue.default()
    edit = reverse("queue-edit", args=["gpu"])
    taken = client.post(edit, {"name": "default", "granted": "open", "slots_per_experiment": "9"})
    assert taken.status_code == 422 and "The queue default already exists" in taken.content.decode()
    assert "<h1>Edit queue gpu</h1>" in taken.content.decode()
    bad = client.post(edit, {"name": "two words", "granted": "open", "slots_per_person": "0"})
    assert bad.status_code == 422
    queue.refresh_from_db()
    assert (queue.name, queue.is_open, queue.slots_per_experiment) == ("gpu", False, None)
    assert (
        client.post(edit, {"name": "big", "granted": "open", "slots_per_experiment": "2"}).status_code == 302
    )
    queue.refresh_from_db()
    assert (queue.name, queue.is_open, queue.limits) == ("big", True, "2 per experiment")
    html = page(client, "big")
    assert "root renamed this queue" in html and "gpu → big" in html
    default = reverse("queue-edit", args=["default"])
    assert client.post(default, {"slots_per_person": "3"}).status_code == 302, "its name and grants are fixed"
    assert Queue.default().limits == "3 per person" and Queue.default().is_open


def test_the_form_of_a_new_queue_is_accepted_as_it_is_drawn(root):
    """CML-Q3: whoever enters a name and changes nothing else gets a queue."""
    client = as_(root)
    html = client.get(reverse("queue-new")).content.decode()
    granted = re.search(r'<input type="radio" name="granted" value="(\w+)"[^>]* checked', html)
    assert granted, "one choice is made beforehand"
    drawn = {"granted": granted[1], "slots_per_experiment": "", "slots_per_person": ""}
    assert client.post(reverse("queue-new"), {"name": "gpu", **drawn}).status_code == 302
    assert Queue.objects.get(name="gpu").is_open is True


def test_an_administrator_pauses_and_deletes(root, alice, draft):
    """CML-Q3: a pause is undone by a click; a delete asks, and is refused with the reason while something runs."""
    client, gpu = as_(root), Queue.create("gpu", by=root, is_open=True)
    waiting = draft("waiting")
    waiting.enqueue(by=alice, queue=gpu)
    verbs = {verb: reverse("queue-action", args=["gpu", verb]) for verb in ("pause", "unpause", "delete")}
    assert client.post(verbs["pause"]).status_code == 302
    assert "Queue paused" in page(client, "gpu") and verbs["unpause"] in page(client, "gpu")
    assert "already" in client.post(verbs["pause"], follow=True).content.decode()
    assert client.post(verbs["unpause"]).status_code == 302
    assert "This queue has 1 experiment." in client.get(verbs["delete"]).content.decode()
    Experiment.objects.filter(pk=waiting.pk).update(state="running")
    refused = client.post(verbs["delete"])
    assert refused.status_code == 409 and "has 1 active experiment" in refused.content.decode()
    Experiment.objects.filter(pk=waiting.pk).update(state="pending")
    assert client.post(verbs["delete"]).status_code == 302
    waiting.refresh_from_db()
    assert (waiting.state, waiting.queue) == ("draft", None)
    assert client.get(reverse("queue-action", args=["default", "explode"])).status_code == 404


def test_the_enqueue_question_tells_workers_and_length(enqueued, worker, bob, draft, root):
    """CML-Q1: each queue with its workers, free slots and line; a warning where nobody serves it."""
    enqueued("a", "b")
    Queue.create("gpu", by=root, is_open=True)
    html = as_(bob).get(action(draft("new"), "enqueue")).content.decode()
    assert "1 worker, 8 of 8 slots free, 2 experiments queued" in html
    assert "no worker serves this queue yet; queue is empty" in html

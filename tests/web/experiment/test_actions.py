"""The acts on an experiment through the people's door: the whole matrix, who may, what is asked, where it leads."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from experiments.models import Event, Experiment, Queue, Role, Worker, Workspace, status
from experiments.web.experiment.actions import VERBS
from tests.models.test_matrix import MATRIX as MODEL_MATRIX
from tests.models.test_matrix import STATES, _between_two_others
from tests.people import as_, undone

pytestmark = pytest.mark.once

MATRIX = {verb: cells for verb, cells in MODEL_MATRIX.items() if verb in VERBS} | {"kill": "    o    "}


def url_of(experiment: Experiment, verb: str = "") -> str:
    """Details, or one of the acts."""
    args = [experiment.workspace.slug, experiment.public_id]
    return reverse("experiment-action", args=[*args, verb]) if verb else reverse("experiment", args=args)


def answer(experiment: Experiment, verb: str) -> dict[str, object]:
    """What a person fills in so that the act is possible."""
    if verb == "clone":
        return {"name": "a copy", "project": experiment.project_id, "description": ""}
    if verb == "before":
        return {"other": Experiment.objects.get(name="front").pk}
    if verb == "move_to":
        return {"queue": Queue.objects.get_or_create(name="gpu", is_open=True)[0].pk}
    return {"max_trials": 100} if verb == "resume" else {}


def message_text(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def test_the_matrix_has_every_verb_of_the_door():
    assert set(MATRIX) == set(VERBS)


@pytest.mark.parametrize("state", STATES)
def test_an_action_does_what_the_matrix_says(state, in_state, bob, alice):
    """TD-A: offered is done, already so changes nothing, a blank is refused with the state and the way out."""
    made = in_state(state)
    for verb, cells in MATRIX.items():
        with undone():
            _try(verb, cells[STATES.index(state)], Experiment.objects.get(pk=made.pk), bob, alice)


def _try(verb, cell, experiment, bob, alice):
    state = experiment.state
    # A published experiment is deleted by an owner only (TD-A13).
    client = as_(alice if (verb, state) == ("delete", "published") else bob)
    data = answer(experiment, verb) if verb != "before" else {}
    if verb in ("front", "back", "before") and cell == "o":
        _between_two_others(experiment, alice)
        data = answer(experiment, verb)
    events = Event.objects.count()
    question = client.get(url_of(experiment, verb))
    response = client.post(url_of(experiment, verb), data)
    if cell == "o":
        assert question.status_code == 200 and b"data-question" in question.content, verb
        assert response.status_code == 302 and message_text(response), verb
        assert Event.objects.count() > events, verb
    elif cell == "=":
        assert question.status_code == 302, verb
        assert response.status_code == 302 and "already" in message_text(response), verb
        assert Event.objects.count() == events, verb
    else:
        for refused in (question, response):
            page = refused.content.decode()
            assert refused.status_code == 409, verb
            assert (
                f"while the experiment is {'a draft' if state == 'draft' else state}" in page
                and Experiment.objects.get(pk=experiment.pk).way_out(verb) in page
            ), verb
            assert f'href="{url_of(experiment)}"' in page, "the way back"
        assert Event.objects.count() == events, verb
        assert Experiment.objects.get(pk=experiment.pk).state == state, verb


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_who_may_not_is_told_what_is_missing(verb, in_state, carol, dave, bob):
    """A viewer 403, a stranger 404, nobody is sent to sign in."""
    state = STATES[MATRIX[verb].index("o")]
    experiment = in_state(state)
    for method in ("get", "post"):
        viewer = getattr(as_(carol), method)(url_of(experiment, verb))
        assert viewer.status_code == 403
        assert "requires the operator role" in viewer.content.decode()
        assert getattr(as_(dave), method)(url_of(experiment, verb)).status_code == 404
        nobody = getattr(Client(), method)(url_of(experiment, verb))
        assert nobody.status_code == 302 and nobody["Location"].startswith(reverse("sign-in"))
    assert Experiment.objects.get(pk=experiment.pk).state == state


def test_an_operator_may_not_delete_what_is_published(in_state, bob):
    """TD-A13: owner."""
    experiment = in_state("published")
    response = as_(bob).post(url_of(experiment, "delete"))
    assert response.status_code == 403 and "requires the owner role" in response.content.decode()
    assert Experiment.objects.filter(pk=experiment.pk).exists()


def test_an_unknown_verb_is_404(draft, alice):
    experiment = draft()
    for verb in ("explode", "enqueue_trials", "finish", "update"):
        assert as_(alice).post(url_of(experiment, verb)).status_code == 404


def test_an_experiment_of_another_workspace_is_404(draft, alice):
    """PAI-P1: also for somebody who is a member of both."""
    experiment = draft()
    other = Workspace.open("other", owner=alice)
    url = reverse("experiment-action", args=[other.slug, experiment.public_id, "enqueue"])
    assert as_(alice).post(url).status_code == 404
    assert as_(alice).get(reverse("experiment", args=[other.slug, experiment.public_id])).status_code == 404


def test_a_private_experiment_does_not_exist_for_other_members(draft, alice, bob):
    """PAI-L2."""
    experiment = draft()
    experiment.describe(by=alice, visibility="private")
    assert as_(bob).post(url_of(experiment, "enqueue")).status_code == 404
    assert as_(alice).get(url_of(experiment)).status_code == 200


def test_with_automl_off_every_page_is_refused_with_the_reason(draft, alice, lab):
    """PAI-P1."""
    experiment = draft()
    lab.has_automl = False
    lab.save(update_fields=["has_automl"])
    for response in (
        as_(alice).get(url_of(experiment)),
        as_(alice).post(url_of(experiment, "enqueue")),
        as_(alice).get(reverse("experiment-trials", args=[lab.slug, experiment.public_id])),
    ):
        assert response.status_code == 409
        assert "AutoML is turned off" in response.content.decode()


# --- what is asked -------------------------------------------------------------------------------------------------


def test_stop_asks_in_numbers_and_ends_the_trials_first(running, bob):
    """PAI-X1: what runs ends, what waits does not start, and the events say so in this order."""
    experiment = running(taken=1, stop_grace_s=7)
    page = as_(bob).get(url_of(experiment, "stop")).content.decode()
    assert "1 running trial will end (SIGTERM, then SIGKILL after 7 s)." in page
    assert "1 waiting trial will not start." in page
    assert ">Stop experiment</button>" in page and ">Keep running</a>" in page
    response = as_(bob).post(url_of(experiment, "stop"))
    assert "waiting for 1 trial to end" in message_text(response)
    experiment.refresh_from_db()
    assert (experiment.state, experiment.waiting_count, experiment.stopping_count) == ("stopping", 0, 1)


def test_pause_and_unpause_need_no_question_but_have_one_without_script(running, bob):
    """TD-A7: a button posts; the address draws a question for who comes by link."""
    experiment = running()
    page = as_(bob).get(url_of(experiment)).content.decode()
    assert f'<form method="post" action="{url_of(experiment, "pause")}"' in page
    assert "No new trials start" in as_(bob).get(url_of(experiment, "pause")).content.decode()


def test_enqueue_lets_choose_a_queue_and_says_who_serves_it(draft, worker, bob):
    """CML-Q1: with its workers; warning when nobody serves it; the chosen one is taken."""
    gpu = Queue.objects.create(name="gpu", is_open=True)
    Queue.objects.create(name="not-granted")
    experiment = draft()
    page = as_(bob).get(url_of(experiment, "enqueue")).content.decode()
    assert "1 worker, 8 of 8 slots free" in page
    assert "no worker serves this queue yet" in page
    assert "not-granted" not in page
    as_(bob).post(url_of(experiment, "enqueue"), {"queue": gpu.pk})
    experiment.refresh_from_db()
    assert (experiment.state, experiment.queue) == ("pending", gpu)


def test_a_queue_that_is_not_granted_is_refused_at_its_field(draft, bob):
    experiment, hidden = draft(), Queue.objects.create(name="hidden")
    response = as_(bob).post(url_of(experiment, "enqueue"), {"queue": hidden.pk})
    assert response.status_code == 422 and "Invalid choice." in response.content.decode()
    assert Experiment.objects.get(pk=experiment.pk).state == "draft"


def test_enqueue_into_another_queue_while_pending_names_the_way_out(in_state, bob):
    """TD-A5: `=` is the same queue only."""
    experiment, gpu = in_state("pending"), Queue.objects.create(name="gpu", is_open=True)
    response = as_(bob).post(url_of(experiment, "enqueue"), {"queue": gpu.pk})
    assert response.status_code == 409 and "Dequeue it first" in response.content.decode()


def test_resume_asks_for_more_trials_when_the_budget_is_spent(in_state, bob):
    """TD-A9: with the number that is spent; too few is refused and what was typed stays."""
    experiment = in_state("completed")
    page = as_(bob).get(url_of(experiment, "resume")).content.decode()
    assert "Used: 1 of 1 trials." in page
    refused = as_(bob).post(url_of(experiment, "resume"), {"max_trials": 1})
    assert refused.status_code == 409
    assert "Increase max trials." in refused.content.decode()
    assert 'value="1"' in refused.content.decode() and "data-question" in refused.content.decode()
    wrong = as_(bob).post(url_of(experiment, "resume"), {"max_trials": "many"})
    assert wrong.status_code == 422 and 'value="many"' in wrong.content.decode()
    assert as_(bob).post(url_of(experiment, "resume"), {"max_trials": 9}).status_code == 302
    experiment.refresh_from_db()
    assert (experiment.state, experiment.max_trials) == ("pending", 9)


def test_resume_can_rerun_what_failed(in_state, bob):
    """TD-A9: offers to rerun the failed, free of budget."""
    experiment = in_state("stopped")
    trial = experiment.trials.get(number=1)
    type(trial).objects.filter(pk=trial.pk).update(state="failed")
    Experiment.objects.filter(pk=experiment.pk).update(
        stopped_count=experiment.stopped_count - 1, failed_count=1
    )
    assert "Rerun the failed trials (1)" in as_(bob).get(url_of(experiment, "resume")).content.decode()
    as_(bob).post(url_of(experiment, "resume"), {"max_trials": 6, "rerun_failed": "on"})
    assert experiment.trials.filter(rerun_of=trial, state="waiting").count() == 1


def test_a_clone_is_a_draft_of_its_own(in_state, bob, lab):
    """PAI-C1, CML-C1: name and project chosen, the source untouched; it leads to the new draft."""
    experiment, project = in_state("completed"), lab.projects.create(name="Vision")
    before = experiment.version
    page = as_(bob).get(url_of(experiment, "clone")).content.decode()
    assert 'value="Clone of first"' in page and "Vision" in page
    response = as_(bob).post(
        url_of(experiment, "clone"), {"name": "second", "project": project.pk, "description": "why"}
    )
    made = Experiment.objects.get(name="second")
    assert response["Location"] == url_of(made)
    assert (made.state, made.project, made.parent, made.creator) == ("draft", project, experiment, bob)
    assert made.settings == experiment.settings
    assert Experiment.objects.get(pk=experiment.pk).version == before


def test_a_clone_without_a_name_is_asked_again(draft, bob):
    experiment = draft()
    response = as_(bob).post(url_of(experiment, "clone"), {"name": " ", "project": experiment.project_id})
    assert response.status_code == 422 and "Required." in response.content.decode()
    assert Experiment.objects.count() == 1


def test_delete_asks_in_a_note_and_leads_to_the_list(in_state, bob, alice):
    """PAI-D1, PAI-D2: what will be gone; then it is nowhere but in the trash."""
    experiment = in_state("completed")
    page = as_(bob).get(url_of(experiment, "delete")).content.decode()
    assert ">Note</h1>" in page and "1 trial, their values and logs" in page and "30 days" in page
    response = as_(bob).post(
        url_of(experiment, "delete"), headers={"referer": f"http://testserver{url_of(experiment)}"}
    )
    assert response["Location"] == reverse("experiments", args=["lab"])
    assert as_(alice).get(url_of(experiment)).status_code == 404
    assert Experiment.everything.get(pk=experiment.pk).trashed_at


def test_an_action_leads_back_to_where_it_was_done(running, bob):
    """The state of the view is in the address: nobody loses a filter by pausing."""
    experiment = running()
    page = reverse("experiment-trials", args=["lab", experiment.public_id]) + "?state=failed&sort=-value"
    response = as_(bob).post(url_of(experiment, "pause"), headers={"referer": f"http://testserver{page}"})
    assert response["Location"] == page


@pytest.mark.parametrize(
    "referer", ["https://evil.example/w/lab/", "http://testserver/no/such/page/", "nonsense"]
)
def test_an_action_never_leads_away(running, bob, referer):
    experiment = running()
    response = as_(bob).post(url_of(experiment, "pause"), headers={"referer": referer})
    assert response["Location"] == url_of(experiment)


def test_a_question_leads_back_to_details_and_not_to_itself(running, bob):
    experiment = running()
    url = f"http://testserver{url_of(experiment, 'stop')}"
    response = as_(bob).post(url_of(experiment, "stop"), headers={"referer": url})
    assert response["Location"] == url_of(experiment)


def test_two_people_at_once_see_who_was_faster(running, alice, bob):
    """One wins, the other gets 409 and reads who did what."""
    experiment = running()
    as_(alice).post(url_of(experiment, "pause"))
    as_(alice).post(url_of(experiment, "stop"))
    response = as_(bob).post(url_of(experiment, "unpause"))
    assert response.status_code == 409
    assert "stopping (alice: stop)" in response.content.decode()


# --- what is offered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_details_offer_exactly_what_is_possible(state, in_state, bob):
    """PAI-N4, TD-A: an act with an address is possible; an impossible one is absent or has its reason beside it."""
    experiment = in_state(state)
    Queue.objects.create(name="gpu", is_open=True)  # another one to move to
    page = as_(bob).get(url_of(experiment)).content.decode()
    offered = {verb for verb in VERBS if f'"{url_of(experiment, verb)}"' in page}
    expected = {verb for verb, cells in MATRIX.items() if cells[STATES.index(state)] == "o"}
    expected -= {"front", "back", "before"}  # on the page of its queue
    if state == "published":
        expected.remove("delete")  # needs an owner
    assert offered == expected
    if "delete" not in expected:
        reason = "requires the owner role" if state == "published" else status.WAY_OUT[state]
        assert reason in page


@pytest.mark.parametrize("state", ["draft", "stopped", "completed", "failed"])
def test_delete_stands_beside_clone_on_details(state, in_state, bob):
    """PAI-N4: Edit, Clone, Delete (and Stop) stand at the upper right, as buttons."""
    experiment = in_state(state)
    page = as_(bob).get(url_of(experiment)).content.decode()
    buttons = page.split('<div class="actions">', 1)[1].split('popovertarget="', 1)[0]
    assert [verb for verb in ("clone", "delete") if f'href="{url_of(experiment, verb)}"' in buttons] == [
        *("clone", "delete")
    ]


def test_moving_is_offered_only_where_there_is_another_queue(in_state, bob, alice):
    """TD-U8: a draft stands in no queue, and without a second queue there is nowhere to go."""
    draft = in_state("draft")
    page = as_(bob).get(url_of(draft)).content.decode()
    assert "Move to another queue" not in page
    answer = as_(bob).get(url_of(draft, "move_to"))
    assert answer.status_code == 409 and "Enqueue it first" in answer.content.decode()
    pending = in_state("pending", name="second")
    page = as_(bob).get(url_of(pending)).content.decode()
    assert (
        "No other queue is available to Lab." in page and f'href="{url_of(pending, "move_to")}"' not in page
    )
    Queue.objects.create(name="gpu", is_open=True)
    assert f'href="{url_of(pending, "move_to")}"' in as_(bob).get(url_of(pending)).content.decode()


def test_a_viewer_sees_the_actions_with_what_is_missing(running, carol):
    experiment = running()
    page = as_(carol).get(url_of(experiment)).content.decode()
    assert not any(f'"{url_of(experiment, verb)}"' in page for verb in VERBS)
    assert 'aria-disabled="true" title="This requires the operator role' in page
    assert "trial-stop" not in page and "/trials/1/stop/" not in page


def test_a_member_who_becomes_operator_sees_the_actions_at_once(running, carol, lab):
    experiment = running()
    lab.admit(carol, Role.OPERATOR)
    assert f'"{url_of(experiment, "stop")}"' in as_(carol).get(url_of(experiment)).content.decode()


def test_kill_now_ends_the_grace(in_state, bob):
    """While stopping, "Kill now" ends the grace."""
    experiment = in_state("stopping")
    assert "SIGKILL immediately" in as_(bob).get(url_of(experiment, "kill")).content.decode()
    as_(bob).post(url_of(experiment, "kill"))
    assert list(experiment.trials.filter(state="stopping").values_list("stop_grace_s", flat=True)) == [0]


def test_reset_tells_what_goes_to_the_trash(in_state, bob):
    """TD-A10."""
    experiment = in_state("completed")
    assert "1 trial will go to the trash" in as_(bob).get(url_of(experiment, "reset")).content.decode()
    as_(bob).post(url_of(experiment, "reset"))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.trials.count()) == ("draft", 0)


def test_names_that_look_like_html_or_formats_are_only_names(draft, bob):
    experiment = draft(name="<b>{name}</b> %s")
    experiment.enqueue(by=bob, queue=Queue.default())
    page = as_(bob).get(url_of(experiment, "dequeue")).content.decode()
    assert "Dequeue &lt;b&gt;{name}&lt;/b&gt; %s?" in page
    assert Worker.objects.count() == 0

"""Trials through the programs' door: lists by cursor, what one tells, its verbs in every state for every role."""

from __future__ import annotations

import pytest

from experiments.models import Event, Experiment, Failure, Outcome, Trial
from tests.api.test_base import error_of
from tests.models.test_matrix import MATRIX, STATES
from tests.people import end_all
from tests.web.trial.test_table import many


@pytest.fixture
def hundred(draft) -> Experiment:
    """120 settled trials: every tenth failed, without a value; durations are equal by twos."""
    experiment = draft()
    many(experiment, 120)
    Trial.objects.filter(experiment=experiment, number__gt=110).update(started_at=None)
    return experiment


def walk(caller, path: str, **query: object) -> list[dict]:
    """All items of a list, page by page."""
    items, cursor = [], {}
    while True:
        answer = caller.get(path, **query, **cursor)
        assert answer.status_code == 200, answer.content
        body = answer.json()
        assert len(body["items"]) <= query.get("limit", 1000)
        items += body["items"]
        if body["next"] is None:
            return items
        cursor = {"cursor": body["next"]}


def path_of(experiment: Experiment, rest: str = "") -> str:
    return f"/experiments/{experiment.public_id}/trials{rest}"


# --- listed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["number", "value", "duration", "started"])
@pytest.mark.parametrize("falls", [False, True])
def test_pages_hold_every_trial_once_in_order(api, hundred, bob, sort, falls):
    """What has no value comes last, of equals the lower number first, both ways."""
    column = {"duration": "duration_s", "started": "started_at"}.get(sort, sort)

    def place(trial: Trial) -> tuple:
        results = getattr(trial, column)
        results = results.timestamp() if sort == "started" and results else results
        return (results is None, 0 if results is None else -results if falls else results, trial.number)

    wanted = [trial.number for trial in sorted(hundred.trials.all(), key=place)]
    sort = f"-{sort}" if falls else sort
    results = walk(api(bob), path_of(hundred), sort=sort, limit=7)
    assert [item["number"] for item in results] == wanted
    assert [item["number"] for item in walk(api(bob), path_of(hundred), sort=sort)] == wanted


def test_a_state_is_a_filter_and_a_cursor_belongs_to_its_list(api, hundred, bob):
    caller = api(bob)
    failed = walk(caller, path_of(hundred), state="failed", limit=5)
    assert [item["number"] for item in failed] == list(range(10, 121, 10))
    assert caller.get(path_of(hundred), state="waiting").json() == {"items": [], "next": None}
    cursor = caller.get(path_of(hundred), limit=5).json()["next"]
    for query in ({"sort": "value"}, {"state": "failed"}):
        assert "another list" in error_of(caller.get(path_of(hundred), cursor=cursor, **query), 400)["detail"]
    for query in ({"state": "dead"}, {"sort": "p.lr"}, {"limit": 1001}, {"limit": 0}):
        assert error_of(caller.get(path_of(hundred), **query), 400)["fields"].keys() == query.keys()


@pytest.mark.parametrize("sort", ["number", "-value"])
def test_a_page_costs_the_same_with_a_thousand_trials(api, draft, bob, sort, django_assert_max_num_queries):
    """TD-X7: the first page, and one far down."""
    caller, most = api(bob), 12
    for count in (1, 1000):
        experiment = draft(f"{count} trials")
        many(experiment, count)
        with django_assert_max_num_queries(most):
            body = caller.get(path_of(experiment), sort=sort, limit=100).json()
    for _ in range(9):
        with django_assert_max_num_queries(most):
            body = caller.get(path_of(experiment), sort=sort, limit=100, cursor=body["next"]).json()
    assert body["next"] is None and len(body["items"]) == 100


# --- one -----------------------------------------------------------------------------------------------------------


def test_a_trial_tells_what_its_page_tells(api, running, bob, worker):
    """TD-X5, PAI-S1."""
    experiment = end_all(
        running(concurrency=1),
        Outcome(
            exit_code=3, failure=Failure.EXIT_CODE, detail="ValueError: no", peak_memory=2**31, cpu_s=1.5
        ),
    )
    experiment.trials.filter(number=1).update(cores=[2, 3], memory_mib=512, memory_limited_by="cgroup v2")
    body = api(bob).get(path_of(experiment, "/1")).json()
    trial = experiment.trials.get(number=1)
    assert body.pop("version") == trial.version and body.pop("duration_s") == trial.duration_s
    assert body.pop("created_at").endswith("Z") and body.pop("started_at") and body.pop("ended_at")
    assert body == {
        "id": f"{experiment.public_id}-1",
        "number": 1,
        "experiment": experiment.public_id,
        "url": f"http://testserver/w/lab/experiments/{experiment.public_id}/trials/1/",
        "state": "failed",
        "source": "proposal",
        "rerun_of": None,
        "attempt": 1,
        "params": trial.params,
        "final_metrics": {},
        "value": None,
        "is_partial": False,
        "is_on_front": False,
        "last_value": None,
        "last_step": None,
        "steps_done": None,
        "steps_total": None,
        "is_starred": False,
        "comment_count": 0,
        "failure": "exit_code",
        "detail": "ValueError: no",
        "notes": [],
        "revision": 1,
        "worker": "w1",
        "pid": None,
        "exit_code": 3,
        "signal": None,
        "gpus": [],
        "cores": [2, 3],
        "memory_mib": 512,
        "memory_limited_by": "cgroup v2",
        "peak_memory": 2**31,
        "cpu_s": 1.5,
        "gone_after_s": None,
        "log_bytes": 0,
        "folder_bytes": None,
        "removed": {},
    }
    again = api(bob).post(path_of(experiment, "/1/rerun"))
    assert again.status_code == 201
    assert (again.json()["rerun_of"], again.json()["attempt"], again.json()["source"]) == (1, 2, "rerun")


@pytest.mark.parametrize("number", ["0", "2", "99999999999999999999", "x", "1/2"])
def test_a_trial_that_is_not_there_is_404(api, running, bob, number):
    experiment = running(concurrency=1)
    error_of(api(bob).get(path_of(experiment, f"/{number}")), 404)
    error_of(api(bob).post(path_of(experiment, f"/{number}/stop")), 404)


def test_what_went_to_the_trash_with_a_reset_is_gone(api, in_state, alice, bob):
    """PAI-D2, TD-A10."""
    experiment = in_state("completed")
    assert len(walk(api(bob), path_of(experiment))) == 1
    experiment.reset(by=alice)
    assert walk(api(bob), path_of(experiment)) == []
    error_of(api(bob).get(path_of(experiment, "/1")), 404)


def test_where_automl_is_off_the_reason_is_given(api, running, bob):
    """PAI-P1."""
    experiment = running()
    type(experiment.workspace).objects.update(has_automl=False)
    for rest in ("", "/1", "/1/log", "/1/metrics"):
        assert "AutoML is turned off" in error_of(api(bob).get(path_of(experiment, rest)), 409)["detail"]


# --- verbs ---------------------------------------------------------------------------------------------------------

VERBS = {  # the number of the trial that it is about, what is sent, the status when it is done
    "stop_trial": ("/90/stop", None, 200),
    "rerun": ("/91/rerun", {"command": "current"}, 201),
    "add_trial": ("", {"params": {"lr": 0.01, "layers": 1}}, 201),
    "replicate": ("/92/replicate", {"count": 2}, 201),
}
CELLS = {**MATRIX, "replicate": MATRIX["add_trial"]}


def rows(experiment: Experiment) -> None:
    """A running, a failed and a succeeded trial, whatever the experiment's state."""
    for number, state in ((90, "running"), (91, "failed"), (92, "succeeded")):
        Trial.objects.create(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            params={"lr": 0.02, "layers": number % 3 + 1},
            values_digest=str(number),
            state=state,
        )
    Experiment.objects.filter(pk=experiment.pk).update(last_number=92)


@pytest.mark.once
@pytest.mark.parametrize("state", STATES)
def test_every_verb_in_every_state_for_every_role(api, in_state, alice, bob, carol, dave, state):
    """TD-A14 TD-A15 TD-A16: done, or refused with the state and the way out; 403 with what is missing; 404."""
    experiment = in_state(state)
    rows(experiment)
    stranger = api(dave, workspace=None)
    for verb, (rest, body, done) in VERBS.items():
        path, events = path_of(experiment, rest), Event.objects.count()
        error_of(stranger.post(path, body), 404)
        assert "requires the operator role" in error_of(api(carol).post(path, body), 403)["detail"]
        assert (
            "requires the operator role"
            in error_of(api(alice, role="viewer").post(path, body), 403)["detail"]
        )
        assert Event.objects.count() == events
        answer = api(bob).post(path, body)
        if CELLS[verb][STATES.index(state)] == "o":
            assert answer.status_code == done, answer.content
            assert Event.objects.filter(token="ci", by=bob).count() > 0
        else:
            assert (
                f"while the experiment is {'a draft' if state == 'draft' else state}"
                in error_of(answer, 409)["detail"]
            )
            assert Event.objects.count() == events


def test_stop_says_when_there_was_nothing_to_do(api, running, bob):
    """PAI-T1, PAI-T2."""
    experiment = running()
    body = api(bob).post(path_of(experiment, "/1/stop")).json()
    assert (body["changed"], body["trial"]["state"]) == (True, "stopping")
    assert api(bob).post(path_of(experiment, "/1/stop")).json()["changed"] is False
    end_all(experiment)
    body = api(bob).post(path_of(experiment, "/1/stop")).json()
    assert (body["changed"], body["trial"]["state"]) == (False, "stopped")


def test_values_by_hand_keep_their_kind_and_faults_are_told_together(api, running, bob):
    """TD-A16."""
    experiment = running()
    made = api(bob).post(path_of(experiment), {"params": {"lr": 5, "layers": 2}})
    assert (made.status_code, made.json()["source"], made.json()["state"]) == (201, "added", "waiting")
    assert b'"params":{"lr":5,"layers":2}' in made.content
    document = error_of(api(bob).post(path_of(experiment), {"params": {"layers": 4, "x": 1}}), 422)
    assert document["fields"] == {
        "params": [
            "Parameter lr is missing.",
            "Unknown parameter x.",
            "layers must be one of the choices in the search space.",
        ]
    }
    for body in (
        None,
        [],
        {},
        {"params": 1},
        {"params": {}, "x": 1},
        b'{"params": {"lr": NaN, "layers": 1}}',
    ):
        error_of(api(bob).post(path_of(experiment), body), 422 if body is not None else 422)
    assert experiment.trials.filter(source="added").count() == 1


def test_replicas_are_listed_and_counted(api, running, bob):
    experiment = end_all(running(concurrency=1))
    made = api(bob).post(path_of(experiment, "/1/replicate"), {"count": 3})
    assert [item["source"] for item in made.json()["items"]] == ["replica"] * 3
    for count in (0, 101, 1.5, "2", True, 10**30):
        error_of(api(bob).post(path_of(experiment, "/1/replicate"), {"count": count}), 422)
    number = made.json()["items"][0]["number"]
    assert (
        "Only a succeeded trial"
        in error_of(api(bob).post(path_of(experiment, f"/{number}/replicate")), 409)["detail"]
    )


def test_only_a_failed_trial_can_be_rerun_and_the_answer_says_why_not(api, running, bob):
    """PAI-R1, PAI-R4."""
    experiment = end_all(running(concurrency=1), Outcome(exit_code=1, failure=Failure.EXIT_CODE))
    error_of(api(bob).post(path_of(experiment, "/1/rerun"), {"command": "mine"}), 422)
    first = api(bob).post(path_of(experiment, "/1/rerun")).json()
    body = error_of(api(bob).post(path_of(experiment, "/1/rerun")), 409)
    assert f"#{first['number']} has the same values" in body["detail"]
    assert (
        "Only a failed trial"
        in error_of(api(bob).post(path_of(experiment, f"/{first['number']}/rerun")), 409)["detail"]
    )

"""NNI's REST shape: what its client and its tools read, byte by byte where they are strict."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Failure, LogPiece, Outcome, Point, Trial, User
from tests.api.caller import Caller
from tests.people import SPACE, end_all, look_at

pytestmark = pytest.mark.django_db


class Nni:
    """Asks below an experiment's nni/."""

    def __init__(self, caller: Caller, experiment: Experiment) -> None:
        self.caller, self.root = caller, f"/experiments/{experiment.public_id}/nni"

    def get(self, path: str, **query: object) -> object:
        answer = self.caller.get(f"{self.root}/{path}", **query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def send(self, method: str, path: str, body: object = None, **query: object) -> object:
        return self.caller.send(method, f"{self.root}/{path}", body, query=query)

    def fails(self, code: int, method: str, path: str, body: object = None, **query: object) -> str:
        """NNI's errors: one key, one sentence."""
        answer = self.send(method, path, body, **query)
        assert answer.status_code == code, answer.content
        assert answer["Content-Type"] == "application/json"
        assert list(answer.json()) == ["error"]
        return answer.json()["error"]

    def update(self, kind: str, **params: object) -> object:
        return self.send("PUT", "experiment", {"params": params}, update_type=kind)


@pytest.fixture
def nni(api: Callable[..., Caller]) -> Callable[..., Nni]:
    return lambda user, experiment: Nni(api(user), experiment)


@pytest.fixture
def mixed(running: Callable[..., Experiment], alice: User) -> Experiment:
    """Trial 1 succeeded, 2 failed with its worker, 3 runs, 4 waits and was made by hand."""
    experiment = running(taken=3, concurrency=3, goal=0.99)
    first, two, three = experiment.trials.filter(state="running")
    Point.keep(
        [
            Point(trial=first, name="accuracy", step=0, value=0.125, elapsed_s=1.25),
            Point(trial=first, name="loss", step=0, value=2, elapsed_s=1.5),
            Point(trial=first, name="accuracy", step=1, value=None, text="NaN"),
            Point(trial=three, name="accuracy", step=0, value=0.5),
            Point(trial=three, name="loss", step=4, value=None, text="diverged"),
        ]
    )
    Trial.objects.filter(pk=three.pk).update(last_step=0, last_value=0.5)
    LogPiece.keep([LogPiece(trial=first, offset=0, size=6, data=b"hello\xff")])
    first.settle(Outcome(value=0.25, exit_code=0))
    Experiment.objects.filter(pk=experiment.pk).update(proposed_count=6)  # nothing is proposed in its place
    experiment.refresh_from_db()
    two.experiment.refresh_from_db()
    two.settle(Outcome(failure=Failure.WORKER_LOST, detail="The worker was lost."))
    experiment.refresh_from_db()
    Trial.add(experiment, {"lr": 0.01, "layers": 2}, by=alice)
    experiment.refresh_from_db()
    return experiment


def test_trials_are_told_as_nnis_client_reads_them(mixed, nni, carol):
    """NNI-T3: strings of JSON in JSON, times in ms, ids, hand-made trials with an index."""
    client = nni(carol, mixed)
    jobs = {job["sequenceId"]: job for job in client.get("trial-jobs")}
    first = jobs[0]
    row = mixed.trials.get(number=1)
    assert first["trialJobId"] == f"{mixed.public_id}-1"
    assert first["status"] == "SUCCEEDED"
    assert [json.loads(text) for text in first["hyperParameters"]] == [
        {
            "parameter_id": 0,
            "parameter_source": "algorithm",
            "parameters": row.params,
            "parameter_index": 0,
        }
    ]
    assert first["startTime"] == int(row.started_at.timestamp() * 1000)
    assert first["endTime"] == int(row.ended_at.timestamp() * 1000)
    assert first["finalMetricData"] == [
        {
            "timestamp": first["endTime"],
            "trialJobId": f"{mixed.public_id}-1",
            "parameterId": "0",
            "type": "FINAL",
            "sequence": 0,
            "data": '"0.25"',
        }
    ]
    assert first["logPath"].endswith(f"/experiments/{mixed.public_id}/trials/1/")
    assert {number: jobs[number]["status"] for number in jobs} == {
        number: word
        for number, word in enumerate(
            ["SUCCEEDED", "SYS_CANCELED", "RUNNING", *["WAITING"] * (len(jobs) - 3)]
        )
    }
    assert "endTime" not in jobs[2] and "finalMetricData" not in jobs[2]
    by_hand = jobs[mixed.last_number - 1]
    assert json.loads(by_hand["hyperParameters"][0]) == {
        "parameter_id": mixed.last_number - 1,
        "parameter_source": "customized",
        "parameters": {"lr": 0.01, "layers": 2},
        "parameter_index": 0,
    }
    assert client.get(f"trial-jobs/{mixed.public_id}-1") == first
    assert [job["sequenceId"] for job in client.get("trial-jobs", status="SYS_CANCELED")] == [1]
    assert client.get("trial-jobs", status="FAILED") == []
    assert [job["sequenceId"] for job in client.get("trial-jobs", status="RUNNING")] == [2]
    counts = {count["trialJobStatus"]: count["trialJobNumber"] for count in client.get("job-statistics")}
    assert counts == {"SUCCEEDED": 1, "SYS_CANCELED": 1, "RUNNING": 1, "WAITING": len(jobs) - 3}
    assert client.get("export-data") == [
        {"parameter": row.params, "value": "0.25", "trialJobId": f"{mixed.public_id}-1"}
    ]


def test_metrics_are_told_one_record_a_step(mixed, nni, carol):
    """NNI-T3: data is JSON of JSON; NaN as NNI writes it; several metrics of a step are a dict."""
    client = nni(carol, mixed)

    def brief(records: list[dict]) -> list[tuple]:
        assert all(
            sorted(record) == ["data", "parameterId", "sequence", "timestamp", "trialJobId", "type"]
            for record in records
        )
        return [
            (record["trialJobId"][-1], record["type"], record["sequence"], json.loads(record["data"]))
            for record in records
        ]

    first = [
        ("1", "PERIODICAL", 0, '{"default": 0.125, "loss": 2.0}'),
        ("1", "PERIODICAL", 1, "NaN"),
        ("1", "FINAL", 0, "0.25"),
    ]
    third = [("3", "PERIODICAL", 0, "0.5"), ("3", "PERIODICAL", 4, '{"loss": "diverged"}')]
    assert brief(client.get("metric-data")) == first + third
    assert brief(client.get("metric-data", type="FINAL")) == first[2:]
    assert brief(client.get(f"metric-data/{mixed.public_id}-1")) == first
    assert brief(client.get(f"metric-data/{mixed.public_id}-1", type="PERIODICAL")) == first[:2]
    assert brief(client.get("metric-data-range/1/2")) == third
    assert brief(client.get("metric-data-range/0/0")) == first
    assert brief(client.get("metric-data-range/0/99999999999999999999")) == first + third
    assert brief(client.get("metric-data-latest")) == [first[2], third[0]]
    started = client.get(f"trial-jobs/{mixed.public_id}-1")["startTime"]
    times = [record["timestamp"] - started for record in client.get(f"metric-data/{mixed.public_id}-1")][:2]
    assert times == [1500, 0], "the first step's last metric; the other one has no time"
    text = client.send("GET", f"trial-file/{mixed.public_id}-1/stdout")
    assert (text.content.decode(), text["Content-Type"]) == ("hello\ufffd", "text/plain; charset=utf-8")
    assert client.send("GET", f"trial-file/{mixed.public_id}-1/stderr").content == b"stderr is empty."
    assert client.send("GET", f"trial-file/{mixed.public_id}-3/trial.log").content == b"trial.log is empty."


def test_the_profile_and_the_list_of_experiments(mixed, draft, nni, carol, alice):
    """NNI-T3 NNI-E4: what connect() reads; no pid of the console's own, ever."""
    other = draft("other")
    mine = draft("mine")
    Experiment.objects.filter(pk=mine.pk).update(visibility="private")
    profile = nni(carol, mixed).get("experiment")
    assert profile["id"] == mixed.public_id
    assert profile["params"]["searchSpace"] == SPACE
    assert (profile["params"]["trialConcurrency"], profile["params"]["maxTrialNumber"]) == (3, 6)
    assert profile["nextSequenceId"] == mixed.last_number
    assert profile["startTime"] == int(mixed.started_at.timestamp() * 1000)
    assert "endTime" not in profile and "maxExperimentDuration" not in profile["params"]
    infos = nni(carol, mixed).get("experiments-info")
    assert [info["id"] for info in infos] == [mixed.public_id, other.public_id]
    assert {info["pid"] for info in infos} == {None}
    assert nni(carol, mixed).get("experiment-metadata") == infos[0]
    assert (infos[0]["status"], infos[0]["endTime"], infos[1]["status"]) == (
        "NO_MORE_TRIAL",
        "N/A",
        "INITIALIZED",
    )
    assert nni(carol, mixed).send("GET", "version").content == b"3.0.0"
    assert nni(carol, mixed).get("experiment/imported-data") == []


WORDS = {
    "draft": "INITIALIZED",
    "pending": "INITIALIZED",
    "running": "RUNNING",
    "paused": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "STOPPED",
    "completed": "DONE",
    "published": "DONE",
    "failed": "ERROR",
}


@pytest.mark.parametrize("state", WORDS)
def test_every_state_has_nnis_word_and_can_be_ended(state, in_state, nni, alice):
    """NNI-E4: and DELETE never fails for what has ended, so that the client's stop() kills nothing."""
    experiment = in_state(state)
    client = nni(alice, experiment)
    status = client.get("check-status")
    assert status["status"] == WORDS[state]
    assert status["errors"] == (["The search cannot continue"] if state == "failed" else [])
    answer = client.send("DELETE", "experiment")
    assert (answer.status_code, answer.content) == (200, b"")
    experiment.refresh_from_db()
    is_active = state in ("pending", "running", "paused", "stopping")
    assert experiment.state == ("stopping" if is_active else state)


def test_updates_under_way_take_effect(mixed, nni, bob):
    """NNI-T3: of the profile only the named value is read; the answer is empty, as NNI's."""
    client = nni(bob, mixed)
    profile = client.get("experiment")
    profile["params"] |= {"maxTrialNumber": 50, "trialConcurrency": 7}
    answer = client.send("PUT", "experiment", profile, update_type="MAX_TRIAL_NUM")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Type"] == "application/json"
    mixed.refresh_from_db()
    assert (mixed.max_trials, mixed.concurrency) == (50, 3)
    assert client.update("TRIAL_CONCURRENCY", trialConcurrency=4).status_code == 200
    assert client.update("SEARCH_SPACE", searchSpace={**SPACE, "more": SPACE["lr"]}).status_code == 200
    for text, seconds in {"90m": 5400, "1.5h": 5400, "2d": 172_800, "3600": 3600}.items():
        assert client.update("MAX_EXEC_DURATION", maxExperimentDuration=text).status_code == 200
        mixed.refresh_from_db()
        assert mixed.settings.max_duration_s == seconds
    assert client.update("MAX_EXEC_DURATION", maxExperimentDuration=7200).status_code == 200
    mixed.refresh_from_db()
    assert (mixed.concurrency, mixed.settings.max_duration_s, "more" in mixed.settings.space_document) == (
        4,
        7200,
        True,
    )


BAD = [
    ("TRIAL_CONCURRENCY", {"trialConcurrency": 0}, "trialConcurrency: This must be at least 1."),
    ("TRIAL_CONCURRENCY", {"trialConcurrency": -1}, "trialConcurrency: This must be at least 1."),
    ("TRIAL_CONCURRENCY", {"trialConcurrency": "two"}, "trialConcurrency: This must be a whole number."),
    ("TRIAL_CONCURRENCY", {}, "params.trialConcurrency: This field is required."),
    ("MAX_TRIAL_NUM", {"maxTrialNumber": True}, "maxTrialNumber: This must be a whole number."),
    (
        "MAX_EXEC_DURATION",
        {"maxExperimentDuration": "soon"},
        "maxExperimentDuration: This must be a number of seconds, or text",
    ),
    (
        "MAX_EXEC_DURATION",
        {"maxExperimentDuration": 10**400},
        "maxExperimentDuration: This must be a number of seconds, or text",
    ),
    (
        "MAX_EXEC_DURATION",
        {"maxExperimentDuration": "0s"},
        "maxExperimentDuration: This must be at least 1 s.",
    ),
    ("SEARCH_SPACE", {"searchSpace": {}}, "searchSpace: "),
    ("SEARCH_SPACE", {"searchSpace": {"x": {"_type": "uniform"}}}, "searchSpace: "),
]


def test_what_nni_lets_through_is_refused_with_a_sentence(mixed, nni, bob):
    """NNI-T3: nothing changes, nothing hangs."""
    client = nni(bob, mixed)
    for kind, params, sentence in BAD:
        error = client.fails(422, "PUT", "experiment", {"params": params}, update_type=kind)
        assert error.startswith(sentence), error
    assert "TRIAL_CONCURRENCY, MAX_TRIAL_NUM" in client.fails(
        400, "PUT", "experiment", {}, update_type="NAME"
    )
    for body in (b"{", b"\xff", b'{"params": NaN}', b"[" * 100_000, b'{"x": "\\ud800"}', b'{"x": 1e999}'):
        assert client.fails(400, "POST", "trial-jobs", body) == "The request body is not valid JSON."
    assert "JSON object" in client.fails(422, "POST", "trial-jobs", [1])
    for space in ([], "x", 5, None, {"x": []}, {"x": {"_type": ["uniform"], "_value": {}}}, {"\0": 1}):
        client.fails(422, "PUT", "experiment", {"params": {"searchSpace": space}}, update_type="SEARCH_SPACE")
    assert "lr is missing" in client.fails(422, "POST", "trial-jobs", {"layers": 1, "depth": 2})
    for trial in ("x", f"{mixed.public_id}-99", f"{mixed.public_id}-0", f"{mixed.public_id}-1-1", "1" * 500):
        assert client.fails(404, "GET", f"trial-jobs/{trial}")
        assert client.fails(404, "DELETE", f"trial-jobs/{trial}")
        assert client.fails(404, "GET", f"metric-data/{trial}")
        assert client.fails(404, "GET", f"trial-file/{trial}/stdout")
    assert client.fails(404, "GET", f"trial-file/{mixed.public_id}-1/..%2Fsecret")
    assert client.fails(404, "GET", "no-such-thing")
    assert client.fails(405, "POST", "check-status")
    assert "trial status 'GONE'" in client.fails(400, "GET", "trial-jobs", status="GONE")
    assert "PERIODICAL or FINAL" in client.fails(400, "GET", "metric-data", type="ALL")
    assert "POST trial-jobs" in client.fails(409, "POST", "experiment/import-data", [])
    before = mixed.version
    mixed.refresh_from_db()
    assert mixed.version == before


def test_what_has_ended_goes_on_with_a_larger_budget(in_state, nni, bob):
    """NNI-E3: as in NNI, where raising the limit wakes an experiment that is DONE."""
    experiment = in_state("completed")
    client = nni(bob, experiment)
    error = client.fails(
        409, "PUT", "experiment", {"params": {"maxTrialNumber": 1}}, update_type="MAX_TRIAL_NUM"
    )
    assert error.startswith("The budget is spent: 1 of 1 trials were proposed.")
    error = client.fails(
        409, "PUT", "experiment", {"params": {"trialConcurrency": 1}}, update_type="TRIAL_CONCURRENCY"
    )
    assert "completed" in error
    assert client.update("MAX_TRIAL_NUM", maxTrialNumber=3).status_code == 200
    experiment.refresh_from_db()
    assert (experiment.state, experiment.max_trials) == ("pending", 3)


def test_trials_are_made_by_hand_and_stopped(mixed, nni, bob):
    """NNI-T3: POST answers the sequence id; DELETE of an ended one is harmless."""
    client = nni(bob, mixed)
    made = client.send("POST", "trial-jobs", {"lr": 0.5, "layers": 3})
    assert made.json() == {"sequenceId": mixed.last_number}
    assert client.send("DELETE", f"trial-jobs/{mixed.public_id}-3").status_code == 200
    assert client.send("DELETE", f"trial-jobs/{mixed.public_id}-3").status_code == 200
    assert client.send("DELETE", f"trial-jobs/{mixed.public_id}-1").status_code == 200
    assert mixed.trials.get(number=3).state == "stopping"
    end_all(mixed)
    assert client.get(f"trial-jobs/{mixed.public_id}-3")["status"] == "USER_CANCELED"


WRITES = [
    ("PUT", "experiment?update_type=MAX_TRIAL_NUM", {"params": {"maxTrialNumber": 7}}),
    ("POST", "trial-jobs", {"lr": 0.5, "layers": 3}),
    ("DELETE", "trial-jobs/{}-3", None),
    ("POST", "experiment/import-data", []),
    ("DELETE", "experiment", None),
]
READS = [
    "check-status", "experiment", "experiments-info", "experiment-metadata", "version", "experiment/imported-data",
    "trial-jobs", "trial-jobs/{}-1", "job-statistics", "export-data", "metric-data", "metric-data/{}-1",
    "metric-data-range/0/9", "metric-data-latest", "trial-file/{}-1/stdout",
]  # fmt: skip


def test_the_same_rights_as_everywhere(mixed, nni, api, dave, carol, bob, lab):
    """NNI-T3: a stranger 404, a viewer 403 for what acts, nobody 401; AutoML off is told."""
    for person, status in ((carol, 200), (dave, 404)):
        caller = api(person, workspace=None)
        for path in READS:
            answer = Nni(caller, mixed).send("GET", path.format(mixed.public_id))
            assert answer.status_code == status, path
    nobody = Nni(Caller(), mixed)
    for method, path, body in WRITES:
        path = path.format(mixed.public_id)
        assert "operator" in nni(carol, mixed).fails(403, method, path, body)
        Nni(api(dave, workspace=None), mixed).fails(404, method, path, body)
        assert "token" in nobody.fails(401, method, path, body)
    for method, path, body in WRITES:
        status = nni(bob, mixed).send(method, path.format(mixed.public_id), body).status_code
        assert status == (409 if "import" in path else 200)
    lab.has_automl = False
    lab.save(update_fields=["has_automl"])
    assert "AutoML is turned off" in nni(bob, mixed).fails(409, "GET", "check-status")


def test_a_fixed_number_of_queries(mixed, draft, nni, carol, django_assert_num_queries):
    """However many trials, points and experiments there are."""
    client = nni(carol, mixed)
    client.get("check-status")  # which notes the token's use
    few = {}
    paths = (
        "experiments-info",
        "trial-jobs",
        "job-statistics",
        "metric-data",
        "metric-data-latest",
        "export-data",
    )
    for path in paths:
        with CaptureQueriesContext(connection) as seen:
            client.get(path)
        few[path] = len(seen)
    for number in range(3):
        draft(f"more {number}")
    Experiment.objects.filter(pk=mixed.pk).update(max_trials=60, concurrency=30)
    look_at(mixed)
    waiting = list(mixed.trials.filter(state="waiting"))
    assert len(waiting) > 10
    Point.keep(
        [Point(trial=trial, name="accuracy", step=step, value=1) for trial in waiting for step in range(5)]
    )
    mixed.trials.filter(state="waiting").update(value=0.5, state="succeeded")
    for path, number in few.items():
        with django_assert_num_queries(number):
            client.get(path)

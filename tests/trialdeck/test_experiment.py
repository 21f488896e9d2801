"""`Experiment` against a real console with a real worker: every method of the reference page, and those NNI lacks."""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tests.trialdeck.conftest import REPORT, SPACE, configured
from trialdeck import Experiment, NotFound, Refused, RunMode, TrialHyperParameters, errors


def held_until(go: Path) -> str:
    """A command that a test lets go."""
    return f"until [ -e {go} ]; do sleep 0.05; done\n{REPORT}"


def test_it_brings_the_console_up_runs_to_the_end_and_says_where_to_look(deck):
    """NNI-E2: on a machine with nothing started; in the per-user folder, with a link to sign in."""
    assert deck.result is True
    lines = deck.output.splitlines()
    assert lines[0] == f"Starting Trialdeck on http://127.0.0.1:{deck.port} (data in {deck.home}/data) …"
    assert re.fullmatch(rf"One-time sign-in link: http://127.0.0.1:{deck.port}/enter/\S+/", lines[1])
    assert lines[2] == f"Experiment {deck.first.id}: {deck.first.url}"
    assert deck.first.port == deck.port
    assert deck.first.get_status() == "DONE"


def test_trials_and_experiments_are_compared(deck):
    """TD-C5: rows with deltas to the baseline, replicates, and clear errors."""
    first = deck.first
    compared = first.compare(1, f"{first.id}-2", base=f"{first.id}-2")
    assert [trial["number"] for trial in compared["trials"]] == [2, 1]
    rows = {row["name"]: row for row in compared["rows"]}
    assert rows["x"]["group"] == "parameters" and rows["x"]["deltas"][0] == 0 and "worker" not in rows
    metric = {row["name"]: row for row in first.compare(1, 2, all_rows=True)["rows"]}[first.config.metric]
    assert metric["values"] == [0.5, 0.5] and not metric["differs"]
    with pytest.raises(NotFound, match="No trial “99”"):
        first.compare(1, 99)
    with pytest.raises(errors.Error, match="Select 2 to 50"):
        first.compare(1)
    with pytest.raises(NotFound, match="No experiment “abcdefgh”"):
        first.compare_with("abcdefgh")


def test_every_question_of_nni_is_answered(deck):
    """NNI-E1, NNI-E4: names, shapes and words of the reference."""
    first = deck.first
    assert [job.sequenceId for job in first.list_trial_jobs("number>1")] == [1]
    with pytest.raises(errors.Invalid, match="did you mean “number”"):
        first.list_trial_jobs("numbr>1")
    jobs = first.list_trial_jobs()
    assert [(job.trialJobId, job.status, job.sequenceId) for job in jobs] == [
        (f"{first.id}-1", "SUCCEEDED", 0),
        (f"{first.id}-2", "SUCCEEDED", 1),
    ]
    job = first.get_trial_job(f"{first.id}-2")
    assert job == jobs[1] == first.get_trial_job(2)
    values = job.hyperParameters[0]
    assert isinstance(values, TrialHyperParameters) and set(values.parameters) == {"x", "kind"}
    assert (job.finalMetricData[0].type, job.finalMetricData[0].data) == ("FINAL", 0.5)
    assert 0 < job.startTime <= job.endTime

    results = first.export_data()
    assert [(result.trialJobId, result.value) for result in results] == [
        (job.trialJobId, 0.5) for job in jobs
    ]
    assert results[1].parameter == values.parameters
    metrics = first.get_job_metrics()
    assert set(metrics) == {job.trialJobId for job in jobs}
    assert first.get_job_metrics(job.trialJobId) == {job.trialJobId: metrics[job.trialJobId]}
    assert [(m.type, m.sequence, m.data) for m in metrics[job.trialJobId]] == [
        ("PERIODICAL", 0, 2.5),
        ("FINAL", 0, 0.5),
    ]
    assert first.get_job_statistics() == [{"trialJobStatus": "SUCCEEDED", "trialJobNumber": 2}]

    profile = first.get_experiment_profile()
    assert (profile["id"], profile["nextSequenceId"], profile["revision"]) == (first.id, 2, 1)
    assert profile["params"]["searchSpace"] == SPACE
    assert (profile["params"]["trialConcurrency"], profile["params"]["maxTrialNumber"]) == (2, 2)
    assert profile["startTime"] <= profile["endTime"]
    mine = first.get_experiment_metadata(first.id)
    assert (mine["status"], mine["experimentName"], mine["port"]) == ("DONE", "first", deck.port)
    assert mine in first.get_all_experiments_metadata()
    assert first.get_experiment_metadata("nothere1") == {}


def test_what_nni_lacks(deck, monkeypatch):
    best = deck.first.best()
    assert best in deck.first.export_data() and best.value == 0.5
    assert deck.first.logs(best.trialJobId) == f"said by trial {best.trialJobId}\n"
    assert "".join(deck.first.follow_logs(1)) == deck.first.logs(1)
    assert deck.first.url == f"http://127.0.0.1:{deck.port}/w/local/experiments/{deck.first.id}/"
    table = deck.first.to_dataframe()
    assert len(table) == len(deck.first.list_trial_jobs()) and table["value"].min() == 0.5
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(errors.Error, match="pip install pandas"):
        deck.first.to_dataframe()


def test_its_configuration_is_that_of_the_console(deck):
    """NNI-E1: `config`, of one that was connected too."""
    again = Experiment.connect(deck.port, deck.first.id)
    assert again.config.search_space == SPACE
    assert again.config.tuner.class_args["optimize_mode"] == "minimize"
    assert (again.config.trial_concurrency, again.config.experiment_name) == (2, "first")
    assert (again.id, again.port) == (deck.first.id, deck.port)


def test_it_is_steered_while_it_runs(deck, started, tmp_path):
    """NNI-E1, TD-U: concurrency, number of trials, search space and duration; pause; trials by hand; stop."""
    go = tmp_path / "go"
    steered = started("steered", trial_command=held_until(go), max_trial_number=3, trial_concurrency=1)
    assert Experiment.connect(deck.port).id == steered.id  # the one that is under way
    eventually(lambda: _running(steered) == 1, within=30, what="a running trial")
    assert steered.get_status() == "RUNNING"
    steered.update_trial_concurrency(2)
    eventually(lambda: _running(steered) == 2, within=30, what="two running trials")

    steered.pause()
    added = steered.add_trial({"x": 0.25, "kind": 1})
    assert (added.status, added.hyperParameters[0].parameter_source) == ("WAITING", "customized")
    assert added.hyperParameters[0].parameters == {"x": 0.25, "kind": 1}
    steered.kill_trial_job(f"{steered.id}-1")
    assert steered.get_trial_job(1).status == "USER_CANCELED"
    assert _running(steered) == 1
    steered.update_max_trial_number(4)
    steered.update_max_experiment_duration("2h")
    steered.update_search_space({"y": {"_type": "randint", "_value": [0, 10]}})
    params = steered.get_experiment_profile()["params"]
    assert (params["maxTrialNumber"], params["maxExperimentDuration"]) == (4, 7200)
    assert (params["trialConcurrency"], list(params["searchSpace"])) == (2, ["y"])

    go.touch()
    steered.unpause()
    assert steered.wait(progress=False) is True
    jobs = {job.sequenceId + 1: job for job in steered.list_trial_jobs()}
    assert sorted(job.status for job in jobs.values()) == ["SUCCEEDED"] * 4 + ["USER_CANCELED"]
    assert set(jobs[max(jobs)].hyperParameters[0].parameters) == {"y"}
    steered.stop()  # it has ended: that is no error, and it stays as it is
    assert steered.get_status() == "DONE"

    steered.update_max_trial_number(5)  # NNI-E3: one that has ended is resumed
    assert steered.wait(progress=False) is True
    assert len(steered.list_trial_jobs()) == 6


def test_stop_returns_when_the_last_process_has_ended(deck, started, tmp_path):
    """NNI-S3, PAI-X1: then it can be viewed, and resumed with its numbers going on."""
    pids, go = tmp_path / "pids", tmp_path / "go"
    stopped = started("stopped", trial_command=f"echo $$ >> {pids}\n" + held_until(go))
    eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2, within=30, what="two trials")
    stopped.stop()
    assert stopped.get_status() == "STOPPED"
    assert [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()] == []
    statistics = stopped.get_job_statistics()
    assert statistics == [{"trialJobStatus": "USER_CANCELED", "trialJobNumber": 2}]

    seen = Experiment.view("stopped", deck.port, non_blocking=True)  # by its name
    assert (seen.id, seen.get_status()) == (stopped.id, "STOPPED")
    with pytest.raises(Refused, match="This view is read-only"):
        seen.update_max_trial_number(5)

    go.touch()
    stopped.update_max_trial_number(3)
    resumed = Experiment.connect(deck.port, stopped.id)
    assert resumed.wait(progress=False) is True
    jobs = resumed.list_trial_jobs()  # TD-A9: the two that the stop interrupted are tried again
    assert [job.sequenceId for job in jobs] == [0, 1, 2, 3, 4]
    assert [job.status for job in jobs] == ["USER_CANCELED"] * 2 + ["SUCCEEDED"] * 3
    # The same by NNI's way; its budget is spent, so the console says what it takes.
    with pytest.raises(Refused, match="trials"):
        Experiment.resume(stopped.id, deck.port)


def test_a_failed_trial_is_run_again(deck, started, tmp_path):
    """PAI-R3: with the same values."""
    mended = tmp_path / "mended"
    failing = started(
        "failing",
        trial_command=f"[ -e {mended} ] || exit 3\n{REPORT}",
        trial_concurrency=1,
        breaker=1,
    )
    assert failing.wait(progress=False) is False  # the breaker paused it: nobody would ever end it
    assert failing.get_trial_job(1).status == "FAILED"
    mended.touch()
    again = failing.rerun(f"{failing.id}-1")
    assert again.hyperParameters[0].parameters == failing.get_trial_job(1).hyperParameters[0].parameters
    failing.unpause()
    assert failing.wait(progress=False) is True
    assert failing.get_trial_job(again.trialJobId).status == "SUCCEEDED"


def test_wait_gives_up_when_told_and_the_experiment_goes_on(deck, started, tmp_path, capsys):
    held = started("held", trial_command=held_until(tmp_path / "go"))
    with pytest.raises(TimeoutError, match="did not end within 0.3 s"):
        held.wait(timeout_s=0.3)
    assert held.get_status() in ("INITIALIZED", "RUNNING", "NO_MORE_TRIAL")
    assert "held: " in capsys.readouterr().err  # not a terminal: a line when the state changes
    done = []
    waiting = threading.Thread(target=lambda: done.append(held.wait(progress=False)))
    waiting.start()
    (tmp_path / "go").touch()
    waiting.join(60)
    assert done == [True]


def test_several_under_way_are_listed(deck, started, tmp_path):
    """NNI-E3: the one active experiment, or an error that lists the candidates."""
    command = held_until(tmp_path / "go")
    first, two = (started(name, trial_command=command, max_trial_number=1) for name in ("one", "two"))
    with pytest.raises(errors.Invalid, match="2 experiments are active") as error:
        Experiment.connect(deck.port)
    assert f"{first.id} (one" in str(error.value) and f"{two.id} (two" in str(error.value)
    (tmp_path / "go").touch()
    first.wait(progress=False), two.wait(progress=False)
    with pytest.raises(NotFound, match="No experiment is active"):
        Experiment.connect(deck.port)
    with pytest.raises(NotFound, match="No experiment 'gone'"):
        Experiment.connect(deck.port, "gone")


def test_a_draft_is_started_and_not_waited_for(deck):
    """CML-C1: a clone, for example; nobody would wait for its end."""
    console = deck.embedded.console
    made = console.post(f"experiments/{deck.first.id}/clone", {"name": "a draft"})
    draft = Experiment.connect(deck.port, "a draft")
    assert (draft.id, draft.get_status()) == (made["id"], "INITIALIZED")
    with pytest.raises(Refused, match="is a draft. Call start"):
        draft.wait(progress=False)
    draft.start()
    assert draft.wait(progress=False) is True
    with pytest.raises(Refused, match=r"has ended .state: completed.\. To resume: Experiment.resume"):
        draft.start()


def test_id_and_port_can_be_read_at_any_time(deck):
    """NNI-E1: the ID before the start is the one in the console; the port goes with the stop."""
    new = configured("early")
    assert (new.port, repr(new)) == (None, f"<Experiment {new.id}, not started>")
    early = new.id
    new.start(deck.port)
    assert (new.id, new.port) == (early, deck.port)
    assert new.url.endswith(f"/experiments/{early}/")
    new.stop()
    assert new.port is None and new.get_status() in ("DONE", "STOPPED")
    again = configured("again")
    again.id = early
    with pytest.raises(errors.Refused, match=f"The ID {early} is already used"):
        again.start(deck.port)
    assert Experiment("local", id="abcd2345").id == "abcd2345"
    named = Experiment("local", id="My_experiment")
    assert named.config.experiment_name == "My_experiment" and len(named.id) == 8


def test_resources_that_no_worker_has_are_refused_as_on_the_page(deck):
    """NNI-E3: nothing is started that would wait forever."""
    for field, value, reason in (
        ("trial_gpu_number", 1, "no worker of queue default has 1 GPU (--gpus)"),
        ("trial_memory", "900 TiB", "no worker of queue default has"),
    ):
        greedy = configured("greedy", **{field: value})
        with pytest.raises(Refused) as error:
            greedy.start(deck.port)
        assert str(error.value).startswith(f"Nothing was started: {reason}")
        assert f"Change {field}, or start a worker" in str(error.value)
    assert "greedy" not in [row["experimentName"] for row in deck.first.get_all_experiments_metadata()]
    with pytest.raises(
        errors.Invalid, match="^Invalid trial_gpu_number: “one”. This must be a whole number.$"
    ):
        configured("greedy", trial_gpu_number="one").start(deck.port)


def test_a_concurrency_above_the_slots_is_noted(started, capsys):
    """NNI-E2: with what gives more slots."""
    started("wide", trial_concurrency=600)
    output = capsys.readouterr().out
    assert (
        "trial_concurrency is 600, but queue default has" in output and "trialdeck up --slots 600" in output
    )
    started("narrow", trial_concurrency=1)
    assert "slots" not in capsys.readouterr().out


def test_slots_are_for_a_console_that_is_started(deck, capsys):
    """NNI-E2: one that runs keeps its own; see test_it_brings_the_console_up for the other."""
    again = configured("slots")
    again.start(deck.port, slots=3)
    assert f"slots=3 has no effect: the console at http://127.0.0.1:{deck.port}" in capsys.readouterr().out
    again.wait(progress=False)
    with pytest.raises(errors.Invalid, match="slots: This must be a number from 1 to 512, not 0"):
        configured("slots").start(deck.port, slots=0)


def test_batch_hands_over_the_object(deck):
    """NNI-S2: a choice of plain objects, tried in order, each as the trial's parameters, as in NNI."""
    pairs = [{"optimizer": "adam", "1st": 3}, {"optimizer": "sgd", "1st": 0.5}]
    batch = configured(
        "batch",
        trial_command="""cat $TRIALDECK_PARAMETERS; echo
echo ${optimizer} ${1st}
value=${1st}
echo '{"final": true, "value": '$value'}' >> $TRIALDECK_METRICS""",
        search_space={"combined": {"_type": "choice", "_value": pairs}},
        tuner={"name": "Batch"},
        trial_concurrency=1,
        max_trial_number=9,
    )
    batch.start(deck.port)
    assert batch.wait(progress=False) is True
    assert [json.loads(batch.logs(n).splitlines()[0]) for n in (1, 2)] == pairs
    assert [batch.logs(n).splitlines()[1] for n in (1, 2)] == ["adam 3", "sgd 0.5"]
    assert [(result.parameter, result.value) for result in batch.export_data()] == [
        (pairs[0], 3),
        (pairs[1], 0.5),
    ]
    assert [job.hyperParameters[0].parameters for job in batch.list_trial_jobs()] == pairs
    assert batch.best().parameter == pairs[0]


def test_it_is_found_by_address_and_environment(deck, monkeypatch):
    """NNI-E3: by port, URL or environment."""
    url, token = f"http://127.0.0.1:{deck.port}", deck.embedded.console.token
    assert Experiment.connect(url, deck.first.id).id == deck.first.id
    assert Experiment.connect(None, deck.first.id).id == deck.first.id  # the only one that runs here
    monkeypatch.setenv("TRIALDECK_HOME", "/nowhere")
    assert Experiment.connect(url, deck.first.id, token=token).id == deck.first.id
    monkeypatch.setenv("TRIALDECK_URL", url)
    monkeypatch.setenv("TRIALDECK_TOKEN", token)
    assert Experiment.connect(experiment=deck.first.id).id == deck.first.id
    detached = configured("by environment")
    detached.start(run_mode=RunMode.Detach)  # the port is that of the environment
    assert detached.port == deck.port
    assert detached.wait(progress=False) is True


def _running(experiment: Experiment) -> int:
    counts = {item["trialJobStatus"]: item["trialJobNumber"] for item in experiment.get_job_statistics()}
    return counts.get("RUNNING", 0)

"""kill -9 of everything, one after the other, during a running search: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Experiment, Trial, User, secret
from experiments.search import engine
from experiments.search.engine import PastTrial, Problem
from tests.support.crew import Crew
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(150)

SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}}


def command(diary: Path, seconds: float = 0.3) -> str:
    """A trial that writes its ID into a diary when it begins, takes its time, and reports x."""
    return (
        f"echo $TRIALDECK_TRIAL_ID $$ >> {diary}\n"
        f"sleep {seconds}\n"
        'echo "{\\"value\\": "${x}", \\"final\\": true}" >> "$TRIALDECK_METRICS"'
    )


@pytest.fixture
def search(started: Callable[..., Experiment], tmp_path: Path) -> Callable[..., Experiment]:
    """Starts a search of `trials` trials, two at a time, each of `seconds`."""

    def start(trials: int = 10, seconds: float = 0.3, **changes: object) -> Experiment:
        settings = {
            "space_document": SPACE,
            "max_trials": trials,
            "concurrency": 2,
            "stop_grace_s": 1,
            **changes,
        }
        return started(command=command(tmp_path / "diary", seconds), **settings)

    return start


def running(experiment: Experiment, count: int = 1) -> list[Trial]:
    """Waits until so many trials run as processes."""

    def those() -> list[Trial]:
        trials = list(experiment.trials.filter(state="running").exclude(pid=None))
        return trials if len(trials) >= count else []

    return eventually(those, within=30, what=f"{count} running trials")


def ended(experiment: Experiment, within: float = 90) -> Experiment:
    def has_ended() -> bool:
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=within, every=0.1, what=f"the end of {experiment}")
    return experiment


def check_whole(experiment: Experiment, diary: Path, *, trials: int) -> None:
    """Every proposal gave a result, the result is the parameter, no trial ran twice, the counts are right."""
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    assert experiment.proposed_count == trials
    succeeded = experiment.trials.filter(state="succeeded")
    assert [trial.number for trial in succeeded if trial.value != trial.params["x"]] == []
    first = experiment.trials.filter(source="proposal").values_list("params", flat=True)
    assert len(first) == trials
    done = {trial.params["x"] for trial in succeeded}
    assert done == {params["x"] for params in first}, "a proposal was lost"
    assert len(succeeded) == trials, "a proposal gave two results"
    lost = experiment.trials.exclude(state="succeeded")
    assert {trial.failure for trial in lost} <= {"worker_lost"}
    began = Counter(line.split()[0] for line in diary.read_text().splitlines())
    assert {name: times for name, times in began.items() if times > 1} == {}
    counted = {
        state: experiment.count(state) for state in ("waiting", "running", "stopping", "succeeded", "failed")
    }
    assert counted == {"waiting": 0, "running": 0, "stopping": 0, "succeeded": trials, "failed": len(lost)}


def test_a_killed_trial_fails_by_its_signal_and_the_search_goes_on(
    crew: Crew, search: Callable[..., Experiment]
) -> None:
    """PAI-S1 TD-X5: SIGKILL without evidence is `signal`, not out of memory; its slot is used again."""
    crew.control()
    crew.worker()
    experiment = search(trials=4, seconds=2)
    victim = running(experiment)[0]
    os.kill(victim.pid, signal.SIGKILL)
    ended(experiment)
    victim.refresh_from_db()
    assert (victim.state, victim.failure, victim.signal) == ("failed", "signal", 9)
    assert experiment.succeeded_count == 3
    assert experiment.reason == "max trials reached"


def test_a_killed_worker_comes_back_and_its_trials_are_retried(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: a restarted worker gives up its former self's claims at once; no process of a trial survives it, no
    copy of code and no secret."""
    crew.control()
    worker = crew.worker()
    secrets = {"Args": {"token": {"secret": secret.seal("only-for-trials")}}}
    experiment = search(trials=8, seconds=0.5, hyperparameters=secrets, diff="print('a script')\n")
    victims = running(experiment, 2)
    crew.kill(worker)
    eventually(lambda: not any(_lives(victim.pid) for victim in victims), within=10, what="the trials' end")
    crew.worker()
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=8)
    for victim in victims:
        victim.refresh_from_db()
        assert (victim.state, victim.failure) == ("failed", "worker_lost")
        assert victim.reruns.get().params == victim.params
    left = [path for path in (crew.data / "trials").rglob("*") if path.is_file()]
    assert [path for path in left if "code" in path.parts or b"only-for-trials" in path.read_bytes()] == []


def test_a_worker_that_never_comes_back_loses_its_lease(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: after the lease its trials are retried by another worker."""
    crew.control()
    worker = crew.worker(name="first")
    experiment = search(trials=4, seconds=0.5)
    running(experiment, 2)
    crew.kill(worker)
    crew.worker(name="second")
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=4)


def test_a_frozen_worker_loses_its_trials_and_cannot_report_them_later(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: what was retried elsewhere is not reported twice; the frozen worker ends its own when it wakes."""
    crew.control()
    worker = crew.worker(name="frozen")
    experiment = search(trials=2, seconds=8)  # longer than the lease: else their results would count
    victims = running(experiment, 2)
    worker.send_signal(signal.SIGSTOP)
    crew.worker(name="other")

    def are_lost() -> bool:
        return (
            experiment.trials.filter(pk__in=[trial.pk for trial in victims], failure="worker_lost").count()
            == 2
        )

    eventually(are_lost, within=40, what="the lease's end")
    worker.send_signal(signal.SIGCONT)
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=2)


@pytest.mark.soak
@pytest.mark.parametrize("lease_s", ["4", "8"])
def test_the_trials_of_a_frozen_worker_end_before_others_may_run_them(
    lease_s: str,
    crew: Crew,
    started: Callable[..., Experiment],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TD-S2: by the keeper, although they ignore SIGTERM; nothing runs twice at the same time."""
    monkeypatch.setenv("TRIALDECK_LEASE_S", lease_s)
    crew.control()
    worker = crew.worker(name="frozen")
    experiment = started(command="trap '' TERM\nwhile :; do sleep 0.1; done", max_trials=2)
    victims = running(experiment, 2)
    worker.send_signal(signal.SIGSTOP)
    crew.worker(name="other")
    retries = experiment.trials.filter(source="retry").exclude(state="waiting")
    eventually(retries.exists, within=60, every=0.005, what="the first retry")
    assert not [victim for victim in victims if _lives(victim.pid)]
    worker.send_signal(signal.SIGCONT)
    experiment.refresh_from_db()
    experiment.stop(by=alice)
    assert ended(experiment).state == "stopped"
    assert {
        trial.failure for trial in experiment.trials.filter(pk__in=[victim.pk for victim in victims])
    } == {"worker_lost"}


def test_a_killed_keeper_takes_its_trials_along_and_they_are_retried(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: the worker lives on with a new keeper."""
    crew.control()
    worker = crew.worker()
    experiment = search(trials=6, seconds=0.5)
    victims = running(experiment, 2)
    os.kill(_keeper_of(worker.pid), signal.SIGKILL)
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=6)
    assert not any(_lives(victim.pid) for victim in victims)
    assert worker.poll() is None


def test_a_killed_control_is_replaced_and_the_search_goes_on(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: what it knew is on the rows."""
    control = crew.control()
    crew.worker()
    experiment = search(trials=10)
    running(experiment)
    crew.kill(control)
    crew.control()
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=10)
    assert experiment.failed_count == 0


def test_a_killed_broker_comes_back_empty_and_the_search_goes_on(
    crew: Crew, search: Callable[..., Experiment], broker: Valkey, tmp_path: Path
) -> None:
    """TD-X8: a wiped broker loses nothing, because a message is only a nudge."""
    crew.control()
    crew.worker()
    experiment = search(trials=10)
    running(experiment)
    broker.kill()
    broker.start()
    broker.wipe()
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=10)
    assert experiment.failed_count == 0


@pytest.mark.soak
def test_after_a_stop_and_after_kill_9_of_everything_numbers_and_history_go_on(
    crew: Crew, search: Callable[..., Experiment], broker: Valkey, alice: User, tmp_path: Path
) -> None:
    """NNI-S3 TD-X8: whatever was in memory is gone, twice; each proposal is what all results before it lead to."""

    def kill_everything() -> None:
        keepers = [_keeper_of(worker.pid)]
        for pid in [control.pid, worker.pid, broker.process.pid, *keepers]:
            os.kill(pid, signal.SIGKILL)
        for process in (control, worker, broker.process):
            process.wait()
        broker.start()
        broker.wipe()

    def have_succeeded(count: int) -> bool:
        return experiment.trials.filter(state="succeeded").count() >= count

    control, worker = crew.control(), crew.worker()
    experiment = search(
        trials=10,
        seconds=0.5,
        concurrency=1,
        algorithm="TPE",
        algorithm_arguments={"n_startup_trials": 2},
        seed=3,
    )
    eventually(lambda: have_succeeded(3), within=60, what="three results")
    victim = running(experiment)[0]
    kill_everything()
    control, worker = crew.control(), crew.worker()
    eventually(lambda: have_succeeded(5), within=60, what="two more results")
    assert not _lives(victim.pid)
    experiment.refresh_from_db()
    experiment.stop(by=alice)
    assert ended(experiment).state == "stopped"
    kill_everything()
    control, worker = crew.control(), crew.worker()
    experiment.refresh_from_db()
    experiment.resume(by=alice)
    assert ended(experiment).reason == "max trials reached"

    trials = list(experiment.trials.order_by("number"))
    numbers = [trial.number for trial in trials]
    # One may have waited at the stop: it was dropped, and its number is never used again.
    assert numbers == sorted(set(numbers)) and numbers[-1] <= len(numbers) + 1
    proposals = [trial for trial in trials if trial.source == "proposal"]
    assert len(proposals) == experiment.proposed_count == 10
    victim.refresh_from_db()
    assert victim.failure == "worker_lost" and victim.reruns.get().state == "succeeded"
    for trial in proposals:
        assert trial.params == _proposed(experiment, trial.ordinal, trials[: numbers.index(trial.number)])
    last = proposals[-1]
    assert last.params != _proposed(experiment, last.ordinal, [])


def test_an_orderly_shutdown_takes_the_same_path(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-X5: trials fail as worker_lost, at no cost, and are retried."""
    crew.control()
    worker = crew.worker()
    experiment = search(trials=4, seconds=1)
    victims = running(experiment, 2)
    worker.send_signal(signal.SIGTERM)
    worker.wait(10)
    for victim in victims:
        victim.refresh_from_db()
        assert (victim.failure, victim.detail) == ("worker_lost", "Its worker was shut down.")
    crew.worker()
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=4)


def test_doubled_and_dropped_messages_change_nothing(
    crew: Crew, search: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-X8: every message and wake-up sent twice, every third one dropped."""
    (tmp_path / "sitecustomize.py").write_text(UNRELIABLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    crew.control()
    crew.worker(name="w1")
    crew.worker(name="w2")
    experiment = search(trials=12, concurrency=4, seconds=0.1)
    ended(experiment)
    check_whole(experiment, tmp_path / "diary", trials=12)
    assert experiment.failed_count == 0


UNRELIABLE = """
import itertools
from celery import Celery
from redis import Redis
send, add, count = Celery.send_task, Redis.zadd, itertools.count(1)
def unreliable(self, *args, **kwargs):
    if next(count) % 3:
        send(self, *args, **kwargs)
        return send(self, *args, **kwargs)
Celery.send_task = unreliable
def forgetful(self, name, members, nx=False):
    if not name.startswith("trialdeck."):
        return add(self, name, members, nx=nx)
    if next(count) % 3:
        return add(self, name, {**members, **{f"0{member}": at for member, at in members.items()}}, nx=nx)
Redis.zadd = forgetful
"""

STUBBORN = r"""
trap '' TERM
(trap '' TERM; setsid bash -c "trap '' TERM; echo \$\$ >> {pids}; sleep 300 & wait; sleep 300" & ) &
{python} {forker} {pids} &
echo $$ >> {pids}
while true; do sleep 300; done
"""

FORKER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", HIDDEN, sys.argv[1]], {})
"""

HIDDEN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "a").write(str(os.getpid()) + chr(10))
time.sleep(300)
"""


def test_a_stubborn_tree_is_gone_after_stop(
    crew: Crew, started: Callable[..., Experiment], alice: User, tmp_path: Path
) -> None:
    """PAI-T1 PAI-X2 TD-X5: it traps SIGTERM, double-forks, calls setsid and clears its environment; Stop ends it
    and says how long it took. The experiment goes on, and can be stopped in its turn."""
    pids, script, forker = tmp_path / "pids", tmp_path / "stubborn.sh", tmp_path / "forker.py"
    pids.touch()
    forker.write_text(f"HIDDEN = {HIDDEN!r}\n{FORKER}")
    for name, value in {"{pids}": pids, "{python}": sys.executable, "{forker}": forker}.items():
        script.write_text((script.read_text() if script.exists() else STUBBORN).replace(name, str(value)))
    crew.control()
    crew.worker()
    experiment = started(command=f"bash {script}", max_trials=3, concurrency=1, stop_grace_s=0.5)
    trial = running(experiment)[0]
    eventually(lambda: len(pids.read_text().split()) >= 3, what="the whole tree")
    tree = [int(pid) for pid in pids.read_text().split()]
    assert trial.stop(by=alice)

    def has_settled() -> bool:
        trial.refresh_from_db()
        return trial.state == "stopped"

    eventually(has_settled, within=15, what="the trial's end")
    assert not [pid for pid in tree if _lives(pid)]
    assert 0.4 < trial.gone_after_s < 15
    assert trial.survivors == []
    assert running(experiment)[0].number == 2
    experiment.refresh_from_db()
    assert experiment.state == "running"
    assert experiment.stop(by=alice)
    assert ended(experiment).state == "stopped"
    order = list(
        experiment.events.filter(after="stopped").order_by("pk").values_list("trial__number", flat=True)
    )
    assert order == [1, 2, None]


def test_stop_works_when_the_worker_died(crew: Crew, search: Callable[..., Experiment], alice: User) -> None:
    """PAI-X2: the experiment is stopped although nobody is there to end its trials; nothing is retried."""
    crew.control()
    worker = crew.worker()
    experiment = search(trials=4, seconds=30)
    running(experiment, 2)
    crew.kill(worker)
    experiment.refresh_from_db()
    experiment.stop(by=alice)
    assert ended(experiment).state == "stopped"
    assert experiment.trials.filter(state="stopped").count() == 2
    assert not experiment.trials.filter(source="retry").exists()


def test_a_time_limit_ends_a_trial(crew: Crew, search: Callable[..., Experiment]) -> None:
    """TD-F6 PAI-S1: max trial duration, told as `timeout` with the limit."""
    crew.control()
    crew.worker()
    experiment = search(trials=1, seconds=60, max_trial_duration_s=1)
    ended(experiment)
    trial = experiment.trials.get()
    assert (trial.state, trial.failure, trial.detail) == ("failed", "timeout", "ran longer than 1 s")
    assert trial.gone_after_s is not None


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _keeper_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in children for child in path.read_text().split()]
    return next(
        child for child in pids if b"keeper/__main__.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def _proposed(experiment: Experiment, ordinal: int, before: list[Trial]) -> dict:
    """What the algorithm proposes when these trials were all that was there."""
    settings = experiment.settings
    problem = Problem(
        space=settings.searched,
        algorithm=settings.algorithm,
        arguments=settings.algorithm_arguments,
        seed=settings.seed,
        direction=settings.direction,
    )
    past = [
        PastTrial(
            ordinal=trial.ordinal,
            number=trial.number,
            raw=trial.raw,
            key=settings.space.key(trial.params),
            state="done" if trial.state == "succeeded" else "void",
            value=trial.value,
            attrs=trial.sampler_attrs,
        )
        for trial in before
    ]
    return engine.propose(problem, past, [ordinal])[0].shown

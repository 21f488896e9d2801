"""The boundary around trials: real processes of other accounts, and real sandboxes."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from experiments.management import process_secrecy
from experiments.models import LogPiece, Queue, Worker
from experiments.runner.boundary import Account, BoundaryError
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live
from tests.support.boundary import ACCOUNT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

OTHER = "man"  # every Debian has it

# Tries to read what a trial must not, and says what it got.
TRIES = """\
echo "as $(id -un) in groups $(id -Gn), home $HOME, umask $(umask)"
try() {{ "$@" > /dev/null 2>&1 && echo "could: $*" || echo "could not: $*"; }}
try cat {data}/db.sqlite3
try cat {data}/secret
try ls {data}
try ls {data}/trials
try cat {other}
try cat /proc/{pid}/environ
try kill -0 {pid}
try touch {data}/workers/new
try touch {tmp}/outside
try touch "$TRIALDECK_OUTPUT_DIR/kept"
try touch /tmp/{tmp.name}
try python3 -c 'import trialdeck'
echo "parameters: $(cat $TRIALDECK_PARAMETERS)"
echo '{{"final": true, "value": 1}}' >> "$TRIALDECK_METRICS"
"""


@pytest.fixture
def secrets(data, tmp_path):
    """Files of the installation and of another trial; the process of the worker is this one."""
    (data / "secret").touch(mode=0o600)
    (data / "db.sqlite3").touch(mode=0o600)
    other = data / "trials" / "other123" / "1" / "output" / "model.pt"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("weights")
    return {"data": data, "other": other, "pid": os.getpid(), "tmp": tmp_path}


def worker_of(data, **boundary):
    Queue.default()
    worker = LocalWorker(name="bounded", queues=["default"], slots=1, data=data, **boundary)
    worker.start()
    return worker


def run(experiment, worker, alice):
    experiment.enqueue(by=alice)
    live(experiment, worker)
    worker.end()
    trial = experiment.trials.first()
    return trial, LogPiece.tail(trial.pk, size=20_000).decode()


def folder_of(trial, data):
    return data / "trials" / trial.experiment.public_id / str(trial.number)


@pytest.mark.root
def test_as_another_account_it_reaches_neither_database_nor_secrets_nor_other_trials(
    draft, broker, data, alice, secrets
):
    """TD-Z1: a real process of another account; its output is collected, and its folder is the worker's again."""
    worker = worker_of(data, run_as=ACCOUNT)
    trial, log = run(draft(command=TRIES.format(**secrets), max_trials=1, retries=0), worker, alice)
    assert (trial.state, trial.value) == ("succeeded", 1.0), trial.detail + log
    assert f"as {ACCOUNT} in groups {ACCOUNT}," in log and "umask 0077" in log
    for what in (f"cat {data}/db.sqlite3", f"cat {data}/secret", f"ls {data}", f"ls {data}/trials"):
        assert f"could not: {what}\n" in log, log
    for what in (f"cat {secrets['other']}", f"touch {data}/workers/new", f"touch {secrets['tmp']}/outside"):
        assert f"could not: {what}\n" in log, log
    assert f"could not: cat /proc/{os.getpid()}/environ" in log and f"could not: kill -0 {os.getpid()}" in log
    assert "could: touch " in log and "could: python3 -c import trialdeck" in log
    assert f"home {data}/homes/{ACCOUNT}" in log
    folder = folder_of(trial, data)
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (os.geteuid(), 0o700)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {os.geteuid()}
    assert [artifact.name for artifact in trial.artifacts.all()] == ["kept"]
    assert Worker.objects.get().boundary == f"run as {ACCOUNT}"
    assert not list((data / "given").iterdir())


@pytest.mark.root
def test_stop_ends_what_an_account_has_started(draft, broker, data, alice):
    """TD-Z1 PAI-T1: kill across users, also of a helper that ignores SIGTERM and left its session."""
    worker = worker_of(data, run_as=ACCOUNT)
    script = "setsid sh -c 'trap \"\" TERM; sleep 600' &\ntrap '' TERM\nwhile :; do sleep 0.05; done"
    experiment = draft(command=script, max_trials=1, retries=0, max_trial_duration_s=1, stop_grace_s=0)
    trial, _ = run(experiment, worker, alice)
    assert (trial.state, trial.failure) == ("failed", "timeout")
    uid = pwd.getpwnam(ACCOUNT).pw_uid
    left = subprocess.run(["ps", "-o", "pid=", "-U", str(uid)], capture_output=True, text=True).stdout  # noqa: S607
    assert not left.strip()


@pytest.mark.root
def test_a_rerun_reads_what_the_earlier_attempt_left_as_another_account(draft, broker, data, alice):
    """TD-Z1 TD-X2."""
    worker = worker_of(data, run_as=ACCOUNT)
    script = """\
if [ -n "$TRIALDECK_PREVIOUS_OUTPUT_DIR" ]; then
  echo "got $(cat $TRIALDECK_PREVIOUS_OUTPUT_DIR/deep/checkpoint)"
  touch $TRIALDECK_PREVIOUS_OUTPUT_DIR/deep/checkpoint && echo changed it
  echo '{"final": true, "value": 1}' >> "$TRIALDECK_METRICS"
else
  mkdir $TRIALDECK_OUTPUT_DIR/deep; echo epoch-3 > $TRIALDECK_OUTPUT_DIR/deep/checkpoint; exit 1
fi"""
    experiment = draft(command=script, max_trials=2, concurrency=1, retries=0, breaker=0)
    experiment.enqueue(by=alice)
    from experiments.scheduler.conductor import schedule

    schedule(experiment.pk)
    worker.work()
    first = experiment.trials.get(number=1)
    experiment.refresh_from_db()
    again = first.rerun(by=alice)
    live(experiment, worker)
    worker.end()
    log = LogPiece.tail(again.pk).decode()
    assert "got epoch-3" in log and "changed it" not in log
    assert stat.S_IMODE(folder_of(first, data).stat().st_mode) == 0o700


@pytest.mark.root
def test_packages_are_built_as_the_account(draft, broker, data, alice):
    """TD-Z1: building a package runs its code. No account uses what another has built."""
    worker = worker_of(data, run_as=ACCOUNT)
    environments = worker.shelf.environments
    with worker.boundary.accounts.held("lab") as account:
        with environments.of(account).held(
            "", python="/usr/bin/python3", is_cancelled=lambda: False
        ) as folder:
            assert folder.stat().st_uid == os.geteuid()  # from now on the account cannot change it
            ready = folder / "ready"
            assert ready.is_file() and not ready.is_symlink()
            seen = subprocess.run(
                [*account.prefix, str(folder / "bin" / "python"), "-c", "import sys; print(sys.prefix)"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert seen.stdout.strip() == str(folder)
        with environments.held("", python="/usr/bin/python3", is_cancelled=lambda: False) as own:
            assert own != folder
    worker.end()


@pytest.mark.root
def test_what_a_killed_worker_left_to_an_account_is_taken_back(draft, broker, data, alice):
    """TD-Z1."""
    worker = worker_of(data, run_as=ACCOUNT)
    uid = pwd.getpwnam(ACCOUNT).pw_uid
    folder = data / "trials" / "exp45678" / "3"
    (folder / "output").mkdir(parents=True)
    (folder / "output" / "x").write_text("y")
    os.chown(folder, uid, uid)
    (data / "given" / f"exp45678-3+{uid}").touch()
    worker.end()
    worker_of(data, run_as=ACCOUNT).end()
    assert folder.stat().st_uid == os.geteuid()
    assert not list((data / "given").iterdir())


@pytest.mark.root
def test_a_hard_link_to_another_file_stays_whose_it_is(draft, broker, data, alice, tmp_path):
    """TD-Z1 TD-Z2: neither giving the folder away nor taking it back changes who has a file elsewhere."""
    worker = worker_of(data, run_as=ACCOUNT)
    with worker.boundary.accounts.held("lab") as account:
        from experiments.runner.trial_folder import TrialFolder
        from experiments.worker.boundary import TrialBoundary

        folder = TrialFolder(data / "trials", "links234", 1)
        folder.create()
        elsewhere = data / "model.pt"
        elsewhere.write_text("weights")
        (folder.path / "model.pt").hardlink_to(elsewhere)
        bounded = TrialBoundary(worker.boundary, folder, account)
        bounded.give()
        assert (elsewhere.stat().st_uid, (folder.path / "model.pt").stat().st_uid) == (0, account.uid)
        os.chown(elsewhere, pwd.getpwnam(OTHER).pw_uid, -1)
        (folder.path / "linked").hardlink_to(elsewhere)
        (folder.path / "there").symlink_to(elsewhere)
        bounded.take_back()
        assert elsewhere.stat().st_uid == pwd.getpwnam(OTHER).pw_uid
    worker.end()


@pytest.mark.root
@pytest.mark.bubblewrap
def test_in_a_sandbox_only_its_own_folder_is_writable(draft, broker, data, alice, secrets):
    """TD-Z1: the system read-only, a /tmp of its own, no process but its own, no network where that is wanted."""
    worker = worker_of(data, run_as=ACCOUNT, sandbox="bubblewrap", network=False)
    script = "echo $(ls /proc | grep -c '^[0-9]') processes\n" + TRIES.format(**secrets)
    script = "touch /etc/here 2>/dev/null && echo wrote /etc || true; cat /proc/net/dev; " + script
    trial, log = run(draft(command=script, max_trials=1, retries=0), worker, alice)
    assert (trial.state, trial.value) == ("succeeded", 1.0), trial.detail + log
    assert "wrote /etc" not in log and "eth0" not in log
    assert (
        f"could: touch /tmp/{secrets['tmp'].name}" in log and not Path("/tmp", secrets["tmp"].name).exists()
    )
    assert f"could not: touch {secrets['tmp']}/outside" in log
    assert f"could not: cat {data}/secret" in log and f"could not: cat {secrets['other']}" in log
    assert [artifact.name for artifact in trial.artifacts.all()] == ["kept"]
    assert int(log.split(" processes")[0].split()[-1]) < 10


@pytest.mark.root
@pytest.mark.bubblewrap
def test_a_program_in_a_sandbox_can_save_its_work_when_it_is_stopped(draft, broker, data, alice):
    """TD-Z1 TD-V7."""
    worker = worker_of(data, run_as=ACCOUNT, sandbox="bubblewrap")
    script = (
        "/bin/sh -c 'trap \"touch $TRIALDECK_OUTPUT_DIR/saved; exit 0\" TERM; while :; do sleep 0.05; done'\n"
    )
    experiment = draft(command=script, max_trials=1, retries=0, max_trial_duration_s=5, stop_grace_s=20)
    trial, log = run(experiment, worker, alice)
    assert (trial.state, trial.failure) == ("failed", "timeout")
    assert "saved" in [artifact.name for artifact in trial.artifacts.all()]
    assert trial.gone_after_s < 15


@pytest.mark.root
@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        ({"run_as": "nobody-here"}, "The account nobody-here does not exist on this machine"),
        ({"run_as": "root"}, "would not isolate"),
        ({"run_as": "a b"}, "is not a valid account name"),
        ({"run_as": "games,games"}, "listed twice"),
        ({"run_as": "../x"}, "is not a valid account name"),
        ({"sandbox": "bubblewrap"}, "does not isolate root: add --run-as"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_the_start(broker, data, boundary, message):
    """TD-Z1."""
    Queue.default()
    with pytest.raises(BoundaryError, match=message):
        LocalWorker(name="bounded", queues=["default"], slots=1, data=data, **boundary).start()


@pytest.mark.root
def test_more_slots_than_accounts_are_refused(broker, data):
    """TD-Z1."""
    with pytest.raises(BoundaryError, match="2 accounts for 3 slots"):
        LocalWorker(name="bounded", queues=["default"], slots=3, data=data, run_as="games,man")


@pytest.mark.root
def test_a_workspace_without_its_account_is_told(draft, broker, data, alice):
    """TD-Z1: the trial fails in setup, with what to do."""
    worker = worker_of(data, run_as="td-{workspace}")
    trial, _ = run(draft(command="true", max_trials=1, retries=0), worker, alice)
    assert (trial.state, trial.failure) == ("failed", "setup")
    assert "The account td-lab does not exist on this machine" in trial.detail


@pytest.mark.root
def test_trials_at_the_same_time_have_different_accounts(broker, data):
    """TD-Z1."""
    worker = LocalWorker(name="bounded", queues=["default"], slots=2, data=data, run_as=f"{ACCOUNT},{OTHER}")
    accounts = worker.boundary.accounts
    with accounts.held("lab") as first, accounts.held("lab") as second:
        assert {first.name, second.name} == {ACCOUNT, OTHER}
    with accounts.held("lab"), accounts.held("lab") as again:
        assert again.name in (ACCOUNT, OTHER)


@pytest.mark.root
def test_no_process_of_the_same_user_reads_the_secrets_of_a_worker():
    """TD-Z1: neither its environment nor its memory."""
    program = (
        "import runpy, sys\n"
        f"runpy.run_path({process_secrecy.__file__!r})['hide_process']()\n"
        "print('hidden', flush=True); sys.stdin.read()"
    )
    account = Account.find(ACCOUNT)
    with subprocess.Popen(
        [*account.prefix, "/usr/bin/python3", "-c", program],
        env={"DATABASE_URL": "postgres://secret"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as hidden:
        assert hidden.stdout.readline() == b"hidden\n"
        for name in ("environ", "mem", "maps"):
            read = [*account.prefix, "head", "-c", "1", f"/proc/{hidden.pid}/{name}"]
            assert b"Permission denied" in subprocess.run(read, capture_output=True).stderr
        hidden.stdin.close()

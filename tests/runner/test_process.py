"""The keeper, with real processes: each test looks for its processes in /proc by a number of its own."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from experiments.runner import lease
from experiments.runner.keeper import binding, launched_process
from experiments.runner.keeper import processes as keeping
from experiments.runner.output.log import LogReader
from experiments.runner.process import Exit, Keeper, KeeperDied, LaunchError, Process, await_orphans, sweep
from tests.support.waiting import eventually

ENV = {"PATH": os.environ["PATH"]}


BASH = shutil.which("bash")  # by its path, as trials are started


@pytest.fixture
def keeper():
    with Keeper(installation="tests") as running:
        yield running


@pytest.fixture
def token() -> str:
    """Seconds to sleep that nobody else sleeps."""
    return f"{random.randrange(10**5, 10**6)}.{random.randrange(10**8):08}"


def sleepers(token: str) -> list[int]:
    """The living processes that sleep `token` seconds, whatever became of their parents and environment."""
    return sorted(pid for pid in keeping.all_processes() if _is_sleeper(pid, token))


def _is_sleeper(pid: int, token: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == f"sleep\0{token}\0".encode()
    except OSError:
        return False


def run(keeper: Keeper, folder: Path, script: str, **more: object) -> Process:
    name = f"log{random.randrange(10**9)}"
    process = keeper.launch(
        key="it",
        **{"argv": [BASH, "-c", script], "cwd": folder, "env": ENV, "log": folder / name, **more},
    )
    process.log = folder / name
    return process


def output(process: Process) -> str:
    return b"".join(piece.data for piece in LogReader(process.log).new()).decode()


def ended(process: Process) -> Exit:
    how = process.wait(30)
    assert how is not None, "it did not end within 30 s"
    return how


def stubborn(token: str) -> str:
    """A script with four sleepers: a child, a double fork, a session of its own, and one that cleared its
    environment too; none of them heeds SIGTERM."""
    return f"""
        trap '' TERM
        sleep {token} &
        (sleep {token} &)
        (setsid sleep {token} &)
        env -i PATH="$PATH" setsid sh -c "(sleep {token} &)"
        echo ready
        while :; do wait; done
    """


def test_it_ends_the_whole_tree(keeper, tmp_path, token):
    """PAI-T1, PAI-X2: children, double forks, sessions of their own, SIGTERM ignored."""
    process = run(keeper, tmp_path, stubborn(token))
    eventually(lambda: len(sleepers(token)) == 4, what="the tree of four")
    process.stop(0.2)
    how = ended(process)
    assert sleepers(token) == []
    assert (how.code, how.signal, how.survivors, how.lost) == (None, signal.SIGKILL, (), False)
    assert how.gone_after_s >= 0.2  # the grace was given


def test_it_leaves_the_neighbour_alone(keeper, tmp_path, token):
    """PAI-T1: stopping one trial touches no other, its orphans included."""
    neighbour = run(keeper, tmp_path, f"(setsid sleep {token} &); echo ready; sleep {token}")
    eventually(lambda: len(sleepers(token)) == 2)
    before = sleepers(token)
    process = run(keeper, tmp_path, stubborn(token))
    eventually(lambda: len(sleepers(token)) == 6)
    process.stop(0)
    ended(process)
    assert sleepers(token) == before
    assert neighbour.wait(0) is None
    neighbour.stop(0)
    ended(neighbour)
    assert sleepers(token) == []


def test_an_orphan_without_any_mark_ends_with_the_last_that_may_own_it(keeper, tmp_path, token):
    """Session, environment and output are not its trial's any more: it must not be killed with a neighbour."""
    script = f'env -i PATH="$PATH" setsid sh -c "(sleep {token} &)" >/dev/null 2>&1; read < fifo'
    os.mkfifo(tmp_path / "fifo")
    first, second = run(keeper, tmp_path, "read < fifo"), run(keeper, tmp_path, script)
    eventually(lambda: len(sleepers(token)) == 1)
    first.stop(0)
    ended(first)
    assert len(sleepers(token)) == 1
    second.stop(0)
    ended(second)
    assert sleepers(token) == []


def test_a_handler_has_the_grace_to_save_its_work(keeper, tmp_path):
    """SIGTERM goes to the tree once: what a handler starts meanwhile is left alone."""
    script = """trap 'sh -c "sleep 0.3; echo saved"; exit 7' TERM; echo ready; while :; do sleep 0.05; done"""
    process = run(keeper, tmp_path, script)
    eventually(lambda: "ready" in output(process))
    process.stop(20)
    assert ended(process).code == 7
    assert output(process).endswith("saved\n")


def test_a_shorter_grace_wins_and_a_longer_one_changes_nothing(keeper, tmp_path):
    """PAI-X2: Kill now ends the grace."""
    process = run(keeper, tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    eventually(lambda: "ready" in output(process))
    process.stop(600)
    assert process.wait(0.1) is None
    process.stop(0)
    process.stop(600)
    assert ended(process).signal == signal.SIGKILL


def test_stop_after_the_end_is_harmless(keeper, tmp_path):
    """PAI-T2"""
    process = run(keeper, tmp_path, "exit 4")
    how = ended(process)
    process.stop(0)
    assert ended(process) is how
    assert (how.code, how.gone_after_s) == (4, None)
    assert ended(run(keeper, tmp_path, "exit 5")).code == 5


def test_it_ends_a_process_that_is_frozen(keeper, tmp_path):
    """PAI-X2: SIGTERM alone waits until a stopped process goes on."""
    process = run(keeper, tmp_path, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    eventually(lambda: "ready" in output(process))
    os.kill(process.pid, signal.SIGSTOP)
    process.stop(600)
    assert ended(process).code == 3


def test_what_a_finished_process_leaves_is_ended_too(keeper, tmp_path, token):
    """A child in the background holds the output open: it neither delays the end nor outlives it."""
    process = run(keeper, tmp_path, f"sleep {token} & (setsid sleep {token} &); echo done; exit 0")
    how = ended(process)
    assert (how.code, how.signal, how.gone_after_s) == (0, None, None)
    assert output(process) == "done\n"
    assert sleepers(token) == []


def test_exit_code_signal_memory_and_time_are_told(keeper, tmp_path):
    """PAI-S1, TD-X5"""
    assert ended(run(keeper, tmp_path, "exit 3")).code == 3
    assert ended(run(keeper, tmp_path, "kill -SEGV $$")).signal == signal.SIGSEGV

    script = """
import time
hold = bytearray(120 << 20)
while time.process_time() < 0.4: pass
"""
    how = ended(run(keeper, tmp_path, "", argv=[sys.executable, "-c", script]))
    assert how.code == 0
    assert 120 << 20 < how.peak_memory_bytes < 400 << 20
    assert 0.4 <= how.cpu_s < 10
    assert how.wall_s >= 0.35


def test_memory_and_time_of_the_main_processes_children_count(keeper, tmp_path):
    """TD-X5: the shell waits for the program that does the work."""
    work = (
        f"{sys.executable} -c 'import time; x = bytearray(90 << 20)\nwhile time.process_time() < 0.3: pass'"
    )
    how = ended(run(keeper, tmp_path, f"{work}; exit 2"))
    assert how.code == 2
    assert how.peak_memory_bytes > 90 << 20
    assert how.cpu_s >= 0.3


def test_its_pid_and_start_time_name_the_process(keeper, tmp_path):
    process = run(keeper, tmp_path, "exec sleep 60")
    seen = keeping.stat(process.pid)
    assert (seen.ticks, seen.session, seen.parent) == (process.started_ticks, process.pid, keeper.pid)
    process.stop(0)
    ended(process)
    assert keeping.stat(process.pid) is None


def test_many_short_ones_at_once_all_end(keeper, tmp_path):
    codes: dict[int, int] = {}

    def run_one(number: int) -> None:
        codes[number] = ended(run(keeper, tmp_path, f"echo {number}; exit {number}")).code

    threads = [threading.Thread(target=run_one, args=[number]) for number in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == {number: number for number in range(25)}


def test_output_and_end_that_come_at_once_are_both_read(keeper, tmp_path):
    """TD-S2: of processes that end right after they have printed, one after the other."""
    for number in range(60):
        process = run(keeper, tmp_path, f"echo {number}; exit {number % 3}")
        assert (ended(process).code, output(process)) == (number % 3, f"{number}\n")


def test_much_output_is_kept_at_both_ends_only(keeper, tmp_path):
    """80 MB of numbered lines: the log has the first and the last of them, byte for byte, and its size."""
    cap = 1 << 20
    process = run(keeper, tmp_path, "seq -w 1 9999999", cap_bytes=cap)
    assert ended(process).code == 0
    total = 9999999 * 8
    reader = LogReader(process.log)
    pieces = reader.new()
    assert reader.total == total
    assert pieces[0].offset == 0 and len(pieces[0].data) == cap
    assert cap <= sum(len(piece.data) for piece in pieces[1:]) <= 2 * cap
    assert sum(len(piece.data) for piece in pieces) + reader.dropped == total
    assert pieces[-1].offset + len(pieces[-1].data) == total
    for piece in pieces:
        assert piece.data == b"".join(
            b"%07d\n" % (piece.offset // 8 + i + 1) for i in range(len(piece.data) // 8)
        )


def test_one_that_writes_without_end_holds_up_nobody(keeper, tmp_path):
    noisy = run(keeper, tmp_path, "yes without end", cap_bytes=1 << 20)
    eventually(lambda: LogReader(noisy.log).new() and not (tmp_path / f"{noisy.log.name}.1048576").exists())
    quiet = run(keeper, tmp_path, "echo here; exit 6")
    assert ended(quiet).code == 6
    assert output(quiet) == "here\n"
    assert noisy.wait(0) is None
    noisy.stop(1)
    ended(noisy)
    assert sum(path.stat().st_size for path in tmp_path.glob(f"{noisy.log.name}.*")) <= 3 << 20


def test_a_log_that_cannot_grow_any_more_does_not_stop_the_process(keeper, tmp_path):
    """The folder is gone: as with a full disk, output is lost, and the process goes on."""
    folder = tmp_path / "away"
    folder.mkdir()
    os.mkfifo(tmp_path / "fifo")
    script = "read go < fifo; seq 100000; exit 9"
    process = run(keeper, folder, script, cwd=tmp_path, log=folder / "x", cap_bytes=1000)
    (folder / "x.head").unlink()
    folder.rmdir()
    (tmp_path / "fifo").write_text("go\n")
    assert ended(process).code == 9


def test_a_services_log_goes_on_where_it_was_and_rotates_once(keeper, tmp_path):
    log = tmp_path / "web.log"
    for word in ("first", "second"):
        ended(run(keeper, tmp_path, f"echo {word}", log=log, rotate=True, cap_bytes=100_000))
    assert log.read_text() == "first\nsecond\n"
    ended(
        run(
            keeper,
            tmp_path,
            "for i in 1 2 3 4 5; do seq 10000; done",
            log=log,
            rotate=True,
            cap_bytes=100_000,
        )
    )
    assert log.read_text().endswith("9999\n10000\n")
    assert log.stat().st_size <= 100_000
    assert sorted(path.name for path in tmp_path.glob("web.log*")) == ["web.log", "web.log.1"]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"cwd": Path("/nowhere/at/all")}, "working directory /nowhere/at/all does not exist"),
        ({"argv": ["no-such-program-here"]}, "no-such-program-here was not found"),
        ({"argv": ["/etc/passwd"]}, "/etc/passwd is not executable"),
        ({"argv": ["/etc"]}, "/etc is not executable"),
        ({"argv": ["echo", "a\0b"]}, "could not be started"),
        ({"env": {"A=B": "c"}}, "could not be started"),
        ({"log": Path("/nowhere/log")}, "log /nowhere/log cannot be written"),
        ({"argv": ["echo", "x" * 3_000_000]}, "Argument list too long"),
    ],
)
def test_what_cannot_start_says_why(keeper, tmp_path, broken, sentence):
    with pytest.raises(LaunchError, match=sentence):
        run(keeper, tmp_path, "true", **broken)
    assert ended(run(keeper, tmp_path, "exit 8")).code == 8  # and harms nothing


def test_no_secret_of_the_keeper_and_no_descriptor_but_the_binding_reaches_the_process(keeper, tmp_path):
    process = run(keeper, tmp_path, "env; ls /proc/self/fd | tr '\\n' ' '; read line; echo $?")
    ended(process)
    lines = output(process).splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= {"PATH", "PWD", "SHLVL", "_", "TRIALDECK_LAUNCH", "TRIALDECK_INSTALLATION"}
    assert lines[-1] == f"0 1 {binding.FIRST} 2 3 1"  # 3 is ls's own; stdin is at its end


def test_close_ends_everything(tmp_path, token):
    keeper = Keeper()
    process = run(keeper, tmp_path, stubborn(token))
    eventually(lambda: len(sleepers(token)) == 4)
    keeper.close(grace_s=0.1)
    assert sleepers(token) == []
    assert ended(process).signal == signal.SIGKILL
    assert not keeper.alive
    assert keeping.stat(keeper.pid) is None
    keeper.close()
    with pytest.raises(KeeperDied):
        run(keeper, tmp_path, "true")


def test_a_keeper_that_is_told_to_end_ends_everything_first(keeper, tmp_path, token):
    process = run(keeper, tmp_path, f"(setsid sleep {token} &); sleep {token}")
    eventually(lambda: len(sleepers(token)) == 2)
    os.kill(keeper.pid, signal.SIGTERM)
    assert ended(process).signal == signal.SIGTERM
    eventually(lambda: not keeper.alive)
    assert sleepers(token) == []


ROOT = Path(__file__).parents[2]
OWNER = f"""
import sys, pathlib
sys.path.insert(0, {str(ROOT)!r})
from experiments.runner.process import Keeper
keeper = Keeper(installation="tests")
folder = pathlib.Path(sys.argv[1])
process = keeper.launch(key="it", argv=["bash", "-c", sys.argv[2]], cwd=folder, env=dict(PATH=sys.argv[3]),
                        log=folder / "owned", last=["touch", str(folder / "last")])
print(process.pid, flush=True)
process.wait()
"""


def owner(folder: Path, script: str) -> list[str]:
    return [sys.executable, "-c", OWNER, str(folder), script, os.environ["PATH"]]


def test_when_its_owner_is_killed_nothing_of_the_tree_remains(tmp_path, token):
    """PAI-X2: the worker died by SIGKILL, and nobody is there to clean up but the keeper."""
    process = subprocess.Popen(owner(tmp_path, stubborn(token)), stdout=subprocess.PIPE)
    process.stdout.readline()
    eventually(lambda: len(sleepers(token)) == 4)
    process.kill()
    process.communicate()
    eventually((tmp_path / "last").exists, what="what was to be done last")
    assert sleepers(token) == []


def test_when_its_lease_is_over_everything_ends_although_the_owner_lives(keeper, tmp_path, token):
    """TD-S2: an owner that hangs no longer extends it."""
    keeper.extend_lease(lease.now() + 60, grace_s=0.1)
    process = run(keeper, tmp_path, stubborn(token), last=["touch", str(tmp_path / "last")])
    eventually(lambda: len(sleepers(token)) == 4)
    keeper.extend_lease(lease.now() + 0.05, grace_s=0.1)
    how = ended(process)
    assert (how.lease_expired, how.signal) == (True, signal.SIGKILL)
    assert sleepers(token) == []
    eventually((tmp_path / "last").exists, what="what was to be done last")


def test_an_extended_lease_lets_it_run_on_and_a_new_one_lets_others_start(keeper, tmp_path):
    """TD-S2: also after one was over, when the database is back."""
    os.mkfifo(tmp_path / "fifo")
    first_end = lease.now() + 4  # however slow the machine is, the process starts before
    keeper.extend_lease(first_end, grace_s=0)
    process = run(keeper, tmp_path, "echo ready; read < fifo; exit 3")
    keeper.extend_lease(lease.now() + 60, grace_s=0)
    assert process.wait(max(0.0, first_end - lease.now()) + 0.3) is None
    (tmp_path / "fifo").write_text("go\n")
    assert (ended(process).code, ended(process).lease_expired) == (3, False)
    keeper.extend_lease(lease.now() - 1, grace_s=0)
    assert ended(run(keeper, tmp_path, "sleep 60")).lease_expired
    keeper.extend_lease(lease.now() + 60, grace_s=0)
    assert ended(run(keeper, tmp_path, "exit 4")).code == 4


@pytest.mark.parametrize("lease_s", [lease.MIN_LEASE_S, 5, 8, 15, 120, 3600])
def test_all_trials_have_ended_before_the_lease_is_over(lease_s):
    """TD-S2: other workers may run them one lease after the last heartbeat."""
    ends_at = lease.ends_after_s(lease_s) + lease.grace_s(lease_s) + lease.KILL_S
    assert ends_at <= lease_s and lease.grace_s(lease_s) > 0


SAVES = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[0]).parent
def save(*_):
    time.sleep(0.2)
    (folder / "saved").touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""


def test_an_owner_that_starts_again_waits_for_the_keeper_of_the_former(tmp_path):
    """TD-S2: within its grace a trial of the killed worker still runs."""
    (tmp_path / "saves.py").write_text(SAVES)
    script = f"exec {sys.executable} {tmp_path}/saves.py"
    process = subprocess.Popen(owner(tmp_path, script), stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    eventually((tmp_path / "ready").exists)
    await_orphans(installation="tests")
    assert keeping.stat(pid), "its owner lives"
    process.kill()
    process.communicate()
    await_orphans(installation="tests")
    assert (seen := keeping.stat(pid)) is None or seen.is_gone
    assert (tmp_path / "saved").exists()


def test_a_keeper_below_a_keeper_goes_with_its_owner(keeper, tmp_path, token):
    """As under `up`: the worker is one of its services; its end is told when its trials are gone too."""
    worker = run(keeper, tmp_path, "", argv=owner(tmp_path, stubborn(token)), leftover_grace_s=20)
    eventually(lambda: len(sleepers(token)) == 4)
    os.kill(worker.pid, signal.SIGKILL)
    assert ended(worker).signal == signal.SIGKILL
    assert sleepers(token) == []


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"umask": 0o027},
        {"cores": [min(os.sched_getaffinity(0))]},
        {"env": ENV | {"LD_LIBRARY_PATH": "/nowhere"}},
        {"argv": ["bash"]},
    ],
    ids=["plain", "umask", "cores", "libraries", "by name"],
)
def test_main_processes_die_with_the_keeper(tmp_path, how):
    """PAI-X2, however they are started."""
    keeper = Keeper(installation="tests")
    os.mkfifo(tmp_path / "fifo")
    argv = [*how.get("argv", [BASH]), "-c", "umask; echo $$; trap '' TERM; read < fifo"]
    process = run(keeper, tmp_path, "", **{**how, "argv": argv})
    eventually(lambda: output(process).split()[1:] == [str(process.pid)])
    assert output(process).startswith("0027" if "umask" in how else "00")
    assert list(os.sched_getaffinity(process.pid)) == how.get("cores", sorted(os.sched_getaffinity(0)))
    os.kill(keeper.pid, signal.SIGKILL)
    assert ended(process).lost
    eventually(
        lambda: (seen := keeping.stat(process.pid)) is None or seen.is_gone, what="end with the keeper"
    )


def test_only_reserved_cores_and_memory_need_a_function_in_the_child(tmp_path):
    """With a function, Python copies the keeper's memory for each process."""
    assert launched_process.prepare([], None) is None
    assert launched_process.prepare([0], None)
    assert launched_process.prepare([], os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))


def test_a_process_that_cannot_be_bound_does_not_run(tmp_path, monkeypatch):
    pids = []

    def refuse(_, pid):
        pids.append(pid)
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(binding.Binding, "bind", refuse)
    before = os.listdir("/proc/self/fd")
    order = {"argv": [BASH, "-c", "trap '' TERM; while true; do :; done"], "cwd": str(tmp_path), "env": ENV}
    order |= {"log": str(tmp_path / "log"), "log_below": "", "cap_bytes": 1 << 20, "rotate": False}
    with pytest.raises(launched_process.StartError, match="could not be started: Invalid argument"):
        launched_process.start(order | {"cores": [], "cgroup": "", "umask": None}, "mark")
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)
    assert os.listdir("/proc/self/fd") == before


def test_when_the_keeper_is_killed_its_processes_are_lost_and_swept(tmp_path, token):
    """PAI-X2: main processes die with the keeper; what they started falls to the sweep of the next one."""
    os.mkfifo(tmp_path / "fifo")
    keeper = Keeper(installation=f"tests-{token}")
    process = run(keeper, tmp_path, stubborn(token).replace("env -i", "env"))
    eventually(lambda: len(sleepers(token)) == 4)
    with Keeper(installation=f"tests-{token}") as other:
        neighbour = run(other, tmp_path, "read < fifo")
        os.kill(keeper.pid, signal.SIGKILL)
        how = ended(process)
        assert (how.lost, how.code, how.signal) == (True, None, None)
        assert not keeper.alive
        with pytest.raises(KeeperDied):
            run(keeper, tmp_path, "true")
        eventually(
            lambda: (seen := keeping.stat(process.pid)) is None or seen.is_gone, what="end with the keeper"
        )

        left = sleepers(token)
        assert len(left) == 4
        assert set(left) <= set(sweep(installation=f"tests-{token}"))
        assert sleepers(token) == []
        assert neighbour.wait(0) is None  # its keeper lives
        assert sweep(installation=f"tests-{token}") == []


FETCHES = """
import sys
from pathlib import Path
from experiments.runner.code.checkout import Repositories
from experiments.runner.process import process_marks
sources = Repositories(Path(sys.argv[1]), marks=process_marks(sys.argv[2]))
sources.resolve("git@example.org:repository", "branch", "", is_cancelled=lambda: False)
"""


def test_what_a_killed_worker_was_fetching_is_swept(tmp_path, token):
    """PAI-X2: git, and what git started, has no keeper; it would wait for its server, and write, for ever."""
    env = {**os.environ, "GIT_SSH_COMMAND": f"sleep {token} #"}
    worker = subprocess.Popen([sys.executable, "-c", FETCHES, tmp_path, f"tests-{token}"], env=env)
    eventually(lambda: sleepers(token), what="a fetch that hangs")
    assert sweep(installation=f"tests-{token}") == []  # its worker lives
    worker.kill()
    worker.wait()
    assert set(sleepers(token)) <= set(sweep(installation=f"tests-{token}"))
    assert sleepers(token) == []


def test_a_sweep_of_another_installation_touches_nothing(tmp_path, token):
    keeper = Keeper(installation=f"ours-{token}")
    run(keeper, tmp_path, f"setsid sleep {token} & wait")
    eventually(lambda: len(sleepers(token)) == 1)
    os.kill(keeper.pid, signal.SIGKILL)
    eventually(lambda: not keeper.alive)
    assert sweep(installation=f"theirs-{token}") == []
    assert len(sleepers(token)) == 1
    assert len(sweep(installation=f"ours-{token}")) >= 1
    assert sleepers(token) == []


def test_an_idle_keeper_sleeps(keeper, tmp_path):
    """It waits for events: while nothing happens it uses no CPU time at all."""
    process = run(keeper, tmp_path, "exec sleep 60")

    def cpu_ticks() -> int:
        fields = Path(f"/proc/{keeper.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    assert process.wait(1.5) is None
    assert cpu_ticks() - before <= 2
    process.stop(0)
    ended(process)

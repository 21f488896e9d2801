"""Whom a stop reaches first: the command's own program, then its helpers; and what a command leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runner.test_process import ended, keeper, output, run, sleepers, token
from tests.support.waiting import eventually

__all__ = ["keeper", "token"]  # fixtures

POOL = """
import os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor

def work(seconds):
    time.sleep(seconds)
    return seconds

def save(*_):
    global is_stopping
    is_stopping = True

if __name__ == "__main__":
    is_stopping = False
    signal.signal(signal.SIGTERM, save)
    with ProcessPoolExecutor(2, initializer=signal.signal, initargs=(signal.SIGTERM, signal.SIG_DFL)) as pool:
        while not is_stopping:
            print("batch", sum(pool.map(work, [0.3] * 4)), flush=True)
    print("saved", flush=True)
    open(sys.argv[1], "w").close()
"""


@pytest.fixture
def pool(tmp_path: Path) -> str:
    """A command: batches by two helper processes until SIGTERM, then a checkpoint after the batch."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    return f"{sys.executable} -u {script} {tmp_path}/checkpoint"


@pytest.mark.parametrize(
    "command",
    [
        "{pool}",
        "cd .\n{pool}\necho never",
        "{pool} | tee log.txt\necho never",
        "bash -c 'cd .; {pool}; echo never'\necho never",
        '({pool}) 2>&1 | while read -r line; do echo "$line"; done\necho never',
        "true & {pool} & wait\necho never",
        "timeout 60 {pool}\necho never",
        "echo a | xargs {pool}\necho never",
    ],
)
def test_a_program_saves_its_work_with_the_help_of_its_processes(keeper, tmp_path, pool, command):
    """TD-V7: as it is, below a shell, in a pipe, in a subshell, in the background; no later line runs."""
    process = run(keeper, tmp_path, command.format(pool=pool))
    eventually(lambda: "batch" in output(process))
    process.stop(20)
    end = ended(process)
    assert (tmp_path / "checkpoint").exists() and "saved" in output(process)
    assert "never" not in output(process) and "BrokenProcessPool" not in output(process)
    assert end.gone_after_s < 15 and end.background == ()


def test_helpers_are_signaled_before_the_grace_is_over(keeper, tmp_path):
    """TD-V7: when the program goes on."""
    (tmp_path / "helper.sh").write_text(
        "trap 'echo helper saved; exit' TERM; echo ready; while :; do sleep 0.05; done"
    )
    (tmp_path / "main.py").write_text(
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('goes on', flush=True))\n"
        "while True: subprocess.run(['bash', 'helper.sh'])\n"
    )
    process = run(keeper, tmp_path, f"{sys.executable} main.py")
    eventually(lambda: "ready" in output(process))
    process.stop(3)
    assert ended(process).signal == 9 and "helper saved" in output(process)


def test_a_shell_without_a_running_program_ends_at_once(keeper, tmp_path):
    """TD-V7"""
    process = run(keeper, tmp_path, "trap 'echo saved; exit 3' TERM; echo ready; while :; do :; done")
    eventually(lambda: "ready" in output(process))
    process.stop(30)
    assert ended(process).code == 3 and "saved" in output(process)


def test_a_trap_of_the_shell_runs_after_its_program(keeper, tmp_path, token):
    """TD-V7"""
    process = run(keeper, tmp_path, f"trap 'echo trapped; exit 1' TERM\nsleep {token}\nsleep {token}")
    eventually(lambda: sleepers(token))
    process.stop(20)
    assert ended(process).gone_after_s < 15
    assert "trapped" in output(process) and not sleepers(token)


def test_what_is_left_in_the_background_is_named(keeper, tmp_path, token):
    """TD-V6"""
    process = run(keeper, tmp_path, f"nohup sleep {token} &\necho started", leftover_grace_s=1)
    end = ended(process)
    assert (end.code, end.background) == (0, (f"sleep {token}",))
    assert not sleepers(token)


def test_a_helper_that_ends_with_its_program_is_not_named(keeper, tmp_path):
    """TD-V6"""
    script = "import multiprocessing as m; m.shared_memory.SharedMemory(create=True, size=1).unlink()"
    process = run(keeper, tmp_path, f'{sys.executable} -c "import multiprocessing.shared_memory; {script}"')
    assert ended(process).background == ()

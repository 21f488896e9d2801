"""TD-V9: the line that explains a failure, from what programs and launchers print."""

from __future__ import annotations

import subprocess
import sys

import pytest

from experiments.runner.outcome import find_failure
from experiments.runner.output.error_line import error_line
from experiments.runner.process import Exit

HYDRA = "\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"
AMBIGUOUS = """Ambiguous value for argument 'tag=a,b'
1. To use it as a list, use key=[value1,value2]
2. To use it as string, quote the value: key=\\'value1,value2\\'
3. To sweep over it, add --multirun to your command line"""
TORCHRUN = """
E1129 10:00:00.000000 4242 torch/distributed/elastic/multiprocessing/api.py:826] failed (exitcode: 1) local_rank: 0
Traceback (most recent call last):
  File "/usr/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 4242)
  error_file: <N/A>
  traceback : TRACEBACK
============================================================
"""
TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
    train()
ValueError: diverged
"""

ASIDE = """{}
Traceback (most recent call last):
  File "train.py", line 9, in close
RuntimeError: aside
"""


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (AMBIGUOUS + HYDRA, " ".join(AMBIGUOUS.split("\n"))),
        (
            "Could not override 'tag'.\nKey 'tag' is not in struct" + HYDRA,
            "Could not override 'tag'. Key 'tag' is not in struct",
        ),
        ("Error executing job with overrides: ['lr=1']\n" + TRACEBACK + HYDRA, "ValueError: diverged"),
        (  # tyro
            "╭─ Parsing error ───────────────╮\n│ Argument --lr: invalid choice │\n│ ───────────────────────────── │\n"
            "│ For full helptext, see t.py -h │\n╰───────────────────────────────╯",
            "Argument --lr: invalid choice",
        ),
        ("train.sh: illegal option -- z\nUsage: train.sh [-l LR]", "train.sh: illegal option -- z"),
        (
            "error: Failed to spawn: `trainn`\n  Caused by: No such file or directory (os error 2)",  # uv
            "error: Failed to spawn: `trainn`: Caused by: No such file or directory (os error 2)",
        ),
        (
            TRACEBACK + TORCHRUN.replace("TRACEBACK", "To enable traceback see: https://example.org"),
            "ValueError: diverged",
        ),
        (
            TORCHRUN.replace("TRACEBACK", "Signal 11 (SIGSEGV) received by PID 4242"),
            "Signal 11 (SIGSEGV) received by PID 4242",
        ),
        (TRACEBACK + "wandb: Find logs at: ./wandb\nwandb:\n", "ValueError: diverged"),
        (
            "usage: train.py [-h] --lr LR\ntrain.py: error: the following arguments are required: --lr\nwandb: done",
            "train.py: error: the following arguments are required: --lr",
        ),
        (
            TRACEBACK + "trying again\nusage: t.py [-h]\nt.py: error: unrecognized arguments: --x",
            "t.py: error: unrecognized arguments: --x",
        ),
        (
            "Usage: t.py [OPTIONS]\nTry 't.py --help' for help.\n\nError: No such option: --lrr",
            "Error: No such option: --lrr",
        ),
        (
            "Usage: t.py [OPTIONS]\n╭─ Error ────╮\n│ No such option: --lrr │\n╰────────────╯",
            "No such option: --lrr",
        ),
        (
            "train.sh: line 3: pytho: command not found\nmake: *** [Makefile:2: train] Error 127",
            "train.sh: line 3: pytho: command not found",
        ),
        ("FATAL: no data\ncleaning up\ndone", "FATAL: no data"),
        ("Epoch 1\nout of luck\n-----\n", "out of luck"),
        ("", ""),
        (TRACEBACK + ASIDE.format("Error in atexit._run_exitfuncs:"), "ValueError: diverged"),
        (
            TRACEBACK + ASIDE.format("Exception ignored in: <function Net.__del__ at 0x7f>"),
            "ValueError: diverged",
        ),
        (TRACEBACK + ASIDE.format("Exception in thread Thread-1 (load):"), "ValueError: diverged"),
        (TRACEBACK + ASIDE.format("--- Logging error ---"), "ValueError: diverged"),
        (
            TRACEBACK
            + ASIDE.format("Task exception was never retrieved\nfuture: <Task finished name='Task-2'>"),
            "ValueError: diverged",
        ),
        (TRACEBACK + ASIDE.format("Process SpawnProcess-1:"), "ValueError: diverged"),
        (ASIDE.format("Exception in thread Thread-1 (load):"), "RuntimeError: aside"),
        (
            TRACEBACK + "\nThe above exception was the direct cause of the following exception:\n\n"
            "Traceback (most recent call last):\nTuneError: training failed",
            "TuneError: training failed",
        ),
        (
            "Traceback (most recent call last):\nRuntimeError: Error(s) in loading state_dict for Net:\n"
            "\tsize mismatch for fc",
            "RuntimeError: Error(s) in loading state_dict for Net: size mismatch for fc",
        ),
        (
            "Traceback (most recent call last):\nValidationError: 1 validation error for Config\n"
            "lr\n  Input should be a number",
            "ValidationError: 1 validation error for Config lr Input should be a number",
        ),
        ("Traceback (most recent call last):\nRuntimeError: \n\nbad shape\n", "RuntimeError: bad shape"),
        (
            "╭──── Traceback (most recent call last) ────╮\n│ t.py:3 in main │\n╰────────────╯\nValueError: bad\n",
            "ValueError: bad",
        ),
        (
            "Usage: t.py\n╭─ Error ────╮\n│ Invalid value │\n│ for --lr. │\n╰────────────╯",
            "Invalid value for --lr.",
        ),
        (
            "Error parsing override 'a=b,c'\nSee https://hydra.cc/docs for details" + HYDRA,
            "Error parsing override 'a=b,c'",
        ),
        (
            "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00 (most recent call first):\n"
            '  File "t.py", line 3 in f\n\n'
            "Extension modules: numpy (total: 13)\nbash: line 1: 77 Segmentation fault (core dumped) python t.py",
            "Fatal Python error: Segmentation fault",
        ),
        (
            "bash: -c: line 1: syntax error near unexpected token `then'\nbash: -c: line 1: `if then'",
            "bash: -c: line 1: syntax error near unexpected token `then'",
        ),
        ("epoch 3\nbash: line 1: 77 Killed    python t.py", "bash: line 1: 77 Killed    python t.py"),
        (
            "a: main.c:3: main: Assertion `x > 0' failed.\nAborted (core dumped)",
            "a: main.c:3: main: Assertion `x > 0' failed.",
        ),
        ("Error in fit(x) : bad lr\nCalls: fit\nExecution halted", "Error in fit(x) : bad lr"),
        (
            'Exception in thread "main" java.lang.IllegalStateException: bad lr\n'
            "\tat Main.main(Main.java:3)\n\t... 1 more",
            'Exception in thread "main" java.lang.IllegalStateException: bad lr',
        ),
        (
            "2026-11-29 10:00:00,123 - train - ERROR - lr too large\n2026-11-29 10:00:00,124 - train - INFO - bye",
            "2026-11-29 10:00:00,123 - train - ERROR - lr too large",
        ),
        (
            "FAILED t.py::test_lr - assert 1 == 2\n========= 1 failed in 0.02s =========",
            "FAILED t.py::test_lr - assert 1 == 2",
        ),
    ],
)
def test_the_line_that_explains(output, cause):
    """TD-V9"""
    assert error_line(output.split("\n"))[0] == cause


ARGPARSE = """
import argparse
parser = argparse.ArgumentParser("t.py")
parser.add_argument("--lr", type=float)
parser.parse_args()
"""
CLICK = """
import click
@click.command()
@click.option("--lr", type=float)
def main(lr): pass
main(prog_name="t.py")
"""


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (ARGPARSE, "t.py: error: argument --lr: invalid float value: 'high'"),
        (CLICK, "Error: Invalid value for '--lr': 'high' is not a valid float."),
    ],
)
def test_what_real_programs_print(program, cause):
    """TD-V9"""
    done = subprocess.run(
        [sys.executable, "-c", program, "--lr", "high"], stderr=subprocess.PIPE, check=False
    )
    failure = find_failure(Exit(code=done.returncode), stopped=False, timed_out=False, log_tail=done.stderr)
    assert failure is not None and failure.detail == cause

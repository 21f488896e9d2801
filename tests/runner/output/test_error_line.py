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


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (AMBIGUOUS + HYDRA, " ".join(AMBIGUOUS.split("\n"))),
        (
            "Could not override 'tag'.\nKey 'tag' is not in struct" + HYDRA,
            "Could not override 'tag'. Key 'tag' is not in struct",
        ),
        ("Error executing job with overrides: ['lr=1']\n" + TRACEBACK + HYDRA, "ValueError: diverged"),
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

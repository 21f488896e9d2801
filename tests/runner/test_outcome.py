import subprocess
import sys

import pytest

from experiments.runner.outcome import Failure, final_value, find_failure, one_line
from experiments.runner.process import Exit
from experiments.runner.report import Report


def judged(exit: Exit, tail: bytes | str = "", **more: object) -> Failure | None:
    return find_failure(exit, **{"stopped": False, "timed_out": False, "log_tail": tail, **more})


def output_of(script: str) -> bytes:
    return subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE).stderr


def test_exit_code_zero_is_no_failure():
    assert judged(Exit(code=0), "Traceback (most recent call last):\nValueError: caught and printed") is None


def test_a_stopped_trial_has_not_failed():
    assert judged(Exit(signal=15), stopped=True) is None
    assert judged(Exit(code=1), "KeyboardInterrupt", stopped=True) is None


def test_the_kinds_of_failure():
    """PAI-S1"""
    assert judged(Exit(lost=True)).kind == "worker_lost"
    assert judged(Exit(signal=9, wall_s=61.4), timed_out=True) == Failure(
        "timeout", "Stopped at its time limit after 61 s."
    )
    assert judged(Exit(signal=11), "last words") == Failure(
        "signal", "Ended by SIGSEGV (signal 11): last words"
    )
    assert judged(Exit(signal=9)) == Failure("signal", "Ended by SIGKILL (signal 9).")
    assert judged(Exit(signal=40)).detail == "Ended by signal 40."
    assert judged(Exit(code=139)) == Failure("signal", "Ended by SIGSEGV (signal 11).")
    assert judged(Exit(code=3)) == Failure("exit_code", "Exit code 3, no output.")
    assert judged(Exit(code=255), "a\nssh: no route\n\n") == Failure("exit_code", "ssh: no route")


@pytest.mark.parametrize(
    ("tail", "detail"),
    [
        ("epoch 1\nloss=0.3\n", "Exit code 3, no error message. Last output: loss=0.3"),
        ("loss=0.3\nno space left\n", "no space left"),
        ("loss=0.3\nERROR: loss=nan diverged\n", "ERROR: loss=nan diverged"),
        ("RuntimeError: diverged, loss=7\n", "RuntimeError: diverged, loss=7"),
    ],
)
def test_the_metric_is_no_cause(tail, detail):
    """TD-V9: what a script printed last, before it exited without a word."""
    assert judged(Exit(code=3), tail, pattern="loss={number}") == Failure("exit_code", detail)
    assert judged(Exit(code=3), "loss=0.3\n", pattern="") == Failure("exit_code", "loss=0.3")
    killed = judged(Exit(code=137), "loss=0.3\n", pattern="loss={number}")
    assert killed.detail == "Ended by SIGKILL (signal 9). Last output: loss=0.3"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (130, "signal", "SIGINT (signal 2)"),
        (141, "signal", "SIGPIPE (signal 13)"),
        (152, "signal", "SIGXCPU (signal 24)"),
        (124, "exit_code", "`timeout`"),
    ],
)
def test_codes_that_shells_give_are_explained(code, kind, words):
    """TD-V9"""
    failure = judged(Exit(code=code))
    assert failure.kind == kind and words in failure.detail


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("raise ValueError('no such optimizer: adm')", "ValueError: no such optimizer: adm"),
        ("raise KeyError('lr')", "KeyError: 'lr'"),
        ("import json.nothing", "ModuleNotFoundError: No module named 'json.nothing'"),
        (
            "try:\n 1/0\nexcept Exception as e:\n raise RuntimeError('while training') from e",
            "RuntimeError: while training",
        ),
        ("class Diverged(Exception): pass\nraise Diverged(3)", "Diverged: 3"),
        ("raise ValueError('first line\\nsecond line: x')", "ValueError: first line"),
        ("def f(: pass", "SyntaxError: invalid syntax"),
        (
            "import atexit, sys; atexit.register(print, 'wandb: done', file=sys.stderr); 1/0",
            "ZeroDivisionError: division by zero",
        ),
        ("raise ExceptionGroup('many', [ValueError('a')])", "ValueError: a"),
        (
            "try:\n 1/0\nexcept Exception as e:\n raise ExceptionGroup('many', [ValueError('a')]) from e",
            "ValueError: a",
        ),
        ("raise ExceptionGroup('o', [ExceptionGroup('i', [OSError('a')])])", "OSError: a"),
        ("raise ValueError('{\\n \"lr\": 1\\n}')", 'ValueError: { "lr": 1'),
        ("import sys; sys.exit('no data in /data')", "no data in /data"),
    ],
)
def test_the_detail_is_the_last_exceptions_line(script, detail):
    """PAI-S1: from what Python itself prints."""
    assert judged(Exit(code=1), output_of(script)) == Failure("exit_code", detail)


def test_a_launchers_prefix_does_not_hide_the_exception():
    tail = """[rank0]: Traceback (most recent call last):
[rank0]:   File "train.py", line 3, in <module>
[rank0]:     train()
[rank0]: Diverged: loss is nan
E0101 torchrun: failed (exitcode: 1)"""
    assert judged(Exit(code=1), tail).detail == "Diverged: loss is nan"


def test_the_detail_is_one_clean_line():
    tail = b"\x1b[31mError:\x1b[0m " + b"x" * 1000 + b"\x07\xff\r\n\n"
    detail = judged(Exit(code=1), tail).detail
    assert len(detail) == 300
    assert detail.isprintable()
    assert detail.startswith("Error: xxx") and detail.endswith("x…")
    assert one_line("a\n\tb\x00c") == "a b c"


@pytest.mark.parametrize(
    ("exit", "tail"),
    [
        (Exit(code=1), "Traceback (most recent call last):\n  File x\nMemoryError"),
        (Exit(code=1), "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB"),
        (
            Exit(code=1),
            "Traceback (most recent call last):\n  f\nRuntimeError: CUDA error: CUDA out of memory",
        ),
        (Exit(signal=6), "terminate called after throwing 'std::bad_alloc'\nwhat(): std::bad_alloc\nAborted"),
        (Exit(code=137), "Killed process: Cannot allocate memory"),
    ],
)
def test_out_of_memory_needs_evidence_in_the_last_words(exit, tail):
    """PAI-S1"""
    assert judged(exit, tail).kind == "out_of_memory"


def test_out_of_memory_that_was_survived_is_none():
    tail = """Traceback (most recent call last):
MemoryError
trying again with a smaller batch
Traceback (most recent call last):
ValueError: batch of 0"""
    assert judged(Exit(code=1), tail) == Failure("exit_code", "ValueError: batch of 0")


def test_sigkill_alone_is_a_signal_and_with_the_kernels_word_out_of_memory():
    """PAI-S1: evidence, else signal. A helper that was killed ends the main process by an exception of its own."""
    assert judged(Exit(signal=9)).kind == "signal"
    message = Failure("out_of_memory", "Memory use exceeded its limit of 512 MiB.")
    assert judged(Exit(signal=9, out_of_memory="limit"), memory="512 MiB") == message
    assert judged(Exit(code=137), memory="512 MiB", container_oom=True) == message
    assert judged(Exit(code=1, out_of_memory="limit"), "BrokenProcessPool: x", memory="512 MiB") == message
    assert judged(Exit(code=0, out_of_memory="limit")) is None
    others = judged(Exit(signal=9, out_of_memory="machine"), memory="512 MiB")
    assert others == Failure("out_of_memory", "Killed because the machine ran out of memory.")


def points(*values: float | None, final: float | None | str = "none", name: str = "acc") -> list[Report]:
    results = [
        Report(name, step, value, "" if value is not None else "NaN") for step, value in enumerate(values)
    ]
    if final != "none":
        results.append(Report(name, len(values), final, "" if final is not None else "NaN", final=True))
    return results


def value(reports: list[Report], **more: object) -> float | Failure:
    return final_value(reports, **{"selection": "final", "direction": "maximize", "objective": "acc", **more})


def test_the_final_result_is_the_last_one_reported():
    """TD-F3"""
    assert value(points(0.1, 0.9, final=0.5)) == 0.5
    assert value(points(final=0.5) + points(final=0.6)) == 0.6


def test_the_best_is_at_the_directions_end():
    """TD-F3"""
    reports = points(0.1, 0.9, None, 0.4, final=0.5)
    assert value(reports, selection="best") == 0.9
    assert value(reports, selection="best", direction="minimize") == 0.1
    assert value(points(final=0.5), selection="best") == 0.5


def test_the_average_is_of_the_intermediate_results():
    """TD-F3"""
    assert value(points(0.25, 0.5, 0.75, final=9.0), selection="average") == 0.5
    assert value(points(final=0.5), selection="average") == 0.5
    assert value(points(1e308, 1e308), selection="average") == 1e308


def test_weights_sum_several_metrics():
    """TD-F3: a negative weight turns the direction of its metric's best."""
    reports = points(0.5, 0.75, final=0.5) + points(4.0, 2.0, final=3.0, name="loss")
    weights = {"acc": 2.0, "loss": -0.5}
    assert value(reports, weights=weights) == 2 * 0.5 - 0.5 * 3.0
    assert value(reports, weights=weights, selection="best") == 2 * 0.75 - 0.5 * 2.0


def test_without_a_result_it_is_no_metric():
    """PAI-S1"""
    assert value([]) == Failure("no_metric", "No final result reported for acc.")
    assert value(points(0.5)).detail.endswith(", only intermediate values.")
    assert value([], selection="best").kind == "no_metric"
    assert value(points(final=1.0), weights={"acc": 1, "loss": 1}) == Failure(
        "no_metric", "No final result reported for loss."
    )


def test_a_result_that_is_not_a_finite_number_is_a_bad_metric():
    """PAI-S1"""
    assert value(points(0.5, final=None)) == Failure("bad_metric", "Invalid metric: acc = NaN")
    assert value(points(None, None), selection="best").kind == "bad_metric"
    assert value(points(0.5, None), selection="average").kind == "bad_metric"
    assert value(points(final=1e308), weights={"acc": 1e10}).kind == "bad_metric"

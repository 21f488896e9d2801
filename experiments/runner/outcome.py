"""The outcome of a trial: why it failed, or the value that the search uses."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import Signals

from experiments.runner.output.error_line import error_line
from experiments.runner.output.log import plain_text
from experiments.runner.output.metric_pattern import PatternReader
from experiments.runner.process import Exit
from experiments.runner.report import Report

MAX_DETAIL = 300
BROKEN_PIPE = 128 + 13  # SIGPIPE
BROKEN_PIPE_REASON = (
    "Broken pipe: a program in the pipe got SIGPIPE because the next one stopped reading, as in `yes | head -1`. "
    "If that is intended, turn off “Fail when any part of a pipe fails”."
)
_TIMEOUT_CODE = 124
_TIMEOUT_HINT = "The program `timeout` exits with it when the time is up."
_OUT_OF_MEMORY = re.compile(
    r"\bMemoryError\b|CUDA out of memory|\bOutOfMemoryError\b|CUDA_ERROR_OUT_OF_MEMORY|HIP out of memory"
    r"|MPS backend out of memory|RESOURCE_EXHAUSTED: Out of memory|std::bad_alloc|Cannot allocate memory"
    r"|JavaScript heap out of memory|fatal error: runtime: out of memory|oom-kill"
)
# bash exits with 128 + N when signal N ended a command. Programs use some codes above 128 themselves, but not these.
_ENDED_BY = {128 + number: number for number in (2, 4, 6, 7, 8, 9, 11, 13, 15, 24, 25)}


@dataclass(frozen=True)
class Failure:
    """Why a trial failed. `kind` is exit_code, signal, timeout, out_of_memory, no_metric, bad_metric, worker_lost or
    setup. `detail` is one line of at most 300 characters."""

    kind: str
    detail: str


def find_failure(
    exit: Exit,
    *,
    stopped: bool,
    timed_out: bool,
    log_tail: bytes | str,
    memory: str = "",
    container_oom: bool = False,
    pipefail: bool = False,
    pattern: str = "",
) -> Failure | None:
    """Return why the process failed; None when it exited with 0 or was stopped on request (`stopped`).

    `log_tail` is the end of its output. `memory` is its formatted memory limit, if any. `container_oom`: the container
    engine reports an OOM kill. `pipefail`: the command fails when any part of a pipe does.
    """
    if exit.lost:
        return Failure("worker_lost", "The worker's process supervisor died and ended the trial.")
    if timed_out:
        return Failure("timeout", f"Stopped at its time limit after {exit.wall_s or 0:.0f} s.")
    if stopped or exit.code == 0:
        return None

    every_line = [line.rstrip() for line in plain_text(log_tail).split("\n")]
    lines = [line for line in every_line if line]
    cause, is_exception = error_line(every_line)
    number = exit.signal
    if number is None and exit.code is not None:
        number = _ENDED_BY.get(exit.code)
    if exit.out_of_memory == "machine":
        return Failure("out_of_memory", "Killed because the machine ran out of memory.")
    if exit.out_of_memory or container_oom:
        limit = f"its limit of {memory}" if memory else "the limit of its container"
        return Failure("out_of_memory", f"Memory use exceeded {limit}.")
    evidence = cause if _OUT_OF_MEMORY.search(cause) else ""
    if (
        not evidence and not is_exception
    ):  # after a later exception of another kind, the program had continued
        evidence = next((line for line in reversed(lines[-20:]) if _OUT_OF_MEMORY.search(line)), "")
    if evidence:
        return Failure("out_of_memory", one_line(evidence))
    is_broken_pipe = exit.code == BROKEN_PIPE or (exit.code is not None and "BrokenPipeError" in cause)
    if pipefail and is_broken_pipe:
        return Failure("exit_code", one_line(f"{BROKEN_PIPE_REASON} Exit code {exit.code}."))
    is_last = not is_exception and bool(lines) and cause == lines[-1].strip()
    is_metric = is_last and bool(pattern) and _is_metric(cause, pattern)
    if number is not None:
        reason = f". Last output: {cause}" if is_metric else f": {cause}" if cause else "."
        return Failure("signal", one_line(f"Ended by {_name(number)}{reason}"))
    if exit.code is None:
        return Failure("signal", "The process did not end, even after SIGKILL.")
    if is_metric:
        return Failure(
            "exit_code", one_line(f"Exit code {exit.code}, no error message. Last output: {cause}")
        )
    hint = f" {_TIMEOUT_HINT}" if exit.code == _TIMEOUT_CODE else ""
    return Failure("exit_code", one_line(cause or f"Exit code {exit.code}, no output.{hint}"))


def _is_metric(line: str, pattern: str) -> bool:
    """Return whether a line only reports the metric."""
    is_error = re.search(r"error|exception|fail|abort|fatal", line, re.IGNORECASE)
    return not is_error and bool(PatternReader(pattern, "").feed(f"{line}\n".encode()))


def final_value(
    points: Iterable[Report],
    *,
    selection: str,
    direction: str,
    objective: str,
    weights: Mapping[str, float] | None = None,
) -> float | Failure:
    """Return the objective's value by its `selection` ("final", "best" or "average"), or why there is none.

    `direction` is "minimize" or "maximize". With `weights` {metric name: weight}, the value is the weighted sum of
    those metrics, each selected in the same way; for a negative weight, the best value is the opposite extreme.
    """
    series: dict[str, list[Report]] = {name: [] for name in (weights or {objective: 1.0})}
    for point in points:
        if point.name in series:
            series[point.name].append(point)
    total = 0.0
    for name, weight in (weights or {objective: 1.0}).items():
        is_up = (direction == "maximize") == (weight >= 0)
        value = _selected(name, series[name], selection, is_up)
        if isinstance(value, Failure):
            return value
        total += weight * value
    if not math.isfinite(total):
        return Failure("bad_metric", f"The weighted sum for {one_line(objective)} is not a finite number.")
    return total


def one_line(text: str) -> str:
    """Return the text as a single line of at most 300 characters, without control characters."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _selected(name: str, points: list[Report], selection: str, is_up: bool) -> float | Failure:
    finals = [point for point in points if point.final]
    if selection == "final":
        if not finals:
            hint = ", only intermediate values" if points else ""
            return Failure("no_metric", one_line(f"No final result reported for {name}{hint}."))
        return _number(name, finals[-1])
    if not points:
        return Failure("no_metric", one_line(f"No value reported for {name}."))
    if selection == "best":
        finite = [point.value for point in points if point.value is not None]
        if not finite:
            return _number(name, points[-1])
        return max(finite) if is_up else min(finite)
    averaged = [point for point in points if not point.final] or finals
    values = []
    for point in averaged:
        value = _number(name, point)
        if isinstance(value, Failure):
            return value
        values.append(value)
    return math.fsum(value / len(values) for value in values)


def _number(name: str, point: Report) -> float | Failure:
    if point.value is not None:
        return point.value
    return Failure("bad_metric", one_line(f"Invalid metric: {name} = {point.text or '(empty)'}"))


def _name(number: int) -> str:
    try:
        return f"{Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"

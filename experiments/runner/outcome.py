"""What became of a trial: why it failed, or the value that the search uses."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import Signals

from experiments.runner.log import plain
from experiments.runner.process import Exit
from experiments.runner.report import Report

MAX_DETAIL = 300
_TRACEBACK = re.compile(r"^(.*?)Traceback \(most recent call last\):$")
_EXCEPTION = re.compile(
    r"^(?:\[?\w+\]?: )?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Killed)\b"
)
_OUT_OF_MEMORY = re.compile(
    r"\bMemoryError\b|CUDA out of memory|\bOutOfMemoryError\b|CUDA_ERROR_OUT_OF_MEMORY|HIP out of memory"
    r"|MPS backend out of memory|RESOURCE_EXHAUSTED: Out of memory|std::bad_alloc|Cannot allocate memory"
    r"|JavaScript heap out of memory|fatal error: runtime: out of memory|oom-kill"
)
# bash says 128 + N for a command that signal N ended. Programs use such codes too, but not these.
_ENDED_BY = {128 + number: number for number in (4, 6, 7, 8, 9, 11, 15)}


@dataclass(frozen=True)
class Failure:
    """`kind` is one of the product's: exit_code, signal, timeout, out_of_memory, no_metric, bad_metric,
    worker_lost, setup. `detail` is one line of at most 300 characters."""

    kind: str
    detail: str


def judge(
    exit: Exit,
    *,
    stopped: bool,
    timed_out: bool,
    log_tail: bytes | str,
    memory: str = "",
    container_oom: bool = False,
) -> Failure | None:
    """Why the process failed; None when it exited with 0 or was stopped by somebody (`stopped`).

    `log_tail` is the end of its output. `memory` is its limit in words, if it has one; `container_oom`: the container
    engine says that the kernel killed in it for memory.
    """
    if exit.lost:
        return Failure("worker_lost", "The worker's process keeper died; the trial was ended with it.")
    if timed_out:
        return Failure(
            "timeout", f"It ran for {exit.wall_s or 0:.0f} s and was ended: that is its time limit."
        )
    if stopped or exit.code == 0:
        return None

    lines = [line.rstrip() for line in plain(log_tail).split("\n") if line.strip()]
    said, is_exception = _last_words(lines)
    number = exit.signal if exit.signal is not None else _ENDED_BY.get(exit.code)
    if exit.out_of_memory == "machine":
        return Failure("out_of_memory", "The kernel killed it: the whole machine ran out of memory.")
    if exit.out_of_memory or container_oom:
        most = f"its {memory}" if memory else "its container may use"
        return Failure("out_of_memory", f"It used more than {most}.")
    evidence = said if _OUT_OF_MEMORY.search(said) else ""
    if not evidence and not is_exception:  # a later exception of another kind: memory was survived
        evidence = next((line for line in reversed(lines[-20:]) if _OUT_OF_MEMORY.search(line)), "")
    if evidence:
        return Failure("out_of_memory", one_line(evidence))
    if number is not None:
        return Failure("signal", one_line(f"Ended by {_name(number)}" + (f": {said}" if said else ".")))
    if exit.code is None:
        return Failure("signal", "It could not be ended, even by SIGKILL.")
    return Failure("exit_code", one_line(said or f"Exit code {exit.code}, without a word of output."))


def final_value(
    points: Iterable[Report],
    *,
    selection: str,
    direction: str,
    objective: str,
    weights: Mapping[str, float] | None = None,
) -> float | Failure:
    """The objective's value: of its `selection` "final", "best" or "average"; or why there is none.

    `direction` is "minimize" or "maximize". With `weights` (metric name → weight) it is the weighted sum of
    those metrics, each selected so; for a negative weight the best is the other end.
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
    """At most 300 characters, without control characters."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _last_words(lines: list[str]) -> tuple[str, bool]:
    """The last Python exception's line and True if there is one, else the last line and False."""
    for at in range(len(lines) - 1, -1, -1):
        begin = _TRACEBACK.match(lines[at])
        if begin:
            # Some launchers put a prefix before each line ("[rank0]: "); the frames below are indented.
            rests = (line.removeprefix(begin[1]) for line in lines[at + 1 :])
            said = next((rest for rest in rests if not rest.startswith((" ", "\t"))), "")
            if said:
                return said, True
            break
    bare = [line.lstrip("| ") for line in lines[-5:]]  # exception groups draw a tree
    said = next((line for line in reversed(bare) if _EXCEPTION.match(line)), "")
    return (said, True) if said else (lines[-1].strip() if lines else "", False)


def _selected(name: str, points: list[Report], selection: str, is_up: bool) -> float | Failure:
    finals = [point for point in points if point.final]
    if selection == "final":
        if not finals:
            hint = " It reported intermediate values only." if points else ""
            return Failure("no_metric", one_line(f"No final result for {name} was reported.{hint}"))
        return _number(name, finals[-1])
    if not points:
        return Failure("no_metric", one_line(f"No value of {name} was reported."))
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
    return Failure("bad_metric", one_line(f"{name} is {point.text or 'empty'}, not a finite number."))


def _name(number: int) -> str:
    try:
        return f"{Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"

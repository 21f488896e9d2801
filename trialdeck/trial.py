"""Functions for trials. They use files, so a trial needs no network and no token.

Outside a trial (standalone), parameters are {} and reports are printed.
"""

from __future__ import annotations  # for Python 3.8

import json
import os
import time
from collections.abc import Iterator, Mapping

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    from typing import Any

EXACT_TO = 2**53  # floats hold every whole number up to here
_parameters: dict[str, Any] | None = None
_left_out: set[str] = set()  # entries of reports that were already named in the output


def get_next_parameter() -> dict[str, Any]:
    """Return the parameter values of this trial, by name. Repeated calls return the same values.

    Raise trialdeck.Error (a RuntimeError too) when the trial's parameter file cannot be read.
    """
    global _parameters
    if _parameters is None:
        _parameters = _read_parameters()
    return dict(_parameters)


def get_current_parameter(tag: str | None = None) -> Any:
    """Return the parameter values, or the one named `tag`. Raise KeyError for an unknown name."""
    parameters = get_next_parameter()
    return parameters if tag is None else parameters[tag]


def get_hyperparameters() -> dict[str, dict[str, Any]]:
    """Return the experiment's hyperparameters, {group: {name: value}}, with this trial's values.

    Fixed values are text as configured; searched values are those of get_next_parameter(). Without hyperparameters,
    the result is {}.

    Raise trialdeck.Error (a RuntimeError too) when the configuration's file cannot be read.
    """
    return _read_configuration().get("hyperparameters", {})


def get_configuration(name: str) -> str:
    """Return the text of the experiment's configuration object `name`. Raise KeyError for an unknown name, and
    trialdeck.Error (a RuntimeError too) when the configuration's file cannot be read."""
    return _read_configuration().get("objects", {})[name]


def report_intermediate_result(
    metric: float | Mapping[str, float], step: int | None = None, of: int | None = None
) -> None:
    """Report an intermediate result: a number (the objective), or numbers by name ("default": the objective).

    `step` defaults to the next step of the series. `of`, if known, is the total
    number of steps that this trial will report: `report_intermediate_result(accuracy, of=20)` in each of 20 epochs. The
    console then shows the trial's progress. Raise trialdeck.Error (a TypeError too) for anything else.
    """
    kind: dict[str, object] = {} if step is None else {"step": int(step)}
    if of is not None:
        kind["of"] = _total(of)
    _report(metric, kind)


def report_final_result(metric: float | Mapping[str, float]) -> None:
    """Report the final result: a number (the objective), or numbers by name. The last report counts.

    In a dict, "default" is the objective. Numbers of a dict within it are named `val.f1`, and True is 1. A line of
    output names other entries, such as texts and lists, which are left out. Raise trialdeck.Error (a TypeError too) if
    there is no number, or if "default" is none.
    """
    _report(metric, {"final": True})


def get_experiment_id() -> str:
    """Return the experiment ID; "STANDALONE" outside a trial."""
    return os.environ.get("TRIALDECK_EXPERIMENT_ID", "STANDALONE")


def get_trial_id() -> str:
    """Return the trial ID, <experiment>-<number>; "STANDALONE" outside a trial."""
    return os.environ.get("TRIALDECK_TRIAL_ID", "STANDALONE")


def get_sequence_id() -> int:
    """Return the trial number minus 1, as in NNI; 0 outside a trial."""
    return int(os.environ.get("TRIALDECK_TRIAL_NUMBER", "1")) - 1


def _read_parameters() -> dict[str, Any]:
    path = os.environ.get("TRIALDECK_PARAMETERS")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  pathlib would cost a third of the import
            return json.load(file)
    except (OSError, ValueError) as error:
        from trialdeck import errors

        raise errors.NoFile(f"Cannot read the parameters of the trial from {path}: {error}") from error


def _read_configuration() -> dict[str, Any]:
    path = os.environ.get("TRIALDECK_CONFIGURATION")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  as above
            return json.load(file)
    except (OSError, ValueError) as error:
        from trialdeck import errors

        raise errors.NoFile(f"Cannot read the configuration of the trial from {path}: {error}") from error


def _report(metric: float | Mapping[str, float], kind: dict[str, object]) -> None:
    values = _numbers_in(metric) if isinstance(metric, Mapping) else {"default": metric}
    if "final" not in kind:
        kind["time"] = round(time.time(), 3)
    records = [{"name": name, **kind, "value": _number(name, value)} for name, value in values.items()]
    path = os.environ.get("TRIALDECK_METRICS")
    if not path:
        for record in records:
            _print(record)
        return
    # A single write to a file opened for appending is atomic, among threads and processes too. The file is opened each
    # time: a descriptor kept across a fork, or closed by a daemon, might refer to another file by then.
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise _unwritten(path, f"{error.strerror}. Has the trial ended, or is the disk full?") from error
    if written < len(data):
        raise _unwritten(path, "only a part was written. Is the disk full?")


def _numbers_in(metric: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the numbers of a dict by name, and print the names of other entries once."""
    entries = dict(_entries(metric))
    if not entries:
        raise _bad("A metric must be a number or a dict of numbers by name, not an empty dict.")
    numbers = {name: value for name, value in entries.items() if name == "default" or _is_number(value)}
    if not numbers:
        numbers = entries  # each of them raises
    others = [f"{name} ({type(entries[name]).__name__})" for name in entries if name not in numbers]
    if (
        others
        and (line := f"trialdeck: not a number, left out of the result: {', '.join(others)[:500]}")
        not in _left_out
    ):
        _left_out.add(line)
        print(line, flush=True)
    return numbers


def _entries(metric: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in metric.items():
        name = f"{prefix}{key}" if isinstance(key, (str, int, float)) else f"{prefix}{_name(key)}"
        if isinstance(value, Mapping) and name != "default":
            yield from _entries(value, f"{name}.")
        else:
            yield name, int(value) if isinstance(value, bool) and name != "default" else value


def _is_number(value: Any) -> bool:
    try:
        _number("", value)
    except TypeError:
        return False
    return True


def _print(record: dict[str, object]) -> None:
    if "final" in record:
        kind = "final"
    else:
        kind = f"step {record['step']}" if "step" in record else "intermediate"
    print(f"trialdeck: {record['name']} {kind} {record['value']!r}", flush=True)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise _bad(f"A metric's name must be text, not {type(name).__name__}: {name!r}")
    return name


def _total(of: Any) -> int:
    """Return the total number of steps as an int."""
    if isinstance(of, bool) or not hasattr(of, "__index__") or int(of) < 1:
        raise _bad(f"`of` must be the total number of steps, a whole number of at least 1, not {of!r}.")
    return int(of)


def _number(name: object, value: Any) -> float:
    """Return the value as a float, or as an int that a float would round: int, float, numpy scalars, tensors with one
    number."""
    is_number = not isinstance(value, (str, bytes, bytearray, bool)) and (
        hasattr(value, "__float__") or hasattr(value, "__index__")
    )
    try:
        if is_number:
            number = float(_scalar(value))
            return _whole(value, number) if abs(number) >= EXACT_TO else number
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise _bad(
        f"The metric {name!r} must be a number (or a dict of numbers by name), not {type(value).__name__}: "
        f"{repr(value)[:80]}"
    )


def _scalar(value: Any) -> Any:
    """Return the number of an array or tensor of any shape that has just this one; anything else as it is."""
    is_single = getattr(value, "size", None) == 1 and getattr(
        value, "shape", ()
    )  # newer numpy has no float() for it
    return value.item() if is_single else value


def _whole(value: Any, number: float) -> float:
    """Return a whole number in full, which a float may have rounded; others as the float."""
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        return number


def _bad(sentence: str) -> Exception:
    from trialdeck import errors  # lazy: a trial that reports numbers does not need it

    return errors.BadReport(sentence)


def _unwritten(path: str, why: str) -> Exception:
    from trialdeck import errors

    return errors.NoFile(f"Cannot write the metric to {path}: {why}")

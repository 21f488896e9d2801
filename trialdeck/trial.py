"""What a trial says and asks. It talks through two files, so it needs no network and no token.

Outside a trial everything works too (standalone): parameters are {}, reports are printed.
"""

from __future__ import annotations  # for Python 3.8

import json
import os
from collections.abc import Mapping

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    from typing import Any

_parameters: dict[str, Any] | None = None


def get_next_parameter() -> dict[str, Any]:
    """The values that this trial tries, by parameter name. Asked again it answers the same.

    Raises trialdeck.Error (a RuntimeError too) when the trial's parameter file cannot be read.
    """
    global _parameters
    if _parameters is None:
        _parameters = _read_parameters()
    return dict(_parameters)


def get_current_parameter(tag: str | None = None) -> Any:
    """The same values, or the one named `tag`. Raises KeyError for a name that is not there."""
    parameters = get_next_parameter()
    return parameters if tag is None else parameters[tag]


def get_hyperparameters() -> dict[str, dict[str, Any]]:
    """The experiment's hyperparameters, {group: {name: value}}, with this trial's values where it has some. Values are
    texts as they were given; those that are searched are as in get_next_parameter(). {} where there are none.

    Raises trialdeck.Error (a RuntimeError too) when the configuration's file cannot be read.
    """
    return _read_configuration().get("hyperparameters", {})


def get_configuration(name: str) -> str:
    """The text of the experiment's configuration object `name`. Raises KeyError for a name that is not there, and
    trialdeck.Error (a RuntimeError too) when the configuration's file cannot be read."""
    return _read_configuration().get("objects", {})[name]


def report_intermediate_result(metric: float | Mapping[str, float], step: int | None = None) -> None:
    """Report a value under way: a number (the objective), or numbers by name ("default": the objective).

    `step` places it in its series; left out, it is the next one. Raises trialdeck.Error (a TypeError too) for
    anything else.
    """
    if step is not None:
        step = int(step)
    _report(metric, {} if step is None else {"step": step})


def report_final_result(metric: float | Mapping[str, float]) -> None:
    """Report the result: a number (the objective), or numbers by name. The last one counts.

    Raises trialdeck.Error (a TypeError too) for anything else.
    """
    _report(metric, {"final": True})


def get_experiment_id() -> str:
    """This experiment's ID; "STANDALONE" outside a trial."""
    return os.environ.get("TRIALDECK_EXPERIMENT_ID", "STANDALONE")


def get_trial_id() -> str:
    """This trial's ID, <experiment>-<number>; "STANDALONE" outside a trial."""
    return os.environ.get("TRIALDECK_TRIAL_ID", "STANDALONE")


def get_sequence_id() -> int:
    """This trial's place in its experiment, from 0: its number - 1, as in NNI. 0 outside a trial."""
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

        raise errors.NoFile(f"The trial's parameters cannot be read from {path}: {error}") from error


def _read_configuration() -> dict[str, Any]:
    path = os.environ.get("TRIALDECK_CONFIGURATION")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  as above
            return json.load(file)
    except (OSError, ValueError) as error:
        from trialdeck import errors

        raise errors.NoFile(f"The trial's configuration cannot be read from {path}: {error}") from error


def _report(metric: float | Mapping[str, float], kind: dict[str, object]) -> None:
    values = metric if isinstance(metric, Mapping) else {"default": metric}
    if not values:
        raise _bad("A metric must be a number or a dict of numbers by name; this dict is empty.")
    lines = [{"name": _name(name), **kind, "value": _number(name, value)} for name, value in values.items()]
    path = os.environ.get("TRIALDECK_METRICS")
    if not path:
        for line in lines:
            _print(line)
        return
    # One write to a file opened for appending is whole, among threads and processes too. Opened anew each time:
    # a descriptor kept over a fork or a daemon's closing of files might by then be another file.
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise _unwritten(path, error.strerror + ". Has the trial ended, or is the disk full?") from error
    if written < len(data):
        raise _unwritten(path, "only a part of it fits. Is the disk full?")


def _print(line: dict[str, object]) -> None:
    if "final" in line:
        where = "final"
    else:
        where = f"step {line['step']}" if "step" in line else "intermediate"
    print(f"trialdeck: {line['name']} {where} {line['value']!r}", flush=True)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise _bad(f"A metric's name must be text, not {type(name).__name__}: {name!r}")
    return name


def _number(name: object, value: object) -> float:
    """The value as a float: int, float, numpy scalars, tensors of one number."""
    is_number = not isinstance(value, (str, bytes, bytearray, bool)) and (
        hasattr(value, "__float__") or hasattr(value, "__index__")
    )
    try:
        if is_number:
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise _bad(
        f"The metric {name!r} must be a number (or a dict of numbers by name), not {type(value).__name__}: "
        f"{repr(value)[:80]}"
    )


def _bad(sentence: str) -> Exception:
    from trialdeck import errors  # only when needed: a trial that reports numbers does not wait for it

    return errors.BadReport(sentence)


def _unwritten(path: str, why: str) -> Exception:
    from trialdeck import errors

    return errors.NoFile(f"The metric could not be written to {path}: {why}")

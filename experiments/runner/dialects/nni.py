"""The file channel of NNI 3.0, so that a script written for NNI runs unchanged with the package `nni`.

The trial reads its parameters from `$NNI_SYS_DIR/parameter.cfg` and appends frames to `$NNI_SYS_DIR/.nni/metrics`:
`ME`, the payload's length in six digits, and the payload: JSON and a newline. Its value is JSON again, in a string.
Source: nni/runtime/trial_command_channel/local_legacy.py.
"""

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeGuard

from experiments.runner.dialects.reader import Reader, is_name, number_or_text, step_or_none
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.report import Report
from experiments.runner.safe_files import Root
from experiments.runner.trial_folder import TrialFolder

LOG_NAME = "trial.log"  # the package creates this file in the output folder when it is imported
_HEAD = re.compile(rb"ME([0-9]{6})")
_HEAD_BYTES = 8
_PYTHON_OBJECT = "A Python object"


def prepare(context: RunContext) -> dict[str, str]:
    """Write the parameters where NNI's package reads them."""
    folder = reports_folder(context.folder)
    for path in (folder, f"{folder}/.nni"):
        context.folder.add_folder(path)
    record = {
        "parameter_id": context.number - 1,
        "parameter_source": "algorithm",
        "parameters": context.params,
        "parameter_index": 0,
    }
    context.folder.add_file(f"{folder}/parameter.cfg", json.dumps(record))
    return {
        "NNI_PLATFORM": "local",
        "REUSE_MODE": "false",  # any value but "true" keeps the package from redirecting standard output
        "MULTI_PHASE": "",
        "NNI_TRIAL_COMMAND_CHANNEL": "",  # an inherited value would send the reports elsewhere
        "NNI_EXP_ID": context.experiment_id,
        "NNI_TRIAL_JOB_ID": context.trial_id,
        "NNI_TRIAL_SEQ_ID": str(context.number - 1),
        "NNI_SYS_DIR": folder,
        "NNI_OUTPUT_DIR": str(context.folder.output),
        "NNI_CODE_DIR": str(context.cwd),
    }


def listen(context: RunContext) -> "FrameReader":
    path = f"{reports_folder(context.folder)}/.nni/metrics"
    return FrameReader(path, context.objective, below=context.folder.below)


def reports_folder(folder: TrialFolder) -> str:
    """Return the folder that NNI's package writes to."""
    return f"{folder.path}/nni"  # as text: pathlib takes as long as the system calls


class FrameReader(Reader):
    """Follow the frames of a trial. As in the native dialect, the last of several final results counts."""

    unit = "frames"

    def __init__(self, path: Path | str, objective: str, *, below: Root | None = None) -> None:
        super().__init__(path, objective, below=below)
        self._offset = 0  # of the first byte of _torn in the file
        self._is_lost = False  # no valid frame since the last fault
        self._warning = ""

    def feed(self, data: bytes) -> list[Report]:
        return self._frames(data, is_whole=False)

    def end(self) -> list[Report]:
        return self._frames(b"", is_whole=True)

    def _frames(self, data: bytes, *, is_whole: bool) -> list[Report]:
        buffer, begin, reports = self._torn + data, 0, []
        while head := _HEAD.search(buffer, begin):
            if head.start() > begin:
                self._count_fault(begin)
            end = head.end() + int(head[1])
            if len(buffer) < end and not is_whole:
                begin = head.start()
                break
            if buffer[end - 1 : end] != b"\n":  # also when the frame is cut off
                # Torn, and perhaps followed by other frames: look for the next head in it.
                self._count_fault(head.start())
                begin = head.end()
                continue
            reports += self._frame(buffer[head.end() : end], head.start())
            begin = end
        else:
            tail = 0 if is_whole else _HEAD_BYTES - 1  # these bytes may begin a head
            if len(buffer) - begin > tail:
                self._count_fault(begin)
                begin = len(buffer) - tail
        self._offset += begin
        self._torn = buffer[begin:]
        return reports

    def restart(self) -> None:
        super().restart()
        self._offset, self._is_lost = 0, False

    def notes(self) -> list[str]:
        return super().notes() + ([self._warning] if self._warning else [])

    def _count_fault(self, begin: int) -> None:
        """Count everything up to the next valid frame as one fault."""
        if not self._is_lost:
            self._is_lost = True
            self._fault(f"No complete frame at byte {self._offset + begin:,} of NNI's metrics file.")

    def _frame(self, payload: bytes, begin: int) -> list[Report]:
        self._is_lost = False
        where = f"The frame at byte {self._offset + begin:,} of NNI's metrics file"
        try:
            message = json.loads(payload.decode())
            value = message["value"] if isinstance(message, dict) and "value" in message else None
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            self._fault(f"{where} is not JSON.")
            return []
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "REQUEST_PARAMETER":
            return []  # the parameter file exists before the trial starts
        if kind not in ("PERIODICAL", "FINAL") or "value" not in message:
            self._fault(f"{where} contains no report.")
            return []
        step = step_or_none(message.get("sequence")) if kind == "PERIODICAL" else None
        reports = []
        for name, number, text in self._values(value, where):
            if kind == "FINAL":
                reports.append(self._final(name, None, number, text))
            elif point := self._point(name, step, number, text):
                reports.append(point)
        return reports

    def _values(self, value: object, where: str) -> list[tuple[str, float | None, str]]:
        """Return (name, number, text) of each metric in a number or a dict. The key "default" is the objective."""
        if not isinstance(value, dict) or _is_object(value):
            return [(self.objective, *self._number(value))]
        if "default" not in value and self.objective not in value:
            self._warning = (
                self._warning
                or f'The dict in {where[0].lower()}{where[1:]} has no key "default" or {self.objective!r}.'
            )
        metrics = []
        for name, item in value.items():
            if name == self.objective != "default" and "default" in value:
                continue
            is_objective = name in ("default", self.objective)
            number, text = self._number(item) if is_objective else number_or_text(_decoded(item))
            is_number = number is not None or isinstance(item, float)
            if not is_name(name):
                self._fault(f"{where} has a metric with an invalid name.")
            elif is_objective or is_number:
                metrics.append((self.objective if name == "default" else name, number, text))
        return metrics

    def _number(self, value: object) -> tuple[float | None, str]:
        decoded = _decoded(value)
        if decoded is _PYTHON_OBJECT:
            self._warning = (
                self._warning
                or f"{_PYTHON_OBJECT} was reported as {self.objective}; report a number instead."
            )
        return number_or_text(decoded)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether this is json_tricks' encoding of a Python object."""
    return isinstance(value, dict) and "default" not in value and any(name.startswith("__") for name in value)


def _decoded(value: object) -> object:
    """Return a number for an array with one item, a decimal or a fraction. Other objects are never decoded: they are
    pickles, or name code to import."""
    if not _is_object(value):
        return value
    try:
        if "__decimal__" in value:
            return float(value["__decimal__"])
        if "__fraction__" in value:
            return float(Fraction(int(value["numerator"]), int(value["denominator"])))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return _PYTHON_OBJECT
    if "__ndarray__" not in value:
        return _PYTHON_OBJECT
    inner = value["__ndarray__"]
    while isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return "An array of several numbers" if isinstance(inner, list) else inner

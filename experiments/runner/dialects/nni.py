"""NNI 3.0's file channel, so that a script written for NNI runs unchanged, with its own package `nni`.

The trial finds its values in `$NNI_SYS_DIR/parameter.cfg` and appends frames to `$NNI_SYS_DIR/.nni/metrics`: `ME`,
the payload's length in six digits, the payload: JSON and a newline. The value in it is JSON again, in a string.
Source: nni/runtime/trial_command_channel/local_legacy.py.
"""

import json
import re
from fractions import Fraction

from experiments.runner.dialects.reader import Reader, is_name, number_or_text, step_or_none
from experiments.runner.dialects.told import Told
from experiments.runner.report import Report

LOG_NAME = "trial.log"  # the package makes this file in the output folder as soon as it is imported
_HEAD = re.compile(rb"ME([0-9]{6})")
_HEAD_BYTES = 8
_FAR = "An object that only Python can read"


def prepare(told: Told) -> dict[str, str]:
    """Writes the parameters where NNI's package looks for them."""
    room = told.folder.path / "nni"
    (room / ".nni").mkdir(parents=True, exist_ok=True)
    record = {
        "parameter_id": told.number - 1,
        "parameter_source": "algorithm",
        "parameters": told.params,
        "parameter_index": 0,
    }
    (room / "parameter.cfg").write_text(json.dumps(record), "utf-8")
    return {
        "NNI_PLATFORM": "local",
        "REUSE_MODE": "false",  # any word but "true": then its package leaves standard output alone
        "MULTI_PHASE": "",
        "NNI_TRIAL_COMMAND_CHANNEL": "",  # one that was inherited would lead the reports elsewhere
        "NNI_EXP_ID": told.experiment_id,
        "NNI_TRIAL_JOB_ID": told.trial_id,
        "NNI_TRIAL_SEQ_ID": str(told.number - 1),
        "NNI_SYS_DIR": str(room),
        "NNI_OUTPUT_DIR": str(told.folder.output),
        "NNI_CODE_DIR": str(told.cwd),
    }


def listen(told: Told) -> "FrameReader":
    return FrameReader(told.folder.path / "nni" / ".nni" / "metrics", told.objective)


class FrameReader(Reader):
    """Follows one trial's frames. As in our own channel, the last of several final results counts."""

    unit = "frames"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._at = 0  # of the first byte of _torn, in the file
        self._is_lost = False  # no good frame since the last fault
        self._remark = ""

    def feed(self, data: bytes) -> list[Report]:
        return self._frames(data, is_whole=False)

    def end(self) -> list[Report]:
        return self._frames(b"", is_whole=True)

    def _frames(self, data: bytes, *, is_whole: bool) -> list[Report]:
        buffer, begin, reports = self._torn + data, 0, []
        while head := _HEAD.search(buffer, begin):
            if head.start() > begin:
                self._lose(begin)
            end = head.end() + int(head[1])
            if len(buffer) < end and not is_whole:
                begin = head.start()
                break
            if buffer[end - 1 : end] != b"\n":  # beyond the end, too
                # Torn, and followed by others perhaps: look for the next within it.
                self._lose(head.start())
                begin = head.end()
                continue
            reports += self._frame(buffer[head.end() : end], head.start())
            begin = end
        else:
            kept = 0 if is_whole else _HEAD_BYTES - 1  # they may be the beginning of a head
            if len(buffer) - begin > kept:
                self._lose(begin)
                begin = len(buffer) - kept
        self._at += begin
        self._torn = buffer[begin:]
        return reports

    def begin_anew(self) -> None:
        super().begin_anew()
        self._at, self._is_lost = 0, False

    def notes(self) -> list[str]:
        return super().notes() + ([self._remark] if self._remark else [])

    def _lose(self, begin: int) -> None:
        """Something else than frames, up to the next good one: one fault."""
        if not self._is_lost:
            self._is_lost = True
            self._fault(f"At byte {self._at + begin:,} of NNI's metrics file there is no whole frame.")

    def _frame(self, payload: bytes, begin: int) -> list[Report]:
        self._is_lost = False
        where = f"The frame at byte {self._at + begin:,} of NNI's metrics file"
        try:
            said = json.loads(payload.decode())
            value = said["value"] if isinstance(said, dict) and "value" in said else None
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            self._fault(f"{where} is not JSON.")
            return []
        kind = said.get("type") if isinstance(said, dict) else None
        if kind == "REQUEST_PARAMETER":
            return []  # the values are there from the beginning
        if kind not in ("PERIODICAL", "FINAL") or "value" not in said:
            self._fault(f"{where} reports nothing.")
            return []
        step = step_or_none(said.get("sequence")) if kind == "PERIODICAL" else None
        reports = []
        for name, number, text in self._values(value, where):
            if kind == "FINAL":
                reports.append(self._final(name, None, number, text))
            elif point := self._point(name, step, number, text):
                reports.append(point)
        return reports

    def _values(self, value: object, where: str) -> list[tuple[str, float | None, str]]:
        """(name, number, text) of each metric in it: the number, or a dict's; its "default" is the objective."""
        if not isinstance(value, dict) or _is_object(value):
            return [(self.objective, *self._number(value))]
        if "default" not in value and self.objective not in value:
            self._remark = (
                self._remark or f'{where} has neither "default" nor {self.objective!r} in its dict.'
            )
        found = []
        for name, each in value.items():
            if name == self.objective != "default" and "default" in value:
                continue
            is_objective = name in ("default", self.objective)
            number, text = self._number(each) if is_objective else number_or_text(_plain(each))
            is_number = number is not None or isinstance(each, float)
            if not is_name(name):
                self._fault(f"{where} has a metric with no good name.")
            elif is_objective or is_number:
                found.append((self.objective if name == "default" else name, number, text))
        return found

    def _number(self, value: object) -> tuple[float | None, str]:
        plain = _plain(value)
        if plain is _FAR:
            self._remark = self._remark or f"{_FAR} was reported as {self.objective}: report a number."
        return number_or_text(plain)


def _is_object(value: object) -> bool:
    """Is it what json_tricks makes of something that JSON does not know?"""
    return isinstance(value, dict) and "default" not in value and any(name.startswith("__") for name in value)


def _plain(value: object) -> object:
    """A number for an array of one, a decimal or a fraction. Other objects are never decoded: they are pickles,
    or name code to import."""
    if not _is_object(value):
        return value
    try:
        if "__decimal__" in value:
            return float(value["__decimal__"])
        if "__fraction__" in value:
            return float(Fraction(int(value["numerator"]), int(value["denominator"])))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return _FAR
    if "__ndarray__" not in value:
        return _FAR
    inner = value["__ndarray__"]
    while isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return "An array of several numbers" if isinstance(inner, list) else inner

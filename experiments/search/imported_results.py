"""Results of elsewhere, read from a file: CSV or JSON, our own exports, NNI's and Optuna's among them.

A result is (parameters, value). What the parameters mean is found out when a search space is there (`adapted`): a
file does not say whether 16 is a number or a text, nor what belongs to which object of a nested choice.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .nested_choice import Group, Nested, flat
from .parameters import NOTHING, Choice
from .space import MAX_COLUMN, MAX_LEAVES

MOST_BYTES = 5_000_000
MOST_RESULTS = 10_000
MOST_FAULTS = 5  # told at once
GOOD = ("COMPLETE", "succeeded", "early_stopped")  # Optuna's word, and ours
OURS, OPTUNAS = "p.", "params_"  # before the name of a parameter in the exports
NUMBER = re.compile(r"[+-]?(\d+|\d*\.\d+|\d+\.)([eE][+-]?\d+)?", re.ASCII)
QUOTED = re.compile(r"'[=+\-@\t\r]")  # how our export begins a text that a spreadsheet would calculate

Result = tuple[dict[str, object], float]


class ResultsError(ValueError):
    """A file that cannot be used; `faults` says what is wrong with it, each with its place."""

    def __init__(self, faults: Sequence[str]) -> None:
        told = list(faults[:MOST_FAULTS])
        if len(faults) > MOST_FAULTS:
            told.append(f"There are {len(faults) - MOST_FAULTS:,} more such faults.")
        self.faults = told
        super().__init__(" ".join(told))


@dataclass(frozen=True)
class Read:
    """What stands in a file; `skipped` rows have no finite result, or are of trials that did not end well."""

    results: list[Result]
    skipped: int


def read(data: bytes) -> Read:
    """Read a file's results. Raises `ResultsError`."""
    if len(data) > MOST_BYTES:
        raise ResultsError([f"The file has more than {MOST_BYTES // 1_000_000} MB."])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ResultsError(["The file is not text in UTF-8; save it as CSV UTF-8, or as JSON."]) from None
    if "\0" in text:
        raise ResultsError(["The file contains NUL characters; save it as CSV UTF-8, or as JSON."])
    if not text.strip():
        raise ResultsError(["The file is empty."])
    rows = _in_json(text) if text.lstrip()[0] in "[{" else _in_csv(text)
    results, faults, skipped, count = [], [], 0, 0
    for count, (place, params, value, state) in enumerate(rows, start=1):
        if count > MOST_RESULTS:
            raise ResultsError([f"There are more than {MOST_RESULTS:,} results; keep those that matter."])
        if isinstance(params, str):  # why it could not be read
            faults.append(f"{place}: {params}")
            continue
        result = _number(value) if state is None or state in GOOD else None
        if result is None or not math.isfinite(result):
            if isinstance(value, str) and not value.strip():
                value = None
            is_fault = value is not None and result is None and (state is None or state in GOOD)
            faults += [f"{place}: value is not a number ({str(value)[:40]})."] if is_fault else []
            skipped += not is_fault
        else:
            results.append((params, result))
    if faults:
        raise ResultsError(faults)
    if not results:
        why = f": none of its {count:,} rows ended well with a number as value" if count else ""
        raise ResultsError([f"There are no results in the file{why}."])
    return Read(results, skipped)


def adapted(group: Group, params: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a result as these parameters would have them: `layer/kernel_size` goes into its
    object, 16.0 becomes the choice 16 or "16", and what is missing null, if that may be chosen. What does not fit
    stays as it is."""
    rest = flat(params)
    return {**_adapted(group, rest, ""), **rest}


def columns(results: Sequence[Result]) -> list[str]:
    """The names of all parameters in them, nested ones as `layer/kernel_size`, in their order."""
    return list(dict.fromkeys(name for params, _ in results for name in flat(params)))


def _adapted(group: Group, rest: dict[str, object], before: str) -> dict[str, object]:
    """Takes out of `rest` what it has put in its place."""
    made: dict[str, object] = {}
    for parameter in group.parameters:
        name = before + parameter.name
        if name not in rest:
            if isinstance(parameter, Choice) and None in parameter.values:
                made[parameter.name] = None
            continue
        value = rest.pop(name)
        if isinstance(parameter, Nested):
            chosen = value if isinstance(value, str) else json.dumps(value)
            branch = parameter.branch_of({"_name": chosen})
            value = {"_name": chosen, **_adapted(branch, rest, f"{name}/")} if branch else value
        elif isinstance(parameter, Choice) and parameter.to_raw(value) is NOTHING:
            meant = _meaning(value)
            value = next((one for one in parameter.values if _meaning(one) == meant), value)
        made[parameter.name] = value
    return made


def _meaning(value: object) -> tuple[bool, object]:
    """Equal for what a file may write alike: 16, 16.0 and "16"; but true is not 1."""
    told = _cell(value) if isinstance(value, str) else value
    return isinstance(told, bool), told


# --- CSV ---------------------------------------------------------------------------------------------------------

# (where it stands; parameters, or why they could not be read; the value as it stands there; its state)
Row = tuple[str, dict[str, object] | str, object, str | None]


def _in_csv(text: str) -> Iterator[Row]:
    head = text.lstrip().partition("\n")[0]
    separator = next((one for one in ",;\t" if one in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    last = 0
    try:
        for cells in reader:
            place, last = f"Line {last + 1}", reader.line_num
            if not any(cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                known = _parameters(names)
                value_at, state_at = names.index("value"), names.index("state") if "state" in names else None
                has_state = state_at is not None and not known.get(state_at)
            elif len(cells) != len(names):
                yield place, f"{len(cells):,} instead of {len(names):,} cells.", None, None
            else:
                params = {name: _cell(cells[at]) for at, name in known.items() if cells[at].strip()}
                yield place, params, cells[value_at], cells[state_at] if has_state else None
    except csv.Error as error:
        raise ResultsError([f"Line {reader.line_num}: this cannot be read as CSV ({error})."]) from None


def _parameters(names: list[str]) -> dict[int, str]:
    """Which cells are parameters, and their names. Raises `ResultsError`."""
    named = [name for name in names if name]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise ResultsError([f"Line 1: the column {twice[:60]} stands there twice; keep one."])
    if "value" not in names:
        also = ", and keep one objective" if any(name.startswith("values_") for name in names) else ""
        raise ResultsError([f"Line 1: there is no column value; call the one of the results so{also}."])
    prefix = ""
    if "state" in names and "number" in names:  # an export: it tells more of a trial than its parameters
        prefix = next((one for one in (OURS, OPTUNAS) if any(name.startswith(one) for name in names)), "")
    found = {
        at: name.removeprefix(prefix)
        for at, name in enumerate(names)
        if name.startswith(prefix) and name.removeprefix(prefix) and (prefix or name != "value")
    }
    if not found:
        raise ResultsError(["Line 1: there is no column of a parameter beside value."])
    if len(found) > MAX_LEAVES or max(map(len, found.values())) > MAX_COLUMN:
        raise ResultsError(
            [f"Line 1: at most {MAX_LEAVES:,} parameters, with names of at most {MAX_COLUMN} characters."]
        )
    return found


def _cell(text: str) -> object:
    """A number, true, false, a list or an object where it reads as one; else the text."""
    bare = text.strip()
    if NUMBER.fullmatch(bare) and len(bare) < 400:
        number = float(bare)
        is_whole = bare.lstrip("+-").isdecimal()
        return int(bare) if is_whole else number if math.isfinite(number) else text
    if bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    if bare[:1] in ("[", "{"):
        try:
            return json.loads(bare)
        except (ValueError, RecursionError):
            return text
    return text[1:] if QUOTED.match(text) else text


def _number(value: object) -> float | None:
    """A result as a number, maybe not finite; None where it is none. NNI writes numbers as text, and may keep the
    result of a trial with several metrics as `default`."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping):
        value = value.get("default")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


# --- JSON --------------------------------------------------------------------------------------------------------


def _in_json(text: str) -> Iterator[Row]:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"Line {error.lineno}, column {error.colno}"
        raise ResultsError([f"{where}: this is not valid JSON ({error.msg})."]) from None
    except (ValueError, RecursionError):
        raise ResultsError(
            ["This JSON is nested too deeply, or holds a number with too many digits."]
        ) from None
    if not isinstance(records, list):
        raise ResultsError(['This must be a list of results: [{"params": {"lr": 0.1}, "value": 0.9}, …].'])
    for number, record in enumerate(records, start=1):
        place = f"Result {number:,}"
        params = _params(record) if isinstance(record, dict) else None
        if not params:
            yield place, 'it must be an object such as {"params": {"lr": 0.1}, "value": 0.9}.', None, None
            continue
        state = record.get("state")
        yield place, params, record.get("value"), state if isinstance(state, str) else None


def _params(record: dict) -> dict[str, object] | None:
    """By our name, NNI's, that of our file of trials, or one by one, where that was asked for chosen columns."""
    told = next((record[key] for key in ("params", "parameter", "parameters") if key in record), None)
    if told is None:
        return {name[len(OURS) :]: value for name, value in record.items() if name.startswith(OURS)}
    return told if isinstance(told, dict) else None

"""Import results from a file: CSV or JSON, including our own exports and those of NNI and Optuna.

A result is (parameters, value). The parameters are interpreted later, with a search space (`adapt_params`): a file
does not say whether 16 is a number or a text, or which parameter belongs to which branch of a nested choice.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .imports.cells import (
    OPTUNA_PREFIX,
    OWN_PREFIX,
    params_of,
    parse_cell,
    result_of,
    separator_of,
    with_decimal_point,
)
from .nested_choice import Group, Nested, flat
from .parameters import NOT_IN_SPACE, Choice
from .space import MAX_COLUMN, MAX_LEAVES

MAX_BYTES = 5_000_000
MAX_RESULTS = 10_000
MAX_FAULTS = 5  # shown at once
FINISHED_STATES = ("COMPLETE", "succeeded", "early_stopped")  # Optuna's state, and ours

Result = tuple[dict[str, object], float]


class ResultsError(ValueError):
    """An invalid file; `faults` are the error messages, each with its position."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults[:MAX_FAULTS])
        if len(faults) > MAX_FAULTS:
            self.faults.append(f"{len(faults) - MAX_FAULTS:,} more errors like these.")
        super().__init__(" ".join(self.faults))


@dataclass(frozen=True)
class ImportedResults:
    """The results in a file. `skipped` rows have no finite result, or belong to trials that did not finish."""

    results: list[Result]
    skipped: int


def read_results(data: bytes) -> ImportedResults:
    """Parse the results in a file. Raise ResultsError when it is invalid."""
    if len(data) > MAX_BYTES:
        raise ResultsError([f"The file is larger than {MAX_BYTES // 1_000_000} MB."])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ResultsError(["The file is not UTF-8 text; save it as CSV UTF-8 or JSON."]) from None
    if "\0" in text:
        raise ResultsError(["The file contains NUL characters; save it as CSV UTF-8 or JSON."])
    if not text.strip():
        raise ResultsError(["The file is empty."])
    rows = _json_rows(text) if text.lstrip()[0] in "[{" else _csv_rows(text)
    results: list[Result] = []
    faults: list[str] = []
    skipped = count = 0
    for count, (position, params, value, state) in enumerate(rows, start=1):
        if count > MAX_RESULTS:
            raise ResultsError([f"The file has more than {MAX_RESULTS:,} results; remove some."])
        if isinstance(params, str):  # an error message
            faults.append(f"{position}: {params}")
            continue
        is_finished = state is None or state in FINISHED_STATES
        result = result_of(value) if is_finished else None
        if result is None or not math.isfinite(result):
            if isinstance(value, str) and not value.strip():
                value = None
            is_fault = value is not None and result is None and is_finished
            faults += [f"{position}: value is not a number ({str(value)[:40]})."] if is_fault else []
            skipped += not is_fault
        else:
            results.append((params, result))
    if faults:
        raise ResultsError(faults)
    if not results:
        reason = f": none of its {count:,} rows is a finished trial with a number as value" if count else ""
        raise ResultsError([f"The file contains no results{reason}."])
    return ImportedResults(results, skipped)


def adapt_params(group: Group, params: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a result in the form of these parameters: `layer/kernel_size` moves into its object,
    16.0 becomes the choice 16 or "16", and a missing value becomes null if null is a choice. Values that do not fit
    are returned unchanged."""
    remaining = flat(params)
    return {**_adapt(group, remaining, ""), **remaining}


def parameter_names(results: Sequence[Result]) -> list[str]:
    """Return the names of all parameters in the results in their order, nested ones as `layer/kernel_size`."""
    return list(dict.fromkeys(name for params, _ in results for name in flat(params)))


def _adapt(group: Group, remaining: dict[str, object], before: str) -> dict[str, object]:
    """Return the adapted values of a group, and remove them from `remaining`."""
    adapted: dict[str, object] = {}
    for parameter in group.parameters:
        name = before + parameter.name
        if name not in remaining:
            if isinstance(parameter, Choice) and None in parameter.values:
                adapted[parameter.name] = None
            continue
        value = remaining.pop(name)
        if isinstance(parameter, Nested):
            chosen = value if isinstance(value, str) else json.dumps(value)
            branch = parameter.branch_of({"_name": chosen})
            value = {"_name": chosen, **_adapt(branch, remaining, f"{name}/")} if branch else value
        elif isinstance(parameter, Choice) and parameter.to_raw(value) is NOT_IN_SPACE:
            key = _comparison_key(value)
            value = next((choice for choice in parameter.values if _comparison_key(choice) == key), value)
        adapted[parameter.name] = value
    return adapted


def _comparison_key(value: object) -> tuple[bool, object]:
    """Return a key that is equal for 16, 16.0 and "16", which files write alike, but not for true and 1."""
    parsed = parse_cell(value) if isinstance(value, str) else value
    return isinstance(parsed, bool), parsed


# --- CSV ---------------------------------------------------------------------------------------------------------

# (position in the file, parameters or an error message, value as written, state)
Row = tuple[str, dict[str, object] | str, object, str | None]


def _csv_rows(text: str) -> Iterator[Row]:
    header = text.lstrip().partition("\n")[0]
    separator = separator_of(header)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    parameters: dict[int, str] = {}
    value_index, state_index = 0, None
    last_line = 0
    try:
        for cells in reader:
            position, last_line = f"Line {last_line + 1}", reader.line_num
            if not any(cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                parameters = _parameter_columns(names)
                value_index = names.index("value")
                state_index = names.index("state") if "state" in names else None
                if state_index in parameters:  # a parameter of this name
                    state_index = None
            elif len(cells) != len(names):
                yield position, f"{len(cells):,} cells instead of {len(names):,}.", None, None
            else:
                if separator != ",":
                    cells = [with_decimal_point(cell) for cell in cells]
                params = {
                    name: parse_cell(cells[index])
                    for index, name in parameters.items()
                    if cells[index].strip()
                }
                yield (
                    position,
                    params,
                    cells[value_index],
                    None if state_index is None else cells[state_index],
                )
    except csv.Error as error:
        raise ResultsError([f"Line {reader.line_num}: invalid CSV ({error})."]) from None


def _parameter_columns(names: list[str]) -> dict[int, str]:
    """Return the parameter names by column index. Raise ResultsError when the header is invalid."""
    filled = [name for name in names if name]
    if duplicate := next((name for name in filled if filled.count(name) > 1), None):
        raise ResultsError([f"Line 1: the column {duplicate[:60]} occurs twice; remove one."])
    if "value" not in names:
        keep_one = " and keep one objective" if any(name.startswith("values_") for name in names) else ""
        raise ResultsError([f"Line 1: the column value is missing; name the results column value{keep_one}."])
    prefix = ""
    if "state" in names and "number" in names:  # an export, which has other columns than parameters
        prefixes = (OWN_PREFIX, OPTUNA_PREFIX)
        prefix = next(
            (candidate for candidate in prefixes if any(name.startswith(candidate) for name in names)), ""
        )
    parameters = {
        index: name.removeprefix(prefix)
        for index, name in enumerate(names)
        if name.startswith(prefix) and name.removeprefix(prefix) and (prefix or name != "value")
    }
    if not parameters:
        raise ResultsError(["Line 1: value is the only column; add a column per parameter."])
    if len(parameters) > MAX_LEAVES or max(map(len, parameters.values())) > MAX_COLUMN:
        raise ResultsError(
            [f"Line 1: the maximum is {MAX_LEAVES:,} parameters with names of {MAX_COLUMN} characters."]
        )
    return parameters


# --- JSON --------------------------------------------------------------------------------------------------------


def _json_rows(text: str) -> Iterator[Row]:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise ResultsError(
            [f"Line {error.lineno}, column {error.colno}: invalid JSON ({error.msg})."]
        ) from None
    except (ValueError, RecursionError):
        raise ResultsError(
            ["The JSON is nested too deeply or contains a number with too many digits."]
        ) from None
    if not isinstance(records, list):
        raise ResultsError(
            ['The JSON must be a list of results: [{"params": {"lr": 0.1}, "value": 0.9}, …].']
        )
    for number, record in enumerate(records, start=1):
        position = f"Result {number:,}"
        params = params_of(record) if isinstance(record, dict) else None
        if not params:
            yield position, 'must be an object such as {"params": {"lr": 0.1}, "value": 0.9}.', None, None
            continue
        state = record.get("state")
        yield position, params, record.get("value"), state if isinstance(state, str) else None

"""Tables and lists of records: CSV and JSON of Weights & Biases, NNI, Optuna, Trialdeck, and of spreadsheets.

Records in a JSON file name their parameters. In a CSV file the columns are guessed from their names; the roles of
the columns can be changed with `roles`.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import cells
from .archive import MAX_DOCUMENT, MAX_LINE, json_value
from .errors import ReadError
from .staging import MAX_NAME, MAX_NAMES, Staging, number_and_text

PARAMETER, METRIC, SKIPPED = "parameter", "metric", "skipped"
STATE, STARTED, ENDED, DETAIL, POINTS, SECONDS = "state", "started", "ended", "detail", "points", "seconds"
NAME = "value"  # of an objective without a name
WAITING = "trials that have not started"
WITHOUT_PARAMETERS = "records without parameters"
TEXTS = "metrics that are not numbers"

_METRIC_NAME = re.compile(
    r"(?:^|[_/ .\-])(?:val(?:id(?:ation)?)?|train|test|eval|best|final)?[_/ .\-]?"
    r"(?:loss|acc|accuracy|auc|auroc|roc_auc|f1|score|error|err|mse|rmse|mae|mape|r2|perplexity|ppl|bleu|rouge|wer|cer|"
    r"precision|recall|iou|miou|map|reward|return|metric|value|values?_\d+|objective|result|fid|latency|throughput)"
    r"(?:$|[_/ .\-@\d])",
    re.IGNORECASE,
)
_TEXTUAL = {
    "Notes",
    "User",
    "Tags",
    "Sweep",
    "GitHub",
    "Git repository",
    "Hostname",
    "ID",
    "Name",
    "Group",
    "Job Type",
}
# fmt: off
_OWN = {
    "id", "is_partial", "last_step", "duration_s", "created_at", "worker", "revision", "source", "attempt",
    "rerun_of", "failure", "exit_code", "signal", "gone_after_s", "peak_memory_bytes", "cpu_s", "number", "last_value",
}
# fmt: on


def read_csv(path: Path, staging: Staging, *, name: str, roles: Mapping[str, str] | None = None) -> str:
    """Copy a table and return its format. `name`: of the study, from the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline(MAX_LINE)
            file.seek(0)
            separator = cells.separator_of(header)
            reader = csv.reader(file, delimiter=separator, strict=True)
            return _read_rows(
                reader, staging, name=name, roles=roles or {}, has_decimal_commas=separator != ","
            )
    except UnicodeDecodeError:
        raise ReadError(
            "The format of the file is not supported, and it is not UTF-8 text. Save a table as CSV UTF-8."
        ) from None
    except csv.Error as error:
        raise ReadError(f"Line {reader.line_num:,}: invalid CSV ({error}).") from None


def _read_rows(
    reader: Any, staging: Staging, *, name: str, roles: Mapping[str, str], has_decimal_commas: bool
) -> str:
    names: list[str] = []
    kind, columns = "csv", dict[str, tuple[str, str]]()
    study = number = 0
    last_line = 0
    for row in reader:
        position, last_line = f"Line {last_line + 1:,}", reader.line_num
        if not any(cell.strip() for cell in row):
            continue
        if any("\0" in cell for cell in row):
            raise ReadError(f"{position} contains a NUL character; save the file as CSV UTF-8.")
        if not names:
            names = [cell.strip() for cell in row]
            if duplicate := next(
                (name for name, count in Counter(filter(None, names)).items() if count > 1), None
            ):
                raise ReadError(f"Line 1: the column {duplicate[:60]} occurs twice; remove one.")
            if len(names) > MAX_NAMES:
                raise ReadError(
                    f"Line 1: a table can have at most {MAX_NAMES:,} columns; this one has {len(names):,}."
                )
            continue
        if len(row) != len(names):
            raise ReadError(f"{position}: {len(row):,} cells instead of {len(names):,}.")
        if has_decimal_commas:
            row = [cells.with_decimal_point(cell) for cell in row]
        if {"config", "summary"} <= set(names):
            study = study or staging.add_study(name)
            kind = "wandb"
            number += _add_wandb_row(staging, study, number + 1, dict(zip(names, row, strict=True)), position)
            continue
        if not number:
            kind, columns = _guess_columns(names, row)
            chosen = {column: role for column, role in roles.items() if role in (PARAMETER, METRIC, SKIPPED)}
            columns = {
                column: (
                    role,
                    chosen.get(column, guess) if guess in (PARAMETER, METRIC, SKIPPED) else guess,
                )
                for column, (role, guess) in columns.items()
            }
            study = staging.add_study(
                name,
                columns=[
                    [column, guess]
                    for column, (_, guess) in columns.items()
                    if guess in (PARAMETER, METRIC, SKIPPED)
                ],
            )
        number += _add_row(staging, study, number + 1, dict(zip(names, row, strict=True)), columns)
    if not number:
        raise ReadError(
            "The table has no rows below its header, or none of them is a trial that has started."
        )
    return kind


def _guess_columns(names: list[str], first: list[str]) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the format, and for each column its name in the history and its role."""
    values = dict(zip(names, first, strict=True))
    has = set(names).__contains__
    roles: dict[str, tuple[str, str]] = {}
    if has("number") and has("state"):
        prefix = next(
            (p for p in (cells.OWN_PREFIX, cells.OPTUNA_PREFIX) if any(n.startswith(p) for n in names)), ""
        )
        kind = "optuna" if prefix == cells.OPTUNA_PREFIX else "trialdeck-table" if prefix else "csv"
    elif has("trialJobId"):
        kind, prefix = "nni", ""
    elif has("Name") and any(map(has, ("State", "Runtime", "Created", "Sweep"))):
        kind, prefix = "wandb", ""
    else:
        kind, prefix = "csv", ""
    for name in filter(None, names):
        roles[name] = (name, _role(name, values[name], kind, prefix, has_value=has("value")))
        if prefix and name.startswith(prefix) and len(name) > len(prefix):
            roles[name] = (name.removeprefix(prefix), PARAMETER)
        elif kind == "optuna" and name.startswith("user_attrs_"):
            roles[name] = (name.removeprefix("user_attrs_"), METRIC)
        elif kind == "trialdeck-table" and name.startswith("m."):
            roles[name] = (name.removeprefix("m."), METRIC)
    if not any(role == PARAMETER for _, role in roles.values()):
        raise ReadError("Line 1: the table has no parameter column.")
    return kind, roles


def _role(name: str, value: str, kind: str, prefix: str, *, has_value: bool) -> str:
    word = name.casefold()
    if word in ("state", "status") and (prefix or value.strip().casefold() in cells.STATES):
        return STATE
    if word in ("datetime_start", "started_at", "created", "start_time"):
        return STARTED
    if word in ("datetime_complete", "ended_at", "end_time"):
        return ENDED
    if kind == "nni" and name == "intermediate":
        return POINTS
    if kind == "wandb" and name == "Runtime":
        return SECONDS
    if prefix:
        if name == "detail":
            return DETAIL
        return METRIC if name == "value" or name.startswith("values_") else SKIPPED
    if name == "value" or (kind == "nni" and name in ("reward", "default")):
        return METRIC
    if kind == "nni":
        return SKIPPED if name == "trialJobId" else PARAMETER
    if kind == "wandb" and (name in _TEXTUAL or name.startswith("_") or name.startswith("wandb")):
        return SKIPPED
    if has_value:  # as in uploads for warm starts: all others are parameters
        return PARAMETER
    is_number = not value.strip() or cells.result_of(value) is not None
    return METRIC if is_number and _METRIC_NAME.search(name) else PARAMETER


def _add_row(
    staging: Staging, study: int, number: int, row: dict[str, str], columns: dict[str, tuple[str, str]]
) -> int:
    """Add a trial. Return 0 for one that has not started."""
    by_role: dict[str, str] = {}
    for column, (_, role) in columns.items():
        if role in (STATE, STARTED, ENDED, DETAIL, POINTS, SECONDS):
            by_role[role] = row[column]
    state = _state(by_role.get(STATE))
    if state == cells.WAITING:
        staging.leave_out(study, WAITING)
        return 0
    started = cells.instant_of(by_role.get(STARTED))
    ended = cells.instant_of(by_role.get(ENDED))
    seconds = cells.result_of(by_role.get(SECONDS))
    if started is not None and seconds is not None and 0 <= seconds < 1e9:
        ended = started + seconds
    trial = staging.add_trial(
        study, number, state, started=started, ended=ended, detail=by_role.get(DETAIL, "")
    )
    for column, (name, role) in columns.items():
        text = row[column]
        if not text.strip():
            continue
        if role == PARAMETER:
            staging.add_param(trial, name, cells.parse_cell(text))
        elif role == METRIC:
            _add_metric(staging, study, trial, name, text)
    if POINTS in by_role:
        _add_points(staging, trial, by_role[POINTS])
    return 1


def _state(word: object) -> str:
    if not isinstance(word, str) or not word.strip():
        return "succeeded"
    return cells.STATES.get(word.strip().casefold(), "stopped")


def _add_metric(staging: Staging, study: int, trial: int, name: str, value: object) -> None:
    number = cells.result_of(value)
    if number is None:
        staging.leave_out(study, TEXTS)
    else:
        staging.add_metric(trial, name, *number_and_text(number))


def _add_points(staging: Staging, trial: int, value: object) -> None:
    """Add NNI's list of intermediate results, which may be JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    for step, item in enumerate(value if isinstance(value, list) else ()):
        number = cells.result_of(item)
        if number is not None:
            staging.add_point(trial, NAME, step, *number_and_text(number))


# --- JSON --------------------------------------------------------------------------------------------------------


def read_json(path: Path, staging: Staging, *, name: str) -> str:
    """Copy a list of records and return its format."""
    if path.stat().st_size > MAX_DOCUMENT:
        raise ReadError(
            f"A JSON file has at most {MAX_DOCUMENT >> 20} MiB. Save one record in each line (JSON Lines), or as CSV."
        )
    document = json.loads("null") if not path.stat().st_size else _lenient(path.read_bytes())
    if isinstance(document, dict):
        document = next(
            (document[key] for key in ("runs", "trials", "trialMessage") if key in document), None
        )
    if not isinstance(document, list):
        raise ReadError('The JSON must be a list of results: [{"params": {"lr": 0.1}, "value": 0.9}, …].')
    return _read_records(enumerate(document, start=1), "Result", staging, name=name)


def read_json_lines(path: Path, staging: Staging, *, name: str) -> str:
    """Copy a file with one record in each line and return its format."""

    def records() -> Iterator[tuple[int, Any]]:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise ReadError(f"Line {number:,} is longer than 16 MiB.")
                if line.strip():
                    yield number, _lenient(line, f"Line {number:,}")

    return _read_records(records(), "Line", staging, name=name)


def _lenient(data: bytes, where: str = "The file") -> Any:
    """Return a JSON value that may contain Python's NaN and Infinity as results."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return json_value(data, where)


def _read_records(records: Iterator[tuple[int, Any]], unit: str, staging: Staging, *, name: str) -> str:
    study = staging.add_study(name)
    kind, number = "json", 0
    for place, record in records:
        if not isinstance(record, dict):
            raise ReadError(
                f'{unit} {place:,} must be an object such as {{"params": {{"lr": 0.1}}, "value": 0.9}}.'
            )
        if "config" in record and any(
            key in record for key in ("summary", "summaryMetrics", "summary_metrics")
        ):
            kind = "wandb"
            number += add_wandb(staging, study, number + 1, record)
            continue
        if "trialJobId" in record or "hyperParameters" in record:
            kind = "nni"
        number += _add_record(staging, study, number + 1, record, f"{unit} {place:,}")
    if not number:
        raise ReadError("The file contains no trials that have started.")
    return kind


def _add_record(staging: Staging, study: int, number: int, record: dict[str, Any], where: str) -> int:
    params = cells.params_of(record) or _nni_params(record)
    if not params:
        raise ReadError(f'{where} must be an object such as {{"params": {{"lr": 0.1}}, "value": 0.9}}.')
    state = _state(record.get("state") or record.get("status"))
    if state == cells.WAITING:
        staging.leave_out(study, WAITING)
        return 0
    value = record.get("value", _final_metric(record))
    number_value = cells.result_of(value)
    if value is not None and number_value is None and state == "succeeded" and str(value).strip():
        raise ReadError(f"{where}: value is not a number ({str(value)[:40]}).")
    trial = staging.add_trial(
        study,
        number,
        state,
        started=cells.instant_of(record.get("started_at") or record.get("startTime")),
        ended=cells.instant_of(record.get("ended_at") or record.get("endTime")),
        detail=str(record.get("detail") or ""),
    )
    for name, item in params.items():
        staging.add_param(trial, str(name), item)
    if number_value is not None:
        staging.add_metric(trial, NAME, *number_and_text(number_value))
    final_metrics = record.get("final_metrics")
    if isinstance(value, str):
        value = _lenient_or_none(value)
    if isinstance(value, dict):
        final_metrics = {key: item for key, item in value.items() if key != "default"}
    for name, item in (final_metrics if isinstance(final_metrics, dict) else {}).items():
        _add_metric(staging, study, trial, str(name), item)
    _add_points(staging, trial, record.get("intermediate"))
    return 1


def _lenient_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _nni_params(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of a trial in NNI's own entries: a list of texts of `{"parameters": {…}}`."""
    entries = record.get("hyperParameters")
    if isinstance(entries, list) and entries:
        entries = entries[-1]
    document = _lenient_or_none(entries) if isinstance(entries, str) else entries
    params = document.get("parameters", document) if isinstance(document, dict) else None
    return params if isinstance(params, dict) else None


def _final_metric(record: dict[str, Any]) -> Any:
    metrics = record.get("finalMetricData")
    last = metrics[-1] if isinstance(metrics, list) and metrics else None
    data = last.get("data") if isinstance(last, dict) else None
    return _lenient_or_none(data) if isinstance(data, str) else data  # NNI encodes them twice


def _config_values(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the parameters of a W&B config, and those of nested ones as W&B's tables name them: `model.layers`."""
    for key, item in config.items():
        if str(key).startswith(("_", "wandb")):
            continue
        inner = item["value"] if isinstance(item, dict) and "value" in item else item
        if isinstance(inner, dict) and inner:
            for name, value in _config_values(inner):
                yield f"{key}.{name}", value
        else:
            yield str(key), inner


def add_wandb(staging: Staging, study: int, number: int, record: dict[str, Any]) -> int:
    """Add a W&B run as its API returns it; `history` is a list or an iterator of rows. Return the number of trials."""
    state = _state(record.get("state"))
    if state == cells.WAITING:
        staging.leave_out(study, WAITING)
        return 0
    config = _object(record.get("config"))
    summary = _object(
        next((record[key] for key in ("summary", "summaryMetrics", "summary_metrics") if key in record), None)
    )
    params = dict(_config_values(config))
    if not params:
        staging.leave_out(study, WITHOUT_PARAMETERS)
        return 0
    started = cells.instant_of(record.get("created_at") or record.get("createdAt"))
    seconds = cells.result_of(summary.get("_runtime"))
    ended = started + seconds if started is not None and seconds is not None and 0 <= seconds < 1e9 else None
    trial = staging.add_trial(study, number, state, started=started, ended=ended)
    for name, item in params.items():
        staging.add_param(trial, str(name), item)
    for name, item in summary.items():
        if not str(name).startswith("_"):
            _add_metric(staging, study, trial, str(name)[:MAX_NAME], item)
    history = record.get("history")
    for place, row in enumerate(history if isinstance(history, list | Iterator) else ()):
        if not isinstance(row, dict):
            continue
        step, runtime_s = row.get("_step", place), cells.result_of(row.get("_runtime"))
        elapsed_s = runtime_s if runtime_s is not None and 0 <= runtime_s < 1e9 else None
        for name, item in row.items():
            if not str(name).startswith("_") and isinstance(item, int | float) and isinstance(step, int):
                staging.add_point(trial, str(name), step, *number_and_text(item), elapsed_s=elapsed_s)
    return 1


def _add_wandb_row(staging: Staging, study: int, number: int, row: dict[str, str], where: str) -> int:
    """Add a run of a table of W&B's API (`DataFrame.to_csv`), whose config and summary are objects in Python's
    notation."""
    record: dict[str, Any] = dict(row)
    for column in ("config", "summary"):
        record[column] = cells.python_object(row[column])
        if record[column] is None:
            raise ReadError(
                f"{where}: the column {column} is not an object such as {{'lr': 0.1}}. Save the runs as JSON."
            )
    return add_wandb(staging, study, number, record)


def _object(value: object) -> dict[str, Any]:
    """Return an object, which W&B's API may also return as text."""
    document = _lenient_or_none(value) if isinstance(value, str) else value
    return document if isinstance(document, dict) else {}

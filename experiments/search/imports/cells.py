"""Parse cells of tables and values of records: shared by imports and by uploads for warm starts."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

OWN_PREFIX, OPTUNA_PREFIX = "p.", "params_"  # of parameter columns in exports
NUMBER = re.compile(r"[+-]?(\d+|\d*\.\d+|\d+\.)([eE][+-]?\d+)?", re.ASCII)
QUOTED = re.compile(
    r"'[=+\-@\t\r]"
)  # how our export escapes a text that a spreadsheet would read as a formula
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*", re.ASCII)
SEPARATORS = ",;\t"
WAITING = "waiting"

# The names of trial and run states in Trialdeck, Optuna, NNI, MLflow and W&B, in lower case.
STATES = {
    **dict.fromkeys(("succeeded", "complete", "completed", "finished", "success", "done"), "succeeded"),
    **dict.fromkeys(("early_stopped", "pruned"), "early_stopped"),
    **dict.fromkeys(("failed", "fail", "crashed", "error"), "failed"),
    **dict.fromkeys(
        (
            "stopped",
            "stopping",
            "killed",
            "canceled",
            "cancelled",
            "user_canceled",
            "sys_canceled",
            "running",
        ),
        "stopped",
    ),
    **dict.fromkeys(("preempting", "preempted"), "stopped"),
    **dict.fromkeys(("waiting", "pending", "queued", "scheduled", "unknown"), WAITING),
}


def separator_of(header: str) -> str:
    """Return the separator of the columns: the candidate that occurs most often in the first line, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def with_decimal_point(text: str) -> str:
    """Replace the decimal comma of a number by a point; return any other text unchanged. For tables whose columns are
    not separated by commas."""
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text


def python_object(text: str) -> dict[str, object] | None:
    """Return the object that a text represents as JSON or in Python's notation, nan and inf included; else None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(_Numbers().visit(ast.parse(text.strip(), mode="eval")))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    return value if isinstance(value, dict) else None


class _Numbers(ast.NodeTransformer):
    """Replaces the names nan and inf in a syntax tree by the numbers."""

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802 - the name that ast looks for
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def parse_cell(text: str) -> object:
    """Return the number, true, false, list or object that the text represents, else the text."""
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


def result_of(value: object) -> float | None:
    """Return a result as a number (possibly not finite), or None. NNI writes numbers as text, and stores the results
    of a trial with several metrics as an object with the key `default`."""
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


def params_of(record: dict) -> dict[str, object] | None:
    """Return the parameters of a record: under our key, NNI's, that of our trials file, or as `p.` columns."""
    params = next((record[key] for key in ("params", "parameter", "parameters") if key in record), None)
    if params is None:
        prefix = OWN_PREFIX
        return {name[len(prefix) :]: value for name, value in record.items() if name.startswith(prefix)}
    return params if isinstance(params, dict) else None


def instant_of(value: object) -> float | None:
    """Return the seconds since 1970 of a time: ISO 8601 (UTC without a zone), seconds or milliseconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > 1e11 else float(value)
        return seconds if 0 <= seconds < 2e11 else None
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

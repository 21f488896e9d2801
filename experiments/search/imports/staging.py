"""A temporary database that holds a history while it is previewed and imported, so that memory stays bounded.

A `Study` becomes one experiment. Its trials have Trialdeck's states; parameters are JSON values; metrics are the
final numbers, points the intermediate ones.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ReadError

MAX_TRIALS = 1_000_000
MAX_POINTS = 50_000_000
MAX_STUDIES = 1_000
MAX_NAMES = 1_000  # of parameters or metrics of one study
MAX_NAME = 200  # characters
MAX_JSON = 100_000  # characters of one value
MAX_DEPTH = 20  # levels of lists and objects in one value
BATCH = 2_000  # rows

STATES = ("succeeded", "early_stopped", "failed", "stopped")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(allow_nan=False).encode  # made once, not for each value

_SCHEMA = """
CREATE TABLE study (id INTEGER PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL DEFAULT '{}');
CREATE TABLE trial (
    id INTEGER PRIMARY KEY, study INTEGER NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
    started REAL, ended REAL, detail TEXT NOT NULL DEFAULT '', extra TEXT
);
CREATE TABLE param (trial INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE metric (trial INTEGER NOT NULL, name TEXT NOT NULL, value REAL, text TEXT NOT NULL DEFAULT '');
CREATE TABLE point (
    trial INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL, text TEXT NOT NULL DEFAULT '',
    elapsed REAL
);
CREATE TABLE space (study INTEGER NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL);
CREATE TABLE left_out (study INTEGER NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL);
"""
_INDEXES = """
CREATE INDEX trial_by_number ON trial (study, number);
CREATE INDEX param_by_trial ON param (trial);
CREATE INDEX metric_by_trial ON metric (trial);
CREATE INDEX point_by_trial ON point (trial, name, step);
"""

# name, step, value, text of a value that is not a finite number, seconds since the start of the trial
Point = tuple[str, int, float | None, str, float | None]


@dataclass(frozen=True)
class Study:
    """A study of the file: the rows of one experiment. `directions` by metric, as far as the file has them."""

    id: int
    name: str
    objective: str = ""
    directions: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedTrial:
    """A trial as the file has it. Instants are seconds since 1970, UTC."""

    id: int
    number: int
    state: str
    started: float | None
    ended: float | None
    detail: str
    params: dict[str, Any]
    metrics: dict[str, float | str]  # values that are not finite as text
    extra: dict[str, Any]


class Staging:
    """The database in a new file at `path`. Readers call the `add_…` methods, then `finish`."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        self._points: list[tuple[int, str, int, float | None, str, float | None]] = []
        self._params: list[tuple[int, str, str]] = []
        self._metrics: list[tuple[int, str, float | None, str]] = []
        self._left_out: Counter[tuple[int, str]] = Counter()
        self._renames: list[tuple[int, dict[str, str]]] = []
        self.trial_count = self.point_count = 0

    def close(self) -> None:
        self._db.close()

    # --- filling -----------------------------------------------------------------------------------------

    def add_study(self, name: str, *, id: int | None = None, **document: Any) -> int:  # noqa: A002
        """Add a study and return its ID. `document`: `objective`, `directions`, and what only its format has."""
        if self._count("study") >= MAX_STUDIES:
            raise ReadError(f"The file has more than {MAX_STUDIES:,} studies.")
        values = (id, clean(name, limit=MAX_NAME), json.dumps(document))
        return int(
            self._db.execute("INSERT INTO study (id, name, document) VALUES (?, ?, ?)", values).lastrowid or 0
        )

    def update_study(self, study: int, **document: Any) -> None:
        """Add to what is stored about a study."""
        row = self._db.execute("SELECT document FROM study WHERE id = ?", [study]).fetchone()
        if row:
            merged = json.dumps({**json.loads(row[0]), **document})
            self._db.execute("UPDATE study SET document = ? WHERE id = ?", [merged, study])

    def remove_study(self, study: int) -> None:
        self._db.execute("DELETE FROM study WHERE id = ?", [study])
        self._db.execute("DELETE FROM trial WHERE study = ?", [study])

    def add_trial(
        self,
        study: int,
        number: int,
        state: str,
        *,
        id: int | None = None,  # noqa: A002
        started: float | None = None,
        ended: float | None = None,
        detail: str = "",
        extra: dict[str, Any] | None = None,
    ) -> int:
        """Add a trial and return its ID, by default the next one."""
        self.trial_count += 1
        if self.trial_count > MAX_TRIALS:
            raise ReadError(f"The file has more than {MAX_TRIALS:,} trials.")
        text = None if extra is None else json.dumps(extra)
        values = (id, study, number, state, started, ended, clean(detail, limit=300), text)
        cursor = self._db.execute("INSERT INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return int(cursor.lastrowid or 0)

    def update_trial(self, trial: int, **columns: Any) -> None:
        """Change the `state`, `started`, `ended` or `detail` of a trial."""
        names = ", ".join(
            f"{name} = ?" for name in columns if name in ("state", "started", "ended", "detail")
        )
        self._db.execute(f"UPDATE trial SET {names} WHERE id = ?", [*columns.values(), trial])  # noqa: S608

    def remove_trial(self, trial: int) -> None:
        self._db.execute("DELETE FROM trial WHERE id = ?", [trial])

    def add_param(self, trial: int, name: str, value: object) -> None:
        """Add the value of a parameter, which must be a JSON value."""
        try:
            text = _encode(value)
        except (TypeError, ValueError, RecursionError):
            text = json.dumps(str(value)[:MAX_NAME])  # nan and infinities: no value of a search space
        if len(text) > MAX_JSON or depth_of(value) > MAX_DEPTH or "\\u0000" in text or "\\ud" in text:
            raise ReadError(
                f"The parameter {name[:60]} has a value that cannot be stored: it is too long, nested too deeply, or "
                "has NUL characters."
            )
        self._params.append((trial, clean(name, limit=MAX_NAME), text))
        if len(self._params) >= BATCH:
            self._flush()

    def add_metric(self, trial: int, name: str, value: float | None, text: str = "") -> None:
        """Add a final value. None: the value was not a finite number; `text` is the original."""
        self._metrics.append((trial, clean(name, limit=MAX_NAME), value, clean(text, limit=200)))
        if len(self._metrics) >= BATCH:
            self._flush()

    def add_point(
        self,
        trial: int,
        name: str,
        step: int,
        value: float | None,
        text: str = "",
        *,
        elapsed_s: float | None = None,
    ) -> None:
        """Add an intermediate value. `elapsed_s`: seconds since the start of the trial, where the file has them."""
        if not -(2**63) <= step < 2**63:
            raise ReadError(f"The metric {name[:60]} has a step with too many digits.")
        self.point_count += 1
        if self.point_count > MAX_POINTS:
            raise ReadError(f"The file has more than {MAX_POINTS:,} intermediate values.")
        point = (trial, clean(name, limit=MAX_NAME), step, value, clean(text, limit=200), elapsed_s)
        self._points.append(point)
        if len(self._points) >= BATCH:
            self._flush()

    def add_definition(self, study: int, name: str, definition: dict[str, Any]) -> None:
        """Add the definition of a parameter that the file has, in the form of our search spaces."""
        self._db.execute("INSERT INTO space VALUES (?, ?, ?)", [study, name, json.dumps(definition)])

    def leave_out(self, study: int, description: str, count: int = 1) -> None:
        """Count what is not imported; `description` is a phrase such as `notes of runs`."""
        self._left_out[study, description] += count

    def rename_metrics(self, study: int, names: dict[str, str]) -> None:
        """Rename metrics of all trials of a study, once everything is added."""
        self._renames.append((study, names))

    def remove_blank_trials(self, description: str) -> None:
        """Remove succeeded trials without any parameter, metric or point; `description` is a phrase for `leave_out`."""
        self._flush()
        blank = (
            "state = 'succeeded' AND id NOT IN (SELECT trial FROM param) AND id NOT IN (SELECT trial FROM metric) "
            "AND id NOT IN (SELECT trial FROM point)"
        )
        counts = self._db.execute(f"SELECT study, count(*) FROM trial WHERE {blank} GROUP BY study")  # noqa: S608
        for study, count in counts.fetchall():
            self.leave_out(study, description, count)
        self._db.execute(f"DELETE FROM trial WHERE {blank}")  # noqa: S608

    def finish(self) -> None:
        """Make everything readable, after all rows are added."""
        self._flush()
        self._db.executemany(
            "INSERT INTO left_out VALUES (?, ?, ?)",
            [(study, description, count) for (study, description), count in self._left_out.items()],
        )
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)
        for study, names in self._renames:
            cases = " ".join("WHEN ? THEN ?" for _ in names)  # in one statement, because names may be swapped
            values = [text for pair in names.items() for text in pair]
            for table in ("metric", "point"):
                self._db.execute(
                    f"UPDATE {table} SET name = CASE name {cases} ELSE name END "  # noqa: S608
                    "WHERE trial IN (SELECT id FROM trial WHERE study = ?)",
                    [*values, study],
                )

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO param VALUES (?, ?, ?)", self._params)
        self._db.executemany("INSERT INTO metric VALUES (?, ?, ?, ?)", self._metrics)
        self._db.executemany("INSERT INTO point VALUES (?, ?, ?, ?, ?, ?)", self._points)
        self._params.clear()
        self._metrics.clear()
        self._points.clear()

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    # --- reading -----------------------------------------------------------------------------------------

    def studies(self) -> list[Study]:
        rows = self._db.execute("SELECT id, name, document FROM study ORDER BY id").fetchall()
        studies = []
        for key, name, text in rows:
            document = json.loads(text)
            studies.append(
                Study(
                    key, name, document.pop("objective", ""), document.pop("directions", {}) or {}, document
                )
            )
        return studies

    def counts(self, study: int) -> dict[str, int]:
        """Return the number of trials by state."""
        sql = "SELECT state, count(*) FROM trial WHERE study = ? GROUP BY state"
        return dict(self._db.execute(sql, [study]).fetchall())

    def points_of_study(self, study: int) -> int:
        """Return the number of intermediate values."""
        sql = "SELECT count(*) FROM point WHERE trial IN (SELECT id FROM trial WHERE study = ?)"
        return int(self._db.execute(sql, [study]).fetchone()[0])

    def definitions(self, study: int) -> dict[str, dict[str, Any]]:
        rows = self._db.execute("SELECT name, definition FROM space WHERE study = ?", [study])
        return {name: json.loads(text) for name, text in rows}

    def left_out(self, study: int) -> list[tuple[str, int]]:
        rows = self._db.execute("SELECT what, count FROM left_out WHERE study = ?", [study])
        return list(rows.fetchall())

    def metric_names(self, study: int) -> list[tuple[str, int]]:
        """Return each metric and the number of trials that have it, as a final or an intermediate value."""
        sql = """SELECT name, count(DISTINCT trial) FROM (
                SELECT trial, name FROM metric UNION ALL SELECT DISTINCT trial, name FROM point
            ) WHERE trial IN (SELECT id FROM trial WHERE study = ?) GROUP BY name ORDER BY name LIMIT ?"""
        return self._db.execute(sql, [study, MAX_NAMES]).fetchall()

    def param_values(self, study: int) -> Iterator[tuple[str, Any]]:
        """Yield the name and value of every parameter of every trial, in the order of the trials."""
        sql = """SELECT param.name, param.value FROM trial JOIN param ON param.trial = trial.id
            WHERE study = ? ORDER BY trial.number, param.rowid"""
        for name, text in self._db.execute(sql, [study]):
            yield name, json.loads(text)

    def trials(self, study: int, *, after: int = 0) -> Iterator[StagedTrial]:
        """Yield the trials with a number above `after`, by number."""
        sql = "SELECT id, number, state, started, ended, detail, extra FROM trial WHERE study = ? AND number > ?"
        for key, number, state, started, ended, detail, extra in self._db.execute(
            f"{sql} ORDER BY number", [study, after]
        ):
            params = self._db.execute("SELECT name, value FROM param WHERE trial = ? ORDER BY rowid", [key])
            metrics = self._db.execute(
                "SELECT name, value, text FROM metric WHERE trial = ? ORDER BY rowid", [key]
            )
            yield StagedTrial(
                key,
                number,
                state,
                started,
                ended,
                detail,
                {name: json.loads(text) for name, text in params},
                {name: text if value is None else value for name, value, text in metrics},
                {} if extra is None else json.loads(extra),
            )

    def points(self, trial: int) -> Iterator[Point]:
        """Yield the intermediate values of a trial by name and step. If several have the same step, the last one
        counts."""
        sql = "SELECT name, step, value, text, elapsed FROM point WHERE trial = ? ORDER BY name, step, rowid"
        pending: Point | None = None
        for row in self._db.execute(sql, [trial]):
            if pending is not None and pending[:2] != row[:2]:
                yield pending
            pending = row
        if pending is not None:
            yield pending

    def last_points(self, trial: int) -> dict[str, Point]:
        """Return the last intermediate value of each metric of a trial."""
        return {point[0]: point for point in self.points(trial)}


def clean(text: str, *, limit: int) -> str:
    """Return a text that every database can store, cut to `limit` characters."""
    return UNSTORABLE.sub("\ufffd", text)[:limit]


def number_and_text(value: object) -> tuple[float | None, str]:
    """Return a reported value as (finite number, "") or (None, text of the value)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, str(value)[:200]
    try:
        number = float(value)
    except OverflowError:
        return None, "inf" if value > 0 else "-inf"
    return (number, "") if math.isfinite(number) else (None, str(number))


def depth_of(value: object) -> int:
    """Return the number of levels of lists and objects in a value."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        inner: list[object] = []
        for item in level:
            children: Iterable[object] = (
                item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
            )
            inner += children
        if not inner:
            return depth
        depth, level = depth + 1, inner
    return depth

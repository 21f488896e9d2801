"""Tables for a terminal, and exports with the same columns as the console's own."""

from __future__ import annotations  # for Python 3.8

import csv
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

COLUMNS = (
    "number",
    "id",
    "state",
    "value",
    "is_partial",
    "last_value",
    "last_step",
    "duration_s",
    "created_at",
    "started_at",
    "ended_at",
    "worker",
    "revision",
    "source",
    "attempt",
    "rerun_of",
    "failure",
    "detail",
    "exit_code",
    "signal",
    "gone_after_s",
    "peak_memory_bytes",
    "cpu_s",
)


def print_table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table. Columns are as wide as their content; the last one is not padded."""
    table = [names, *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(names) - 1)]
    for row in table:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[-1]]).rstrip())  # noqa: B905


def numbers(values: list[float | None]) -> list[str]:
    """Format the numbers of a column with enough digits to tell different values apart; "" for None."""
    distinct = {float(f"{value:.10g}") for value in values if value is not None}
    digits = next(
        (n for n in range(6, 10) if len({f"{value:.{n}g}" for value in distinct}) == len(distinct)), 10
    )
    return ["" if value is None else _digits(value, digits) for value in values]


def _digits(value: float, digits: int) -> str:
    is_whole = value == value // 1 and abs(value) < 2**53
    return str(int(value)) if is_whole else f"{value:.{digits}g}"


def write_rows(rows: Iterator[dict], file: TextIO, *, as_csv: bool) -> None:
    """Write an export like the console's: all columns, full precision, final metrics as m.…
    and parameters as p.… in CSV."""
    if not as_csv:
        file.write("[")
        for place, row in enumerate(rows):
            document = {**dict(zip(COLUMNS, _values(row))), "final_metrics": row.get("final_metrics") or {}}  # noqa: B905
            document["parameters"] = row["params"]
            file.write((",\n" if place else "\n") + json.dumps(document, ensure_ascii=False))
        file.write("\n]\n")
        return
    all_rows = list(rows)
    names = list(dict.fromkeys(name for row in all_rows for name in row["params"]))
    writer = csv.writer(file, lineterminator="\r\n")
    finals = list(dict.fromkeys(name for row in all_rows for name in row.get("final_metrics") or {}))
    writer.writerow([*COLUMNS, *(f"m.{name}" for name in finals), *(f"p.{name}" for name in names)])
    for row in all_rows:
        values = [
            *_values(row),
            *((row.get("final_metrics") or {}).get(name) for name in finals),
            *(row["params"].get(name) for name in names),
        ]
        writer.writerow([_cell(value) for value in values])


def _values(row: dict) -> list:
    return [row.get("peak_memory" if name == "peak_memory_bytes" else name) for name in COLUMNS]


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value  # a spreadsheet would evaluate it
    return repr(value) if isinstance(value, float) else value

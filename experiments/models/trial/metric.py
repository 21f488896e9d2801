"""Metrics: one row per (trial, name, step), so that a replay is harmless."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from django.db import connection, models

from experiments.models import driver, plain_sql
from experiments.runner.report import MAX_NAME, MAX_POINTS

__all__ = ["MAX_POINTS", "Point", "PointRow"]

# trial, name, step, value, text, elapsed_s
PointRow = tuple[int, str, int, float | None, str, float | None]


def distinct_names(table: str, column: str, key: int | None, *, at_most: int) -> list[str]:
    """Return the distinct values of `name`, sorted, in the rows of a table whose `column` is `key`.

    Reads one entry of the index on (column, name) for each of them, not all rows.
    """
    sql = f"""WITH RECURSIVE metric(name) AS (
            SELECT (SELECT MIN(name) FROM {table} WHERE {column} = %s)
            UNION ALL
            SELECT (SELECT MIN(name) FROM {table} WHERE {column} = %s AND name > metric.name)
            FROM metric WHERE metric.name IS NOT NULL
        ) SELECT name FROM metric WHERE name IS NOT NULL LIMIT %s"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [key, key, at_most])
        return [name for (name,) in cursor.fetchall()]


class Point(models.Model):
    """An intermediate result. `value` is None when the trial reported something other than a finite number, which
    `text` then holds. Steps are numbered by the trial, from 0. `elapsed_s`: seconds from the start of the trial to the
    report; None where that is not known."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="points", db_index=False)
    name = models.CharField(max_length=MAX_NAME)
    step = models.BigIntegerField()
    value = models.FloatField(null=True)
    text = models.CharField(max_length=200, blank=True)
    elapsed_s = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["name", "step"]
        constraints = [models.UniqueConstraint(fields=["trial", "name", "step"], name="point_once")]

    def __str__(self) -> str:
        return f"{self.name}[{self.step}] = {self.text if self.value is None else self.value}"

    @classmethod
    def keep(cls, points: list[Self]) -> None:
        """Store points, replacing existing ones. Of several points with the same step the last one wins."""
        cls.keep_rows(
            (point.trial_id, point.name, point.step, point.value, point.text, point.elapsed_s)
            for point in points
        )

    @classmethod
    def keep_rows(cls, rows: Iterable[PointRow]) -> None:
        """Store points as `keep` does, without an object for each."""
        latest = list({row[:3]: row for row in rows}.values())
        if not latest:
            return
        # psycopg refuses whole numbers among others in an array, and SQLite those of more than 64 bits.
        latest = [(*row[:3], None if row[3] is None else float(row[3]), *row[4:]) for row in latest]
        table = cls._meta.db_table
        insert = f"INSERT INTO {table} (trial_id, name, step, value, text, elapsed_s)"  # noqa: S608
        # A second reading of the same reports may not know when they were made.
        replace = (
            "ON CONFLICT (trial_id, name, step) DO UPDATE SET value = excluded.value, text = excluded.text, "
            f"elapsed_s = COALESCE(excluded.elapsed_s, {table}.elapsed_s)"
        )
        if connection.vendor == "postgresql":
            arrays = "%s::bigint[], %s::text[], %s::bigint[], %s::float8[], %s::text[], %s::float8[]"
            columns = [list(column) for column in zip(*latest, strict=True)]
            driver.execute(f"{insert} SELECT * FROM unnest({arrays}) {replace}", columns)
        else:
            driver.execute_many(f"{insert} VALUES (%s, %s, %s, %s, %s, %s) {replace}", latest)

    @classmethod
    def names_of(cls, trial_pk: int | None, *, at_most: int) -> list[str]:
        """Return the names of the metrics that a trial has reported, sorted. Reads one row per metric, not all
        points."""
        return distinct_names(cls._meta.db_table, "trial_id", trial_pk, at_most=at_most)

    @classmethod
    def ask_last_values(cls, trial_pk: int, *, at_most: int) -> plain_sql.Answer:
        """Ask for the name and the last value of each metric that a trial has reported; None: it was no finite number.
        Reads two rows per metric, not all points."""
        table = cls._meta.db_table
        sql = f"""WITH RECURSIVE metric(name) AS (
                SELECT (SELECT MIN(name) FROM {table} WHERE trial_id = %s)
                UNION ALL
                SELECT (SELECT MIN(name) FROM {table} WHERE trial_id = %s AND name > metric.name)
                FROM metric WHERE metric.name IS NOT NULL
            ) SELECT name, (
                SELECT value FROM {table} WHERE trial_id = %s AND name = metric.name ORDER BY step DESC LIMIT 1
            ) FROM metric WHERE name IS NOT NULL LIMIT %s"""  # noqa: S608
        return plain_sql.Answer(sql, [trial_pk, trial_pk, trial_pk, at_most])

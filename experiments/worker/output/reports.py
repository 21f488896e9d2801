"""Reports and output of a running trial, read while it runs and stored in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from experiments import dispatch
from experiments.models import Experiment, LogPiece, Point, Trial, status
from experiments.models.trial.log import PIECE_BYTES
from experiments.models.trial.metric import MAX_POINTS, PointRow
from experiments.runner.dialects.reader import Reader
from experiments.runner.output.log import LogReader
from experiments.runner.output.masking import MaskedStream, Masker
from experiments.runner.output.metric_pattern import PatternReader
from experiments.runner.output.number_text import EXACT_TO
from experiments.runner.report import MAX_SERIES, Report

READ_BYTES = 256 * 1024  # of one trial's metrics and of its log, per flush
MOST_POINTS = 4000  # that are stored in one transaction
MOST_LOG_BYTES = 1024 * 1024
PAUSE_S = 0.005  # between two transactions
BEHIND_S = 5.0  # how far a trial may be behind before a note says so
THIN_S = 15.0  # how far it may be behind before only some of its points are stored
THIN_READ_BYTES = 4 * READ_BYTES
BUCKET = 20  # points of a series of which the lowest and the highest are stored then
CLOCK_SLACK_S = 1.0  # by which a reported time may be later than its reading
REST_BYTES = 64 * 1024  # of one source, stored in one transaction with the outcome

THINNED = (
    "{:,} points were left out, because the trial reports faster than they can be stored: of every "
    f"{BUCKET}, the lowest and the highest are shown."
)


def store(trials: Sequence[TrialReports]) -> bool:
    """Store the reports and output of these trials that were read since the last call. Return whether there is more.

    Transactions are short, because on SQLite all other writers wait for them. A batch that was stored in part is stored
    again as a whole, which is idempotent.
    """
    batches = [batch for reports in trials if not reports.is_held_back and (batch := reports.collect())]
    together: list[Batch] = []
    points: list[PointRow] = []
    log_bytes = 0
    for batch in batches:
        points += batch.points
        log_bytes += sum(piece.size for piece in batch.pieces)
        together.append(batch)
        while len(points) > MOST_POINTS:
            Point.keep_rows(points[:MOST_POINTS])
            del points[:MOST_POINTS]
            let_others_write()
        if len(points) > MOST_POINTS // 2 or log_bytes > MOST_LOG_BYTES // 2:
            _store(together, points)
            together, points, log_bytes = [], [], 0
            let_others_write()
    if together:
        _store(together, points)
    return any(reports.has_more for reports in trials if not reports.is_held_back)


def _store(batches: Sequence[Batch], points: Sequence[PointRow]) -> None:
    with transaction.atomic():
        Point.keep_rows(points)
        for batch in batches:
            batch.store_log()
            batch.store_summary()
    for batch in batches:
        batch.reports.mark_stored()


def let_others_write() -> None:
    """Pause, so that others can begin their transactions before this thread begins the next one."""
    if connection.vendor == "sqlite":
        time.sleep(PAUSE_S)


def thinned(points: Sequence[PointRow], *, whole: str = "") -> list[PointRow]:
    """Return the lowest and the highest of every BUCKET successive points of each series, and its last point, in the
    same order. Of points without a number, the last of a bucket stays; the series `whole` stays as it is."""
    series: dict[str, list[tuple[int, PointRow]]] = {}
    for place, point in enumerate(points):
        series.setdefault(point[1], []).append((place, point))
    kept = {place for place, _ in series.pop(whole, [])}
    for placed in series.values():
        kept.add(placed[-1][0])
        for start in range(0, len(placed), BUCKET):
            bucket = placed[start : start + BUCKET]
            numbers = [(point[3], place) for place, point in bucket if point[3] is not None]
            kept |= {min(numbers)[1], max(numbers)[1]} if numbers else set()
            if len(numbers) < len(bucket):
                kept.add(max(place for place, point in bucket if point[3] is None))
    return [points[place] for place in sorted(kept)]


class TrialReports:
    """The intermediate and final results, the log and the notes of one trial.

    Used by the writer thread while the trial runs, then by its slot. `finals` are the final results by name; `notes`
    are sentences about anything unusual, in addition to those of the readers. `masker` masks known secrets in all of
    them. `began_at`: when a trial started that is read only later, in seconds since 1970 by its machine's clock; by
    default it starts now.
    """

    def __init__(self, trial: Trial, masker: Masker, *, began_at: float | None = None) -> None:
        self.masker = masker
        self._began_at = time.time() if began_at is None else began_at
        self._began_steady_s = _steady_s() if began_at is None else None
        self.trial, self.settings = trial, trial.revision.settings
        self.has_rule = self.settings.early_stopping != "none"  # otherwise an Update may still set one
        self.has_ended = False
        self.is_held_back = False  # the rest is stored together with the outcome
        self.finals: dict[str, Report] = {}
        self.notes: list[str] = []
        self._is_rounded = False  # which a note says
        self.has_more = False  # to read
        self._behind_since: float | None = None  # of the monotonic clock
        self._thinned = 0  # points that were left out
        self._readers: Sequence[Reader] = ()  # one for each dialect
        self._log: LogReader | None = None
        self._pattern: PatternReader | None = None
        self._masked = MaskedStream(masker)
        self._piece: LogPiece | None = None  # the piece of the log that still grows
        self._batch: Batch | None = None  # collected, not stored yet
        self.stored_notes: list[str] = []

    def start(self, readers: Sequence[Reader], log: LogReader) -> None:
        """Read from these from now on."""
        self._log = log
        if self.settings.source == "stdout":
            self._pattern = PatternReader(self.settings.pattern, self.settings.metric)
        self._readers = readers

    def positions(self) -> list[int]:
        """Return the read position of each source."""
        return [source.position for source in (*self._readers, self._log) if source]

    @property
    def fault(self) -> str:
        """Why the metric in the output is invalid, or ""."""
        return self._pattern.fault if self._pattern else ""

    def add_implied(self) -> None:
        """Add the final results that follow from the intermediate ones. Explicit ones take precedence."""
        for reader in self._readers:
            self.finals = {report.name: report for report in reader.implied()} | self.finals

    def other_finals(self) -> dict[str, float | str]:
        """Return the final results except for the first objective, at most MAX_SERIES, further objectives first; nan
        and infinities as text."""
        further_finals = {
            name: self.finals[name] for name in self.settings.further_objectives if name in self.finals
        }
        further_finals |= {report.name: report for report in self.finals.values()}
        if not self.settings.weights:
            further_finals.pop(self.settings.metric, None)
        return {
            name: report.text if report.value is None else report.value
            for name, report in list(further_finals.items())[:MAX_SERIES]
        }

    def note_rounding(self, report: Report) -> None:
        """Note the first value that is not stored as it was reported."""
        if report.value is None or not report.text or self._is_rounded:
            return
        self._is_rounded = True
        self.notes.append(
            f"{report.name} is {report.text}, shown as {report.value:.0f}: metrics are 64-bit floats, which round "
            f"whole numbers above {EXACT_TO:,}."
        )

    @property
    def is_stored(self) -> bool:
        """Whether all that was read is in the database."""
        return self._batch is None

    def collect(self) -> Batch | None:
        """Return the new reports and output, and the same again until `mark_stored`. Only within a flush."""
        if self._batch is None and self._readers:
            self._batch = self._read()
        return self._batch

    def hold_back(self) -> bool:
        """Read the rest without storing it: it becomes `last_batch`, which is stored with the outcome. Return False if
        an earlier batch is not stored yet. Only within a flush."""
        if self._batch is not None:
            return False
        self.has_ended = self.is_held_back = True
        if self._readers:
            self._batch = self._read()
        return True

    @property
    def last_batch(self) -> Batch | None:
        """The batch that was held back."""
        return self._batch if self.is_held_back else None

    def is_nearly_read(self) -> bool:
        """Whether each source has at most `REST_BYTES` left to read."""
        return all(source.unread() <= REST_BYTES for source in (*self._readers, self._log) if source)

    def mark_stored(self) -> None:
        """Note that the collected batch is in the database."""
        if self._batch:
            self.stored_notes, self._batch = self._batch.notes, None

    def _read(self) -> Batch | None:
        batch = Batch(self)
        reports: list[Report] = []
        is_thinning = (self._behind_s or 0) > THIN_S
        before, limit = self.positions(), THIN_READ_BYTES if is_thinning else READ_BYTES
        read_s = self._elapsed_now()
        for reader in self._readers:
            reports += reader.drain() if self.has_ended else reader.new(limit)
        for piece in self._log.new(limit) if self._log else ():
            if self._pattern:
                reports += self._pattern.feed(piece.data)
            for offset, data in self._masked.feed(piece.offset, piece.data):
                self._add_to_log(batch, offset, data)
        if self.has_ended:
            for offset, data in self._masked.end():
                self._add_to_log(batch, offset, data)
        if self.has_ended and self._pattern:
            reports += self._pattern.drain()
        for report in map(self.masker.report, reports):
            batch.progress = report.progress or batch.progress
            self.note_rounding(report)
            if report.final:
                self.finals[report.name] = report
            else:
                elapsed_s = read_s if report.at is None else self._elapsed(report.at, read_s)
                point = (self.trial.pk, report.name, report.step, report.value, report.text, elapsed_s)
                batch.points.append(point)
        if is_thinning:
            whole = self.settings.metric if self.has_rule else ""  # whose steps the rule compares
            every, batch.points = len(batch.points), thinned(batch.points, whole=whole)
            self._thinned += every - len(batch.points)
        self._note_backlog(before, limit)
        batch.notes = self._all_notes()
        return batch if batch.points or batch.pieces or batch.notes != self.stored_notes else None

    def _elapsed_now(self) -> float | None:
        """Return the seconds since the trial started; None when its reports are read only later."""
        return None if self._began_steady_s is None else round(_steady_s() - self._began_steady_s, 3)

    def _elapsed(self, at: float, read_s: float | None) -> float | None:
        """Return the seconds from the start of the trial to `at`, which it reported. A time before its start or in the
        future is not one: then the time of reading counts."""
        elapsed_s = round(at - self._began_at, 3)
        is_possible = elapsed_s >= 0 and (read_s is None or elapsed_s <= read_s + CLOCK_SLACK_S)
        return elapsed_s if is_possible else read_s

    @property
    def _behind_s(self) -> float | None:
        """How long there has been more to read than was read at a time."""
        return None if self._behind_since is None else time.monotonic() - self._behind_since

    def _note_backlog(self, before: list[int], limit: int) -> None:
        """Record whether the backlog exceeds the `limit` bytes that were read since these positions, and since when."""
        read = (after - position for after, position in zip(self.positions(), before, strict=True))
        self.has_more = not self.has_ended and max(read, default=0) >= limit
        if not self.has_more:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = time.monotonic()

    def _add_to_log(self, batch: Batch, offset: int, data: bytes) -> None:
        """Extend the open piece up to the maximum size, so that a slow log does not create a row every half second."""
        while data:
            piece = self._piece
            if piece is None or piece.size >= PIECE_BYTES or piece.offset + piece.size != offset:
                piece = self._piece = LogPiece(trial_id=self.trial.pk, offset=offset, size=0, data=b"")
            part = data[: PIECE_BYTES - piece.size]
            piece.data = bytes(piece.data) + part
            piece.size += len(part)
            batch.pieces.append(piece)
            data, offset = data[len(part) :], offset + len(part)
        batch.log_bytes = offset

    def _all_notes(self) -> list[str]:
        dropped = sum(reader.dropped for reader in self._readers)
        dropped += self._pattern.dropped if self._pattern else 0
        limit = [f"{dropped:,} points were dropped: a series has at most {MAX_POINTS:,}."] if dropped else []
        thin = [THINNED.format(self._thinned)] if self._thinned else []
        behind_s = self._behind_s
        is_behind = behind_s is not None and behind_s > BEHIND_S
        behind = [f"Metrics and log are {behind_s:.0f} s behind."] if is_behind else []
        notes = [
            *behind,
            *thin,
            *limit,
            *self.notes,
            *(note for reader in self._readers for note in reader.notes()),
        ]
        return [self.masker.text(note) for note in notes]


class Batch:
    """What one trial reported and printed between two flushes."""

    def __init__(self, reports: TrialReports) -> None:
        self.reports = reports
        self.points: list[PointRow] = []
        self.pieces: list[LogPiece] = []
        self.log_bytes: int | None = None
        self.notes: list[str] = []
        self.progress: tuple[int, int] | None = None

    def store_log(self) -> None:
        """Store the pieces of the log, and drop those between its head and its tail."""
        LogPiece.keep(self.pieces)
        if self.log_bytes is not None:
            LogPiece.trim(self.reports.trial.pk, total=self.log_bytes)

    def changes(self) -> dict[str, Any]:
        """Return the trial's own columns that pages show while it runs."""
        changes: dict[str, Any] = {}
        if objective_changes := self._of_objective():
            _, _, step, value, *_ = objective_changes[-1]
            changes |= {"last_step": step, "last_value": value}
        if self.progress:
            changes["steps_done"], changes["steps_total"] = self.progress
        if self.log_bytes is not None:
            changes["log_bytes"] = self.log_bytes
        if self.notes != self.reports.stored_notes:
            changes["notes"] = self.notes
        return changes

    def _of_objective(self) -> list[PointRow]:
        return [point for point in self.points if point[1] == self.reports.settings.metric]

    def store_summary(self) -> None:
        """Store the trial's own columns, unless this worker has lost it."""
        trial = self.reports.trial
        held = Trial.objects.filter(pk=trial.pk, state__in=status.TRIAL_ALIVE)
        held.update(**self.changes(), version=F("version") + 1)
        if self.reports.has_rule and self._of_objective():
            Experiment.objects.filter(pk=trial.experiment_id).update(wake=F("wake") + 1)
            dispatch.experiment(trial.experiment_id)


def _steady_s() -> float:
    """Return the seconds of a clock that cannot be set, and that keeps counting while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

"""The test run of a draft on the draft's page: its outcome, and its log with numbers to choose from."""

from __future__ import annotations

from dataclasses import dataclass

from django.shortcuts import get_object_or_404
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from experiments.models import Experiment, Trial, TrialState, User
from experiments.models.experiment.creation import TRY
from experiments.runner.output.number_choice import Piece, number_pieces
from experiments.web.trial.logs import window

LOG_BYTES = 32 * 1024
MAX_LINES = 200
WHILE_ACTIVE_S = 1.5


@dataclass(frozen=True)
class TestRun:
    """The single trial of a test run, and the last lines of its log as pieces."""

    __test__ = False  # not a test class for pytest

    experiment: Experiment
    trial: Trial | None
    lines: list[list[Piece]]

    @property
    def is_active(self) -> bool:
        return self.experiment.is_active

    @property
    def every(self) -> float | None:
        """The polling interval of the page, in seconds."""
        return WHILE_ACTIVE_S if self.is_active else None

    @property
    def version(self) -> tuple[object, ...]:
        trial = self.trial
        return (self.experiment.state, trial and (trial.state, trial.log_bytes, trial.detail))

    def log(self, *, chosen: str) -> SafeString:
        """Return the lines with a button for each number; the one with the `chosen` expression is pressed."""
        lines = [
            format_html_join("", "{}", ((_html(piece, chosen),) for piece in pieces)) for pieces in self.lines
        ]
        return format_html_join("\n", "{}", ((line,) for line in lines))

    @property
    def has_numbers(self) -> bool:
        return any(piece.pattern for pieces in self.lines for piece in pieces)


def _html(piece: Piece, chosen: str) -> SafeString | str:
    if not piece.pattern:
        return piece.text
    return format_html(
        '<button type="submit" name="use_number" value="stdout|{}|{}" formaction="#counts" aria-pressed="{}" '
        'title="{}">{}</button>',
        piece.name,
        piece.pattern,
        "true" if piece.pattern == chosen else "false",
        piece.pattern,
        piece.text,
    )


def test_run_of(draft: Experiment, public_id: str, user: User) -> TestRun:
    """Return a test run of this draft. Raise 404 if there is none that the user may see."""
    visible = Experiment.objects.visible_to(user).filter(workspace=draft.workspace, parent=draft)
    experiment = get_object_or_404(visible.select_related("queue"), public_id=public_id)
    if TRY not in experiment.tags:
        return TestRun(experiment, None, [])
    trial = experiment.trials.order_by("number").first()
    if trial is None or trial.state == TrialState.WAITING:
        return TestRun(experiment, trial, [])
    lines = window(trial, size=LOG_BYTES).text.splitlines()[-MAX_LINES:]
    return TestRun(experiment, trial, number_pieces(lines))

"""Uploaded results of other tools, for warm starts."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence

from django.db import models, transaction

from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField, new_public_id
from experiments.search.imported_results import MAX_RESULTS, Result

from .account.user import User
from .event import Event
from .fields import ExactJSONField
from .references import drafts_only
from .settings import Invalid
from .workspace.workspace import Workspace

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 20_000_000  # of all results as JSON
MOST_OBJECTS = 100  # in the parameters of one result, to limit recursion
TOO_DEEP = "a parameter is not a finite number, or is nested too deeply."


class WarmResults(models.Model):
    """Uploaded results. `rows` are [parameters, value], as in the file `name`. They never change."""

    public_id = models.CharField("ID", max_length=8, unique=True, default=new_public_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="warm_results")
    name = models.CharField(max_length=200)
    rows = ExactJSONField()
    count = models.PositiveIntegerField()
    creator = models.ForeignKey(User, models.PROTECT, related_name="warm_results")
    created_at = StampField()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "uploaded results"
        verbose_name_plural = "uploaded results"

    def __str__(self) -> str:
        return self.name

    @property
    def mark(self) -> str:
        """The value of the setting `warm_start` that refers to them: `file:abcd2345`."""
        return f"file:{self.public_id}"

    @classmethod
    def upload(cls, workspace: Workspace, *, by: User, name: str, results: Sequence[Result]) -> WarmResults:
        """Store 1 to 10,000 results. Raise `Invalid`."""
        name = " ".join(name.split())
        if not name or len(name) > 200 or not _is_plain(name):
            raise Invalid({"name": ["Enter a name of at most 200 characters."]})
        if not 1 <= len(results) <= MAX_RESULTS:
            raise Invalid(
                {"rows": [f"Upload 1 to {MAX_RESULTS:,} results at a time; this has {len(results):,}."]}
            )
        size = 0
        for number, (params, value) in enumerate(results, start=1):
            if why := _why_not(params, value):
                raise Invalid({"rows": [f"Result {number:,}: {why}"]})
            size += len(json.dumps(params))
            if size > MOST_CHARACTERS:
                raise Invalid({"rows": [f"The results exceed {MOST_CHARACTERS // 1_000_000} MB."]})
        result_rows = [[params, float(value)] for params, value in results]
        return cls.objects.create(
            workspace=workspace, creator=by, name=name, rows=result_rows, count=len(result_rows)
        )

    def drafts(self, *, by: User) -> list[Experiment]:
        """Return the drafts that start from them. Raise `Refused` when other experiments outside the trash do."""
        subject = f"The results {self} are the warm start of"
        return drafts_only(self.workspace, "warm_start", self.mark, by=by, subject=subject)

    def delete_unused(self, *, by: User) -> bool:
        """Delete them permanently. Return False if they no longer exist. Raise `Refused` while experiments other than
        drafts start from them."""
        with transaction.atomic():
            row = WarmResults.objects.select_for_update().filter(pk=self.pk).first()
            if row is None:
                return False
            summary = f"{row} ({row.mark})"
            for experiment in row.drafts(by=by):
                Event.note("delete_results", experiment, by=by, why=summary)
            row.delete()
        logger.info("%s deleted the uploaded results %s in %s", by, summary, row.workspace)
        return True


def _why_not(params: dict, value: float) -> str:
    """Return why this result cannot be stored, or ""."""
    if not math.isfinite(value):
        return "value is not a finite number."
    if not params:
        return "it has no parameters."
    try:
        text = json.dumps(params, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError):
        return TOO_DEEP
    if text.count("{") > MOST_OBJECTS:
        return TOO_DEEP
    return "" if _is_plain(text) else "a parameter contains characters that cannot be stored."


def _is_plain(text: str) -> bool:
    """Whether the text has no NUL, which PostgreSQL rejects, and no lone surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and "\\u0000" not in text

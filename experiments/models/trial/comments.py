"""Comments on a trial, and its star, which the whole team sees."""

from __future__ import annotations

from django.db import models
from django.db.models import F

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.fields import StampField
from experiments.models.settings import Invalid

from .creation import TrialCreationVerbs

LONGEST_COMMENT = 4_000  # characters
LONGEST_QUOTE = 300  # of a comment in the history


class Comment(models.Model):
    """A comment on a trial. `by` is None when the account was deleted."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="comments")
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    at = StampField()
    text = models.TextField()
    edited_at = models.DateTimeField(null=True)
    author = models.CharField(max_length=150, blank=True)  # where it was imported from

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def who(self) -> str:
        """The name of its author."""
        if self.author:
            return f"{self.author} (imported)"
        return self.by.username if self.by else "deleted user"


class CommentVerbs(TrialCreationVerbs):
    """The methods for comments and stars, in any state. They do not affect the trial's result."""

    class Meta:
        abstract = True

    def comment(self, text: str, *, by: User) -> Comment:
        """Add a comment. Raise `Invalid` for an empty or too long one."""
        text = _checked(text)
        with self.locked():
            comment = Comment.objects.create(trial_id=self.pk, by=by, text=text)
            self._annotate(comment_count=F("comment_count") + 1)
            Event.note("comment", self.experiment, trial=self, by=by, why=_quote(text))
            return comment

    def edit_comment(self, pk: int, text: str, *, by: User) -> bool:
        """Change the text of one of its comments. Return False if the text is the same, or the comment is gone. Raise
        `Invalid` for an empty or too long one."""
        text = _checked(text)
        with self.locked():
            changed_comment = Comment.objects.filter(trial_id=self.pk, pk=pk).exclude(text=text)
            if not changed_comment.update(text=text, edited_at=database_clock.now()):
                return False
            self._annotate()
            Event.note("edit_comment", self.experiment, trial=self, by=by, why=_quote(text))
            return True

    def delete_comment(self, pk: int, *, by: User) -> bool:
        """Delete one of its comments. Return False when it is gone already."""
        with self.locked():
            deleted, _ = Comment.objects.filter(trial_id=self.pk, pk=pk).delete()
            if not deleted:
                return False
            self._annotate(comment_count=F("comment_count") - 1)
            Event.note("delete_comment", self.experiment, trial=self, by=by)
            return True

    def star(self, *, by: User) -> bool:
        """Mark the trial for the team. Return False if it already has a star."""
        with self.locked():
            if self.starred_at is not None:
                return False
            self.starred_at = database_clock.now()
            self._annotate(starred_at=self.starred_at)
            Event.note("star", self.experiment, trial=self, by=by)
            return True

    def unstar(self, *, by: User) -> bool:
        """Remove the star. Return False if there is none."""
        with self.locked():
            if self.starred_at is None:
                return False
            self.starred_at = None
            self._annotate(starred_at=None)
            Event.note("unstar", self.experiment, trial=self, by=by)
            return True

    def _annotate(self, **changes: object) -> None:
        type(self).objects.filter(pk=self.pk).update(**changes, version=F("version") + 1)
        self.experiment.updated_at = database_clock.now()


def _checked(text: str) -> str:
    text = text.replace("\0", "").strip()
    if not text:
        raise Invalid({"text": ["Enter a comment."]})
    if len(text) > LONGEST_COMMENT:
        raise Invalid({"text": [f"Shorten the comment to {LONGEST_COMMENT:,} characters."]})
    return text


def _quote(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"

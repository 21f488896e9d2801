"""Changes of an experiment's settings. Every accepted change is a revision."""

from __future__ import annotations

from experiments import database_clock
from experiments.models import secret
from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.references import require_model
from experiments.models.revision import Revision
from experiments.models.settings import LOCKED, Invalid, Settings
from experiments.models.status import Refused, TrialState
from experiments.models.warm_start import warmed

from .base import MIRRORED_FIELDS
from .proposals import ProposalVerbs

# Settings whose change invalidates proposals that have not started.
PROPOSAL_FIELDS = {
    "space_document", "constraints", "algorithm_arguments", "seed", "fixed", "starting_points", "warm_start",
    "avoid_failing_regions",
}  # fmt: skip
BUDGET = {"max_trials", "max_duration_s", "goal"}  # what a resume may change


class SettingsVerbs(ProposalVerbs):
    """The methods that change settings."""

    class Meta:
        abstract = True

    def edit(self, settings: Settings, *, by: User, seen: int, note: str = "") -> bool:
        """Replace the settings of a draft. `seen` is the revision number that the user saw, `note` their reason.

        Return False, without a new revision, when nothing differs.
        """
        with self.locked():
            self.allows("edit")
            self.check_seen(seen)
            require_model(self.workspace, settings, before=self.settings)
            settings = warmed(self, settings, by=by, before=self.settings)
            return self._accept(settings, by=by, verb="edit", note=note)

    def update(
        self,
        settings: Settings,
        *,
        by: User,
        seen: int,
        note: str = "",
        stop_surplus: bool = False,
        apply_to_running: bool = False,
    ) -> bool:
        """Update the settings of an active experiment with a new revision, which applies to new trials.

        `stop_surplus` stops the newest running trials beyond a lower concurrency. `apply_to_running` applies the new
        early stopping to running trials too, including their past results; otherwise the rule of their own revision
        still applies.
        """
        with self.locked():
            self.allows("update")
            self.check_seen(seen)
            before = self.settings
            require_model(self.workspace, settings, before=before)
            settings = warmed(self, settings, by=by, before=before)
            differing = before.differences(settings)
            locked = {name: [reason] for name, reason in LOCKED.items() if name in differing}
            if locked:
                raise Invalid(locked)
            if not self._accept(settings, by=by, verb="update", note=note):
                return False
            if PROPOSAL_FIELDS & differing.keys():
                self.drop_proposals()
            else:
                self.suggestions.update(revision=self.revision)
                self.trials.filter(state=TrialState.WAITING, keeps_revision=False).update(
                    revision=self.revision
                )
            if apply_to_running:
                running = self.trials.filter(state=TrialState.RUNNING)
                running.update(rule_revision=self.revision.number, checked_step=None)
            if self.max_trials is not None and self.proposed_count > self.max_trials:
                self.drop_proposals(at_most=self.proposed_count - self.max_trials)
            if stop_surplus:
                surplus = self.trials.filter(state=TrialState.RUNNING).order_by("-number")
                for trial in surplus[: max(0, self.running_count - self.concurrency)]:
                    trial.begin_stop(TrialState.STOPPED, by=by, because="concurrency lowered")
            self.enqueue_trials()
            return True

    def check_seen(self, seen: int) -> None:
        """Raise `Refused` when the current revision is not the one that the user saw."""
        if seen > self.revision.number or seen < 1:
            raise Refused(
                f"There is no revision {seen} of this experiment; the latest is {self.revision.number}. Review it and "
                "submit again."
            )
        if seen != self.revision.number:
            by = self.revision.who
            raise Refused(
                f"{by} changed this experiment (revision {self.revision.number}; you edited "
                f"revision {seen}). Check the new values and submit again."
            )

    def _accept(self, settings: Settings, *, by: User, verb: str, note: str = "") -> bool:
        differing = self.settings.differences(settings)
        if not differing:
            return False
        before = self.revision.number
        if differing.keys() - BUDGET:
            self.is_exhausted = False  # the conductor finds out again
        self._mirror(settings)
        self._revise(settings, by=by, note=note)
        self.updated_at = database_clock.now()
        Event.note(
            verb,
            self,
            by=by,
            before=str(before),
            after=str(self.revision.number),
            why=", ".join(sorted(differing)) + (f": {note}" if note else ""),
            changes={
                name: [secret.hidden(value) if name == "hyperparameters" else value for value in pair]
                for name, pair in differing.items()
            },
        )
        return True

    def _mirror(self, settings: Settings) -> None:
        for name in MIRRORED_FIELDS:
            setattr(self, name, getattr(settings, name))

    def _revise(self, settings: Settings, *, by: User | None, note: str = "") -> None:
        before = self.revision if self.revision_id else None
        self.revision = Revision(
            experiment_id=self.pk,
            number=before.number + 1 if before else 1,
            document=settings.document(),
            by=by,
            note=note[:200],
        )
        if before:
            self.revision.resolved = self.revision.inherits(before)
        self.revision.save(force_insert=True)
        self.set_window()

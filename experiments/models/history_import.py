"""Files that are imported as new experiments: upload, preview, choices, progress.

The row is the message: control reads the file in the background, and continues after a restart where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import F, Q

from experiments import database_clock
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField, new_public_id

from .account.user import User
from .fields import ExactJSONField
from .settings import Invalid
from .status import Overtaken, Refused
from .workspace.project import Project
from .workspace.workspace import Workspace

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 30  # of a file
PIECE_BYTES = 1 << 20
MOST_UNFINISHED = 20  # of a workspace
UPLOAD_WITHIN = timedelta(hours=1)
CONFIRM_WITHIN = timedelta(days=1)


class ImportState(models.TextChoices):
    """The next step: control reads the file, a person confirms its preview, control imports it."""

    UPLOADING = "uploading", "Uploading"
    READING = "reading", "Reading"
    READY = "ready", "Ready to import"
    IMPORTING = "importing", "Importing"
    IMPORTED = "imported", "Imported"
    FAILED = "failed", "Failed"


BY_CONTROL = (ImportState.READING, ImportState.IMPORTING)
UNFINISHED = (ImportState.UPLOADING, ImportState.READING, ImportState.READY, ImportState.IMPORTING)


class ImportQuerySet(models.QuerySet["HistoryImport"]):
    def visible_to(self, user: User, workspace: Workspace, *, is_owner: bool) -> ImportQuerySet:
        """Return the imports of a workspace that this operator may see: their own or, for owners, all."""
        rows = self.filter(workspace=workspace)
        return rows if is_owner else rows.filter(by=user)


class HistoryImport(models.Model):
    """One file and its import. `preview` is what control has read, `choices` what a person has confirmed.

    `done` of `total` trials are stored. `experiment` is hidden (in the trash, and `is_importing`) until all are.
    """

    if TYPE_CHECKING:
        pieces: RelatedManager[ImportPiece]
        experiment_id: int | None
        project_id: int | None

    public_id = models.CharField("ID", max_length=8, unique=True, default=new_public_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="imports")
    by = models.ForeignKey(User, models.PROTECT, related_name="imports")
    file_name = models.CharField(max_length=200)
    size = models.BigIntegerField(default=0)  # bytes
    format = models.CharField(max_length=16, blank=True)  # one of search.imports.FORMATS
    state = models.CharField(max_length=9, choices=ImportState.choices, default=ImportState.UPLOADING)
    preview = ExactJSONField(default=dict)
    choices = ExactJSONField(default=dict)
    project = models.ForeignKey(Project, models.SET_NULL, null=True, related_name="+")
    error = models.TextField(blank=True)
    total = models.IntegerField(default=0)
    done = models.IntegerField(default=0)
    holder = models.CharField(max_length=32, blank=True)  # the process that works on it
    experiment = models.OneToOneField(Experiment, models.CASCADE, null=True, related_name="history_import")
    created_at = StampField()
    changed_at = StampField()
    version = models.BigIntegerField(default=0)

    objects = ImportQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["id"], name="import_to_do", condition=Q(state__in=("reading", "importing"))),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def is_with_control(self) -> bool:
        """Whether control works on it, or will."""
        return self.state in BY_CONTROL

    # --- upload ------------------------------------------------------------------------------------------

    @classmethod
    def receive(
        cls,
        workspace: Workspace,
        *,
        by: User,
        file_name: str,
        chunks: Iterable[bytes],
        size: int | None = None,
    ) -> HistoryImport:
        """Store a file, piece by piece, and queue it for reading. Raise `Invalid`; nothing is stored then."""
        workspace.require_automl()
        name = " ".join(file_name.replace("\0", "").split())[-200:]
        if not name:
            raise Invalid({"file": ["The file has no name."]})
        if size is not None and size > MAX_BYTES:
            raise _too_large()
        if cls.objects.filter(workspace=workspace, state__in=UNFINISHED).count() >= MOST_UNFINISHED:
            raise Refused(
                f"{MOST_UNFINISHED} imports are unfinished, the maximum. Finish or cancel some first."
            )
        row = cls.objects.create(workspace=workspace, by=by, file_name=name)
        try:
            row._store(chunks)
        except BaseException:
            row.delete()
            raise
        return row

    def _store(self, chunks: Iterable[bytes]) -> None:
        offset = 0
        for piece in _pieces(chunks):
            if offset + len(piece) > MAX_BYTES:
                raise _too_large()
            ImportPiece.objects.create(history_import=self, offset=offset, data=piece)
            offset += len(piece)
        if not offset:
            raise Invalid({"file": ["The file is empty."]})
        self.size = offset
        self._become(ImportState.READING, size=offset)

    # --- choices -----------------------------------------------------------------------------------------

    def require_ready(self) -> None:
        """Raise `Refused` unless its preview can be confirmed."""
        if self.state != ImportState.READY:
            raise Refused(self._why_not("imported"))

    def confirm(self, *, choices: dict[str, Any], project: Project) -> None:
        """Queue the import with these choices, which the caller has checked. Raise `Refused` unless it is ready."""
        self.workspace.require_automl()
        total = next(study["trials"] for study in self.preview["studies"] if study["id"] == choices["study"])
        choices = {**choices, "roles": self.choices.get("roles", {})}
        if not self._become(
            ImportState.IMPORTING,
            only=(ImportState.READY,),
            choices=choices,
            project=project,
            total=total,
            done=0,
        ):
            raise Refused(self._why_not("imported"))

    def reread(self, *, roles: dict[str, str]) -> None:
        """Queue the file for reading again, with other roles of its columns. Raise `Refused` unless it is ready."""
        if not self._become(ImportState.READING, only=(ImportState.READY,), choices={"roles": roles}):
            raise Refused(self._why_not("read again"))

    def cancel(self, *, by: User) -> bool:
        """Remove it, with what was imported so far. Return False when it is gone already. Raise `Refused` for a
        finished one."""
        with transaction.atomic():
            row = HistoryImport.objects.select_for_update().filter(pk=self.pk).first()
            if row is None:
                return False
            if row.state == ImportState.IMPORTED:
                raise Refused("The import is finished. Delete the experiment instead.")
            row._discard_experiment()
            HistoryImport.objects.filter(pk=row.pk).delete()
        logger.info("%s canceled the import of %s in %s", by, self.file_name, self.workspace)
        return True

    def _why_not(self, verb: str) -> str:
        current = HistoryImport.objects.filter(pk=self.pk).values_list("state", flat=True).first()
        label = ImportState(current).label.lower() if current else "gone"
        return f"{self.file_name} cannot be {verb}: the import is {label}."

    # --- control -----------------------------------------------------------------------------------------

    @classmethod
    def take(cls, holder: str) -> HistoryImport | None:
        """Return the next import that control has to work on, for the process `holder`; None if there is none."""
        row = (
            cls.objects.filter(state__in=BY_CONTROL).order_by("pk").select_related("workspace", "by").first()
        )
        if row is None or not cls.objects.filter(pk=row.pk, state=row.state, holder=row.holder).update(
            holder=holder
        ):
            return None
        row.holder = holder
        return row

    def hold(self, **columns: Any) -> None:
        """Write progress. Raise `Overtaken` when it was canceled, or another process has taken it."""
        own_row = HistoryImport.objects.filter(pk=self.pk, state=self.state, holder=self.holder)
        if not own_row.update(**columns, changed_at=database_clock.now(), version=F("version") + 1):
            raise Overtaken(f"The import of {self.file_name} was canceled or taken over.")
        for name, value in columns.items():
            setattr(self, name, value)

    def fail(self, error: str) -> None:
        """End the import with the reason. Nothing of it stays visible."""
        with transaction.atomic():
            self.hold(error=error[:1000], state=ImportState.FAILED)
            self._discard_experiment()
            self.pieces.all().delete()

    def _discard_experiment(self) -> None:
        """Leave its unfinished experiment to the retention, which deletes it in portions."""
        if self.experiment_id is None:
            return
        Experiment.everything.filter(pk=self.experiment_id, is_importing=True).update(
            trashed_at=database_clock.now() - timedelta(days=3650)
        )
        HistoryImport.objects.filter(pk=self.pk).update(experiment=None)
        self.experiment = None

    @classmethod
    def abandon(cls, now: datetime) -> int:
        """Delete interrupted uploads and unconfirmed previews. Return how many."""
        broken_off = Q(state=ImportState.UPLOADING, changed_at__lt=now - UPLOAD_WITHIN)
        unconfirmed = Q(
            state__in=(ImportState.READY, ImportState.FAILED), changed_at__lt=now - CONFIRM_WITHIN
        )
        return cls.objects.filter(broken_off | unconfirmed).delete()[0]

    def _become(
        self, state: ImportState, *, only: tuple[ImportState, ...] = (ImportState.UPLOADING,), **columns: Any
    ) -> bool:
        changed = HistoryImport.objects.filter(pk=self.pk, state__in=only).update(
            state=state, changed_at=database_clock.now(), version=F("version") + 1, **columns
        )
        if changed:
            self.state = state
            for name, value in columns.items():
                setattr(self, name, value)
        return bool(changed)


class ImportPiece(models.Model):
    """Consecutive bytes of an uploaded file. Deleted when it is imported."""

    history_import = models.ForeignKey(HistoryImport, models.CASCADE, related_name="pieces")
    offset = models.BigIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["offset"]
        constraints = [models.UniqueConstraint(fields=["history_import", "offset"], name="import_piece_once")]

    def __str__(self) -> str:
        return f"{self.history_import_id}: {self.offset}"


def _pieces(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Yield the same bytes in pieces of `PIECE_BYTES`."""
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) >= PIECE_BYTES:
            yield bytes(pending[:PIECE_BYTES])
            del pending[:PIECE_BYTES]
    if pending:
        yield bytes(pending)


def _too_large() -> Invalid:
    return Invalid({"file": [f"The file is larger than {MAX_BYTES >> 30} GiB. Export it without artifacts."]})

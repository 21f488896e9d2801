"""Filters and order of lists of experiments: the same for the pages and for the API."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    Case,
    DateTimeField,
    Expression,
    F,
    Func,
    IntegerField,
    Q,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Collate
from django.db.models.lookups import GreaterThanOrEqual
from django.db.models.sql.compiler import SQLCompiler

from experiments.models import ExperimentState, User, Worker, Workspace, status
from experiments.models.experiment.creation import TRY
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.models.fields import fold
from experiments.query_parameters import missing

SORTS = ("name", "state", "created", "updated", "best")
MAY_LACK = ("best",)  # sort keys that may be missing: rows without a value come last in both directions
NEWEST = "-created"
LONGEST_NAME = 600  # folded; nothing longer can be part of one


def among(
    experiments: ExperimentQuerySet,
    *,
    q: str = "",
    creator: str = "",
    project: str = "",
    tag: str = "",
    needs_attention: bool = False,
) -> ExperimentQuerySet:
    """Return the experiments that match every filter. `q` is part of an ID or a name; `creator` a username or its
    number; `project` and `tag` whole names."""
    if q:
        text = fold(q)
        if len(text) > LONGEST_NAME:
            return experiments.none()
        experiments = experiments.filter(Q(folded_name__contains=text) | Q(public_id__contains=text))
    if creator:
        experiments = experiments.filter(
            Q(creator__username__iexact=creator) | Q(creator=integer_in(creator))
        )
    if project:
        experiments = experiments.filter(project__name=project)
    if tag:
        experiments = experiments.filter(HasTag("tags", Value(tag)))
    return experiments.filter(needing_attention()) if needs_attention else experiments


def missing_names(
    workspace: Workspace,
    visible: ExperimentQuerySet | None = None,
    *,
    creator: str = "",
    project: str = "",
    tag: str = "",
) -> dict[str, str]:
    """Return a sentence for each of these filters whose value does not exist in the workspace. `visible`: its
    experiments that the reader may see. At most three queries; none without a filter."""
    sentences: dict[str, str] = {}
    if creator and visible is not None:
        is_here = Q(memberships__workspace=workspace) | Q(experiments__in=visible)
        people = User.objects.filter(is_here).distinct()
        names = dict(people.values_list("pk", "username"))
        is_known = integer_in(creator) in names or creator.casefold() in map(str.casefold, names.values())
        if not is_known:
            sentences["creator"] = missing("creator", creator, list(names.values()))
    if project:
        projects = list(workspace.projects.values_list("name", flat=True))
        if project not in projects:
            sentences["project"] = missing("project", project, projects)
    if tag and visible is not None:
        tags = {tag for tags in visible.order_by().values_list("tags", flat=True).distinct() for tag in tags}
        if tag not in tags:
            sentences["tag"] = missing("tag", tag, tags)
    return sentences


def key_of(sort: str) -> Expression | F:
    """Return the expression by which a sort of `SORTS` orders. Best values may be missing."""
    if sort == "name":
        # By code point on both databases: the collation of the server differs between machines.
        return Collate("folded_name", "C" if connection.vendor == "postgresql" else "BINARY")
    if sort == "state":  # in lifecycle order
        places = (When(state=state, then=place) for place, state in enumerate(status.EXPERIMENT_STATES))
        return Case(*places, output_field=IntegerField())
    return F("best_value" if sort == "best" else f"{sort}_at")


def needing_attention() -> Q:
    """Return the condition for experiments that need attention: failed, or completed with a tenth or more of the
    trials failed, auto-paused, or waiting for a queue that no worker serves. Failed test runs are excluded, because
    the page of their draft shows them."""
    is_stuck = Q(queue=None) | Q(queue__is_paused=True) | ~Q(queue__name__in=served_queues())
    settled = sum((F(f"{state}_count") for state in status.TRIAL_SETTLED), start=Value(0))
    a_tenth = Q(GreaterThanOrEqual(F("failed_count") * 10, settled))
    has_failures = Q(state=ExperimentState.COMPLETED, failed_count__gt=0) & a_tenth
    has_failed = Q(state=ExperimentState.FAILED) | has_failures
    return (
        has_failed & ~Q(HasTag("tags", Value(TRY)))
        | Q(state=ExperimentState.PAUSED) & ~Q(reason="")
        | Q(state=ExperimentState.PENDING) & is_stuck
    )


def touched_at() -> Expression:
    """Return when an experiment was last changed by a person or by its end. Progress of its trials does not count:
    otherwise the rows of a list of recent experiments would swap places all the time."""
    is_active = Q(state__in=status.ACTIVE)
    instant = DateTimeField()
    began = Coalesce("enqueued_at", "updated_at", output_field=instant)
    return Case(When(is_active, then=began), default=F("updated_at"), output_field=instant)


def latest_first() -> tuple[Expression, ...]:
    """Return the order of recent experiments: active ones first, then those changed last."""
    is_over = Case(When(state__in=status.ACTIVE, then=0), default=1, output_field=IntegerField())
    return is_over.asc(), touched_at().desc(), F("pk").desc()


def served_queues() -> set[str]:
    """Return the names of the queues that at least one worker serves."""
    return {name for names in Worker.objects.serving().values_list("queues", flat=True) for name in names}


class HasTag(Func):
    """True if a list of tags contains this one, on both databases."""

    output_field = BooleanField()
    template = "EXISTS (SELECT 1 FROM %(function)s(%(expressions)s)"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(
            compiler, connection, function="json_each", arg_joiner=") WHERE value = ", **context
        )

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        joiner = ") AS one(value) WHERE value = "
        name = "jsonb_array_elements_text"
        return self.as_sql(compiler, connection, function=name, arg_joiner=joiner, **context)


class AnyContains(HasTag):
    """True if one of these texts contains this one, ignoring the case of ASCII letters, on both databases."""

    template = "EXISTS (SELECT 1 FROM %(function)s(%(expressions)s)) > 0)"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        joiner = ") WHERE instr(lower(value), lower("
        return self.as_sql(compiler, connection, function="json_each", arg_joiner=joiner, **context)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        joiner = ") AS one(value) WHERE strpos(lower(value), lower("
        name = "jsonb_array_elements_text"
        return self.as_sql(compiler, connection, function=name, arg_joiner=joiner, **context)


def integer_in(text: str) -> int:
    """Return the whole number that the text is, if a database can hold it, else 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0

"""The table of experiments: filters and order from the URL, one page of rows, their actions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Max, Sum
from django.http import HttpRequest, QueryDict

from experiments.filters import experiment_lists
from experiments.filters.exclusions import Exclusion, exclusions
from experiments.filters.experiment_lists import NEWEST, SORTS, integer_in
from experiments.filters.experiments import ATTENTION, ME, Selection, filter_experiments, select_experiments
from experiments.filters.language import joined, quoted
from experiments.messages import set_best_decimals
from experiments.models import User, Workspace, status
from experiments.models.experiment.lifecycle import note_what_is_left
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.query_parameters import Parameter, choice, number, sorting, text
from experiments.scheduler.wait_reasons import Compute
from experiments.web.ui.controls import Chip, Tab
from experiments.web.ui.query_checks import note_fault

from . import index_rows

SIZES = (25, 50, 100)
SORT_LABELS = (
    ("-created", "Newest"),
    ("-updated", "Last updated"),
    ("name", "Name"),
    ("state", "State"),
    ("-best", "Highest best"),
    ("best", "Lowest best"),
    ("created", "Oldest"),
)
EXACT_TO = 10_000
PAGES_AROUND = 2


# The single filters of earlier URLs, which become conditions of the filter line.
SINGLE = ("q", "creator", "project", "tag", "needs")
ORDER_AND_FILTERS: dict[str, Parameter] = {
    "filter": text(),
    "and": text(),
    "last": text(),
    "view": number(1),
    "q": text(),
    "creator": text(),
    "project": text(),
    "tag": text(),
    "status": choice(*status.EXPERIMENT_STATES),
    "needs": choice(ATTENTION),
    "sort": sorting(*SORTS),
    "size": choice(*map(str, SIZES)),
    "page": number(1),
}

# The position of a live list: the IDs of its rows, and the newest experiment when it was opened.
PLACE: dict[str, Parameter] = {"shown": text(), "upto": number()}
MOST_NEW = 1000  # counted


def canonical(query: QueryDict) -> QueryDict:
    """Return the URL with all filters merged into the filter line: a clicked condition (`and`), and the single
    filters."""
    merged = query.copy()
    single = {name: query.get(name, "").replace("\0", "").strip() for name in SINGLE}
    is_named_me = single["creator"].casefold() == ME  # a user named like the keyword for the reader
    creator = f'"{single["creator"]}"' if is_named_me else quoted(single["creator"])
    terms = (
        query.get("filter", ""),
        quoted(single["q"]) if single["q"] else "",
        f"creator:{creator}" if single["creator"] else "",
        f"project:{quoted(single['project'])}" if single["project"] else "",
        f"tag:{quoted(single['tag'])}" if single["tag"] else "",
        f"needs:{ATTENTION}" if single["needs"] == ATTENTION else "",
        query.get("and", ""),
    )
    for name in (*SINGLE, "and"):
        merged.pop(name, None)
    filter = joined(*terms)
    if filter or "filter" in merged:
        merged["filter"] = filter
    return merged


def note_missing(request: HttpRequest, workspace: Workspace, visible: ExperimentQuerySet) -> None:
    """Add the faults of single filters by a creator, project or tag that the workspace does not have."""
    query = {
        name: request.GET.get(name, "").replace("\0", "").strip() for name in ("creator", "project", "tag")
    }
    for name, sentence in experiment_lists.missing_names(workspace, visible, **query).items():
        note_fault(request, name, sentence)


@dataclass(frozen=True)
class TableQuery:
    """The filter, order and page in the URL. Invalid values count as not set; the page says so."""

    filter: str = ""
    last: str = ""
    status: str = ""
    sort: str = NEWEST
    size: int = 50
    page: int = 1
    view: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> TableQuery:
        query = canonical(query)
        values = {name: query.get(name, "").strip() for name in cls.__dataclass_fields__}
        size = integer_in(values["size"])
        return cls(
            filter=values["filter"],
            last=values["last"],
            status=values["status"] if values["status"] in status.EXPERIMENT_STATES else "",
            sort=values["sort"] if values["sort"].removeprefix("-") in SORTS else NEWEST,
            size=size if size in SIZES else cls.size,
            page=max(1, integer_in(values["page"])),
            view=values["view"] if integer_in(values["view"]) else "",
        )

    def select(self, experiments: ExperimentQuerySet, reader: User) -> Selection:
        """Return the experiments that the filter selects, in any state, for the counts in the chips."""
        return select_experiments(experiments, self.filter, reader=reader, last=self.last)

    @property
    def is_filtered(self) -> bool:
        return bool(self.filter or self.status)

    def url(self, **changes: Any) -> str:
        """The URL of this view with some of it changed; without a page number it begins at the first."""
        changed_query, plain = replace(self, **{"page": 1, **changes}), TableQuery()
        values = {
            name: getattr(changed_query, name)
            for name in self.__dataclass_fields__
            if name != "last" and getattr(changed_query, name) != getattr(plain, name)
        }
        return "?" + urlencode(values)

    def matching(self, experiments: ExperimentQuerySet) -> ExperimentQuerySet:
        """Return the selected experiments in the chosen state."""
        return experiments.filter(state=self.status) if self.status else experiments

    def ordered(self, experiments: ExperimentQuerySet) -> ExperimentQuerySet:
        name, falls = self.sort.removeprefix("-"), self.sort.startswith("-")
        key, last = (
            experiment_lists.key_of(name),
            {"nulls_last": True} if name in experiment_lists.MAY_LACK else {},
        )
        order = key.desc(**last) if falls else key.asc(**last)
        return experiments.order_by(order, "-pk")


def views(query: TableQuery, user: User) -> list[Tab]:
    """Return the predefined views as tabs. A view is fully described by its URL."""
    own_filter, attention = f"creator:{ME}", f"needs:{ATTENTION}"
    is_mine = query.filter.casefold() in (own_filter, f"creator:{quoted(user.username)}".casefold())
    is_in_need = query.filter.casefold() == attention
    return [
        Tab("All", "?", is_current=not (is_mine or is_in_need or query.view)),
        Tab("Mine", TableQuery(filter=own_filter).url(), is_current=is_mine and not query.view),
        Tab("Needs attention", TableQuery(filter=attention).url(), is_current=is_in_need and not query.view),
    ]


def sort_options(query: TableQuery) -> list[tuple[str, str]]:
    """Return the orders to choose from, with the one in effect."""
    labels = dict(SORT_LABELS)
    if query.sort not in labels:
        name, falls = query.sort.removeprefix("-"), query.sort.startswith("-")
        labels[query.sort] = f"{name.capitalize()}, {'descending' if falls else 'ascending'}"
    return list(labels.items())


@dataclass(frozen=True)
class Version:
    """A version that changes with anything that the list shows of its experiments: by state, their number, the sums of
    their keys and versions, when the last one changed, and the newest key."""

    by_state: dict[str, tuple[Any, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of experiments by state."""
        return {state: numbers[0] for state, numbers in self.by_state.items()}

    @property
    def newest(self) -> int:
        """The key of the newest experiment, 0 without any."""
        return max((numbers[-1] for numbers in self.by_state.values()), default=0)

    @property
    def has_active(self) -> bool:
        return not self.by_state.keys().isdisjoint(status.ACTIVE)


def version(experiments: ExperimentQuerySet) -> Version:
    """Return the version of a list of these experiments. One query."""
    grouped = experiments.order_by().values("state")
    numbers = (Count("pk"), Sum("pk"), Sum("version"), Max("updated_at"), Max("pk"))
    return Version(
        {state: tuple(rest) for state, *rest in grouped.values_list("state", *numbers).order_by("state")}
    )


class Page:
    """One page of the list for one person: chips, rows, pager. A fixed number of queries for any number of rows.

    `counts`: the numbers of all these experiments by state, if they are known. `shown` and `upto` are the position of a
    live list: it renders the same rows again in the same order, whatever has changed since, and counts new ones as
    `waiting`.
    """

    def __init__(
        self,
        query: TableQuery,
        experiments: ExperimentQuerySet,
        *,
        user: User,
        counts: dict[str, int] | None = None,
        shown: str = "",
        upto: str = "",
    ) -> None:
        self._experiments, self._user = experiments, user
        self.selection = query.select(experiments, user)
        matching = self.selection.experiments
        if counts is None or self.selection.applied:
            counts = dict(matching.order_by().values_list("state").annotate(Count("pk")))
        self.counts = counts
        self.total = self.counts.get(query.status, 0) if query.status else sum(self.counts.values())
        self.last = max(1, -(-self.total // query.size))
        self.query = replace(query, page=min(query.page, self.last))
        matching = query.matching(matching)
        self.offset = (self.query.page - 1) * query.size
        ordered = query.ordered(matching).values_list("pk", flat=True)
        page = index_rows.read(ordered[self.offset : self.offset + query.size])
        self.waiting = 0
        keys = [key for key in shown.split(",") if key.isascii() and key.isalnum()][: query.size]
        if keys and upto.isdecimal() and len(upto) < 19:
            self.waiting = matching.filter(pk__gt=int(upto)).order_by()[:MOST_NEW].count()
            page = index_rows.in_order_of(page, keys, experiments)
        self.shown = ",".join(experiment.public_id for experiment in page)
        compute = Compute(
            {experiment.queue_id for experiment in page if experiment.is_active and experiment.queue_id}
        )
        set_best_decimals(page)
        note_what_is_left(page)
        index_rows.read_revisions(page)
        ends = index_rows.ends_of(page, compute)
        self.rows = [
            index_rows.row(experiment, user=user, compute=compute, ends=ends.get(experiment.pk, ""))
            for experiment in page
        ]

    @property
    def is_active(self) -> bool:
        """Whether an experiment on this page is active."""
        return any(row.experiment.is_active for row in self.rows)

    @property
    def exclusions(self) -> list[Exclusion]:
        """The conditions of the filter that exclude all experiments, if it selects none (in the state)."""
        if self.total or self.selection.error:
            return []
        return exclusions(
            self.selection.applied,
            lambda filter: self.query.matching(
                filter_experiments(self._experiments, filter, reader=self._user)
            ),
        )

    @property
    def chips(self) -> list[Chip]:
        everything = Chip(
            "", "All", sum(self.counts.values()), self.query.url(status=""), not self.query.status
        )
        return [everything] + [
            Chip(
                word,
                state.label,
                self.counts.get(word, 0),
                self.query.url(status=word),
                word == self.query.status,
            )
            for word, state in status.EXPERIMENT_STATES.items()
            if self.counts.get(word) or word == self.query.status
        ]

    @property
    def summary(self) -> str:
        """`1 to 50 of 317`; the total is exact to 10,000."""
        total = f"{self.total:,}" if self.total <= EXACT_TO else "10k+"
        return f"{self.offset + 1:,} to {self.offset + len(self.rows):,} of {total}" if self.rows else ""

    @property
    def pages(self) -> list[tuple[int, str, bool]]:
        at = self.query.page
        near = range(max(1, at - PAGES_AROUND), min(self.last, at + PAGES_AROUND) + 1)
        return [(n, self.query.url(page=n), n == at) for n in near] if self.last > 1 else []

    @property
    def previous(self) -> str | None:
        return self.query.url(page=self.query.page - 1) if self.query.page > 1 else None

    @property
    def next(self) -> str | None:
        return self.query.url(page=self.query.page + 1) if self.query.page < self.last else None

    @property
    def start(self) -> str | None:
        return self.query.url() if self.query.page > 1 + PAGES_AROUND else None

    @property
    def end(self) -> str | None:
        return self.query.url(page=self.last) if self.query.page < self.last - PAGES_AROUND else None

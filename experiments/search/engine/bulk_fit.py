"""Fit many past trials to a space at once, one parameter after the other.

Most trials were drawn from the space as it is. That all values of a parameter are of its type and within its bounds is
checked for thousands of trials in a few calls; only trials that fail it are looked at one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from experiments.search.json_documents import parse_all
from experiments.search.nested_choice import Group, Nested, Parameter
from experiments.search.parameters import (
    NOT_IN_SPACE,
    Choice,
    Normal,
    Randint,
    Uniform,
    canonical,
    identity,
)
from experiments.search.space import Space

from .fitted_trial import FittedTrial, fit, may_inform
from .problem import StoredTrial

BLOCK = 1024  # trials whose documents are parsed together: what fits the processor's cache

Documents = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Block:
    """Trials that were fitted together.

    `are_results`: the trial is done; `inform`: it informs the search if any of its parameters fits.
    `trials`: None where the fitted trial follows from `is_whole`. `indexes` are their points of a finite space, empty
    for an infinite one. `is_simple`: each of its raw values fits as it is, except for those of the parameters that are
    `lacking` at this place; those of all `names` are in `values`, and for spaces with nested choices also in `raws`.
    """

    stored: Sequence[StoredTrial]
    are_results: list[bool]
    inform: list[bool]
    trials: list[FittedTrial | None]
    indexes: list[int | None]
    is_whole: bytes
    is_simple: bytes
    names: frozenset[str]
    lacking: dict[int, frozenset[str]]
    raws: Documents
    values: dict[str, list[Any]]


def fit_block(space: Space, stored: Sequence[StoredTrial]) -> Block:
    """Fit these trials, like `fit` each of them."""
    raws, shown = _documents(stored)
    check = _Check()
    values = check.group(space, raws, shown, range(len(stored)))
    trials: list[FittedTrial | None] = [None] * len(stored)
    is_whole, is_simple = bytearray(b"\1") * len(stored), bytearray(b"\1") * len(stored)
    for place in check.partial | check.doubtful:
        is_whole[place] = 0
        is_simple[place] = place in check.partial and place not in check.unsure
    indexes: list[int | None] = []
    if space.size is not None:
        indexes = _indexes(space, stored, is_whole, values)
    for place in check.doubtful - check.partial:
        trials[place] = fitted = fit(space, stored[place])
        is_whole[place] = fitted.is_whole
        if indexes:
            indexes[place] = fitted.index
    are_results = [
        trial.state == "done" and trial.value is not None and -math.inf < trial.value < math.inf
        for trial in stored
    ]
    inform = [
        is_result or (trial.state != "done" and may_inform(trial))
        for trial, is_result in zip(stored, are_results, strict=True)
    ]
    return Block(
        stored,
        are_results,
        inform,
        trials,
        indexes,
        bytes(is_whole),
        bytes(is_simple),
        frozenset(values),
        {place: frozenset(names) for place, names in check.lacking.items()},
        raws if space.is_nested else (),
        values,
    )


def _indexes(
    space: Space, stored: Sequence[StoredTrial], is_unchanged: Sequence[int], values: dict[str, list[Any]]
) -> list[int | None]:
    """Return the points of these trials in a finite space; None for those of other experiments, and for those whose raw
    values do not fit as they are."""
    indexes: list[int | None] = [None] * len(stored)
    own = [place for place, trial in enumerate(stored) if is_unchanged[place] and trial.number >= 0]
    if own:
        columns = {name: [column[place] for place in own] for name, column in values.items()}
        for place, index in zip(own, space.allowed_indexes(columns), strict=True):
            indexes[place] = index
    return indexes


def _documents(stored: Sequence[StoredTrial]) -> tuple[Documents, Documents]:
    """Return the raw values of each trial, and those that it ran with: the same object if the texts are the same."""
    raws = parse_all([trial.raw_text for trial in stored])
    differing = [place for place, trial in enumerate(stored) if trial.shown_text is not trial.raw_text]
    if not differing:
        return raws, raws
    shown = raws.copy()
    parsed = parse_all([stored[place].shown_text for place in differing])
    for place, document in zip(differing, parsed, strict=True):
        shown[place] = document
    return raws, shown


class _Check:
    """Collects the places of the trials whose raw values do not fit as they are, or have other shown values than those
    the trial ran with: `partial` of those that certainly do not fit completely, `doubtful` of the others.

    `lacking` are the parameters whose values certainly do not fit; `unsure` are the places of the trials that have a
    value which may fit if it is changed.
    """

    def __init__(self) -> None:
        self.partial: set[int] = set()
        self.doubtful: set[int] = set()
        self.unsure: set[int] = set()
        self.lacking: dict[int, set[str]] = {}

    def group(
        self,
        group: Group,
        raws: Documents,
        shown: Documents,
        places: Sequence[int],
        *,
        is_branch: bool = False,
    ) -> dict[str, list[Any]]:
        """Check documents, which are those of the trials at these places. Return the raw values of each parameter."""
        names = [parameter.name for parameter in group.parameters]
        expected = {*names, "_name"} if is_branch else {*names}
        columns, are_complete = _columns(raws, names, len(expected))
        ran = columns
        if not are_complete:
            differing = list(_differing(places, raws, expected))
            self.doubtful.update(differing)
            if is_branch:
                self.unsure.update(differing)
        if shown is not raws:
            ran, are_complete = _columns(shown, names, len(expected))
            if not are_complete:
                differing = list(_differing(places, shown, expected))
                (self.doubtful if is_branch else self.partial).update(differing)
                if is_branch:
                    self.unsure.update(differing)
        for parameter in group.parameters:
            name = parameter.name
            self._parameter(parameter, columns[name], ran[name], places, is_branch=is_branch)
        return columns

    def _parameter(
        self,
        parameter: Parameter,
        drawn: list[Any],
        ran: list[Any],
        places: Sequence[int],
        *,
        is_branch: bool,
    ) -> None:
        """Check the raw values of one parameter, and those that the trials ran with."""
        doubtful: Iterable[int]
        if isinstance(parameter, Nested):
            doubtful = self._nested(parameter, drawn, ran, places)
        else:
            doubtful = _doubtful(parameter, drawn, ran)
        for each in doubtful:
            raw, shown = drawn[each], ran[each]
            if _is_shown_as(parameter, raw, shown):
                continue
            fits_otherwise = is_branch or (
                shown is not NOT_IN_SPACE and parameter.to_raw(canonical(shown)) is not NOT_IN_SPACE
            )
            if fits_otherwise:
                self.doubtful.add(places[each])
                self.unsure.add(places[each])
            else:
                self.partial.add(places[each])
                self.lacking.setdefault(places[each], set()).add(parameter.name)

    def _nested(
        self, parameter: Nested, drawn: list[Any], ran: list[Any], places: Sequence[int]
    ) -> list[int]:
        """Check the values of each branch. Return the positions of the values that are of none."""
        members: dict[str, list[int]] = {branch.name: [] for branch in parameter.branches}
        doubtful = []
        for each, (raw, shown) in enumerate(zip(drawn, ran, strict=True)):
            branch = parameter.branch_of(raw)
            if branch is not None and (raw is shown or parameter.branch_of(shown) is branch):
                members[branch.name].append(each)
            else:
                doubtful.append(each)
        for branch in parameter.branches:
            if chosen := members[branch.name]:
                raws = [drawn[each] for each in chosen]
                shown = raws if ran is drawn else [ran[each] for each in chosen]
                self.group(branch, raws, shown, [places[each] for each in chosen], is_branch=True)
        return doubtful


def _columns(documents: Documents, names: Sequence[str], count: int) -> tuple[dict[str, list[Any]], bool]:
    """Return the values of each parameter, with NOT_IN_SPACE where it is missing, and whether each of the documents has
    exactly `count` values, those of all parameters among them."""
    columns = {}
    are_complete = set(map(len, documents)) == {count}
    for name in names:
        try:
            columns[name] = [document[name] for document in documents]
        except KeyError:
            columns[name] = [document.get(name, NOT_IN_SPACE) for document in documents]
            are_complete = False
    return columns, are_complete


def _differing(places: Sequence[int], documents: Documents, names: set[str]) -> Iterable[int]:
    """Return the places of the documents that have other keys."""
    return (place for place, each in zip(places, documents, strict=True) if each.keys() != names)


def _doubtful(
    parameter: Choice | Randint | Uniform | Normal, drawn: list[Any], ran: list[Any]
) -> Iterable[int]:
    """Return the positions of all values that do not fit, or are not shown as what ran; of few others, too."""
    if isinstance(parameter, Choice):
        return _doubtful_choices(parameter, drawn, ran)
    low, high = parameter.low, parameter.high
    if isinstance(parameter, Randint) or parameter.q is None:
        kind: type = int if isinstance(parameter, Randint) else float
        if _are_within(drawn, kind, low, high) and (
            ran is drawn or (ran == drawn and set(map(type, ran)) == {kind})
        ):
            return ()
        return [
            each
            for each, (raw, shown) in enumerate(zip(drawn, ran, strict=True))
            if {type(raw), type(shown)} != {kind} or not (low <= raw <= high and raw == shown)
        ]
    kind = int if parameter.is_whole else float
    if _are_within(drawn, float, low, high):
        rounded = parameter.all_shown(drawn)
        if rounded == ran and set(map(type, ran)) == {kind}:
            return ()
    are_inside = [type(raw) is float and low <= raw <= high for raw in drawn]
    expected = iter(parameter.all_shown([*compress(drawn, are_inside)]))
    return [
        each
        for each, (is_inside, shown) in enumerate(zip(are_inside, ran, strict=True))
        if not is_inside or next(expected) != shown or type(shown) is not kind
    ]


def _are_within(values: list[Any], kind: type, low: float, high: float) -> bool:
    """Return whether all values are numbers of this type between the bounds. The sum finds those that are not a number,
    which `min` may overlook."""
    return (
        set(map(type, values)) == {kind}
        and low <= min(values)
        and max(values) <= high
        and not math.isnan(sum(values))
    )


def _doubtful_choices(parameter: Choice, drawn: list[Any], ran: list[Any]) -> Iterable[int]:
    """Return the positions of the values that do not fit, each distinct one checked once."""
    if set(map(type, drawn)) == {str} and (ran is drawn or ran == drawn):
        texts = {text for text in set(drawn) if not parameter.fits(text)}
        return [each for each, text in enumerate(drawn) if text in texts] if texts else ()
    pairs: list[Any] = list(zip(map(type, drawn), drawn, map(type, ran), ran, strict=True))
    try:
        distinct = {pair: (pair[1], pair[3]) for pair in set(pairs)}
    except TypeError:  # arrays and objects
        pairs = [(repr(raw), repr(shown)) for raw, shown in zip(drawn, ran, strict=True)]
        distinct = dict(zip(pairs, zip(drawn, ran, strict=True), strict=True))
    unfit = {pair for pair, values in distinct.items() if not _is_shown_as(parameter, *values)}
    return [each for each, pair in enumerate(pairs) if pair in unfit] if unfit else ()


def _is_shown_as(parameter: Parameter, raw: Any, shown: Any) -> bool:
    """Return whether the raw value fits and is shown as this one."""
    if raw is NOT_IN_SPACE or shown is NOT_IN_SPACE:
        return False
    return parameter.fits(raw) and identity(parameter.shown(raw)) == identity(shown)

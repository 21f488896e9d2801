"""Points that a person gives: values to hold, and sets of values to try before the algorithm's own proposals."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from .constrained_space import completed
from .engine import Exhausted, Past, Problem, Proposal
from .engine import propose as ask
from .parameters import identity
from .space import Space, parse, seed_of
from .validation import Fault, nearest

MAX_POINTS = 200
SUGGESTED = 10**9  # the place of what has no number yet in number order: after every trial


def narrowed(space: Space, fixed: Mapping[str, object]) -> Space:
    """The space with these parameters held at a value; with its constraints that is what is searched, counted and
    exhausted."""
    if not fixed:
        return space
    held = {name: {"_type": "choice", "_value": [value]} for name, value in fixed.items()}
    return parse({**space.document, **{name: held[name] for name in space.document if name in held}})


def check_values(space: Space, given: Mapping[str, object]) -> tuple[dict, list[Fault]]:
    """Some parameters' values as trials would get them (3 becomes 3.0 where floats are drawn), and what is wrong
    with them; each fault's path is the parameter."""
    documents, known, faults = space.document, {}, []
    for name, value in given.items():
        if name not in documents:
            hint = nearest(name, documents) or f" The search space has {', '.join(documents)}."
            faults.append(Fault(str(name)[:64], f"There is no such parameter.{hint}"))
            continue
        alone = parse({name: documents[name]})
        if (raw := alone.to_raw({name: value})) is None:
            meant = f"{documents[name]['_type']} {_short(documents[name]['_value'])}"
            faults.append(Fault(name, f"{_short(value)} lies outside the search space: {meant}."))
        else:
            known[name] = alone.shown(raw)[name]
    return known, faults


def propose(
    problem: Problem,
    past: Sequence[Past],
    ordinals: Sequence[int],
    *,
    points: Sequence[Mapping[str, object]],
    cache_key: str | None = None,
) -> list[Proposal]:
    """As the engine's `propose`; but `points` that no past trial has tried come first, in their order.

    A point may give some of the parameters: the algorithm proposes the others. It counts as tried when a trial has
    all its values, whoever proposed it and whatever became of it. Points that do not fit the space, or that its
    constraints do not allow, are left out.
    """
    space, seen, made = problem.space, list(past), []
    for point in _untried(points, space, past):
        if len(made) == len(ordinals):
            break
        if any(_has(one.key, point) for one in seen[len(past) :]):  # a fuller point has just brought it along
            continue
        ordinal, shown = ordinals[len(made)], dict(point)
        if len(point) < len(space.parameters):
            try:
                shown = ask(problem, seen, [ordinal], cache_key=cache_key)[0].shown | point
            except Exhausted:
                break
        if not space.allows(shown):
            shown = completed(space, point, seed=seed_of(problem.seed, ordinal))
            if shown is None:
                continue
        raw = space.to_raw(shown)
        made.append(Proposal(ordinal, raw, space.shown(raw), {}))
        seen.append(Past(ordinal, SUGGESTED + ordinal, raw, space.key(made[-1].shown), "running", None))
    rest = list(ordinals[len(made) :])
    if not rest:
        return made
    try:
        return made + ask(problem, seen, rest, cache_key=cache_key)
    except Exhausted:
        if made:
            return made
        raise


def _untried(points: Sequence[Mapping], space: Space, past: Sequence[Past]) -> Iterator[Mapping]:
    if not points:
        return
    keys = {one.key: None for one in past if one.number >= 0}  # what is tried first is found first
    for point in points:
        is_whole = len(point) == len(space.parameters)
        if space.key(point) in keys or not _fits(space, identity(dict(point))):
            continue
        if is_whole or not any(_has(key, point) for key in keys):
            yield point


@lru_cache(maxsize=4 * MAX_POINTS)
def _fits(space: Space, point: str) -> bool:
    return not check_values(space, json.loads(point))[1]


def _has(key: str, point: Mapping[str, object]) -> bool:
    """Does a trial with this key have these values? To look for the text first is a hundred times as fast."""
    if not all(identity({name: value})[1:-1] in key for name, value in point.items()):
        return False
    ran = json.loads(key)
    return all(name in ran and identity(ran[name]) == identity(value) for name, value in point.items())


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"

"""Points that users provide: fixed parameter values, and starting points to try before the algorithm's proposals."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from .constrained_space import complete_point
from .engine import Exhausted, Past, PastTrial, Problem, Proposal, tried_keys
from .engine import propose as propose_by_algorithm
from .parameters import identity
from .space import Space, parse, seed_of
from .validation import Fault, nearest

MAX_POINTS = 200
UNNUMBERED = 10**9  # the order of proposals that have no trial number yet: after every trial


def fix_parameters(space: Space, fixed: Mapping[str, object]) -> Space:
    """Return the space with these parameters fixed."""
    if not fixed:
        return space
    choices = {name: {"_type": "choice", "_value": [value]} for name, value in fixed.items()}
    return parse({**space.document, **{name: choices[name] for name in space.document if name in choices}})


def check_values(space: Space, values: Mapping[str, object]) -> tuple[dict, list[Fault]]:
    """Return values of some parameters as trials would get them (3 becomes 3.0 if floats are drawn), and their faults;
    each fault's path is the parameter's name."""
    documents = space.document
    shown: dict[str, object] = {}
    faults: list[Fault] = []
    for name, value in values.items():
        if name not in documents:
            hint = nearest(name, documents) or f" The parameters are {', '.join(documents)}."
            faults.append(Fault(str(name)[:64], f"Unknown parameter.{hint}"))
            continue
        space_of_one = parse({name: documents[name]})
        if (raw := space_of_one.to_raw({name: value})) is None:
            definition = f"{documents[name]['_type']} {_short(documents[name]['_value'])}"
            faults.append(Fault(name, f"{_short(value)} is outside the search space: {definition}."))
        else:
            shown[name] = space_of_one.shown(raw)[name]
    return shown, faults


def propose(
    problem: Problem,
    past: Sequence[Past],
    ordinals: Sequence[int],
    *,
    points: Sequence[Mapping[str, object]],
    cache_key: str | None = None,
) -> list[Proposal]:
    """Like the engine's `propose`, but return the `points` that no past trial has tried first, in their order.

    A point may contain some of the parameters; the algorithm proposes the others. A point counts as tried when a trial
    has all its values, whatever its origin and outcome. Points that do not fit the space or its constraints are
    skipped.
    """
    space, trials = problem.space, list(past)
    proposals: list[Proposal] = []
    for point in _untried(points, space, past, cache_key):
        if len(proposals) == len(ordinals):
            break
        if any(
            _has(trial.key, point) for trial in trials[len(past) :]
        ):  # contained in a point that was just proposed
            continue
        ordinal = ordinals[len(proposals)]
        shown = dict(point)
        if len(point) < len(space.parameters):
            try:
                proposal = propose_by_algorithm(problem, trials, [ordinal], cache_key=cache_key)[0]
            except Exhausted:
                break
            shown = {**proposal.shown, **point}
        if not space.allows(shown):
            completed = complete_point(space, point, seed=seed_of(problem.seed, ordinal))
            if completed is None:
                continue
            shown = completed
        if (raw := space.to_raw(shown)) is None:
            continue
        proposals.append(Proposal(ordinal, raw, space.shown(raw), {}))
        key = space.key(proposals[-1].shown)
        trials.append(PastTrial(ordinal, UNNUMBERED + ordinal, raw, key, "running", None))
    other_ordinals = list(ordinals[len(proposals) :])
    if not other_ordinals:
        return proposals
    try:
        return proposals + propose_by_algorithm(problem, trials, other_ordinals, cache_key=cache_key)
    except Exhausted:
        if proposals:
            return proposals
        raise


def _untried(
    points: Sequence[Mapping], space: Space, past: Sequence[Past], cache_key: str | None
) -> Iterator[Mapping]:
    if not points:
        return
    keys = tried_keys(past, cache_key)
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
    """Return whether a trial with this key has these values. The text search in front makes it a hundred times
    faster."""
    if not all(identity({name: value})[1:-1] in key for name, value in point.items()):
        return False
    values = json.loads(key)
    return all(name in values and identity(values[name]) == identity(value) for name, value in point.items())


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"

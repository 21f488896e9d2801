"""The keys of the past trials, for searches that must know which values have been tried in a space without end."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Sequence
from threading import Lock

from experiments.search.json_documents import parse_all
from experiments.search.parameters import identity

from .problem import Past, StoredTrial

_BLOCK = 512
_CHUNK = 1024
_MAX_CACHED = 16


class TriedKeys:
    """The different keys of the trials of one experiment: made once for each trial, when they are used first."""

    def __init__(self) -> None:
        self._past: list[Past] = []
        self._counts: Counter[str] = Counter()

    def of(self, past: Sequence[Past]) -> Collection[str]:
        """Return the different keys of these trials, except for those of other experiments; those of the first trials
        come first. The result changes at the next call."""
        kept = common(self._past, past)
        for key in _keys(self._past[kept:]):
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
        self._counts.update(_keys(past[kept:]))
        self._past = list(past)
        return self._counts.keys()


def common(before: Sequence[Past], after: Sequence[Past]) -> int:
    """Return how many trials at the beginning of both are equal. Comparing slices is fast for the same objects."""
    shorter = min(len(before), len(after))
    for start in range(0, shorter, _BLOCK):
        end = min(start + _BLOCK, shorter)
        if list(before[start:end]) == list(after[start:end]):
            continue
        while end - start > 1:  # the first difference is between them
            middle = (start + end) // 2
            if list(before[start:middle]) == list(after[start:middle]):
                start = middle
            else:
                end = middle
        return start
    return shorter


def _keys(past: Sequence[Past]) -> Iterable[str]:
    own = [trial for trial in past if trial.number >= 0]
    for start in range(0, len(own), _CHUNK):
        chunk = own[start : start + _CHUNK]
        parsed = iter(parse_all([trial.shown_text for trial in chunk if isinstance(trial, StoredTrial)]))
        for trial in chunk:
            yield identity(next(parsed)) if isinstance(trial, StoredTrial) else trial.key


# Of each experiment by cache key; least recently used entries are evicted first.
_cache: OrderedDict[str, TriedKeys] = OrderedDict()
_cache_lock = Lock()


def tried_keys(past: Sequence[Past], cache_key: str | None) -> Collection[str]:
    """Return the different keys of the past trials of this experiment. With a `cache_key`, trials of earlier calls are
    not looked at again."""
    if cache_key is None:
        return TriedKeys().of(past)
    with _cache_lock:
        tried = _cache.pop(cache_key, None) or TriedKeys()
    keys = dict.fromkeys(tried.of(past))  # another thread may be the next to use it
    with _cache_lock:
        _cache[cache_key] = tried
        while len(_cache) > _MAX_CACHED:
            _cache.popitem(last=False)
    return keys


def clear_cache() -> None:
    with _cache_lock:
        _cache.clear()

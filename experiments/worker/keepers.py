"""The keepers of a worker: small processes that own the processes of its trials, and end them when the worker hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from experiments.models import Trial
from experiments.runner import lease
from experiments.runner.process import Keeper, LaunchError, sweep


class Keepers:
    """A keeper that most trials share, and separate ones for trials that were lost before. Thread-safe. When the lease
    expires, which each successful heartbeat extends, a keeper ends its trials on its own.
    """

    def __init__(
        self, *, installation: str, lease_s: float, ending: threading.Event, sweep_more: Callable[[], object]
    ) -> None:
        """Create the keepers. `sweep_more` cleans up after a keeper that died."""
        self._installation, self._ending, self._sweep_more = installation, ending, sweep_more
        self._lease_s, self._until = lease_s, lease.now() + lease.ends_after_s(lease_s)
        self._lock = threading.Lock()
        self._shared: Keeper | None = None
        self._own: list[Keeper] = []  # each for one trial

    @contextmanager
    def of(self, trial: Trial) -> Iterator[Keeper]:
        """Yield the keeper for its process: the shared one, or a separate one if the trial was lost before.

        A retried trial may be what killed the keeper. With a separate keeper, it cannot take down others.
        """
        if not trial.retries:
            yield self._get_shared()
            return
        with self._lock:
            own = self._start()
            self._own.append(own)
        try:
            yield own
        finally:
            own.close()
            self._own.remove(own)

    def extend_lease(self, heard_at: float) -> None:
        """Let the trials continue. `heard_at`: the start of a successful heartbeat, by `lease.now`. Does not block."""
        self._until = heard_at + lease.ends_after_s(self._lease_s)
        for keeper in self._all():
            self._extend(keeper)

    def close(self, *, grace_s: float) -> None:
        """Close all keepers in parallel. Each ends its trials within the grace period."""
        with self._lock:
            keepers = self._all()
        closing = [threading.Thread(target=keeper.close, kwargs={"grace_s": grace_s}) for keeper in keepers]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def _all(self) -> list[Keeper]:
        return [*([self._shared] if self._shared else []), *self._own]

    def _get_shared(self) -> Keeper:
        """Return the running keeper. Replace a keeper that died, after ending the processes that it left."""
        with self._lock:
            if self._shared is None or not self._shared.alive:
                if self._shared is not None:
                    sweep(installation=self._installation)
                    self._sweep_more()
                self._shared = self._start()
            return self._shared

    def _start(self) -> Keeper:
        if self._ending.is_set():
            raise LaunchError("The worker is shutting down.")
        keeper = Keeper(installation=self._installation)
        keeper.start()
        self._extend(keeper)
        return keeper

    def _extend(self, keeper: Keeper) -> None:
        keeper.extend_lease(self._until, grace_s=lease.grace_s(self._lease_s))

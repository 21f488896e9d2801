"""Stop, rerun and add trials of an experiment."""

from __future__ import annotations  # for Python 3.8

from trialdeck.nni.types import TrialJob, trial_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from trialdeck.console import Console


class TrialControls:
    """The methods of `Experiment` that change single trials."""

    if TYPE_CHECKING:

        @property
        def _path(self) -> str: ...
        def _connected(self) -> Console: ...
        def _number(self, trial_job_id: str | int) -> int: ...
        def _require_writable(self) -> None: ...
        def _until(self, is_done: Callable[[], bool], *, event: str) -> None: ...
        def _when_started(self, call: Callable[[], Any]) -> Any: ...

    def kill_trial_job(self, trial_job_id: str) -> None:
        """Stop a trial, by ID or number, and wait until its processes have ended."""
        self._require_writable()
        path = f"{self._path}/trials/{self._number(trial_job_id)}"
        self._connected().post(f"{path}/stop")
        self._until(
            lambda: self._connected().get(path)["state"] not in ("waiting", "running", "stopping"),
            event=f"the end of trial {trial_job_id}",
        )

    def rerun(self, trial_job_id: str, command: str = "original") -> TrialJob:
        """Run the parameters of a failed trial again. `command`: "original", or "current" if it was edited."""
        self._require_writable()
        path = f"{self._path}/trials/{self._number(trial_job_id)}/rerun"
        return trial_job(self._connected().post(path, {"command": command}))

    def add_trial(self, parameters: dict[str, Any]) -> TrialJob:
        """Add a trial with the given values, which may be outside the search space. The trial does not count toward the
        budget."""
        self._require_writable()
        path = f"{self._path}/trials"
        return trial_job(self._when_started(lambda: self._connected().post(path, {"params": parameters})))

"""What can be asked of an experiment: NNI's get_* and list_*, and what NNI lacks."""

from __future__ import annotations  # for Python 3.8

import importlib
import time

from trialdeck import data, errors, finding
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LOG_BYTES = 1 << 20
PAGE = 1000  # trials and points at a time


class Readings:
    """Of an experiment that is connected: `id` and a console. All raise NotConnected before that."""

    id: str | None
    _console: Console | None

    def get_status(self) -> str:
        """INITIALIZED, RUNNING, NO_MORE_TRIAL, STOPPING, STOPPED, DONE or ERROR."""
        return data.experiment_word(self._read())

    def get_trial_job(self, trial_job_id: str) -> data.TrialJob:
        """One trial, by its ID or number. Raises NotFound."""
        return data.trial_job(self._trial(trial_job_id))

    def list_trial_jobs(self) -> list[data.TrialJob]:
        """All trials, in the order of their numbers."""
        return [data.trial_job(trial) for trial in self._trials()]

    def get_job_statistics(self) -> list[dict[str, Any]]:
        """How many trials there are of each status: [{"trialJobStatus": …, "trialJobNumber": …}]."""
        counts: dict[str, int] = {}
        for state, number in self._read()["counts"].items():
            counts[data.TRIAL_WORDS[state]] = counts.get(data.TRIAL_WORDS[state], 0) + number
        if counts.get("FAILED"):
            lost = sum(trial["failure"] == "worker_lost" for trial in self._trials(state="failed"))
            counts["FAILED"] -= lost
            counts["SYS_CANCELED"] = lost
        return [{"trialJobStatus": word, "trialJobNumber": n} for word, n in counts.items() if n > 0]

    def get_job_metrics(self, trial_job_id: str | None = None) -> dict[str, list[data.TrialMetricData]]:
        """The results of one trial, or of all, by trial ID: those under way, then the final one."""
        objective = self._read()["settings"]["metric"]
        if trial_job_id is None:
            trials, path = list(self._trials()), f"{self._path}/metrics"
        else:
            trials = [self._trial(trial_job_id)]
            path = f"{self._path}/trials/{trials[0]['number']}/metrics"
        points: dict[int, list[dict]] = {}
        for point in self._connected().items(path, limit=PAGE):
            points.setdefault(point["trial"], []).append(point)
        told = {}
        for trial in trials:
            told[trial["id"]] = data.periodical_metrics(
                trial, points.get(trial["number"], []), objective=objective
            )
            if trial["state"] == "succeeded" and trial["value"] is not None:
                told[trial["id"]].append(data.final_metric(trial))
        return told

    def get_experiment_profile(self) -> dict[str, Any]:
        """The experiment as NNI tells it: params, id, execDuration (s), startTime and endTime (ms), revision, …"""
        told = data.profile(self._read())
        last = self._connected().get(f"{self._path}/trials", sort="-number", limit=1)["items"]
        told["nextSequenceId"] = last[0]["number"] if last else 0
        return told

    def get_experiment_metadata(self, exp_id: str) -> dict[str, Any]:
        """Of the experiment with this ID: name, status, times (ms), tags, address. {}: there is none."""
        console = self._connected()
        try:
            return data.metadata(console.get(f"experiments/{_word(exp_id)}"), port=console.port)
        except errors.NotFound:
            return {}

    def get_all_experiments_metadata(self) -> list[dict[str, Any]]:
        """Of all experiments that this token sees, the latest first."""
        console = self._connected()
        found = [
            one for room in finding.rooms(console) for one in console.items(f"workspaces/{room}/experiments")
        ]
        found.sort(key=lambda one: one["created_at"], reverse=True)
        return [data.metadata(one, port=console.port) for one in found]

    def export_data(self) -> list[data.TrialResult]:
        """Parameters and value of each trial that succeeded."""
        return [
            data.TrialResult(trial["params"], trial["value"], trial["id"])
            for trial in self._trials(state="succeeded")
            if trial["value"] is not None
        ]

    def best(self) -> data.TrialResult | None:
        """The best trial so far, by the experiment's direction; None while there is no value."""
        best = self._read()["best"]
        if best is None:
            return None
        trial = self._trial(best["number"])
        return data.TrialResult(trial["params"], best["value"], trial["id"])

    def to_dataframe(self) -> Any:
        """All trials as a pandas DataFrame: number, id, state, value, duration_s, and parameters as p.lr, p.…"""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise errors.Error("to_dataframe needs pandas: pip install pandas.") from None
        names = ("number", "id", "state", "value", "duration_s")
        rows = [
            {
                **{name: trial[name] for name in names},
                **{f"p.{name}": value for name, value in trial["params"].items()},
            }
            for trial in self._trials()
        ]
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=names)

    def logs(self, trial_job_id: str) -> str:
        """What a trial has printed so far."""
        return "".join(self._pieces(trial_job_id, is_followed=False))

    def follow_logs(self, trial_job_id: str) -> Iterator[str]:
        """What a trial has printed, and prints, piece by piece until it ends."""
        return self._pieces(trial_job_id, is_followed=True)

    def _pieces(self, trial_job_id: str, *, is_followed: bool) -> Iterator[str]:
        path, at = f"{self._path}/trials/{self._number(trial_job_id)}/log", 0
        while True:
            found = self._connected().get(path, **{"from": at, "bytes": LOG_BYTES})
            if found.get("gap"):
                yield f"\n[{found['gap']['bytes']:,} bytes are left out here]\n"
            if found["text"]:
                yield found["text"]
            has_more = found["next"] > at and found["next"] < found["size"]
            at = found["next"]
            if found["is_whole"] or not (has_more or is_followed):
                return
            if not has_more:
                time.sleep(0.5)

    def _connected(self) -> Console:
        if self._console is None or self.id is None:
            raise errors.NotConnected(
                "This experiment is not running: call run() or start(), or connect to one that is."
            )
        return self._console

    @property
    def _path(self) -> str:
        self._connected()
        return f"experiments/{self.id}"

    def _read(self) -> dict[str, Any]:
        return self._connected().get(self._path)

    def _trials(self, **query: object) -> Iterator[dict[str, Any]]:
        return self._connected().items(f"{self._path}/trials", limit=PAGE, **query)

    def _trial(self, trial_job_id: str | int) -> dict[str, Any]:
        return self._connected().get(f"{self._path}/trials/{self._number(trial_job_id)}")

    def _number(self, trial_job_id: str | int) -> int:
        """The number in `7f3k2m9q-12`, or `12`. Raises NotFound for what is none of this experiment's."""
        prefix, dash, number = str(trial_job_id).rpartition("-")
        is_ours = prefix == self.id if dash else True  # -1 is none: it must not mean 1
        if not is_ours or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise errors.NotFound(
                f"There is no trial {trial_job_id!r} in the experiment {self.id}. IDs of its trials look like "
                f"{self.id}-1.",
                status=404,
            )
        return int(number)


def _word(exp_id: object) -> str:
    """An ID that may stand in an address."""
    text = str(exp_id)
    if not (text.isascii() and text.isalnum()):
        raise errors.NotFound(
            f"There is no experiment {exp_id!r}: an ID is 8 letters and digits.", status=404
        )
    return text

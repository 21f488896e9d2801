"""Queries on an experiment: NNI's get_* and list_* methods, and some more."""

from __future__ import annotations  # for Python 3.8

import importlib
import time
from pathlib import Path

from trialdeck import errors, lookup
from trialdeck.console import Console
from trialdeck.nni import types as nni_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from trialdeck.config import ExperimentConfig

LOG_BYTES = 1 << 20
PAGE_SIZE = 1000  # of trials and points


class ExperimentQueries:
    """Read-only methods of a connected experiment. All raise NotConnected if there is no connection."""

    id: str
    config: ExperimentConfig
    _console: Console | None

    def export(self, path: str | Path, *, logs: bool = True, artifacts: bool = False) -> Path:
        """Store the whole experiment as one file that `trialdeck.import_experiment` can read on any console: settings,
        revisions, trials, intermediate results and comments; logs and artifacts by choice. Secrets are omitted. Return
        the path of the file; in a folder it is called `<id>.trialdeck.zip`. Raise trialdeck.Error, OSError."""
        target = Path(path)
        if target.is_dir():
            target = target / f"{self.id}.trialdeck.zip"
        query = f"logs={str(logs).lower()}&artifacts={str(artifacts).lower()}"
        self._connected().download(f"{self._path}/export?{query}", target)
        return target

    def get_status(self) -> str:
        """Return INITIALIZED, RUNNING, NO_MORE_TRIAL, STOPPING, STOPPED, DONE or ERROR."""
        return nni_types.experiment_word(self._read())

    def get_trial_job(self, trial_job_id: str) -> nni_types.TrialJob:
        """Return one trial, by ID or number. Raise NotFound."""
        return nni_types.trial_job(self._trial(trial_job_id))

    def list_trial_jobs(self, filter: str = "") -> list[nni_types.TrialJob]:
        """Return all trials, or those that a filter such as `lr<1e-3 value>0.9` selects, ordered by number. Raise
        Invalid for a filter that cannot be read."""
        return [nni_types.trial_job(trial) for trial in self._trials(filter=filter or None)]

    def get_job_statistics(self) -> list[dict[str, Any]]:
        """Return the number of trials per status: [{"trialJobStatus": …, "trialJobNumber": …}]."""
        counts: dict[str, int] = {}
        for state, number in self._read()["counts"].items():
            counts[nni_types.TRIAL_WORDS[state]] = counts.get(nni_types.TRIAL_WORDS[state], 0) + number
        if counts.get("FAILED"):
            lost = sum(trial["failure"] == "worker_lost" for trial in self._trials(state="failed"))
            counts["FAILED"] -= lost
            counts["SYS_CANCELED"] = lost
        return [{"trialJobStatus": word, "trialJobNumber": n} for word, n in counts.items() if n > 0]

    def get_job_metrics(self, trial_job_id: str | None = None) -> dict[str, list[nni_types.TrialMetricData]]:
        """Return results by trial ID, of one trial or of all: intermediate results, then the final one."""
        objective = self._read()["settings"]["metric"]
        if trial_job_id is None:
            trials, path = list(self._trials()), f"{self._path}/metrics"
        else:
            trials = [self._trial(trial_job_id)]
            path = f"{self._path}/trials/{trials[0]['number']}/metrics"
        points: dict[int, list[dict]] = {}
        for point in self._connected().items(path, limit=PAGE_SIZE):
            points.setdefault(point["trial"], []).append(point)
        metrics = {}
        for trial in trials:
            metrics[trial["id"]] = nni_types.periodical_metrics(
                trial, points.get(trial["number"], []), objective=objective
            )
            if trial["state"] == "succeeded" and trial["value"] is not None:
                metrics[trial["id"]].append(nni_types.final_metric(trial))
        return metrics

    def get_experiment_profile(self) -> dict[str, Any]:
        """Return NNI's profile: params, id, execDuration (s), startTime and endTime (ms), revision, …"""
        profile = nni_types.profile(self._read())
        last = self._connected().get(f"{self._path}/trials", sort="-number", limit=1)["items"]
        profile["nextSequenceId"] = last[0]["number"] if last else 0
        return profile

    def get_experiment_metadata(self, exp_id: str) -> dict[str, Any]:
        """Return name, status, times (ms), tags and URL of an experiment; {} if there is no such experiment."""
        console = self._connected()
        try:
            return nni_types.metadata(console.get(f"experiments/{_checked_id(exp_id)}"), port=console.port)
        except errors.NotFound:
            return {}

    def get_all_experiments_metadata(self) -> list[dict[str, Any]]:
        """Return the metadata of all experiments visible with this token, newest first."""
        console = self._connected()
        rows = [
            row
            for workspace in lookup.workspaces(console)
            for row in console.items(f"workspaces/{workspace}/experiments")
        ]
        rows.sort(key=lambda row: row["created_at"], reverse=True)
        return [nni_types.metadata(row, port=console.port) for row in rows]

    def export_data(self) -> list[nni_types.TrialResult]:
        """Return parameters and value of each succeeded trial."""
        return [
            nni_types.TrialResult(trial["params"], nni_types.final_value(trial), trial["id"])
            for trial in self._trials(state="succeeded")
            if trial["value"] is not None
        ]

    def best(self) -> nni_types.TrialResult | None:
        """Return the best succeeded trial so far, or None while none has succeeded. Raise Refused with several
        objectives: see `pareto`."""
        experiment = self._read()
        if experiment.get("front") is not None:
            raise errors.Refused("With several objectives there is no single best trial. Call pareto().")
        best = experiment["best"]
        if best is None:
            return None
        trial = self._trial(best["number"])
        return nni_types.TrialResult(trial["params"], best["value"], trial["id"])

    def pareto(self) -> list[nni_types.TrialResult]:
        """Return the trials on the Pareto front, the best of the first objective first; with a single objective, the
        best trial. `value` maps each objective's metric to its value."""
        experiment = self._read()
        settings = experiment["settings"]
        if experiment.get("front") is None:
            best = self.best()
            if best is None:
                return []
            return [nni_types.TrialResult(best.parameter, {settings["metric"]: best.value}, best.trialJobId)]
        names = list(settings["further_objectives"])
        rows = self._trials(filter="front:yes", state="succeeded")
        results = [
            nni_types.TrialResult(
                trial["params"],
                {
                    settings["metric"]: trial["value"],
                    **{name: trial["final_metrics"][name] for name in names},
                },
                trial["id"],
            )
            for trial in rows
        ]
        sign = -1 if settings["direction"] == "maximize" else 1
        return sorted(results, key=lambda result: sign * result.value[settings["metric"]])

    def hypervolume(self) -> list[tuple[int, float]]:
        """Return the hypervolume of the Pareto front over time: (number of results, hypervolume). The console
        computes it in the background; [] until then. Raise Refused with a single objective."""
        computed = self._connected().get(f"{self._path}/front")["hypervolume"]
        return [(results, volume) for results, volume in computed["steps"]] if computed else []

    def compare(
        self, *trials: str | int, base: str | int | None = None, all_rows: bool = False
    ) -> dict[str, Any]:
        """Compare 2 to 50 trials, by number or ID (also of other experiments of the workspace): {"trials": […],
        "rows": […]}.

        Each row has a `group`, a `name` and `values`, the baseline's first; numbers have `deltas` to the baseline and,
        on logarithmic scales, `factors`. `base` is one of the trials, by default the first. Only rows that differ are
        returned, unless `all_rows`. Raise NotFound for a trial that does not exist, and trialdeck.Error for too few or
        too many.
        """
        query = _comparison_query(base, all_rows=all_rows)
        keys = [str(trial) for trial in trials]
        document: dict[str, Any] = self._connected().get(f"{self._path}/compare", trial=keys, **query)
        return document

    def compare_with(
        self, *others: str | ExperimentQueries, base: str | None = None, all_rows: bool = False
    ) -> dict[str, Any]:
        """Compare this experiment with others of its workspace, by ID or connected: {"experiments": […],
        "replicates": […], "target": …, "rows": […]}.

        The rows are as in `compare`. `replicates` are sets of experiments that differ only in the seed, with the spread
        of their best values. `base` is the ID of the baseline, by default this experiment. Raise NotFound for an
        experiment that does not exist.
        """
        query = _comparison_query(base, all_rows=all_rows)
        ids = [self.id, *(other if isinstance(other, str) else other.id for other in others)]
        workspace = self._read()["workspace"]
        path = f"workspaces/{workspace}/compare"
        document: dict[str, Any] = self._connected().get(path, experiment=ids, **query)
        return document

    def failures(self) -> list[dict[str, Any]]:
        """Return the causes of failures, the most common first: [{"cause": …, "detail": …, "count": …, "trials": […]}].

        `trials` are numbers, newest first. Only the 500 trials that ended last are
        considered, without those that were rerun.
        """
        groups: list[dict[str, Any]] = self._connected().get(f"{self._path}/failures")["items"]
        return groups

    def to_dataframe(self) -> Any:
        """Return all trials as a pandas DataFrame: number, id, state, value, is_partial, duration_s, and parameters as
        p.lr, p.… `value` is partial where a trial did not succeed."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise errors.Error("to_dataframe() needs pandas. Run `pip install pandas`.") from None
        names = ("number", "id", "state", "value", "is_partial", "duration_s")
        rows = [
            {
                **{name: trial.get(name) for name in names},
                **{f"p.{name}": value for name, value in trial["params"].items()},
            }
            for trial in self._trials()
        ]
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=names)

    def logs(self, trial_job_id: str) -> str:
        """Return the log of a trial so far."""
        return "".join(self._pieces(trial_job_id, is_followed=False))

    def follow_logs(self, trial_job_id: str) -> Iterator[str]:
        """Yield the log of a trial in pieces, until the trial ends."""
        return self._pieces(trial_job_id, is_followed=True)

    def _pieces(self, trial_job_id: str, *, is_followed: bool) -> Iterator[str]:
        path, offset = f"{self._path}/trials/{self._number(trial_job_id)}/log", 0
        while True:
            piece = self._connected().get(path, **{"from": offset, "bytes": LOG_BYTES})
            if piece.get("gap"):
                yield f"\n[{piece['gap']['bytes']:,} bytes dropped]\n"
            if piece["text"]:
                yield piece["text"]
            has_more = piece["next"] > offset and piece["next"] < piece["size"]
            offset = piece["next"]
            if piece["is_whole"] or not (has_more or is_followed):
                return
            if not has_more:
                time.sleep(0.5)

    def _connected(self) -> Console:
        if self._console is None:
            raise errors.NotConnected(
                "The experiment is not connected. Call run() or start(), or Experiment.connect()."
            )
        return self._console

    @property
    def _path(self) -> str:
        self._connected()
        return f"experiments/{self.id}"

    def _read(self) -> dict[str, Any]:
        return self._connected().get(self._path)

    def _trials(self, **query: object) -> Iterator[dict[str, Any]]:
        trials = self._connected().items(f"{self._path}/trials", limit=PAGE_SIZE, **query)
        return map(self._as_received, trials)

    def _trial(self, trial_job_id: str | int) -> dict[str, Any]:
        path = f"{self._path}/trials/{self._number(trial_job_id)}"
        return self._as_received(self._connected().get(path))

    def _as_received(self, trial: dict[str, Any]) -> dict[str, Any]:
        """Return the trial with the parameters that it received: with Batch, an object without the choice's name."""
        values = list(trial["params"].values())
        is_object = len(values) == 1 and isinstance(values[0], dict) and "_name" not in values[0]
        return {**trial, "params": values[0]} if is_object and self.config.tuner.name == "Batch" else trial

    def _number(self, trial_job_id: str | int) -> int:
        """Return the number in `7f3k2m9q-12` or `12`. Raise NotFound for other text and other experiments."""
        prefix, dash, number = str(trial_job_id).rpartition("-")
        is_ours = prefix == self.id if dash else True  # -1 must not mean 1
        if not is_ours or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise errors.NotFound(
                f"No trial {trial_job_id!r} in the experiment {self.id}. Trial IDs look like {self.id}-1.",
                status=404,
            )
        return int(number)


def _comparison_query(base: str | int | None, *, all_rows: bool) -> dict[str, str]:
    query = {"rows": "all"} if all_rows else {}
    return query if base is None else {**query, "base": str(base)}


def _checked_id(exp_id: object) -> str:
    """Return an ID that is safe in a URL. Raise NotFound."""
    text = str(exp_id)
    if not (text.isascii() and text.isalnum()):
        raise errors.NotFound(
            f"No experiment {exp_id!r}: experiment IDs have 8 letters and digits.", status=404
        )
    return text

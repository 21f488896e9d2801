"""`Experiment`: NNI's class of this name, on a Trialdeck console."""

from __future__ import annotations  # for Python 3.8

import atexit
import os
import re
import secrets
import threading
import time

from trialdeck import caller_environment, discovery, embedded, errors, lookup, resuming
from trialdeck.config import ExperimentConfig, seconds
from trialdeck.experiment.trial_controls import TrialControls
from trialdeck.field_names import in_terms_of
from trialdeck.nni.types import RunMode
from trialdeck.notebook.views import NotebookViews
from trialdeck.progress import Progress
from trialdeck.queries import ExperimentQueries
from trialdeck.schedule import ScheduleControls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from trialdeck.console import Console
    from trialdeck.embedded import Embedded

ENDED = resuming.ENDED
STOP_WITHIN_S = 180.0
START_WITHIN_S = 10.0
MOST_CAUSES = 3  # causes of failures printed at the end
UNREACHABLE_S = 60.0  # how long a wait tolerates an unreachable console, for example during a restart


class Experiment(NotebookViews, ScheduleControls, TrialControls, ExperimentQueries):
    """A new experiment, or an existing one (`connect`, `resume`, `view`).

    `Experiment('local')` starts with an empty configuration; the argument may also be an ExperimentConfig, or a dict
    of its fields. `id` is the ID if it has 8 lowercase letters and digits; otherwise the ID is a new one, and `id`
    becomes the name if the configuration has none. `port` is None before the start and after stop().
    """

    def __init__(self, config_or_platform: Any = None, id: str | None = None) -> None:  # noqa: A002  NNI's name
        if id is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", str(id)):
            raise errors.Invalid(f"An id must have 1 to 32 letters, digits, _ and -, not {id!r}.")
        is_config = isinstance(config_or_platform, ExperimentConfig)
        self.config: ExperimentConfig = (
            config_or_platform if is_config else ExperimentConfig(config_or_platform)
        )
        if id is not None and self.config.experiment_name is None:
            self.config.experiment_name = id
        is_public_id = id is not None and re.fullmatch(r"[a-z0-9]{8}", str(id))
        self.id: str = str(id) if is_public_id else _new_id()
        self.port: int | None = None
        self._console: Console | None = None
        self._embedded: Embedded | None = None
        self._url = ""
        self._is_view = False

    def __repr__(self) -> str:
        return f"<Experiment {self.id}{'' if self._console else ', not started'}>"

    @property
    def url(self) -> str:
        """The address of its page in the console."""
        self._connected()
        return self._url

    # --- lifecycle ----------------------------------------------------------------------------------------

    def start(
        self,
        port: int | None = 8080,
        debug: bool = False,
        run_mode: RunMode = RunMode.Background,
        slots: int | None = None,
    ) -> None:
        """Start the experiment. Return once it is in a queue that a worker serves.

        The console is TRIALDECK_URL's if that is set, else the one on `port` of this machine (None: the only one that
        runs here); if none is running there, the embedded console is started. The embedded console and its experiments
        end with this program, unless `run_mode` is Detach. `slots`: how many trials the embedded console runs in
        parallel (default: one per core), if it is started. `debug` has no effect.

        Raise trialdeck.Error if anything is wrong, also if no worker of the queue has the GPUs, cores or memory that a
        trial needs; nothing is started then.
        """
        if self._console is not None:
            self._start_draft()
            return
        self.config.document(start=True)  # raises errors before a console is started
        console, started = embedded.console_on(port, options=embedded.up_options(slots))
        if slots is not None and started is None:
            print(
                f"slots={slots} has no effect: the console at {console.url} is already running.", flush=True
            )
        _detach_if_requested(started, run_mode)
        self._start_on(console)
        self._belongs_to(started, run_mode)

    def run(
        self, port: int = 8080, wait_completion: bool = True, debug: bool = False, slots: int | None = None
    ) -> bool | None:
        """Start the experiment and wait for its end. Return True if it completed or was stopped, False if it failed
        (as it does when no trial has a result) or was auto-paused. Causes of failures are printed.

        Without `wait_completion`, return None immediately. Ctrl-C stops the experiment; it can be resumed. `slots` as
        in start().
        """
        mode = RunMode.Foreground if wait_completion else RunMode.Background
        return self._in_foreground(lambda: self.start(port, debug, mode, slots), waits=wait_completion)

    def wait(self, progress: bool | Progress = True, timeout_s: float | None = None) -> bool:
        """Wait for the end. Return True if the experiment completed or was stopped, False if it failed (as it does
        when no trial has a result) or was auto-paused. Causes of failures are printed.

        With `progress`, show progress on standard error. Raise TimedOut, a TimeoutError, after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        shown = progress if isinstance(progress, Progress) else Progress() if progress else None
        pause_s = 0.1
        unreachable_since: float | None = None
        try:
            while True:
                row = None
                try:
                    row, unreachable_since = self._read(), None
                except (errors.Unreachable, errors.Unavailable):
                    unreachable_since = unreachable_since or time.monotonic()
                    if time.monotonic() - unreachable_since > UNREACHABLE_S:
                        raise
                if row and shown:
                    shown.show(row)
                if row and row["state"] == "draft":
                    raise errors.Refused(
                        f"The experiment {self.id} is a draft. Call start() first.", status=409
                    )
                if row and (row["state"] in ENDED or _is_auto_paused(row)):
                    break
                if deadline is not None and time.monotonic() > deadline:
                    raise errors.TimedOut(f"The experiment {self.id} did not end within {timeout_s:g} s.")
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.3, 2.0)
        finally:
            if shown:
                shown.close()
        has_failed = row["state"] == "failed" or _is_auto_paused(row)
        if has_failed or row["counts"]["failed"]:
            self._print_failures(row)
        return not has_failed

    def _print_failures(self, row: dict[str, Any]) -> None:
        """Print the end of the experiment, with the most common causes of its failures."""
        failed, total = row["counts"]["failed"], sum(row["counts"].values())
        share = f", {failed} of {total} trials failed" if row["state"] in ("completed", "stopped") else ""
        lines = [f"Experiment {self.id} {_state_and_reason(row)}{share}. {row['url']}"]
        groups = self.failures()
        lines += [
            f"  {group['count']} × {group['detail'] or group['cause']}" for group in groups[:MOST_CAUSES]
        ]
        if len(groups) > MOST_CAUSES:
            lines.append(f"  {len(groups) - MOST_CAUSES} more causes: see the page")
        print("\n".join(lines), flush=True)

    def stop(self) -> None:
        """Stop the experiment and wait until its last process has ended. An experiment that has ended, or was never
        started, stays as it is.

        Results can still be read afterwards; `port` is None, as in NNI.
        """
        if self._console is None:
            return
        self._require_writable()
        state = self._read()["state"]
        if state != "draft" and state not in ENDED:
            try:
                self._run_action("stop")
            except errors.Refused:  # the experiment ended a moment ago
                if self._read()["state"] not in ENDED:
                    raise
            self._until(lambda: self._read()["state"] in ENDED, event="the end of the last trial")
        self.port = None

    def pause(self) -> None:
        """Start no new trials. Running trials continue."""
        self._when_started(lambda: self._run_action("pause"))

    def unpause(self) -> None:
        """Start new trials again."""
        self._run_action("unpause")

    @classmethod
    def connect(
        cls, port: int | str | None = None, experiment: str | None = None, token: str | None = None
    ) -> Experiment:
        """Return an existing experiment, by ID or name; by default the only active one.

        The console is at a port of this machine, or at a URL; by default TRIALDECK_URL's, or the one running here.
        """
        if (
            isinstance(port, str)
            and experiment is None
            and not any(mark in port for mark in ":./")
            and not port.isdigit()
        ):
            raise errors.Invalid(
                f"{port!r} is neither a port nor the address of a console. For an experiment, use "
                f"Experiment.connect(experiment={port!r})."
            )
        console = discovery.find(port, token)
        connected = cls()
        if experiment:
            connected._attach(console, lookup.find_experiment(console, experiment))
        else:
            connected._attach(console, lookup.only_active_experiment(console))
        return connected

    @staticmethod
    def resume(
        experiment_id: str,
        port: int = 8080,
        wait_completion: bool = True,
        debug: bool = False,
        *,
        rerun_failed: bool = False,
        max_trial_number: int | None = None,
        max_experiment_duration: str | float | None = None,
        goal: float | None = None,
    ) -> Experiment:
        """Resume an experiment that has ended, by ID or name. Its history informs the search.

        Trials that were stopped with it are retried with the same values, without using up the budget; with
        `rerun_failed`, so are failed trials whose values never succeeded. A larger budget is needed only if nothing
        else is left to do.
        """
        console, started = embedded.console_on(port)
        mode = RunMode.Foreground if wait_completion else RunMode.Background
        _detach_if_requested(started, mode)
        resumed = Experiment()
        resumed._attach(console, lookup.find_experiment(console, experiment_id))
        lookup.check_served(console, resumed.config)
        resumed._belongs_to(started, mode)
        budget = {
            "max_trials": max_trial_number,
            "max_duration_s": seconds(max_experiment_duration, "max_experiment_duration"),
            "goal": goal,
        }
        request_body = {name: value for name, value in budget.items() if value is not None}
        with in_terms_of(resumed.config):
            resumed._in_foreground(
                lambda: resumed._resume(rerun_failed=rerun_failed, **request_body), waits=wait_completion
            )
        return resumed

    @staticmethod
    def view(experiment_id: str, port: int = 8080, non_blocking: bool = False) -> Experiment:
        """Return a read-only experiment, by ID or name. Wait for Ctrl-C, unless `non_blocking`."""
        console, started = embedded.console_on(port)
        _detach_if_requested(started, RunMode.Background)
        viewed = Experiment()
        viewed._attach(console, lookup.find_experiment(console, experiment_id))
        viewed._is_view = True
        print(f"Experiment {viewed.id}: {viewed.url}", flush=True)
        if not non_blocking:
            print("Press Ctrl-C to close the view.", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print()
        return viewed

    # --- changes -------------------------------------------------------------------------------------------

    def update_trial_concurrency(self, value: int) -> None:
        """Set the number of trials running in parallel. Running trials continue."""
        self._change(concurrency=value)

    def update_max_trial_number(self, value: int) -> None:
        """Set the total number of trials. An ended experiment is resumed."""
        self._change_budget(max_trials=value)

    def update_max_experiment_duration(self, value: str | float) -> None:
        """Set the total run time: '10m', '2h' or seconds, pauses excluded. An ended experiment is resumed."""
        self._change_budget(max_duration_s=seconds(value, "max_experiment_duration"))

    def update_search_space(self, value: dict[str, Any]) -> None:
        """Set the search space of future trials."""
        self._change(space_document=value)

    # --- internals -----------------------------------------------------------------------------------------

    def _start_draft(self) -> None:
        """Start an existing draft: a clone, or a dequeued experiment."""
        row = self._read()
        self._require_writable()
        if row["state"] in ENDED and row.get("to_resume"):
            way_out = f"has ended (state: {row['state']}). {self._how_to_resume()}"
            raise errors.Refused(f"The experiment {self.id} {way_out}", status=409)
        if row["state"] != "draft":
            raise errors.Refused(
                f"The experiment {self.id} is already started (state: {row['state']}).", status=409
            )
        lookup.check_served(self._connected(), self.config)
        self._run_action("enqueue")

    def _start_on(self, console: Console) -> None:
        document = {**self.config.document(start=True), "id": self.id}
        workspace = self.config.workspace or lookup.only_workspace(console)
        slots_note = lookup.check_served(console, self.config)
        settings = document["settings"]
        if console.is_here and not document.get("queue") and not settings.get("repository"):
            self.config.check_directory(settings.get("directory"))
        if console.is_here and not settings.get("image"):
            settings["environment"] = {
                **caller_environment.caller_environment(),
                **settings.get("environment", {}),
            }
        with in_terms_of(self.config):
            row = console.post(f"workspaces/{workspace}/experiments", document)
        warnings = (f"Warning: {warning['message']}" for warning in row.get("warnings", ()))
        for note in (*self.config.notes(), *slots_note, *warnings):
            print(note, flush=True)
        self._attach(console, row)

    def _attach(self, console: Console, row: dict[str, Any]) -> None:
        self._console, self.id, self.port, self._url = console, row["id"], console.port, row["url"]
        self.config = ExperimentConfig.of(row if "settings" in row else self._read())

    def _belongs_to(self, started: Embedded | None, mode: RunMode) -> None:
        """Stop the experiment at exit, as NNI does, if it runs on an embedded console and is not detached."""
        self._embedded = started
        if started and mode is not RunMode.Detach:
            pid = os.getpid()
            atexit.register(lambda: self._at_exit(pid))

    def _at_exit(self, pid: int) -> None:
        if os.getpid() != pid or self._embedded is None or self._embedded.process.poll() is not None:
            return
        try:
            if self._read()["state"] in ENDED:
                return
            print(f"Stopping experiment {self.id}.", flush=True)
            self.stop()
            print(self._how_to_resume(), flush=True)
        except errors.Error as error:
            print(f"Could not stop experiment {self.id}: {error}", flush=True)

    def _in_foreground(self, begin: Callable[[], Any], *, waits: bool) -> bool | None:
        """Start the experiment, print its address and wait for its end. Ctrl-C at any time stops the experiment."""
        try:
            begin()
            print(f"Experiment {self.id}: {self.url}", flush=True)
            return self.wait(progress=True) if waits else None
        except KeyboardInterrupt:
            if self._console is None:
                raise
        print(f"\nStopping experiment {self.id} (press Ctrl-C again to skip waiting).", flush=True)
        try:
            self.stop()
        except KeyboardInterrupt:
            print("The experiment continues to stop in the background.", flush=True)
        print(self._how_to_resume(), flush=True)
        return None

    def _how_to_resume(self) -> str:
        return resuming.how_to(self._read(), self._connected().port)

    def _resume(self, **request_body: Any) -> None:
        with resuming.refusals_name_the_way(
            self._read, lambda row: resuming.how_to(row, self._connected().port)
        ):
            self._run_action("resume", **request_body)

    def _run_action(self, name: str, **request_body: Any) -> dict[str, Any]:
        self._require_writable()
        result: dict[str, Any] = self._connected().post(f"{self._path}/{name}", request_body)
        return result["experiment"]

    def _change(self, **settings: Any) -> None:
        self._require_writable()
        with in_terms_of(self.config):
            self._when_started(lambda: self._connected().patch(self._path, {"settings": settings}))

    def _change_budget(self, **budget: Any) -> None:
        self._require_writable()
        if self._read()["state"] in ENDED:
            with in_terms_of(self.config):
                self._resume(**budget)
        else:
            self._change(**budget)

    def _when_started(self, call: Callable[[], Any]) -> Any:
        """Make a call that is refused until a worker has taken the first trial, as just after start()."""
        deadline = time.monotonic() + START_WITHIN_S
        while self._read()["state"] == "pending" and time.monotonic() < deadline:
            time.sleep(0.1)
        return call()

    def _require_writable(self) -> None:
        self._connected()
        if self._is_view:
            call = f"Experiment.connect({self._connected().port}, '{self.id}')"
            raise errors.Refused(
                f"This view is read-only. To make changes, use {call}.",
                status=409,
            )

    def _until(self, is_done: Callable[[], bool], *, event: str) -> None:
        deadline, pause_s = time.monotonic() + STOP_WITHIN_S, 0.05
        while not is_done():
            if time.monotonic() > deadline:
                raise errors.Error(
                    f"Waited {STOP_WITHIN_S:.0f} s for {event}. See {self.url} for the current state."
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, 1.0)


def _new_id() -> str:
    """Return a new ID, in the letters that the console uses: none is read as another."""
    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(8))


def _detach_if_requested(started: Embedded | None, mode: RunMode) -> None:
    if started and mode is RunMode.Detach:
        started.is_detached = True
        print(
            "The console keeps running after this program ends. To stop it: "
            f"trialdeck down --port {started.console.port}"
        )


def _is_auto_paused(row: dict[str, Any]) -> bool:
    """Return whether the experiment was auto-paused and its trials have ended: nothing would happen without a user."""
    counts = row["counts"]
    return row["state"] == "paused" and bool(row["reason"]) and not counts["running"] + counts["stopping"]


def _state_and_reason(row: dict[str, Any]) -> str:
    word = row["state"] if row["state"] in ENDED else "was auto-paused"
    return f"{word}: {row['reason'].rstrip('.')}" if row["reason"] else word

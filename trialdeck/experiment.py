"""An experiment in Python: NNI's `Experiment`, on a Trialdeck console."""

from __future__ import annotations  # for Python 3.8

import atexit
import os
import re
import threading
import time

from trialdeck import embedded, errors, finding, where
from trialdeck.config import ExperimentConfig, seconds
from trialdeck.data import RunMode, TrialJob, trial_job
from trialdeck.progress import Progress
from trialdeck.reading import Readings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from trialdeck.console import Console
    from trialdeck.embedded import Embedded

ENDED = ("stopped", "completed", "failed", "published")
STOP_WITHIN_S = 180.0
BEGIN_WITHIN_S = 10.0
AWAY_S = 60.0  # how long a console may be away, for a restart, while something is waited for


class Experiment(Readings):
    """An experiment that is to be run, or one that is there already (`connect`, `resume`, `view`).

    `Experiment('local')` begins with an empty configuration; `config` may also be an ExperimentConfig, or a dict
    of its fields. `id` becomes the name, where the configuration has none; the ID itself is the console's.
    """

    def __init__(self, config_or_platform: Any = None, id: str | None = None) -> None:  # noqa: A002  NNI's name
        if id is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", str(id)):
            raise errors.Invalid(f"An id has 1 to 32 letters, digits, _ and -; not {id!r}.")
        is_config = isinstance(config_or_platform, ExperimentConfig)
        self.config: ExperimentConfig = (
            config_or_platform if is_config else ExperimentConfig(config_or_platform)
        )
        if id is not None and self.config.experiment_name is None:
            self.config.experiment_name = id
        self.id: str | None = None
        self.port: int | None = None
        self._console: Console | None = None
        self._embedded: Embedded | None = None
        self._url = ""
        self._is_view = False

    def __repr__(self) -> str:
        return f"<Experiment {self.id or 'not started'}>"

    @property
    def url(self) -> str:
        """Where to look at it in a browser."""
        self._connected()
        return self._url

    # --- its life ------------------------------------------------------------------------------------------

    def start(self, port: int = 8080, debug: bool = False, run_mode: RunMode = RunMode.Background) -> None:
        """Starts it, and returns once it stands in a queue that a worker serves.

        Where: TRIALDECK_URL if it is set, else the console on `port` of this machine; when none runs there, the
        embedded one is started. That one, and what runs on it, ends with this program, unless `run_mode` is Detach.
        Raises trialdeck.Error when anything is wrong; then nothing was started. `debug` changes nothing.
        """
        if self.id is not None:
            self._start_draft()
            return
        self.config.document(start=True)  # what is wrong with it is said before a console is started
        console, started = embedded.console_on(port)
        _adopt(started, run_mode)
        self._start_on(console)
        self._belongs_to(started, run_mode)

    def run(self, port: int = 8080, wait_completion: bool = True, debug: bool = False) -> bool | None:
        """Starts it and waits for its end. True: it is done, or was stopped; False: it failed, or paused itself.

        With `wait_completion` False it returns None at once. Ctrl-C stops the experiment; it can be resumed.
        """
        mode = RunMode.Foreground if wait_completion else RunMode.Background
        return self._in_foreground(lambda: self.start(port, debug, mode), waits=wait_completion)

    def wait(self, progress: bool = True, timeout_s: float | None = None) -> bool:
        """Waits for its end. True: it is done, or was stopped; False: it failed, or paused itself.

        With `progress` it shows how far it is, on standard error. Raises TimedOut, a TimeoutError, after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        shown = Progress() if progress else None
        pause_s, away_since = 0.1, None
        try:
            while True:
                try:
                    told, away_since = self._read(), None
                except (errors.Unreachable, errors.Unavailable):
                    away_since = away_since or time.monotonic()
                    if time.monotonic() - away_since > AWAY_S:
                        raise
                    told = None
                if told and shown:
                    shown.show(told)
                if told and told["state"] == "draft":
                    raise errors.Refused(
                        f"The experiment {self.id} is a draft: start() it first.", status=409
                    )
                if told and (told["state"] in ENDED or _paused_itself(told)):
                    break
                if deadline is not None and time.monotonic() > deadline:
                    raise errors.TimedOut(f"The experiment {self.id} did not end within {timeout_s:g} s.")
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.3, 2.0)
        finally:
            if shown:
                shown.close()
        if told["state"] == "failed" or _paused_itself(told):
            print(f"Experiment {self.id} {_state_and_reason(told)}. {told['url']}", flush=True)
            return False
        return True

    def stop(self) -> None:
        """Stops it, and returns when its last process has ended. One that has ended already stays as it is."""
        self._may_change()
        told = self._read()
        if told["state"] == "draft" or told["state"] in ENDED:
            return
        try:
            self._act("stop")
        except errors.Refused:  # it ended a moment ago
            if self._read()["state"] not in ENDED:
                raise
        self._until(lambda: self._read()["state"] in ENDED, what="the end of its last trial")

    def pause(self) -> None:
        """Starts nothing new; running trials go on."""
        self._once_begun(lambda: self._act("pause"))

    def unpause(self) -> None:
        self._act("unpause")

    @classmethod
    def connect(
        cls, port: int | str | None = None, experiment: str | None = None, token: str | None = None
    ) -> Experiment:
        """One that is there: on the console at a port of this machine, or at a URL; else TRIALDECK_URL's, else the
        one that runs here. `experiment`: its ID or name; left out, the only one that is under way.
        """
        console = where.find(port, token)
        found = cls()
        found._attach(
            console, finding.find(console, experiment) if experiment else finding.only_active(console)
        )
        return found

    @staticmethod
    def resume(
        experiment_id: str, port: int = 8080, wait_completion: bool = True, debug: bool = False
    ) -> Experiment:
        """Runs one on that was stopped, or has ended: its history informs the search. By ID or name."""
        console, started = embedded.console_on(port)
        mode = RunMode.Foreground if wait_completion else RunMode.Background
        _adopt(started, mode)
        resumed = Experiment()
        resumed._attach(console, finding.find(console, experiment_id))
        finding.check_served(console, resumed.config.queue)
        resumed._belongs_to(started, mode)
        resumed._in_foreground(lambda: resumed._act("resume"), waits=wait_completion)
        return resumed

    @staticmethod
    def view(experiment_id: str, port: int = 8080, non_blocking: bool = False) -> Experiment:
        """Opens one to look at: nothing can be changed through it. Waits for Ctrl-C, unless `non_blocking`."""
        console, started = embedded.console_on(port)
        _adopt(started, RunMode.Background)
        seen = Experiment()
        seen._attach(console, finding.find(console, experiment_id))
        seen._is_view = True
        print(f"Experiment {seen.id}: {seen.url}", flush=True)
        if not non_blocking:
            print("Ctrl-C ends the view.", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print()
        return seen

    # --- changes under way ---------------------------------------------------------------------------------

    def update_trial_concurrency(self, value: int) -> None:
        """How many trials run at once; takes effect at once, running ones go on."""
        self._change(concurrency=value)

    def update_max_trial_number(self, value: int) -> None:
        """How many trials are proposed in all. One that has ended is resumed."""
        self._change_budget(max_trials=value)

    def update_max_experiment_duration(self, value: str | float) -> None:
        """'10m', '2h' or seconds, from its first start, pauses excluded. One that has ended is resumed."""
        self._change_budget(max_duration_s=seconds(value, "max_experiment_duration"))

    def update_search_space(self, value: dict[str, Any]) -> None:
        """Trials proposed from now on are drawn from it."""
        self._change(space_document=value)

    def kill_trial_job(self, trial_job_id: str) -> None:
        """Stops a trial, by its ID or number; returns when its processes have ended."""
        self._may_change()
        path = f"{self._path}/trials/{self._number(trial_job_id)}"
        self._connected().post(f"{path}/stop")
        self._until(
            lambda: self._connected().get(path)["state"] not in ("waiting", "running", "stopping"),
            what=f"the end of trial {trial_job_id}",
        )

    def rerun(self, trial_job_id: str, command: str = "original") -> TrialJob:
        """A new trial with the values of a failed one. `command`: "original", or "current" if it was edited since."""
        self._may_change()
        path = f"{self._path}/trials/{self._number(trial_job_id)}/rerun"
        return trial_job(self._connected().post(path, {"command": command}))

    def add_trial(self, parameters: dict[str, Any]) -> TrialJob:
        """A trial with values of your own, also outside of the search space; it costs no budget."""
        self._may_change()
        path = f"{self._path}/trials"
        return trial_job(self._once_begun(lambda: self._connected().post(path, {"params": parameters})))

    # --- below ---------------------------------------------------------------------------------------------

    def _start_draft(self) -> None:
        """One that is there already: a clone, or one that was taken out of its queue."""
        told = self._read()
        if told["state"] != "draft":
            said = f"The experiment {self.id} was started already: it is {told['state']}."
            raise errors.Refused(said, status=409)
        finding.check_served(self._connected(), told["queue"])
        self._act("enqueue")

    def _start_on(self, console: Console) -> None:
        document = self.config.document(start=True)
        room = self.config.workspace or finding.only_room(console)
        finding.check_served(console, self.config.queue)
        if not self.config.has_direction:
            document["settings"]["direction"] = "maximize"
            print("The metric is maximized, because nothing says otherwise (optimize_mode, direction).")
        made = console.post(f"workspaces/{room}/experiments", document)
        self._attach(console, made)

    def _attach(self, console: Console, told: dict[str, Any]) -> None:
        self._console, self.id, self.port, self._url = console, told["id"], console.port, told["url"]
        if "settings" not in told:
            told = self._read()
        self.config = ExperimentConfig.of(told)

    def _belongs_to(self, started: Embedded | None, mode: RunMode) -> None:
        """On a console of this program's own, an experiment that is not detached ends with the program, as NNI's."""
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
            print(f"Stopping experiment {self.id}. {self._how_to_resume()}", flush=True)
            self.stop()
        except errors.Error as error:
            print(f"Experiment {self.id} could not be stopped: {error}", flush=True)

    def _in_foreground(self, begin: Callable[[], Any], *, waits: bool) -> bool | None:
        """Begins it, says where it is, waits for its end. Ctrl-C at any moment stops what has begun."""
        try:
            begin()
            print(f"Experiment {self.id}: {self.url}", flush=True)
            return self.wait(progress=True) if waits else None
        except KeyboardInterrupt:
            if self.id is None:
                raise
        print(f"\nStopping experiment {self.id} (Ctrl-C again: do not wait for its trials).", flush=True)
        try:
            self.stop()
        except KeyboardInterrupt:
            print("It stops by itself.", flush=True)
        print(self._how_to_resume(), flush=True)
        return None

    def _how_to_resume(self) -> str:
        return f"To go on: Experiment.resume('{self.id}', {self.port})"

    def _act(self, verb: str, **told: Any) -> dict[str, Any]:
        self._may_change()
        return self._connected().post(f"{self._path}/{verb}", told)["experiment"]

    def _change(self, **settings: Any) -> None:
        self._may_change()
        self._once_begun(lambda: self._connected().patch(self._path, {"settings": settings}))

    def _change_budget(self, **budget: Any) -> None:
        self._may_change()
        if self._read()["state"] in ENDED:
            self._act("resume", **budget)
        else:
            self._change(**budget)

    def _once_begun(self, act: Callable[[], Any]) -> Any:
        """Does what is not possible before a worker has taken a trial, as in the moment after start()."""
        deadline = time.monotonic() + BEGIN_WITHIN_S
        while self._read()["state"] == "pending" and time.monotonic() < deadline:
            time.sleep(0.1)
        return act()

    def _may_change(self) -> None:
        self._connected()
        if self._is_view:
            raise errors.Refused(
                f"This is a view: nothing can be changed through it. Use Experiment.connect({self.port}, '{self.id}').",
                status=409,
            )

    def _until(self, is_done: Callable[[], bool], *, what: str) -> None:
        deadline, pause_s = time.monotonic() + STOP_WITHIN_S, 0.05
        while not is_done():
            if time.monotonic() > deadline:
                raise errors.Error(f"Waited {STOP_WITHIN_S:.0f} s for {what}; it goes on at {self.url}.")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, 1.0)


def _adopt(started: Embedded | None, mode: RunMode) -> None:
    if started and mode is RunMode.Detach:
        started.is_detached = True
        print(
            f"The console goes on when this program ends. To end it: trialdeck down --port {started.console.port}"
        )


def _paused_itself(told: dict[str, Any]) -> bool:
    """By the breaker, and nothing runs any more: it would wait for a person for ever."""
    counts = told["counts"]
    return told["state"] == "paused" and bool(told["reason"]) and not counts["running"] + counts["stopping"]


def _state_and_reason(told: dict[str, Any]) -> str:
    word = "failed" if told["state"] == "failed" else "paused itself"
    return f"{word}: {told['reason'].rstrip('.')}" if told["reason"] else word

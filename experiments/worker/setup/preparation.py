"""Preparation of a trial's process: its command line, its environment, and the files that its dialects read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.models import secret
from experiments.runner import command as commands
from experiments.runner import configuration
from experiments.runner.container import ContainerError
from experiments.runner.dialects import clearml, native, nni
from experiments.runner.dialects.clearml_publish import Publisher
from experiments.runner.dialects.reader import Reader
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.output.json_metric import NoMetric, expand_path
from experiments.runner.safe_files import OutsideFolder, Root
from experiments.runner.trial_folder import environment
from experiments.worker.errors import SetupFailed
from experiments.worker.output import objective
from experiments.worker.output.metric_file import MetricFile
from experiments.worker.setup.environment import Place, Setup
from experiments.worker.setup.previous_output import previous_output, removed_attempt

if TYPE_CHECKING:
    from experiments.worker.trial_run import TrialRun

DIALECTS = (native, nni, clearml)


@dataclass
class Prepared:
    """A trial that is ready to start. `readers` read its reports, one per dialect."""

    argv: list[str]
    env: dict[str, str]
    run_context: RunContext
    publisher: Publisher
    readers: Sequence[Reader]
    metric_file: MetricFile | None
    clearml_changes: list[int]

    def has_used_clearml(self) -> bool:
        """Return whether the trial's script has used ClearML's package so far."""
        return clearml.last_changes(self.run_context) != self.clearml_changes

    def close(self) -> None:
        """Note that the trial no longer writes its metric. Idempotent."""
        if self.metric_file:
            self.metric_file.close()


class Preparation:
    """Prepares one trial, whose code and packages are at their `place`."""

    def __init__(self, run: TrialRun, setup: Setup, place: Place) -> None:
        self.run, self.setup, self.place = run, setup, place
        self.trial, self.settings, self.folder, self.worker = run.trial, run.settings, run.folder, run.worker

    def prepare(self) -> Prepared:
        """Write the trial's files, and return what to start and read. Raise `SetupFailed`."""
        setup, place = self.setup, self.place
        settings, trial = self.settings, self.trial
        params = settings.received(trial.params)
        names = {
            **params,
            "trial_id": trial.public_id,
            "exp_id": trial.experiment.public_id,
            "params": str(self.folder.parameters),
            "output_dir": str(self.folder.output),
        }
        groups = self._groups()
        appended = (
            configuration.arguments(groups, params, settings.arguments_as)
            if settings.passes_arguments
            else ()
        )
        script = commands.render(settings.run_command, names, append=appended)
        run_context = self._run_context(params, groups)
        env = self._write_inputs(run_context)
        if earlier := self.run.retrying(lambda: previous_output(trial, self.worker.trials_folder)):
            env["TRIALDECK_PREVIOUS_OUTPUT_DIR"] = str(earlier)
            setup.boundary.show(earlier)
        elif removed := self.run.retrying(lambda: removed_attempt(trial)):
            self.run.reports.notes.append(
                f"Started without the output of #{removed.number}: its folder was removed."
            )
        if settings.gpus is not None:
            # In a container the devices are numbered from 0.
            devices = range(len(trial.gpus)) if setup.shelf.engine else trial.gpus
            env["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in devices)
        if place.model:
            env["TRIALDECK_INPUT_MODEL"] = str(place.model)
        if engine := setup.shelf.engine:
            job = setup.contained(script, place, env, previous=earlier)
            try:
                argv, env = engine.argv(job), engine.environment(job, base=os.environ)
            except ContainerError as failed:
                raise SetupFailed(str(failed)) from failed
        else:
            if settings.image or settings.setup_script:
                unused = f"The image {settings.image} was" if settings.image else "The setup script was"
                self.run.reports.notes.append(
                    f"{unused} not used: the worker {self.worker.name} runs trials without containers (--container)."
                )
            readable = [place.environment, place.model]
            argv = commands.argv(script, pipefail=settings.pipefail)
            argv, env = setup.boundary.wrapped(argv, cwd=place.cwd, readable=readable), place.activated(env)
        return Prepared(
            argv=argv,
            env=env,
            run_context=run_context,
            publisher=clearml.publisher_of(run_context),
            readers=[dialect.listen(run_context) for dialect in DIALECTS],
            metric_file=self._find_metric_file(names, env) if settings.source == "file" else None,
            clearml_changes=clearml.last_changes(run_context),
        )

    def _run_context(self, params: dict[str, Any], groups: configuration.Groups) -> RunContext:
        settings, trial, is_contained = self.settings, self.trial, bool(self.setup.shelf.engine)
        chosen = {**configuration.variables(groups, params), **settings.environment}
        env = environment(
            # The worker's environment does not apply in a container.
            base={} if is_contained else self.setup.boundary.base(),
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            trial_id=trial.public_id,
            number=trial.number,
            metric=settings.metric,
            user=chosen,
        )
        return RunContext(
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            number=trial.number,
            params=params,
            objective=settings.metric,
            cwd=self.place.cwd,
            environment=env,
            chosen=chosen,
            hyperparameters=groups,
            objects=settings.objects,
            has_clearml_folder=is_contained or trial.revision_id not in self.worker.without_clearml,
            is_contained=is_contained,
        )

    def _write_inputs(self, context: RunContext) -> dict[str, str]:
        """Write the files with the trial's parameters and configuration. Return its environment with the variables that
        name them. Raise `SetupFailed`."""
        env = dict(context.environment)
        try:
            for dialect in DIALECTS:
                env |= dialect.prepare(context)
            if context.hyperparameters or context.objects:
                text = configuration.text(context.hyperparameters, context.objects, context.params)
                self.folder.add_file(self.folder.configuration, text, mode=0o600)  # it may contain secrets
                env["TRIALDECK_CONFIGURATION"] = str(self.folder.configuration)
        except OSError as error:
            raise SetupFailed(f"The trial's parameters cannot be written: {error.strerror}.") from error
        except OutsideFolder as error:
            raise SetupFailed(f"The trial's parameters cannot be written: {error}") from error
        return env

    def _find_metric_file(self, names: dict[str, Any], env: dict[str, str]) -> MetricFile:
        """Return the file with the metric, with its version before the trial starts.

        Links are followed neither in the trial's folder nor in its working directory. A path in neither belongs to the
        container, not to this machine.
        """
        try:
            path = Path(expand_path(self.settings.metric_path, names, env)).expanduser()
        except (NoMetric, RuntimeError) as error:
            raise SetupFailed(str(error)) from None
        path = Path(os.path.normpath(self.place.cwd / path))
        below: Root = path.parent
        if path.is_relative_to(self.folder.path):
            below = self.folder.below
        elif path.is_relative_to(self.place.cwd):
            below = self.place.cwd
        elif self.worker.shelf.engine:
            raise SetupFailed(
                f"{path} would exist only in the container, where the metric cannot be read. Write the file to "
                "${output_dir} instead."
            )
        is_shared = not path.is_relative_to(self.folder.path)
        return MetricFile(
            path,
            below=below,
            names=objective.wanted_metrics(self.settings),
            trial=str(self.trial),
            shared=self.worker.metric_files if is_shared else None,
        )

    def _groups(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return the hyperparameters with decrypted secrets. Raise `SetupFailed` if that is not possible."""
        try:
            return secret.opened(self.settings.hyperparameters)
        except secret.Unreadable as unreadable:
            raise SetupFailed(str(unreadable)) from None

"""NNI's ExperimentConfig, and its conversion to Trialdeck's settings."""

from __future__ import annotations  # for Python 3.8

import re
from pathlib import Path

from trialdeck import errors
from trialdeck.config_fields import ConfigFields
from trialdeck.config_files import absolute, read_document
from trialdeck.field_names import renamed
from trialdeck.nni import algorithms as nni_algorithms
from trialdeck.nni import v1 as nni_v1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PLATFORM = (
    "The training service {0!r} is not supported. Start a worker on that machine (trialdeck worker --queue NAME) "
    "and use its queue: ExperimentConfig('local', queue='NAME')."
)
# Fields whose settings have other names; fields whose settings have the same name; settings handled separately.
_RENAMED = {
    "search_space": "space_document",
    "trial_command": "command",
    "trial_concurrency": "concurrency",
    "max_trial_number": "max_trials",
    "max_experiment_duration": "max_duration_s",
    "max_trial_duration": "max_trial_duration_s",
    "trial_gpu_number": "gpus",
    "trial_cores": "cores",
}
_UNCHANGED = (
    "environment pipefail passes_arguments argument_style boolean_style list_style metric direction "
    "further_objectives source pattern metric_path selection weights goal seed stop_grace_s "
    "retries breaker avoid_failing_regions constraints fixed starting_points start_window window_time_zone"
)
_SEPARATE = (
    "directory",
    "memory_mib",
    "algorithm",
    "algorithm_arguments",
    "early_stopping",
    "early_stopping_arguments",
)
UNIT_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


class AlgorithmConfig(ConfigFields):
    """A tuner or an assessor: its name and its arguments."""

    KIND = "tuner or assessor"
    FIELDS = {"name": None, "class_args": {}, "class_name": None, "code_directory": None}


class LocalConfig(ConfigFields):
    """The training service `local`: Trialdeck's own workers."""

    KIND = "training service"
    FIELDS = {
        "platform": "local",
        "use_active_gpu": None,
        "max_trial_number_per_gpu": 1,
        "gpu_indices": None,
        "reuse_mode": False,
        "trial_command": None,
        "trial_code_directory": None,
        "trial_gpu_number": None,
        "debug": None,
    }

    def converted(self, name: str, value: Any) -> Any:
        if name == "platform":
            check_platform(value)
        return value


class ExperimentConfig(ConfigFields):
    """The configuration of an experiment, with NNI's fields and some more, in snake_case or camelCase.

    NNI's fields: experiment_name, search_space or search_space_file, trial_command, trial_code_directory (made
    absolute; None: a fresh folder for each trial), trial_concurrency, max_trial_number, max_experiment_duration and
    max_trial_duration ("90s", "10m", "2h", "1d", or seconds), tuner, assessor, trial_gpu_number, training_service.
    Trialdeck's fields: workspace, project, description, tags, visibility, queue, trial_cores, trial_memory ("4 GiB",
    "512 MiB", or a number of GiB), environment, metric, direction, goal, seed, constraints, fixed, starting_points, …;
    objectives, for several metrics instead of metric and direction: {"accuracy": "maximize", "latency_ms": "minimize"},
    or a list of metrics with a list of `directions`;
    `other_settings`: any other settings, by their names in the API.
    """

    KIND = "experiment configuration"
    FIELDS = {
        "experiment_name": None,
        "experiment_type": "hpo",
        "search_space": None,
        "search_space_file": None,
        "trial_command": None,
        "trial_code_directory": ".",
        "trial_concurrency": None,
        "trial_gpu_number": None,
        "max_experiment_duration": None,
        "max_trial_number": None,
        "max_trial_duration": None,
        "tuner": None,
        "assessor": None,
        "training_service": None,
        # NNI's own: accepted, but without effect, or refused below.
        "advisor": None,
        "nni_manager_ip": None,
        "use_annotation": None,
        "debug": None,
        "log_level": None,
        "experiment_working_directory": None,
        "tuner_gpu_indices": None,
        "shared_storage": None,
        # Trialdeck's.
        "workspace": None,
        "project": None,
        "description": None,
        "tags": [],
        "visibility": None,
        "properties": {},
        "queue": None,
        "trial_cores": None,
        "trial_memory": None,
        "environment": {},
        "pipefail": None,
        "passes_arguments": None,
        "argument_style": None,
        "boolean_style": None,
        "list_style": None,
        "metric": None,
        "direction": None,
        "further_objectives": None,
        "objectives": None,
        "directions": None,
        "source": None,
        "pattern": None,
        "metric_path": None,
        "selection": None,
        "weights": None,
        "goal": None,
        "seed": None,
        "stop_grace_s": None,
        "retries": None,
        "breaker": None,
        "avoid_failing_regions": None,
        "constraints": None,
        "fixed": None,
        "starting_points": None,
        "start_window": None,
        "window_time_zone": None,
        "other_settings": {},
    }
    ALIASES = {
        "name": "experiment_name",
        "command": "trial_command",
        "directory": "trial_code_directory",
        "concurrency": "trial_concurrency",
        "maxtrials": "max_trial_number",
        "maxduration": "max_experiment_duration",
    }

    def __init__(self, training_service_platform: Any = None, **values: Any) -> None:
        super().__init__()
        self.tuner, self.assessor, self.training_service = AlgorithmConfig(), AlgorithmConfig(), LocalConfig()
        object.__setattr__(self, "_conversion", "")  # what was converted from nnictl's first version
        if isinstance(training_service_platform, dict):
            if nni_v1.is_v1(training_service_platform):
                self._update_v1(training_service_platform)
            else:
                self.update(training_service_platform)
        elif training_service_platform is not None:
            check_platform(training_service_platform)
        self.update(values)

    def _update_v1(self, document: dict[str, Any]) -> None:
        converted, paths = nni_v1.convert(document)
        self.update(converted)
        for field in (*self.FIELDS, "tuner.name", "tuner.class_args", "assessor.name", "assessor.class_args"):
            if path := nni_v1.path_of(field):
                self._spelling[field] = path
        self._spelling.update((field, path) for field, path in paths.items() if path)
        object.__setattr__(self, "_conversion", nni_v1.note(paths))

    @classmethod
    def load(cls, path: str | Path) -> ExperimentConfig:
        """Read a .json or .yml file. Paths in it are relative to its folder."""
        path = Path(path)
        config = cls(read_document(path))
        base = path.absolute().parent
        if config.search_space_file:
            config.resolve("search_space_file", str(base / config.search_space_file))
        if config.trial_code_directory is not None:
            config.resolve("trial_code_directory", absolute(config.trial_code_directory, base))
        return config

    @classmethod
    def of(cls, experiment: dict[str, Any]) -> ExperimentConfig:
        """Return the configuration of an experiment in the API's shape."""
        settings = dict(experiment["settings"])
        config = cls(
            "local",
            experiment_name=experiment["name"],
            trial_code_directory=settings.get("directory") or None,
        )
        for name, key in _RENAMED.items():
            setattr(config, name, settings.get(key))
        for name in _UNCHANGED.split():
            setattr(config, name, settings.get(name))
        for name in ("workspace", "project", "description", "tags", "visibility", "properties", "queue"):
            setattr(config, name, experiment.get(name))
        if settings.get("memory_mib") is not None:
            config.trial_memory = f"{settings['memory_mib']} MiB"
        handled = {*_RENAMED.values(), *_UNCHANGED.split(), *_SEPARATE}
        config.other_settings = {name: value for name, value in settings.items() if name not in handled}
        mode = {"optimize_mode": settings.get("direction")}
        config.tuner = AlgorithmConfig(
            name=settings.get("algorithm"), class_args={**mode, **settings.get("algorithm_arguments", {})}
        )
        if settings.get("early_stopping", "none") != "none":
            arguments = settings.get("early_stopping_arguments", {})
            config.assessor = AlgorithmConfig(name=settings["early_stopping"], class_args=dict(arguments))
        return config

    def converted(self, name: str, value: Any) -> Any:
        kinds = {"tuner": AlgorithmConfig, "assessor": AlgorithmConfig, "advisor": AlgorithmConfig}
        kind = {**kinds, "training_service": LocalConfig}.get(name)
        if name == "training_service" and isinstance(value, (list, tuple)):
            services = [each.get("platform") if isinstance(each, dict) else each for each in value]
            value = value[0] if len(value) == 1 and isinstance(value[0], (dict, LocalConfig)) else services
        if kind is None or isinstance(value, kind):
            return value
        if isinstance(value, dict):
            return kind(**value)
        if name == "training_service" and isinstance(value, (list, str)):
            check_platform(value)
            return LocalConfig()
        if value is None:
            return kind() if name != "advisor" else None
        raise errors.Invalid(
            "",
            fields={name: [f"This must be an object such as {kind.__name__}, or a dict, not {value!r:.60}."]},
        )

    def settings(self, *, base: Path | None = None) -> dict[str, Any]:
        """Return the settings in the API's shape. Raise Invalid for errors that can be found without the console.

        `base`: the folder that a relative trial_code_directory is relative to (default: the current folder).
        """
        self._check_unsupported()
        tuner = self.advisor or self.tuner
        arguments, brackets = self.tuner_arguments()
        arguments.pop("optimize_mode", None)
        environment = dict(self.environment or {})
        settings = {
            "command": self.trial_command,
            "directory": absolute(self.trial_code_directory, base or Path.cwd()),
            "space_document": self._space(),
            "environment": environment or None,
            "concurrency": self.trial_concurrency,
            "gpus": self.trial_gpu_number,
            "cores": self.trial_cores,
            "memory_mib": mebibytes(self.trial_memory, self.spelled("trial_memory")),
            "max_duration_s": seconds(self.max_experiment_duration, self.spelled("max_experiment_duration")),
            "max_trial_duration_s": seconds(self.max_trial_duration, self.spelled("max_trial_duration")),
            **self._objective_settings(),
            "direction": self._chosen_direction() or self._default_direction(),
            "algorithm": tuner.name,
            "seed": arguments.pop("seed", None) if self.seed is None else self.seed,
            "algorithm_arguments": arguments or None,
        }
        if self.assessor.name:
            settings["early_stopping"] = self.assessor.name
            rule_arguments = dict(self.assessor.class_args or {})
            rule_arguments.pop("optimize_mode", None)
            settings["early_stopping_arguments"] = rule_arguments
        elif brackets is not None:
            settings["early_stopping"], settings["early_stopping_arguments"] = "Hyperband", brackets
        settings.update((name, getattr(self, name)) for name in _UNCHANGED.split() if name not in settings)
        settings = {name: value for name, value in settings.items() if value is not None}
        settings["max_trials"] = self.max_trial_number  # None: no limit
        return {**settings, **(self.other_settings or {})}

    def notes(self) -> list[str]:
        """Return notes on fields that are interpreted differently than written, one sentence each."""
        notes = [self._conversion] if self._conversion else []
        tuner = self.advisor or self.tuner
        if not self._chosen_direction():
            word = self._default_direction() or "maximize"
            is_of_nni = nni_algorithms.is_of_nni(tuner.name)
            why = f", as by default in NNI's {tuner.name}" if is_of_nni else ""
            notes.append(f"No direction is set (optimize_mode or direction): the metric is {word}d{why}.")
        if nni_algorithms.split_brackets(tuner.name, {})[1] is not None and not self.assessor.name:
            notes.append(
                f"{tuner.name} stops trials early by their intermediate results; they get no TRIAL_BUDGET."
            )
        return notes

    def tuner_arguments(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return the arguments of the tuner or advisor, and those of the early-stopping rule that they imply, or None
        if they imply none."""
        tuner = self.advisor or self.tuner
        return nni_algorithms.split_brackets(tuner.name, tuner.class_args or {})

    def _chosen_direction(self) -> str | None:
        tuner = (self.advisor or self.tuner).class_args or {}
        assessor = self.assessor.class_args if self.assessor.name else None
        with renamed(self.spelled):
            direction = self._objective_settings().get("direction", self.direction)
            return nni_algorithms.chosen_direction(direction, tuner, assessor or {})

    def _objective_settings(self) -> dict[str, Any]:
        """Return metric, direction and further_objectives where `objectives` is set, else {}. Raise Invalid."""
        objectives = self.objectives
        if objectives is None and self.directions is None:
            return {}
        if isinstance(objectives, (list, tuple)):
            directions = list(self.directions or [])
            if len(directions) != len(objectives):
                self._refuse_objectives(
                    "directions", f"Set a direction for each of the {len(objectives)} objectives."
                )
            if len(set(objectives)) != len(objectives):
                self._refuse_objectives("objectives", "A metric is listed twice.")
            objectives = dict(zip(objectives, directions))  # noqa: B905  Python 3.8
        elif self.directions is not None:
            self._refuse_objectives("directions", "Set directions only if objectives is a list of metrics.")
        if not isinstance(objectives, dict) or not objectives:
            self._refuse_objectives(
                "objectives",
                'This must map metrics to directions, such as {"accuracy": "maximize", "latency_ms": "minimize"}.',
            )
        if self.metric is not None or self.direction is not None or self.further_objectives:
            self._refuse_objectives("objectives", "Set objectives, or metric and direction, not both.")
        (metric, direction), *further = objectives.items()
        return {"metric": metric, "direction": direction, "further_objectives": dict(further)}

    def _refuse_objectives(self, field: str, message: str) -> NoReturn:
        raise errors.Invalid("", fields={self.spelled(field): [message]})

    def _default_direction(self) -> str | None:
        return nni_algorithms.default_direction((self.advisor or self.tuner).name)

    def document(self, *, start: bool, base: Path | None = None) -> dict[str, Any]:
        """Return the body of the request that creates this experiment."""
        document = {
            "name": self.experiment_name or "Unnamed",
            "description": self.description,
            "project": self.project,
            "tags": self.tags or None,
            "visibility": self.visibility,
            "properties": self.properties or None,
            "queue": self.queue,
        }
        document = {name: value for name, value in document.items() if value is not None}
        return {**document, "settings": self.settings(base=base), "start": start}

    def check_directory(self, directory: str | None) -> None:
        """Raise Invalid if the working directory of the trials, which run on this machine, does not exist."""
        path = Path(directory or "/").expanduser()
        if not path.is_dir():
            why = "is a file, not a folder" if path.exists() else "does not exist on this machine"
            field = self.spelled("trial_code_directory")
            way_out = "If it exists on the machines of another queue, set the queue."
            raise errors.Invalid("", fields={field: [f"The folder {directory} {why}. {way_out}"]})

    def _space(self) -> Any:
        if self.search_space is not None and self.search_space_file is not None:
            option_names = f"{self.spelled('search_space')} or {self.spelled('search_space_file')}"
            raise errors.Invalid(f"Set {option_names}, not both.")
        if self.search_space_file is not None:
            try:
                return read_document(Path(self.search_space_file))
            except errors.Invalid as error:
                raise errors.Invalid("", fields={self.spelled("search_space_file"): [str(error)]}) from None
        if self.search_space is None:
            raise errors.Invalid("", fields={self.spelled("search_space"): ["Set a search space."]})
        return self.search_space

    def _check_unsupported(self) -> None:
        """Raise Invalid for fields of NNI that have no equivalent and would change the results."""
        faults = {}
        if not self.trial_command and not self.other_settings:  # other_settings may name a script
            faults["trial_command"] = ["Set the command that runs a trial."]
        if self.experiment_type != "hpo":
            faults["experiment_type"] = ["Only 'hpo' is supported."]
        if self.use_annotation:
            faults["use_annotation"] = [
                "Annotations are not supported. Call get_next_parameter() in the script instead."
            ]
        if self.shared_storage:
            faults["shared_storage"] = [
                "Shared storage is not supported: workers read and write folders of their machine."
            ]
        for name in ("tuner", "assessor", "advisor"):
            algorithm = getattr(self, name)
            if algorithm and (algorithm.class_name or algorithm.code_directory):
                faults[name] = ["Custom algorithms are not supported. Use the name of a built-in one."]
            elif algorithm and not isinstance(algorithm.class_args or {}, dict):
                faults[f"{name}.class_args"] = [
                    f"This must be a dict of arguments, not {algorithm.class_args!r:.60}."
                ]
        others = [name for name in ("tuner", "assessor") if self.advisor and getattr(self, name).name]
        if others:
            listed = " and ".join(map(self.spelled, others))
            faults.setdefault("advisor", [f"An advisor is a tuner with early stopping: remove {listed}."])
        if faults:
            raise errors.Invalid("", fields={self.spelled(name): faults[name] for name in faults})


def check_platform(name: Any) -> None:
    """Raise Invalid for any training service but `local`, with the alternative."""
    if isinstance(name, (list, tuple)) and len(name) == 1:
        name = name[0]
    if name != "local":
        raise errors.Invalid(PLATFORM.format(name))


def seconds(value: Any, name: str) -> float | None:
    """Return the seconds of `"10m"`, `"0.5h"` or `90`; None for None. Raise Invalid."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value) if isinstance(value, str) else None
    if not match:
        message = (
            f"This must be a time such as '90s', '10m', '2h' or '1d', or a number of seconds, not {value!r}."
        )
        raise errors.Invalid("", fields={name: [message]})
    return float(match.group(1)) * UNIT_S[match.group(2)]


def mebibytes(value: Any, name: str) -> int | None:
    """Return the MiB of `"4 GiB"`, `"512 MiB"` or `1.5` (GiB); None for None. Raise Invalid."""
    if value is None:
        return None
    text = "" if isinstance(value, bool) else str(value)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([MGT])(?:i?B)?)?\s*", text, re.IGNORECASE)
    if not match:
        message = f"This must be a size such as '4 GiB' or '512 MiB', or a number of GiB, not {value!r}."
        raise errors.Invalid("", fields={name: [message]})
    return int(float(match.group(1)) * UNIT_MIB[(match.group(2) or "G").upper()])

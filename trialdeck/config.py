"""What an experiment is told: NNI's ExperimentConfig, and how it becomes the settings of Trialdeck."""

from __future__ import annotations  # for Python 3.8

import re
from pathlib import Path

from trialdeck import errors
from trialdeck.fields import Fields
from trialdeck.files import absolute, read_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLATFORM = (
    "The training service {0!r} is not needed here: a worker on that machine does its part. Start one there "
    "(trialdeck worker --queue NAME), and let the experiment use its queue: ExperimentConfig('local', queue='NAME')."
)
# Fields whose settings are called otherwise, and fields that are settings by the same name.
_SAME = {
    "search_space": "space_document",
    "trial_command": "command",
    "trial_concurrency": "concurrency",
    "max_trial_number": "max_trials",
    "max_experiment_duration": "max_duration_s",
    "max_trial_duration": "max_trial_duration_s",
}
_KEPT = (
    "environment passes_arguments metric direction source pattern metric_path selection weights goal seed stop_grace_s "
    "retries breaker constraints fixed starting_points"
)
_ELSEWHERE = ("directory", "algorithm", "algorithm_arguments", "early_stopping", "early_stopping_arguments")
UNIT_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


class AlgorithmConfig(Fields):
    """A tuner or an assessor: its name, and its arguments by name."""

    WHAT = "tuner or assessor"
    FIELDS = {"name": None, "class_args": {}, "class_name": None, "code_directory": None}


class LocalConfig(Fields):
    """The training service `local`: Trialdeck's own workers."""

    WHAT = "training service"
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


class ExperimentConfig(Fields):
    """The configuration of an experiment, with NNI's fields and some more. Both spellings are understood.

    NNI's: experiment_name, search_space or search_space_file, trial_command, trial_code_directory (made absolute;
    None: a fresh folder for each trial), trial_concurrency, max_trial_number, max_experiment_duration and
    max_trial_duration ("90s", "10m", "2h", "1d", or seconds), tuner, assessor, trial_gpu_number, training_service.
    Ours: workspace, project, description, tags, visibility, queue, trial_cores, trial_memory ("4 GiB", "512 MiB", or a
    number of GiB), environment, metric, direction, goal, seed,
    constraints, fixed, starting_points, …; `other_settings`: all others of the console, under the names that its API
    has for them.
    """

    WHAT = "experiment configuration"
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
        # Of NNI, for its own processes: accepted, and not needed here.
        "advisor": None,
        "nni_manager_ip": None,
        "use_annotation": None,
        "debug": None,
        "log_level": None,
        "experiment_working_directory": None,
        "tuner_gpu_indices": None,
        "shared_storage": None,
        # Ours.
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
        "passes_arguments": None,
        "metric": None,
        "direction": None,
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
        "constraints": None,
        "fixed": None,
        "starting_points": None,
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

    def __init__(self, training_service_platform: Any = None, **given: Any) -> None:
        super().__init__()
        self.tuner, self.assessor, self.training_service = AlgorithmConfig(), AlgorithmConfig(), LocalConfig()
        if isinstance(training_service_platform, dict):
            self.update(training_service_platform)
        elif training_service_platform is not None:
            check_platform(training_service_platform)
        self.update(given)

    @classmethod
    def load(cls, path: str | Path) -> ExperimentConfig:
        """From a .json or .yml file. Paths in it are relative to its folder."""
        path = Path(path)
        config = cls(read_document(path))
        base = path.absolute().parent
        if config.search_space_file:
            config.search_space_file = str(base / config.search_space_file)
        if config.trial_code_directory is not None:
            config.trial_code_directory = absolute(config.trial_code_directory, base)
        return config

    @classmethod
    def of(cls, told: dict[str, Any]) -> ExperimentConfig:
        """The configuration of an experiment as the console's API tells it."""
        settings = dict(told["settings"])
        config = cls(
            "local", experiment_name=told["name"], trial_code_directory=settings.get("directory") or None
        )
        for name, key in _SAME.items():
            setattr(config, name, settings.get(key))
        for name in _KEPT.split():
            setattr(config, name, settings.get(name))
        for name in ("workspace", "project", "description", "tags", "visibility", "properties", "queue"):
            setattr(config, name, told.get(name))
        known = {*_SAME.values(), *_KEPT.split(), *_ELSEWHERE}
        config.other_settings = {name: value for name, value in settings.items() if name not in known}
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
        if kind is None or isinstance(value, kind):
            return value
        if isinstance(value, dict):
            return kind(**value)
        if name == "training_service" and isinstance(value, (list, str)):
            check_platform(value)
        if value is None:
            return kind() if name != "advisor" else None
        raise errors.Invalid(
            "", fields={name: [f"This must be an object such as {kind.__name__}, or a dict."]}
        )

    def settings(self, *, base: Path | None = None) -> dict[str, Any]:
        """The settings as the console's API takes them. Raises Invalid for what can be seen to be wrong here.

        `base`: what a relative trial_code_directory is relative to; the current folder if left out.
        """
        self._check_nnis_own()
        tuner = self.advisor or self.tuner
        arguments = dict(tuner.class_args or {})
        environment = dict(self.environment or {})
        told = {
            "command": self.trial_command,
            "directory": absolute(self.trial_code_directory, base or Path.cwd()),
            "space_document": self._space(),
            "environment": environment or None,
            "concurrency": self.trial_concurrency,
            "gpus": self.trial_gpu_number,
            "cores": self.trial_cores,
            "memory_mib": mebibytes(self.trial_memory, "trial_memory"),
            "max_duration_s": seconds(self.max_experiment_duration, "max_experiment_duration"),
            "max_trial_duration_s": seconds(self.max_trial_duration, "max_trial_duration"),
            "direction": _direction(self.direction, arguments, self.assessor),
            "algorithm": tuner.name,
            "seed": arguments.pop("seed", None) if self.seed is None else self.seed,
            "algorithm_arguments": arguments or None,
        }
        if self.assessor.name:
            told["early_stopping"] = self.assessor.name
            rest = dict(self.assessor.class_args or {})
            rest.pop("optimize_mode", None)
            told["early_stopping_arguments"] = rest
        told.update((name, getattr(self, name)) for name in _KEPT.split() if name not in told)
        told = {name: value for name, value in told.items() if value is not None}
        told["max_trials"] = self.max_trial_number  # None: no limit
        return {**told, **(self.other_settings or {})}

    @property
    def has_direction(self) -> bool:
        """Whether anything says if the metric is to be maximized or minimized."""
        given = [
            self.direction,
            *(one.class_args.get("optimize_mode") for one in (self.tuner, self.assessor)),
        ]
        return any(given)

    def document(self, *, start: bool, base: Path | None = None) -> dict[str, Any]:
        """The body of a request that makes this experiment."""
        told = {
            "name": self.experiment_name or "Unnamed",
            "description": self.description,
            "project": self.project,
            "tags": self.tags or None,
            "visibility": self.visibility,
            "properties": self.properties or None,
            "queue": self.queue,
        }
        told = {name: value for name, value in told.items() if value is not None}
        return {**told, "settings": self.settings(base=base), "start": start}

    def _space(self) -> Any:
        if self.search_space is not None and self.search_space_file is not None:
            raise errors.Invalid("Give search_space or search_space_file, not both.")
        if self.search_space_file is not None:
            return read_document(Path(self.search_space_file))
        if self.search_space is None:
            raise errors.Invalid("", fields={"search_space": ["Give a search space."]})
        return self.search_space

    def _check_nnis_own(self) -> None:
        """Refuses those of NNI's fields that would change what happens, and do not exist here."""
        wrong = {}
        if not self.trial_command and not self.other_settings:  # which may name a script
            wrong["trial_command"] = ["Give the command that runs a trial."]
        if self.experiment_type != "hpo":
            wrong["experiment_type"] = ["Only 'hpo' exists here."]
        if self.use_annotation:
            wrong["use_annotation"] = [
                "There are no annotations here: let the script ask for its parameters."
            ]
        if self.shared_storage:
            wrong["shared_storage"] = [
                "There is none here: workers read and write the folders of their machine."
            ]
        for name in ("tuner", "assessor", "advisor"):
            algorithm = getattr(self, name)
            if algorithm and (algorithm.class_name or algorithm.code_directory):
                wrong[name] = [
                    "Algorithms of one's own cannot be loaded here: give the name of a built-in one."
                ]
        if wrong:
            raise errors.Invalid("", fields=wrong)


def check_platform(name: Any) -> None:
    """Raises Invalid for any training service but `local`, with the way to do it here."""
    if isinstance(name, (list, tuple)) and len(name) == 1:
        name = name[0]
    if name != "local":
        raise errors.Invalid(PLATFORM.format(name))


def seconds(value: Any, name: str) -> float | None:
    """`"10m"`, `"0.5h"`, `90` as seconds; None as None. Raises Invalid."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value) if isinstance(value, str) else None
    if not found:
        said = f"Write a time such as '90s', '10m', '2h' or '1d', or a number of seconds; not {value!r}."
        raise errors.Invalid("", fields={name: [said]})
    return float(found.group(1)) * UNIT_S[found.group(2)]


def mebibytes(value: Any, name: str) -> int | None:
    """`"4 GiB"`, `"512 MiB"`, `1.5` (GiB) in MiB; None as None. Raises Invalid."""
    if value is None:
        return None
    text = "" if isinstance(value, bool) else str(value)
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([MGT])(?:i?B)?)?\s*", text, re.IGNORECASE)
    if not found:
        said = f"Write a size such as '4 GiB' or '512 MiB', or a number of GiB; not {value!r}."
        raise errors.Invalid("", fields={name: [said]})
    return int(float(found.group(1)) * UNIT_MIB[(found.group(2) or "G").upper()])


def _direction(given: str | None, arguments: dict[str, Any], assessor: AlgorithmConfig) -> str | None:
    """Taken from `direction`, or NNI's optimize_mode; that is taken out of the tuner's arguments."""
    said = {
        "direction": given,
        "tuner": arguments.pop("optimize_mode", None),
        "assessor": (assessor.class_args or {}).get("optimize_mode") if assessor.name else None,
    }
    words = {name: word for name, word in said.items() if word is not None}
    for name, word in words.items():
        if word not in ("maximize", "minimize"):
            raise errors.Invalid("", fields={name: [f"This must be 'maximize' or 'minimize', not {word!r}."]})
    if len(set(words.values())) > 1:
        told = ", ".join(f"{name}: {word}" for name, word in words.items())
        raise errors.Invalid(f"These disagree: {told}. The metric can be optimized in one direction only.")
    return next(iter(words.values()), None)

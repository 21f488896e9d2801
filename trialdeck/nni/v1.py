"""Configuration files of nnictl's first version, converted to today's fields.

In that version a file has `authorName`, `trial: {command, codeDir, gpuNum}`, `tuner: {builtinTunerName, classArgs}`,
`searchSpacePath`, `maxExecDuration`, `maxTrialNum`, `trainingServicePlatform`. Source: NNI 1.9's config_schema.py.
"""

from __future__ import annotations  # for Python 3.8

import difflib

from trialdeck import errors
from trialdeck.config_fields import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# Fields by their paths in the file; the values are those of today's configuration. "" : without effect here.
_FIELDS = {
    "authorName": "",
    "experimentName": "experiment_name",
    "description": "description",
    "trialConcurrency": "trial_concurrency",
    "maxExecDuration": "max_experiment_duration",
    "maxTrialDuration": "max_trial_duration",
    "maxTrialNum": "max_trial_number",
    "trainingServicePlatform": "training_service.platform",
    "searchSpacePath": "search_space_file",
    "useAnnotation": "use_annotation",
    "nniManagerIp": "nni_manager_ip",
    "logDir": "experiment_working_directory",
    "logLevel": "log_level",
    "debug": "debug",
    "logCollection": "",
    "versionCheck": "",
    "multiThread": "",
    "trial.command": "trial_command",
    "trial.codeDir": "trial_code_directory",
    "trial.gpuNum": "trial_gpu_number",
    "trial.cpuNum": "trial_cores",
    "trial.memoryMB": "trial_memory",
    "tuner.builtinTunerName": "tuner.name",
    "tuner.classArgs": "tuner.class_args",
    "tuner.codeDir": "tuner.code_directory",
    "tuner.className": "tuner.class_name",
    "tuner.classFileName": "",
    "tuner.gpuIndices": "tuner_gpu_indices",
    "tuner.includeIntermediateResults": "",
    "assessor.builtinAssessorName": "assessor.name",
    "assessor.classArgs": "assessor.class_args",
    "assessor.codeDir": "assessor.code_directory",
    "assessor.className": "assessor.class_name",
    "assessor.classFileName": "",
    "advisor.builtinAdvisorName": "advisor.name",
    "advisor.classArgs": "advisor.class_args",
    "advisor.codeDir": "advisor.code_directory",
    "advisor.className": "advisor.class_name",
    "advisor.classFileName": "",
    "advisor.gpuIndices": "tuner_gpu_indices",
    "localConfig.gpuIndices": "training_service.gpu_indices",
    "localConfig.maxTrialNumPerGpu": "training_service.max_trial_number_per_gpu",
    "localConfig.useActiveGpu": "training_service.use_active_gpu",
}
# Fields that only this version has.
_SIGNS = (
    "authorName", "trial", "trainingServicePlatform", "searchSpacePath", "maxExecDuration", "maxTrialNum",
    "localConfig", "multiPhase", "multiThread", "logCollection", "versionCheck",
)  # fmt: skip
_BY_FOLD = {fold(path): path for path in _FIELDS}
_GROUPS = {"trial", "tuner", "assessor", "advisor", "localConfig"}


def is_v1(document: Mapping[str, Any]) -> bool:
    """Return whether the file has a field that only the first version has."""
    signs = {fold(name) for name in _SIGNS}
    algorithms = [
        value for name, value in document.items() if fold(str(name)) in ("tuner", "assessor", "advisor")
    ]
    return any(fold(str(name)) in signs for name in document) or any(
        fold(str(name)).startswith("builtin")
        for value in algorithms
        if isinstance(value, dict)
        for name in value
    )


def convert(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the document with today's fields, and the path in the file of each of them.

    A field is named by its path, such as tuner.class_args. Fields without effect are in the paths with the value "".
    Raise Invalid for fields that the first version does not have, and for those that cannot be converted.
    """
    converted: dict[str, Any] = {}
    paths: dict[str, str] = {}
    platform = next(
        (value for name, value in document.items() if fold(str(name)) == "trainingserviceplatform"), "local"
    )
    for path, value in _leaves(document):
        our_path = _BY_FOLD.get(fold(path))
        if platform != "local" and (our_path is None or our_path.startswith("trial.")):
            continue  # fields of that service: the training service is refused anyway
        if fold(path) == "multiphase":
            if value:
                message = (
                    "Trials that request several sets of values are not supported; start one trial for each."
                )
                raise errors.Invalid("", fields={path: [message]})
            continue
        if our_path is None:
            raise errors.UnknownField(f"NNI's configuration has no field {path!r}.{_nearest(path)}")
        field = _FIELDS[our_path]
        if not field:
            paths[path] = ""
            continue
        group, dot, name = field.rpartition(".")
        target = converted.setdefault(group, {}) if dot else converted
        target[name] = f"{value} MiB" if field == "trial_memory" else value
        paths[field] = path
    return converted, paths


def path_of(field: str) -> str:
    """Return the path in a file of the first version that sets a field; "" for others."""
    return next((path for path, name in _FIELDS.items() if name == field), "")


def note(paths: Mapping[str, str]) -> str:
    """Return what was converted, as one sentence. `paths` are those that `convert` returns."""
    renamed = [f"{path} is {field}" for field, path in paths.items() if path and fold(path) != fold(field)]
    ignored = [field for field, path in paths.items() if not path]
    text = "This configuration has the format of nnictl's first version and was converted: " + ", ".join(
        renamed
    )
    return f"{text}; without effect: {', '.join(ignored)}." if ignored else f"{text}."


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    groups = {fold(group) for group in _GROUPS}
    for name, value in document.items():
        if fold(str(name)) not in groups:
            yield str(name), value
        elif isinstance(value, dict):
            for inner, item in value.items():
                yield f"{name}.{inner}", item
        elif value is not None:
            raise errors.Invalid("", fields={str(name): ["This must be an object of fields."]})


def _nearest(path: str) -> str:
    close = difflib.get_close_matches(fold(path), _BY_FOLD, n=1)
    return f" Did you mean {_BY_FOLD[close[0]]}?" if close else ""

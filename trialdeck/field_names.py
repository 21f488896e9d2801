"""Error messages in the caller's terms: the fields of the configuration instead of the console's settings."""

from __future__ import annotations  # for Python 3.8

import contextlib

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialdeck.config import ExperimentConfig

# Settings whose fields have other names.
FIELDS = {
    "name": "experiment_name",
    "command": "trial_command",
    "directory": "trial_code_directory",
    "space_document": "search_space",
    "concurrency": "trial_concurrency",
    "max_trials": "max_trial_number",
    "max_duration_s": "max_experiment_duration",
    "max_trial_duration_s": "max_trial_duration",
    "gpus": "trial_gpu_number",
    "cores": "trial_cores",
    "memory_mib": "trial_memory",
    "algorithm": "tuner.name",
    "algorithm_arguments": "tuner.class_args",
    "early_stopping": "assessor.name",
    "early_stopping_arguments": "assessor.class_args",
}


def enlarged_by(reason: str) -> str:
    """Return the argument of `Experiment.resume` that lets an experiment continue that ended for this reason."""
    arguments = {"max duration reached": "max_experiment_duration='…'", "goal reached": "goal=…"}
    return arguments.get(reason, "max_trial_number=…")


@contextlib.contextmanager
def in_terms_of(config: ExperimentConfig) -> Iterator[None]:
    """Within the block, errors name the fields as the configuration spells them."""
    with renamed(lambda setting: field_of(config, setting)):
        yield


@contextlib.contextmanager
def renamed(name_of: Callable[[str], str]) -> Iterator[None]:
    """Within the block, errors name their fields as `name_of` does."""
    try:
        yield
    except errors.Error as error:
        if not error.fields:
            raise
        names = {name: name_of(name) for name in error.fields}
        detail = error.detail
        for name, field in names.items():
            renamed_detail = _renamed(detail, name, field)
            if renamed_detail != detail:
                detail = renamed_detail
                break
        fields = {
            names[name]: [_renamed(message, name, names[name]) for message in messages]
            for name, messages in error.fields.items()
        }
        raise type(error)(detail, status=error.status, fields=fields) from None


def _renamed(message: str, name: str, field: str) -> str:
    """Return a message that begins with a name, or with "Invalid" and a name, with the field instead."""
    for start in ("", "Invalid "):
        if message.startswith(f"{start}{name}: "):
            return f"{start}{field}{message[len(start) + len(name) :]}"
    return message


def field_of(config: ExperimentConfig, setting: str) -> str:
    """Return the field that gives this setting its value, as the configuration spells it; others as they are."""
    if setting in (config.other_settings or {}):
        return f"{config.spelled('other_settings')}.{setting}"
    field = FIELDS.get(setting, setting)
    if field == "search_space" and config.search_space_file is not None:
        field = "search_space_file"
    if config.objectives is not None and setting in ("metric", "direction", "further_objectives"):
        field = "objectives"
    if field == "seed" and config.seed is None and "seed" in config.tuner.class_args:
        field = "tuner.class_args.seed"
    if field.startswith("tuner.") and config.advisor:
        field = field.replace("tuner.", "advisor.")
    return config.spelled(field)

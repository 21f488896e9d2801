"""Error messages in the caller's terms: the fields of the configuration instead of the console's settings."""

from __future__ import annotations  # for Python 3.8

import contextlib
import re

from trialdeck import errors
from trialdeck.nni.algorithms import bracket_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


@contextlib.contextmanager
def in_terms_of(config: ExperimentConfig) -> Iterator[None]:
    """Within the block, errors name the fields as the configuration spells them."""
    names = bracket_names((config.advisor or config.tuner).name) if _has_brackets(config) else {}
    with renamed(lambda setting: field_of(config, setting), arguments=names):
        yield


@contextlib.contextmanager
def renamed(name_of: Callable[[str], str], *, arguments: Mapping[str, str] | None = None) -> Iterator[None]:
    """Within the block, errors name their fields as `name_of` does, and the arguments of the early-stopping rule as
    `arguments` does."""
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
        fields: dict[str, list[str]] = {}
        for name, messages in error.fields.items():
            words = (arguments or {}) if name == "early_stopping_arguments" else {}
            texts = [_with_words(_renamed(message, name, names[name]), words) for message in messages]
            detail = _with_words(detail, words)
            fields[names[name]] = [*fields.get(names[name], ()), *texts]
        raise type(error)(detail, status=error.status, fields=fields) from None


def as_option(field: str) -> str:
    """Return a field as its option on the command line, where it may be named by one only; others as they are."""
    return f"--{field}" if field in ("workspace", "project", "queue") else field


def _with_words(message: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        message = re.sub(rf"\b{name}\b", word, message)
    return message


def _has_brackets(config: ExperimentConfig) -> bool:
    """Return whether the tuner of this configuration, rather than an assessor, implies the early-stopping rule."""
    return not config.assessor.name and config.tuner_arguments()[1] is not None


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
    if field.startswith("assessor.") and _has_brackets(config):
        field = "tuner.class_args"
    if field == "seed" and config.seed is None and "seed" in (config.tuner.class_args or {}):
        field = "tuner.class_args.seed"
    if field.startswith("tuner.") and config.advisor:
        field = field.replace("tuner.", "advisor.")
    return config.spelled(field)

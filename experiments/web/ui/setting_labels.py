"""Names of settings, as the forms show them."""

from __future__ import annotations

LABELS = {
    "space_document": "Search space",
    "command": "Command",
    "directory": "Working directory",
    "environment": "Environment",
    "pipefail": "Fail when any part of a pipe fails",
    "passes_arguments": "Pass parameters as arguments",
    "argument_style": "Argument style",
    "boolean_style": "Booleans",
    "list_style": "Lists",
    "metric": "Metric",
    "direction": "Direction",
    "further_objectives": "Additional objectives",
    "source": "Metric source",
    "pattern": "Regular expression",
    "metric_path": "JSON file",
    "selection": "Reported as",
    "weights": "Weights",
    "goal": "Goal",
    "algorithm": "Algorithm",
    "algorithm_arguments": "Algorithm arguments",
    "seed": "Seed",
    "avoid_failing_regions": "Avoid failing regions",
    "max_trials": "Max trials",
    "concurrency": "Concurrency",
    "max_duration_s": "Max duration",
    "max_trial_duration_s": "Max trial duration",
    "stop_grace_s": "Stop grace period",
    "gpus": "GPUs per trial",
    "cores": "Cores per trial",
    "memory_mib": "Memory per trial",
    "retries": "Retries",
    "breaker": "Auto-pause after N identical failures",
    "start_window": "Start window",
    "window_time_zone": "Time zone of the start window",
    "constraints": "Constraints",
    "fixed": "Fixed values",
    "starting_points": "Starting points",
    "warm_start": "Warm start",
    "early_stopping": "Early stopping",
    "early_stopping_arguments": "Rule arguments",
    "reference_kind": "Version",
    "diff": "Uncommitted changes",
    "packages_from": "Packages from",
    "original_packages": "Packages before resolution",
    "image": "Container image",
    "image_arguments": "Container arguments",
    "destination": "Output destination",
    "keeps_best": "Keep artifacts of the best",
    "hyperparameters": "Hyperparameters",
    "objects": "Configuration objects",
}


def label_of(name: str) -> str:
    """Return the label of a setting, as the form shows it."""
    return LABELS.get(name) or name.removesuffix("_s").replace("_", " ").capitalize()


def labels_in(why: str) -> tuple[str, str]:
    """Return the labels and the reason in what an edit's event stores: `max_trials, retries: overnight` becomes
    `Max trials, Retries` and `overnight`."""
    names, _, reason = why.partition(": ")
    return ", ".join(map(label_of, names.split(", "))), reason

"""The input of all dialects: a trial and its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.runner.trial_folder import TrialFolder


@dataclass(frozen=True)
class RunContext:
    """A trial that is about to run. `params` are its parameters, `objective` is the metric's name, `cwd` the working
    directory of its command.

    `environment` is the environment of its process, `chosen` the part that the experiment sets. `hyperparameters`
    {group: {name: {value, type, description}}} and `objects` {name: text} are its configuration.
    """

    folder: TrialFolder
    experiment_id: str
    number: int
    params: dict[str, Any]
    objective: str
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    # Otherwise, a file in its place becomes the folder when the package is imported.
    has_clearml_folder: bool = True
    is_contained: bool = False  # runs in a container

    @property
    def trial_id(self) -> str:
        return f"{self.experiment_id}-{self.number}"

"""What a trial is told, whatever the dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from experiments.runner.folder import TrialFolder


@dataclass(frozen=True)
class Told:
    """`params` as the trial shall get them; `objective` is the metric's name; `cwd` where its command runs.

    `environment` is that of its process, `chosen` the part of it that the experiment says; `hyperparameters`
    {group: {name: {value, type, description}}} and `objects` (texts by name) are its configuration.
    """

    folder: TrialFolder
    experiment_id: str
    number: int
    params: dict
    objective: str
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        return f"{self.experiment_id}-{self.number}"

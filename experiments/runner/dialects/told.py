"""What a trial is told, whatever the dialect."""

from dataclasses import dataclass
from pathlib import Path

from experiments.runner.folder import TrialFolder


@dataclass(frozen=True)
class Told:
    """`params` as the trial shall get them; `objective` is the metric's name; `cwd` where its command runs."""

    folder: TrialFolder
    experiment_id: str
    number: int
    params: dict
    objective: str
    cwd: Path

    @property
    def trial_id(self) -> str:
        return f"{self.experiment_id}-{self.number}"

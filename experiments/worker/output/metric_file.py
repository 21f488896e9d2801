"""The JSON file with the metric of a trial, and whether this trial wrote it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.runner.network_files import is_on_network
from experiments.runner.output.json_metric import NoMetric, Version, read_json_metric
from experiments.runner.report import Report
from experiments.runner.safe_files import Root


@dataclass
class _SharedFile:
    """`version`: of the last check; `writers`: the trials that were running when the file got this version."""

    version: Version | None
    writers: frozenset[str] = frozenset()
    running: set[str] = field(default_factory=set)

    def look(self, version: Version | None) -> None:
        if (version is None) != (self.version is None) or (
            version and version.is_written_since(self.version)
        ):
            self.writers = frozenset(self.running)
        self.version = version


class SharedFiles:
    """The files outside of trials' own folders, which several trials of this worker may write. Thread-safe.

    A file is checked whenever a trial that uses it starts or ends. If it has changed, one of the trials that were
    running since the last check wrote it: its content counts only if there was just one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[Path, _SharedFile] = {}

    def begin(self, path: Path, *, below: Root, trial: str) -> Version | None:
        """Note that this trial starts. Return the file's version, None if it does not exist."""
        with self._lock:
            version = Version.of(path, below=below)
            file = self._files.setdefault(_key(path), _SharedFile(version))
            file.look(version)
            file.running.add(trial)
            return version

    def end(self, path: Path, *, below: Root, trial: str) -> tuple[Version | None, frozenset[str]]:
        """Note that this trial has ended. Return the file's version, and the trials one of which wrote it."""
        with self._lock:
            file = self._files[_key(path)]
            file.look(Version.of(path, below=below))
            file.running.discard(trial)
            if not file.running:
                del self._files[_key(path)]
            return file.version, file.writers


def _key(path: Path) -> Path:
    """Return the same path for the same file, whatever links lead to its folder."""
    return path.parent.resolve() / path.name


class MetricFile:
    """The file that one trial is to write. No link is followed in the folder `below`.

    `names` are the metrics in it; `shared` tracks files that
    several trials may write; None for a file in the trial's own folder.
    """

    def __init__(
        self, path: Path, *, below: Root, names: Sequence[str], trial: str, shared: SharedFiles | None
    ) -> None:
        self.path, self.below, self.names, self.trial, self.shared = path, below, names, trial, shared
        self._before = (
            shared.begin(path, below=below, trial=trial) if shared else Version.of(path, below=below)
        )
        self._results: list[Report] | NoMetric | None = None

    def close(self) -> None:
        """Read the file, before another trial overwrites it. Call it once the trial's processes have ended, and also if
        none was started."""
        if self._results is not None:
            return
        version, writers = (
            self.shared.end(self.path, below=self.below, trial=self.trial)
            if self.shared
            else (Version.of(self.path, below=self.below), frozenset[str]())
        )
        try:
            self._results = self._read(version, writers - {self.trial})
        except NoMetric as missing:
            self._results = missing

    def results(self) -> list[Report]:
        """Return the final results in the file. Raise NoMetric, also if another trial may have written it."""
        self.close()
        if isinstance(self._results, list):
            return self._results
        raise self._results or AssertionError("close() reads the file")

    def readable(self) -> list[Report]:
        """Return the final results in the file; empty if the file does not count."""
        self.close()
        return self._results if isinstance(self._results, list) else []

    def is_on_network(self) -> bool:
        """Return whether trials on other machines may write it, too."""
        return is_on_network(self.path)

    def of_others(self, trials: Iterable[str]) -> NoMetric:
        """Return why the file does not count: one of these trials may have written it."""
        names = sorted(trials)
        listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return NoMetric(
            f"{self.path.name} may be the result of {listed}, which ran at the same time and shares the file. Write to "
            f"${{output_dir}}/{self.path.name} instead, which is separate for each trial."
        )

    def _read(self, version: Version | None, other_trials: frozenset[str]) -> list[Report]:
        if version and not version.is_written_since(self._before):
            raise NoMetric(f"The trial did not write {self.path.name}: the file is older than the trial.")
        results = [read_json_metric(self.path, name, below=self.below) for name in self.names]
        if other_trials:
            raise self.of_others(other_trials)
        if version != Version.of(self.path, below=self.below):
            raise NoMetric(f"{self.path.name} was overwritten by another process when the trial ended.")
        return results

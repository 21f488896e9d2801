"""Publish the reports of a ClearML script as output files, while its trial runs and when it has ended."""

from __future__ import annotations

import io
import json
import stat
import threading
import time
from pathlib import Path, PurePath

from experiments.runner.dialects.clearml_reports import SUMMARY, PlotFiles, sample_parts, summary_of
from experiments.runner.safe_files import (
    OutsideFolder,
    Root,
    add,
    list_files,
    open_regular,
    read_text,
    replace,
    status_of,
)

MAX_TASK = 16 << 20
MAX_EVENTS = 128 << 20  # bytes of metrics.jsonl that are read for plots
READ_BYTES = 8 << 20
MAX_PATH = 500  # characters, of a file below the package's folder

_Version = tuple[int, int]  # size and modification time of a file in ns


class Publisher:
    """Publishes the reports of one trial: plots, tables, debug samples and `clearml.json`, see `clearml_reports`.

    `session` is the folder of the package's task, `output` the trial's output folder, both below `root`, in which no
    link is followed. The script's own files are never replaced. Thread-safe.
    """

    def __init__(self, session: Path, output: Path, root: Root) -> None:
        self.session, self.output, self.root = session, output, root
        self._lock = threading.Lock()
        self._plots = PlotFiles()
        self._read_to = 0  # offset in metrics.jsonl
        self._summary = b""
        self._samples: dict[str, _Version] = {}  # published files, by their names in the package's folder

    def publish(self, *, quiet_s: float = 0) -> None:
        """Write new reports. `quiet_s`: while the trial runs, skip debug samples that changed in the last `quiet_s`
        seconds."""
        with self._lock:
            self._publish_samples(quiet_s)
            self._publish_plots(is_last=not quiet_s)
            self._publish_summary()

    def _publish_samples(self, quiet_s: float) -> None:
        data = self.session / "data"
        for name, status in list_files(data, below=self.root, max_name=MAX_PATH):
            parts = sample_parts(PurePath(name).parts)
            version = (status.st_size, status.st_mtime_ns)
            is_quiet = time.time() - status.st_mtime >= quiet_s
            if (
                not (parts and stat.S_ISREG(status.st_mode) and is_quiet)
                or self._samples.get(name) == version
            ):
                continue
            target = self.output.joinpath(*parts)
            if name not in self._samples and self._exists(target):
                continue
            try:
                with open_regular(data / name, below=self.root) as file:
                    replace(target, file, below=self.root)
            except (OSError, OutsideFolder):
                continue  # unreadable, or the trial made something else of the folder
            self._samples[name] = version

    def _exists(self, path: Path) -> bool:
        try:
            status_of(path, below=self.root)
        except FileNotFoundError:
            return False
        except (OSError, OutsideFolder):
            pass
        return True

    def _publish_plots(self, *, is_last: bool) -> None:
        while self._read_to < MAX_EVENTS and (events := self._events(is_last=is_last)):
            for parts, content in self._plots.of(events):
                try:
                    add(self.output.joinpath(*parts), content, below=self.root)
                except (OSError, OutsideFolder):
                    continue  # it exists, or the trial made something else of the folder

    def _events(self, *, is_last: bool) -> str:
        """Return the next complete lines of metrics.jsonl; with `is_last`, also an incomplete last line."""
        try:
            with open_regular(self.session / "metrics.jsonl", below=self.root) as file:
                file.seek(self._read_to)
                data = file.read(READ_BYTES)
        except (OSError, OutsideFolder):
            return ""  # none yet, or not readable
        end = data.rfind(b"\n") + 1
        if not end and (is_last or len(data) == READ_BYTES):
            end = len(data)
        self._read_to += end
        return data[:end].decode("utf-8", "replace")

    def _publish_summary(self) -> None:
        try:
            task = json.loads(read_text(self.session / "task.json", below=self.root, max_bytes=MAX_TASK))
        except (OSError, ValueError, RecursionError):
            return  # none, or being written
        summary = summary_of(task) if isinstance(task, dict) else None
        content = json.dumps(summary, ensure_ascii=False, indent=2).encode("utf-8", "replace")
        if (
            not summary
            or content == self._summary
            or (not self._summary and self._exists(self.output / SUMMARY))
        ):
            return
        try:
            replace(self.output / SUMMARY, io.BytesIO(content), below=self.root)
            self._summary = content
        except (OSError, OutsideFolder):
            return  # the trial made something else of the folder

import subprocess
from pathlib import Path

from experiments import broker
from tests.support.waiting import eventually


class Valkey:
    """The embedded broker of a data folder, started by a test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = broker.url(data)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        with (self.data / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen(
                broker.argv(self.data), stdout=log, stderr=log, start_new_session=True
            )
        eventually(lambda: broker.is_answering(self.data), what="the broker's answer")

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def kill(self) -> None:
        """Ends it as a crash or the kernel's OOM killer would."""
        assert self.process
        self.process.kill()
        self.process.wait(10)

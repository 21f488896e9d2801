import ctypes
import signal
import subprocess
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from console.web_worker import PR_SET_PDEATHSIG
from experiments import broker, dispatch
from tests.support.waiting import eventually

_libc = ctypes.CDLL(None)


class Valkey:
    """The embedded broker of a data folder, started by a test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = broker.url(data)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        self._start()
        eventually(lambda: broker.is_answering(self.data), what="the broker's answer")
        dispatch._paused_until = 0.0  # this process may have tried before

    def start_loading(self) -> None:
        """Start it with a dataset that it loads for minutes, in which it answers LOADING."""
        self.start()
        self._client().mset({f"key {number}": "value" for number in range(60_000)})
        self._client().save()
        self.stop()
        delay = ["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"]
        self._start(*delay)
        eventually(self._is_loading, what="LOADING")

    def _is_loading(self) -> bool:
        address = str(broker.socket_path(self.data))
        try:
            redis.Redis(unix_socket_path=address, retry=Retry(NoBackoff(), 0)).ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
        raise AssertionError("It has loaded already.")

    def _start(self, *options: str) -> None:
        with (self.data / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*broker.argv(self.data), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_the_tests,  # noqa: PLW1509 (one system call)
            )

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def kill(self) -> None:
        """Ends it as a crash or the kernel's OOM killer would."""
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def hang(self) -> None:
        """Stop answering, with open connections, until `go_on`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def refuse(self, why: str) -> None:
        """Answer with errors until `accept`: `full` (nothing can be written), `read-only` (a replica), `stale` (a
        replica that has lost its primary and answers nothing)."""
        client = self._client()
        if why == "full":
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            return
        client.config_set("replica-serve-stale-data", "no" if why == "stale" else "yes")
        client.replicaof("127.0.0.1", "1")  # where nothing listens

    def accept(self) -> None:
        client = self._client()
        client.config_set("maxmemory", 0)
        client.replicaof("NO", "ONE")
        client.config_set("replica-serve-stale-data", "yes")

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(broker.socket_path(self.data)))

    def wipe(self) -> None:
        """Forgets every message, as after the loss of its disk."""
        self._client().flushall()


def _end_with_the_tests() -> None:
    """A session of tests that is ended by a signal cleans up nothing."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

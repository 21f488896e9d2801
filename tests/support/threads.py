import threading
from collections.abc import Callable

from django.db import connections


class Thread(threading.Thread):
    """Runs `action` at once, on a database connection of its own that it closes; its error is the test's error."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.action = action
        self.result: object = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.action()
        except Exception as error:  # noqa: BLE001  raised again by `outcome`
            self.error = error
        finally:
            connections.close_all()

    def outcome(self) -> object:
        """Wait for the end, and return what the action returned or raise what it raised."""
        self.join(60)
        assert not self.is_alive(), "it hangs"
        if self.error:
            raise self.error
        return self.result

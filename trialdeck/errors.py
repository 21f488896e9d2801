"""Exceptions. All derive from `trialdeck.Error`; str() returns a sentence for the user."""

from __future__ import annotations  # for Python 3.8

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Error(Exception):
    """Base of all exceptions.

    `status`: the HTTP status, or None if no console was involved; `detail`: the console's message;
    `fields`: messages by field name, for invalid input.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        fields: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}
        super().__init__(detail)

    def __str__(self) -> str:
        text = "; ".join(_about(name, " ".join(messages)) for name, messages in self.fields.items())
        if not text:
            return self.detail
        return text if not self.detail or self.detail in text else f"{self.detail} ({text})"


def _about(name: str, message: str) -> str:
    return message if message.startswith(f"Invalid {name}: ") else f"{name}: {message}"


class Unreachable(Error):
    """No console responds at this address, or the server there is not a console."""


class Unavailable(Error):
    """The console is temporarily unavailable (503), for example because of its database."""


class Unauthorized(Error):
    """The token is missing, invalid, expired or revoked (401)."""


class Forbidden(Error):
    """The role of the token does not allow this (403)."""


class NotFound(Error):
    """The experiment, trial or queue does not exist, or is not visible with this token (404)."""


class Refused(Error):
    """The current state does not allow this, or someone else changed it first (409)."""


class Invalid(Error, ValueError):
    """Invalid input (400 or 422, or found before a request was sent). See `fields`."""


class TooManyRequests(Error):
    """The rate limit is exceeded (429), after several retries."""

    retry_after_s = 1.0


class NotConnected(Error, RuntimeError):
    """The experiment is not started or connected."""


class NotStarted(Error, RuntimeError):
    """The embedded console, or an experiment on it, could not be started."""


class TimedOut(Error, TimeoutError):
    """The wait ended before the experiment did; the experiment continues."""


class UnknownField(Invalid, AttributeError):
    """The configuration has no such field."""


class BadReport(Error, TypeError):
    """In a trial: a reported metric is not a number."""


class NoFile(Error, RuntimeError):
    """In a trial: the parameter file cannot be read, or the metrics file cannot be written."""


BY_STATUS = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Refused,
    413: Invalid,
    422: Invalid,
    429: TooManyRequests,
    503: Unavailable,
}

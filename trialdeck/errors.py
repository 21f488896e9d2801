"""What can go wrong, as one family: `except trialdeck.Error` catches all of it. str() is a sentence for a person."""

from __future__ import annotations  # for Python 3.8

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Error(Exception):
    """Something that Trialdeck could not do.

    `status`: the HTTP status, None where no console was asked; `detail`: the console's sentence;
    `fields`: sentences by field name, for what was wrong in what was given.
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
        self.fields = {name: list(said) for name, said in (fields or {}).items()}
        super().__init__(detail)

    def __str__(self) -> str:
        said = "; ".join(f"{name}: {' '.join(sentences)}" for name, sentences in self.fields.items())
        if not said:
            return self.detail
        return said if not self.detail or self.detail in said else f"{self.detail} ({said})"


class Unreachable(Error):
    """No console answers there, or what answers is none."""


class Unavailable(Error):
    """The console is there but cannot answer now (503), its database for example."""


class Unauthorized(Error):
    """The token is wrong, expired or revoked, or there is none (401)."""


class Forbidden(Error):
    """The token's role is not enough for this (403)."""


class NotFound(Error):
    """No such experiment, trial, queue, … for this token (404)."""


class Refused(Error):
    """Not possible in the present state, or somebody was faster (409)."""


class Invalid(Error, ValueError):
    """Something given is not acceptable (400, 422, or found before anything was sent). See `fields`."""


class TooManyRequests(Error):
    """More requests than the console takes in a minute (429), after some patience."""


class NotConnected(Error, RuntimeError):
    """The experiment has not been started or connected yet."""


class NotStarted(Error, RuntimeError):
    """The embedded console, or the experiment on it, could not be started."""


class TimedOut(Error, TimeoutError):
    """What was waited for did not happen in time; it goes on."""


class UnknownField(Invalid, AttributeError):
    """A field of the configuration that does not exist."""


class BadReport(Error, TypeError):
    """In a trial: a metric that is not a number."""


class NoFile(Error, RuntimeError):
    """In a trial: its parameters cannot be read, or its metrics cannot be written."""


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

"""Sessions in the database, read by a statement that is compiled once, because almost every request begins with it."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session

from experiments import database_clock
from experiments.models.plain_sql import RowStatement

_unexpired = RowStatement(
    Session,
    lambda key, now: Session.objects.filter(session_key=key, expire_date__gt=now).order_by(),
    key="<session>",
    now=datetime(1970, 1, 1, tzinfo=UTC),
)


class SessionStore(DatabaseStore):
    """Django's store in the database (`SESSION_ENGINE`)."""

    def _get_session_from_db(self) -> Session | None:
        session = _unexpired.object(key=self.session_key, now=database_clock.now())
        if session is None:
            self._session_key = None
        return session

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

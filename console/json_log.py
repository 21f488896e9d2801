"""Machine-readable logs: one JSON object per line (TRIALDECK_LOG_FORMAT=json)."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

# The ID of an experiment (7f3k2m9q) or a trial (7f3k2m9q-3) among the arguments of a message.
PUBLIC_ID = re.compile(r"([a-z2-9]{8})(?:-[0-9]+)?")


class JsonFormatter(logging.Formatter):
    """Time, level, logger and message; the experiment and the trial of a message that has them as arguments, or that
    was logged with `extra`; and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_subject(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _subject(record: logging.LogRecord) -> dict[str, str]:
    """Return the public IDs of the first trial or experiment among the arguments."""
    arguments = record.args.values() if isinstance(record.args, dict) else record.args or ()
    for value in (getattr(record, "trial", None), getattr(record, "experiment", None), *arguments):
        # Models have `public_id`; a string counts if it has the form of a trial's ID.
        text = getattr(value, "public_id", None) or (value if isinstance(value, str) and "-" in value else "")
        if isinstance(text, str) and (match := PUBLIC_ID.fullmatch(text)):
            return {"experiment": match[1], **({"trial": text} if "-" in text else {})}
    return {}

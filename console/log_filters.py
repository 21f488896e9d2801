"""Logging filters."""

import logging

from django.db import DatabaseError

from experiments.runner.tool_process import is_disk_full


class BriefAboutFullDisks(logging.Filter):
    """Omits the traceback of errors caused by a full disk, because the message says enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError | DatabaseError) and is_disk_full(str(error)):
            sentence = str(error).replace("%", "%%") if record.args else str(error)
            record.msg, record.exc_info, record.exc_text = f"{record.msg}: {sentence}", None, None
        return True

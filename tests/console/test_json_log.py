"""TRIALDECK_LOG_FORMAT=json."""

import json
import logging
import sys

import pytest

from console.json_log import JsonFormatter
from tests.support.processes import manage

pytestmark = pytest.mark.once


def formatted(message, *arguments, **options):
    record = logging.LogRecord("trialdeck", logging.WARNING, __file__, 1, message, arguments, None)
    record.__dict__.update(options)
    return json.loads(JsonFormatter().format(record))


def test_a_line_has_time_level_logger_and_message():
    """TD-S1: structured logs."""
    line = formatted("two\nlines: %s", "größer")
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "WARNING", "logger": "trialdeck", "message": "two\nlines: größer"}


class Row:
    public_id = "7f3k2m9q"


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        (["7f3k2m9q-3"], {"experiment": "7f3k2m9q", "trial": "7f3k2m9q-3"}),
        ([Row()], {"experiment": "7f3k2m9q"}),
        (["gpu-01"], {}),
        (["training"], {}),
        ([3], {}),
    ],
)
def test_it_names_the_experiment_and_the_trial_of_a_message(arguments, subject):
    line = formatted("about %s", *arguments)
    assert {name: line[name] for name in ("experiment", "trial") if name in line} == subject
    assert formatted("about it", trial="7f3k2m9q-3")["trial"] == "7f3k2m9q-3"


def test_an_exception_stays_in_the_line():
    try:
        raise ValueError("why")
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert "ValueError: why" in line["exception"]


def test_another_format_is_refused_with_one_sentence(fresh):
    done = manage("migrate", env={**fresh, "TRIALDECK_LOG_FORMAT": "xml"})
    assert done.returncode == 1
    assert done.stderr.strip() == "TRIALDECK_LOG_FORMAT must be text or json, not 'xml'."

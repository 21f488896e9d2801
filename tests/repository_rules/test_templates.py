"""How templates are laid out. djlint formats them (`make format`)."""

import pytest

from tests.repository_rules.repository import files, name_of, text_of

pytestmark = pytest.mark.once

LONGEST = 160  # characters, as in [tool.djlint]


def test_template_lines_are_at_most_160_characters_long() -> None:
    long = [
        f"{name_of(path)}:{number}"
        for path in files(".html")
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if name_of(path).startswith("templates/") and len(line) > LONGEST
    ]
    assert long == []

"""What the tests of pages share."""

import pytest


@pytest.fixture(autouse=True)
def within_one_minute(monkeypatch) -> None:
    """Pages write their times anew with each minute: between two requests of a test none ends."""
    monkeypatch.setattr("experiments.web.ui.fragments.minute", lambda: 0)

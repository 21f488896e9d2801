"""A real Chromium, a real server, one of the people. What the browser complains about fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

if TYPE_CHECKING:  # a conftest is read before Django is set up
    from pytest_django.live_server_helper import LiveServer

    from experiments.models import User

expect.set_options(timeout=20_000)  # a wait for an event, however slow the machine is

# In view as a whole: a font's width rounds a fraction of a pixel away, whichever fonts the machine has.
WHOLE = 0.98
DESK, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}

# A refused form is answered with 4xx, which Chromium reports as if something were missing.
# The last two: htmx reports a request that a newer one has replaced, as hx-sync="replace" asks for.
NO_COMPLAINT = ("422 (Unprocessable", "409 (Conflict)", "htmx:sendAbort", "htmx:afterRequest")
REPORTS_CSP = """addEventListener("securitypolicyviolation",
    (event) => console.error("CSP", event.effectiveDirective, event.blockedURI, event.sourceFile))"""


@contextmanager
def launched(chromium: str) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread, beside which the ORM is used, never within.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as browser:
        yield browser


@pytest.fixture
def open_as(
    browser: Browser, live_server: LiveServer, transactional_db: None
) -> Iterator[Callable[..., Page]]:
    """Opens a page as a person: `open_as(alice, "/workspaces/", PHONE, java_script_enabled=False)`."""
    contexts, complaints = [], []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in NO_COMPLAINT):
            complaints.append(message.text)

    def open_page(person: User | None, path: str, viewport: dict = DESK, **options: object) -> Page:
        context = browser.new_context(base_url=live_server.url, viewport=viewport, **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        if person:
            client = Client()
            client.force_login(person)
            name = settings.SESSION_COOKIE_NAME
            context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
        context.add_init_script(REPORTS_CSP)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == [], "the browser complained"


def is_wider_than_its_window(page: Page) -> bool:
    """Would one have to scroll the page sideways?"""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")

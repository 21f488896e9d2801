"""The scripts in a real browser, against a server that does what the test tells it.

TD-X6: live updates never lose your place.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from playwright.sync_api import Browser, Page, expect, sync_playwright

from experiments import messages
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.once]

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LIVE = """ hx-get="/page" hx-trigger="every 100ms, online from:window, visibilitychange from:document" hx-swap="morph"
  hx-sync="this:drop" data-live="0.1" data-tag='{tag}'"""
CSP = "default-src 'self'; object-src 'none'"

PAGE = """<!doctype html><html lang="en"><head><title>t</title>
<link rel="stylesheet" href="/static/css/tokens.css"><link rel="stylesheet" href="/static/css/base.css">
{htmx}
<script type="module" src="/static/js/live.js"></script>
<script type="module" src="/static/js/dialog.js"></script>
<script type="module" src="/static/js/keys.js"></script></head><body hx-ext="morph">
{banner}
<span data-live-state><span data-live-word></span><span data-live-age></span></span>
{fragment}<dialog id="dialog" class="dialog"></dialog></body></html>"""


BANNER = render_to_string("components/_banner.html")
HTMX = render_to_string("layouts/_htmx.html").replace('src="js/', 'src="/static/js/')


class Stage:
    """The server's side: which fragment it sends, how it answers, and what it was asked."""

    def __init__(self) -> None:
        self.rows = ["1", "2", "3"]
        self.state = "running"
        self.ages = ""
        self.is_live = True
        self.is_over = False
        self.is_same = False  # what is shown is current, whatever its tag
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.requests: list[dict[str, str]] = []
        self.answered: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.posted: list[str] = []
        self.lock = threading.Lock()

    @property
    def tag(self) -> str:
        return f'"{hash((tuple(self.rows), self.state, self.ages, self.is_live))}"'

    @property
    def fragment(self) -> str:
        rows = "\n".join(
            f'<tr id="r{n}"><td><input type="checkbox" aria-label="pick {n}"></td><td class="state">{self.state}'
            f'</td><td><button popovertarget="m{n}">menu {n}</button><div class="menu" id="m{n}" popover>'
            f'<a href="/question" hx-get="/question" hx-target="#dialog" hx-swap="morph">Stop {n}</a></div>'
            f"<details><summary>more {n}</summary>detail</details></td></tr>"
            for n in self.rows
        )
        live = LIVE.format(tag=self.tag.strip('"')) if self.is_live else ""
        return (
            f'<section id="trials"{live}><p class="count">{len(self.rows)} trials, {self.state}</p>'
            f'<p id="ages">{self.ages}</p><input aria-label="note" value="{self.state}">'
            f"<table><tbody>\n{rows}\n</tbody></table></section>"
        )


QUESTION = """<dialog id="dialog" class="dialog" aria-labelledby="q">
<form id="close-dialog" method="dialog" hidden></form>
<form method="post" action="/question"><h1 id="q">Stop it?</h1><p data-said hidden></p><footer>
<button form="close-dialog" data-close autofocus>Keep running</button></footer>
<button hx-post="/question" hx-target="#dialog" hx-swap="morph">Stop experiment</button></form></dialog>"""


def handler_for(stage: Stage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/static/"):
                path = Path(finders.find(self.path.removeprefix("/static/")))
                self.send(200, path.read_bytes(), TYPES[path.suffix])
            elif self.path == "/question":
                self.send(200, QUESTION.encode())
            elif self.headers.get("HX-Request"):
                self.answer()
            elif self.path.startswith("/page"):
                self.send(200, PAGE.format(htmx=HTMX, banner=BANNER, fragment=stage.fragment).encode())
            else:
                self.send(204, b"")

        def do_POST(self) -> None:
            stage.posted.append(self.path)
            stage.state = "done"
            self.send(200, b"", redirect="/page?done")

        def answer(self) -> None:
            with stage.lock:
                stage.requests.append(dict(self.headers))
                stage.at_once += 1
                stage.most_at_once = max(stage.most_at_once, stage.at_once)
            stage.hold.wait(10)
            with stage.lock:
                stage.at_once -= 1
            if stage.is_over:
                self.send(286, b"Live updates stopped", retarget="#live-over")
                return
            if stage.status != 200:
                status, body = stage.status, b""
            elif self.headers.get("If-None-Match") == stage.tag or stage.is_same:
                status, body = 304, b""
            else:
                status, body = 200, stage.fragment.encode()
            self.send(status, body, tag=stage.tag)
            stage.answered.append(status)

        def send(
            self,
            status: int,
            body: bytes,
            kind: str = "text/html",
            tag: str = "",
            redirect: str = "",
            retarget: str = "",
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Security-Policy", CSP)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            if tag:
                self.send_header("ETag", tag)
            if redirect:
                self.send_header("HX-Redirect", redirect)
            if retarget:
                self.send_header("HX-Retarget", retarget)
                self.send_header("HX-Reswap", "innerHTML")
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(stage))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.server_port}")
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on(
        "console", lambda message: broken.append(message.text) if "Content Security" in message.text else None
    )
    page.goto("/page")
    yield page
    context.close()
    stage.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()
    assert broken == []


def changed(page: Page, stage: Stage, *, rows: list[str], state: str) -> None:
    """Lets the server say something new and waits until the page shows it."""
    stage.rows, stage.state = rows, state
    expect(page.locator(".count")).to_have_text(f"{len(rows)} trials, {state}")


def test_it_shows_what_is_new_without_a_reload(page, stage):
    changed(page, stage, rows=["4", "3", "2", "1"], state="stopping")
    assert page.locator("tr").evaluate_all("rows => rows.map(row => row.id)") == ["r4", "r3", "r2", "r1"]
    assert stage.requests[0]["HX-Request"] == "true" and stage.requests[0]["HX-Target"] == "trials"


def test_an_unchanged_fragment_costs_a_304(page, stage):
    eventually(lambda: stage.answered.count(304) >= 3, what="three unchanged answers")
    assert set(stage.answered) == {304}


def test_a_304_may_have_a_newer_tag(page, stage):
    """The server has compared the HTML: the next poll sends the tag that needs no comparison."""
    stage.is_same = True
    stage.ages = "other"  # so that the tag changes
    eventually(
        lambda: stage.requests and stage.requests[-1].get("If-None-Match") == stage.tag, what="the newer tag"
    )
    assert page.locator("#trials").get_attribute("data-tag") == stage.tag.strip('"')
    assert set(stage.answered) == {304} and page.locator("#ages").text_content() != "other"


def test_what_runs_is_counted_on_between_two_answers(page, stage):
    """The server's words and the browser's are the same; what the server writes later counts from there."""
    spans = (1, 8, 58, 59.7, 118, 3599, 3661, 3600 * 47, 86400 * 2, 86400 * 3 + 7200)
    stage.ages = "".join(f"{messages.running(span)}, {messages.running_short(span)};" for span in spans)
    stage.is_live = False
    page.clock.install()
    for later in (0, 2, 61):
        page.goto("/page")
        page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 0.5)
        page.clock.run_for(later * 1000)
        counted = [round(span + later) for span in spans]
        words = "".join(
            f"{messages.duration(s)}, {' '.join(messages.duration(s).split()[:2])};" for s in counted
        )
        expect(page.locator("#ages")).to_have_text(words)
        page.clock.resume()


def test_typed_text_and_the_cursor_in_it_survive(page, stage):
    note = page.get_by_label("note")
    note.fill("half a sentence")
    note.evaluate("box => box.setSelectionRange(2, 6)")
    changed(page, stage, rows=["9", "1", "3"], state="paused")
    assert note.input_value() == "half a sentence"
    assert note.evaluate("box => [document.activeElement === box, box.selectionStart, box.selectionEnd]") == [
        True,
        2,
        6,
    ]


def test_a_field_that_nobody_touched_follows_the_server(page, stage):
    changed(page, stage, rows=["1"], state="paused")
    assert page.get_by_label("note").input_value() == "paused"


def test_ticks_open_menus_and_details_survive_when_rows_come_and_go(page, stage):
    page.get_by_label("pick 2").check()
    page.get_by_text("more 2").click()
    page.get_by_role("button", name="menu 2").click()
    changed(page, stage, rows=["5", "4", "2"], state="stopping")
    assert page.get_by_label("pick 2").is_checked()
    assert page.locator("#r2 details").evaluate("details => details.open")
    assert page.locator("#m2").evaluate("menu => menu.matches(':popover-open')")
    assert page.locator("#r2 .state").inner_text() == "stopping"


def test_an_open_menu_survives_when_its_row_moves(page, stage):
    page.get_by_role("button", name="menu 3").click()
    changed(page, stage, rows=["3", "1", "2"], state="running!")
    assert page.locator("tr").evaluate_all("rows => rows.map(row => row.id)") == ["r3", "r1", "r2"]
    assert page.locator("#m3").evaluate("menu => menu.matches(':popover-open')")


def test_it_never_asks_twice_at_the_same_time(page, stage):
    eventually(lambda: stage.answered, what="a first answer")
    stage.hold.clear()
    eventually(lambda: stage.at_once == 1, what="a request that waits")
    for _ in range(5):
        page.evaluate(
            "document.dispatchEvent(new Event('visibilitychange')); dispatchEvent(new Event('online'))"
        )
    page.evaluate("new Promise(done => setTimeout(done, 400))")  # four times its interval
    stage.hold.set()
    changed(page, stage, rows=["1"], state="done")
    assert stage.most_at_once == 1


def test_it_stops_asking_when_the_fragment_has_ended(page, stage):
    stage.is_live = False
    changed(page, stage, rows=["1"], state="completed")
    count = len(stage.requests)
    page.evaluate("new Promise(done => setTimeout(done, 500))")  # five times its interval
    assert len(stage.requests) == count


def test_a_silent_server_is_said_and_the_page_recovers_by_itself(page, stage):
    stage.status = 503
    expect(page.locator("#live-lost")).to_be_visible()
    expect(page.locator("#live-lost")).to_contain_text("Connection lost, retrying")
    expect(page.locator("[data-live-word]")).to_have_text("Not live")
    stage.status = 200
    changed(page, stage, rows=["1"], state="back")
    expect(page.locator("#live-lost")).to_be_hidden()
    expect(page.locator("[data-live-word]")).to_have_text("Live")


def test_a_fragment_that_is_no_longer_mine_stops_and_says_so(page, stage):
    """The server's part is in `test_middleware.py`."""
    stage.is_over = True
    expect(page.locator("#live-over")).to_contain_text("Live updates stopped")
    count = len(stage.requests)
    page.evaluate("new Promise(done => setTimeout(done, 500))")
    assert len(stage.requests) == count
    expect(page.locator("#trials")).to_be_visible()


def test_a_question_opens_in_a_dialog_and_gives_the_focus_back(page, stage):
    page.get_by_role("button", name="menu 1").click()
    page.get_by_role("link", name="Stop 1").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("Stop it?")
    expect(dialog.get_by_text("Keep running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="menu 1")).to_be_focused()
    assert stage.posted == []


def test_the_dialogs_form_posts_to_the_questions_page(page, stage):
    page.get_by_role("button", name="menu 1").click()
    page.get_by_role("link", name="Stop 1").click()
    page.get_by_role("button", name="Stop experiment").click()
    expect(page.locator("body")).to_contain_text("done")
    assert stage.posted == ["/question"]

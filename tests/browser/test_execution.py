"""A draft's Execution and Configuration tabs in a real browser, as the page "Tuning Experiments" has it."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from experiments.models import secret
from tests.browser.conftest import PHONE, is_wider_than_its_window

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-old\n+" + "new " * 60 + "\n"


def url_of(experiment, page: str) -> str:
    return reverse(page, args=["lab", experiment.public_id])


def test_a_draft_is_modified_block_by_block(open_as, bob, draft):
    """CML-O1, CML-S3, CML-H1: Edit opens in place, a refusal keeps what was typed, Save shows what is now."""
    experiment = draft(repository="https://example.org/code.git", diff=DIFF)
    page = open_as(bob, url_of(experiment, "experiment-execution"))
    page.get_by_role("link", name="Edit output").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Destination").fill("s3://localhost/bucket")
    dialog.get_by_role("button", name="Save").click()
    expect(
        page.get_by_text("An S3-compatible service requires a port: s3://localhost:9000/bucket.")
    ).to_be_visible()
    expect(page.get_by_label("Destination")).to_have_value("s3://localhost/bucket")
    expect(page.get_by_label("Destination")).to_be_focused()
    page.get_by_label("Destination").fill("s3://localhost:9000/bucket")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/execution/#output")
    expect(page.locator("#output")).to_contain_text("s3://localhost:9000/bucket in effect")
    page.get_by_label("Search in the uncommitted changes").fill("old")
    page.keyboard.press("Enter")
    expect(page.locator("#changes mark")).to_have_text("old")
    page.get_by_role("link", name="Discard").click()
    page.get_by_role("button", name="Discard changes").click()
    expect(page.locator("#changes")).to_contain_text("None.")

    page.get_by_role("link", name="Configuration", exact=True).click()
    page.get_by_role("link", name="Add group").click()
    dialog.get_by_label("Group").fill("Environment")
    dialog.get_by_label("Name").first.fill("TOKEN")
    dialog.get_by_label("Value").first.fill("hush")
    dialog.get_by_label("Secret").first.check()
    dialog.get_by_label("Name").first.press("Enter")
    expect(dialog.get_by_label("Name")).to_have_count(3)
    dialog.get_by_role("button", name="Add row").last.evaluate("add => { add.click(); add.click(); }")
    expect(dialog.get_by_label("Name")).to_have_count(5)
    for _ in range(4):  # as fast as one can
        dialog.get_by_role("button", name="Remove").last.click()
    expect(dialog.get_by_label("Name")).to_have_count(1)
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#hyperparameters")).to_contain_text("TOKEN")
    expect(page.locator("body")).not_to_contain_text("hush")
    experiment.refresh_from_db()
    assert secret.opened(experiment.settings.hyperparameters) == {"Environment": {"TOKEN": {"value": "hush"}}}


def test_both_tabs_fit_a_phone_and_need_no_script(open_as, alice, draft):
    """TD-X6: long names and values, every act a link and a form."""
    long = "unbroken" * 30
    experiment = draft(
        repository=f"https://example.org/{long}.git",
        diff=DIFF,
        image=long,
        hyperparameters={"General": {long[:200]: {"value": long}}},
        objects={long[:200]: long, "b": "c"},
    )
    experiment.annotate(by=alice, properties={long[:200]: long})
    for name in ("experiment-execution", "experiment-configuration"):
        page = open_as(alice, url_of(experiment, name), PHONE, java_script_enabled=False)
        page.set_default_timeout(20_000)
        width = page.viewport_size["width"]
        assert page.locator("main").bounding_box()["width"] <= width
    page.get_by_role("link", name="Edit General").click()
    page.get_by_role("button", name="Add row").last.click()
    page.get_by_label("Name").last.fill("lr")
    page.get_by_label("Value").last.fill("0.1")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#hyperparameters")).to_contain_text("lr")
    page = open_as(alice, url_of(experiment, "experiment-configuration"), PHONE)
    assert not is_wider_than_its_window(page)

"""The Artifacts tab and its dialog SELECT MODEL in a real browser."""

from __future__ import annotations

from playwright.sync_api import expect

from experiments.models import Model
from tests.browser.conftest import PHONE, WHOLE, is_wider_than_its_window


def test_a_model_is_searched_and_selected_in_the_dialog(open_as, draft, lab, alice, bob):
    """CML-M1: Enter in the search searches, it does not choose; the answer shows what was found."""
    for name in ("Good weights", "Other"):
        Model.register(lab.projects.get(), by=alice, name=name, address="s3://bucket/w.pt")
    experiment = draft()
    page = open_as(bob, f"/w/lab/experiments/{experiment.public_id}/artifacts/")
    page.get_by_role("link", name="Select model").click()
    dialog = page.get_by_role("dialog", name="Select model")
    dialog.get_by_label("Model name or ID").fill("good")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("radio")).to_have_count(1)
    expect(dialog.get_by_label("Model name or ID")).to_have_value("good")
    dialog.get_by_label("Good weights").check()
    dialog.get_by_role("button", name="Select model").click()
    expect(page.get_by_role("link", name="Good weights")).to_be_visible()
    assert page.url.endswith("/artifacts/")
    experiment.refresh_from_db()
    assert experiment.settings.input_model == Model.objects.get(name="Good weights").public_id


def test_a_phone_shows_the_last_tab_and_keeps_a_long_fault_in_its_box(open_as, draft, alice):
    page = open_as(alice, f"/w/lab/experiments/{draft().public_id}/artifacts/", PHONE)
    expect(page.get_by_role("link", name="Artifacts", exact=True)).to_be_in_viewport(ratio=WHOLE)
    page.goto("/w/lab/settings/")
    page.get_by_label("Output destination").fill("ftp://nowhere")
    page.get_by_role("button", name="Save destination").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "azure://account.blob.core.windows.net/container/folder"
    )
    assert not is_wider_than_its_window(page)

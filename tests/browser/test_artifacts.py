"""The dialog SELECT MODEL in a real browser."""

from __future__ import annotations

from experiments.models import Model


def test_a_model_is_searched_and_selected_in_the_dialog(open_as, draft, lab, alice, bob):
    """CML-M1: Enter in the search searches, it does not choose; the answer shows what was found."""
    for name in ("Good weights", "Other"):
        Model.register(lab.projects.get(), by=alice, name=name, address="s3://bucket/w.pt")
    experiment = draft()
    page = open_as(bob, f"/w/lab/experiments/{experiment.public_id}/artifacts/")
    page.get_by_role("link", name="Select model").click()
    dialog = page.get_by_role("dialog", name="Select model")
    dialog.get_by_label("Name or ID of a model").fill("good")
    page.keyboard.press("Enter")
    page.wait_for_url("**/artifacts/input/?q=good*")
    assert page.get_by_role("radio").count() == 1
    page.get_by_label("Good weights").check()
    page.get_by_role("button", name="Select model").click()
    page.wait_for_url("**/artifacts/")
    assert page.get_by_role("link", name="Good weights").is_visible()
    experiment.refresh_from_db()
    assert experiment.settings.input_model == Model.objects.get(name="Good weights").public_id

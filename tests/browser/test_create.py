"""Create experiment in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from experiments.models import Experiment, LogPiece, Trial
from tests.browser.conftest import PHONE, WHOLE, is_wider_than_its_window
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NEW = "/w/lab/experiments/new/"
JSON = '{"units": {"_type": "randint", "_value": [8, 64]}, "act": {"_type": "choice", "_value": ["relu", "a, b"]}}'


def row(page: Page, number: int, name: str, kind: str, values: str) -> None:
    row_ = page.locator("[data-space-row]").nth(number)
    row_.get_by_label("Name").fill(name)
    row_.get_by_label("Type").select_option(kind)
    row_.get_by_label("Values").fill(values)


def fill(page: Page) -> None:
    page.get_by_label("Name", exact=True).first.fill("from the browser")
    page.get_by_label("Command", exact=True).fill("python train.py --lr ${lr} --units ${units}")
    page.get_by_label("Metric", exact=True).fill("accuracy")
    row(page, 0, "lr", "loguniform", "1e-5, 0.1")
    row(page, 1, "units", "choice", "8, 16, 32")


def test_rows_a_preview_and_start(open_as, bob, lab):
    """TD-F4, CML-C1: rows, the first five draws, a new project, Start."""
    page = open_as(bob, NEW)
    fill(page)
    preview = page.locator("#preview")
    expect(preview.locator("tbody tr")).to_have_count(2)
    expect(preview.locator("tbody tr").first.locator("td")).to_have_count(5)
    expect(preview).to_contain_text("python train.py --lr ")
    expect(page.locator("[data-space-row] .scale")).to_have_count(2)
    problems = page.locator("#problems")
    page.get_by_label("Algorithm", exact=True).select_option("Batch")
    expect(problems).to_contain_text("a single parameter")
    page.get_by_label("Algorithm", exact=True).select_option("Random")
    expect(problems).not_to_contain_text("a single parameter")
    expect(preview).to_contain_text("First 5 trials")
    box = page.get_by_role("combobox", name="Project")
    box.fill("vision")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("No project is named “vision”.").first).to_be_visible()
    assert not Experiment.objects.exists(), "a text that means no project is not quietly another one"
    page.get_by_label("Create New “vision”").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(lambda url: "/new/" not in url)
    experiment = Experiment.objects.get()
    assert (experiment.name, experiment.state, experiment.creator) == ("from the browser", "pending", bob)
    assert experiment.project.name == "vision"
    assert experiment.settings.space_document == {
        "lr": {"_type": "loguniform", "_value": [1e-5, 0.1]},
        "units": {"_type": "choice", "_value": [8, 16, 32]},
    }
    expect(page.locator(".toast")).to_contain_text("has no worker")


NESTED = """{"net": {"_type": "choice", "_value": [{"_name": "mlp"},
  {"_name": "cnn", "size": {"_type": "randint", "_value": [1, 9]}}]}}"""


def test_a_nested_space_stays_json_and_nothing_is_lost(open_as, bob, lab):
    """NNI-S1: turning to rows says why there are none, and leaves what was typed."""
    page = open_as(bob, NEW)
    page.get_by_label("Name", exact=True).first.fill("nested")
    page.get_by_label("Command", exact=True).fill("python train.py --net ${net}")
    page.get_by_label("Metric", exact=True).fill("accuracy")
    page.get_by_label("JSON", exact=True).check()
    page.get_by_label("Search space as JSON").fill(NESTED)
    preview = page.locator("#preview")
    expect(preview.locator("tbody th")).to_have_text(["net", "net/size"])
    page.get_by_label("Rows", exact=True).click()  # not check(): it goes back at once
    expect(page.get_by_label("JSON", exact=True)).to_be_checked()
    expect(page.locator("[data-nested]")).to_be_visible()
    assert page.get_by_label("Search space as JSON").input_value() == NESTED
    page.get_by_role("button", name="Save as draft").click()
    page.wait_for_url(lambda url: "/new/" not in url)
    assert Experiment.objects.get().settings.space.columns() == ["net", "net/size"]


def test_rows_are_added_and_removed_and_say_what_their_type_takes(open_as, bob, lab):
    page = open_as(bob, NEW)
    rows = page.locator("[data-space-row]")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Add parameter").click()
    expect(rows).to_have_count(4)
    expect(rows.nth(3).get_by_label("Name")).to_be_focused()
    rows.nth(3).get_by_label("Type").select_option("quniform")
    expect(rows.nth(3).get_by_label("Values")).to_have_attribute("placeholder", "low, high, step: 0, 1, 0.1")
    row(page, 3, "q", "quniform", "0, 1, 0.25")
    for _ in range(3):  # as fast as one can, without waiting for the server
        rows.first.get_by_role("button").click()
    expect(rows).to_have_count(1)
    expect(rows.get_by_role("button")).to_be_focused()
    expect(rows.get_by_label("Name")).to_have_value("q")
    expect(page.locator("#preview")).to_contain_text("5 combinations")
    assert NEW in page.url and Experiment.objects.count() == 0


def test_quick_clicks_on_add_and_offers_lose_nothing(open_as, bob, draft):
    """CML-T1: what is typed meanwhile stays, an offer gives one row, and Remove offers it again."""
    experiment = draft(space_document={"lr": {"_type": "uniform", "_value": [0, 1]}}, command="x ${params}")
    declared = {"Args": {"epochs": {"value": "3", "type": "int"}, "decay": {"value": "0.1", "type": "float"}}}
    experiment.revision.resolve(declared=declared)
    page = open_as(bob, f"/w/lab/experiments/{experiment.public_id}/edit/")
    rows, offers = page.locator("[data-space-row]"), page.locator("#offers")
    page.evaluate("""() => {
      for (let click = 0; click < 3; click++) document.querySelector("#space_rows ~ div [name=add_row]").click();
      const values = document.querySelector("[name=space-0-values]");
      values.value = "0, 0.5";
    }""")
    expect(rows).to_have_count(4)
    expect(rows.first.get_by_label("Values")).to_have_value("0, 0.5")
    expect(rows.last.get_by_label("Name")).to_be_focused()
    offers.get_by_role("button", name="Add Args/epochs").evaluate("chip => { chip.click(); chip.click(); }")
    expect(offers.get_by_role("button")).to_have_count(1)
    names = rows.get_by_label("Name").evaluate_all("boxes => boxes.map(box => box.value)")
    assert names == ["lr", "Args/epochs"], "blank rows make way for an offered one"
    rows.last.get_by_role("button").click()
    expect(offers.get_by_role("button")).to_have_count(2)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(lambda url: "/edit/" not in url)
    experiment.refresh_from_db()
    assert experiment.settings.space_document == {"lr": {"_type": "uniform", "_value": [0, 0.5]}}


def test_turning_between_rows_and_json_takes_everything_along(open_as, bob, lab):
    """TD-F4: as rows or JSON."""
    page = open_as(bob, NEW)
    fill(page)
    page.get_by_text("JSON", exact=True).click()
    area = page.get_by_label("Search space as JSON")
    expect(area).to_be_visible()
    expect(area).to_have_value(re.compile(r'"lr".*"loguniform".*"units".*"choice"', re.S))
    area.fill(JSON)
    page.get_by_label("Command", exact=True).fill("python train.py --act ${act}")
    expect(page.locator("#preview")).to_contain_text("112 combinations")
    page.get_by_text("Rows", exact=True).click()
    rows = page.locator("[data-space-row]")
    expect(rows).to_have_count(2)
    expect(rows.nth(1).get_by_label("Values")).to_have_value('relu, "a, b"')
    page.get_by_text("JSON", exact=True).click()
    area.fill("{ not json")
    page.get_by_text("Rows", exact=True).click()
    expect(rows.nth(1).get_by_label("Values")).to_have_value('relu, "a, b"')
    page.get_by_role("button", name="Save as draft").click()
    page.wait_for_url(lambda url: "/new/" not in url)
    settings = Experiment.objects.get().settings
    assert settings.space.parameters[0].name == "units" and settings.space_document["act"]["_value"] == [
        "relu",
        "a, b",
    ]


def test_a_refused_form_says_where_and_keeps_what_was_typed(open_as, bob, lab):
    """TD-F: each validated with a sentence; nothing typed is lost."""
    page = open_as(bob, NEW)
    fill(page)
    page.get_by_label("Concurrency").fill("1o")
    page.get_by_label("Standard output (regular expression)").check()
    page.get_by_text("Environment variables").click()
    page.get_by_label("Environment").fill("A=1\nB")
    row(page, 2, "bad", "uniform", "1, 0")
    page.get_by_role("button", name="Start").click()
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("Fix 4 fields")
    summary.get_by_role("link", name="Concurrency").click()
    expect(page.get_by_label("Concurrency")).to_be_in_viewport(ratio=WHOLE)
    expect(page.get_by_label("Concurrency")).to_have_value("1o")
    expect(page.get_by_label("Concurrency")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Environment")).to_have_value("A=1\nB")
    expect(page.get_by_label("Regular expression", exact=True)).to_be_visible()
    expect(page.locator("[data-space-row]").nth(2)).to_contain_text("greater than the upper bound")
    expect(page.get_by_label("Command", exact=True)).to_have_value(
        "python train.py --lr ${lr} --units ${units}"
    )
    assert Experiment.objects.count() == 0


def test_enter_in_a_field_starts_nothing(open_as, bob, lab):
    page = open_as(bob, NEW)
    fill(page)
    page.get_by_label("Tags").press("Enter")
    expect(page.locator("#preview tbody tr")).to_have_count(2)
    assert Experiment.objects.count() == 0 and page.url.endswith(NEW)


def test_an_impatient_double_click_makes_one(open_as, bob, lab):
    page = open_as(bob, NEW)
    fill(page)
    page.get_by_role("button", name="Save as draft").dblclick(no_wait_after=True)
    page.wait_for_url(lambda url: "/new/" not in url)
    assert Experiment.objects.count() == 1


@pytest.mark.parametrize("viewport", [PHONE, {"width": 800, "height": 900}, {"width": 1360, "height": 900}])
def test_the_page_never_scrolls_sideways(open_as, bob, lab, viewport):
    page = open_as(bob, NEW, viewport)
    fill(page)
    page.get_by_label("Command", exact=True).fill("python train.py " + "--a-very-long-option ${lr} " * 20)
    row(page, 2, "p" * 64, "choice", ", ".join(["a-very-long-choice-" * 5, "x"]))
    page.get_by_label("Concurrency").fill("x" * 300)
    expect(page.locator("#preview tbody tr")).to_have_count(3)
    assert not is_wider_than_its_window(page)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert not is_wider_than_its_window(page)


def test_everything_works_without_script(open_as, bob, lab):
    """TD-X6: all works without JavaScript."""
    page = open_as(bob, NEW, java_script_enabled=False)
    fill(page)
    page.get_by_role("button", name="Add parameter").click()
    rows = page.locator("[data-space-row]")
    expect(rows).to_have_count(6)
    rows.nth(2).get_by_role("button").click()
    expect(rows).to_have_count(5)
    expect(page.get_by_label("Command", exact=True)).to_have_value(
        "python train.py --lr ${lr} --units ${units}"
    )
    page.get_by_role("button", name="Check and preview").click()
    expect(page.locator("#preview tbody tr")).to_have_count(2)
    page.get_by_label("JSON file written by the script").check()
    expect(page.get_by_label("JSON file", exact=True)).to_be_visible()
    page.get_by_label("JSON file", exact=True).fill("result.json")
    page.get_by_text("JSON", exact=True).click()
    page.get_by_label("Search space as JSON").fill(JSON)
    page.get_by_label("Command", exact=True).fill("python train.py")
    page.get_by_role("button", name="Start").click()
    experiment = Experiment.objects.get()
    assert experiment.settings.metric_path == "result.json" and len(experiment.settings.space.parameters) == 2


def test_the_log_of_a_test_run_begins_at_its_end(open_as, bob, lab):
    """TD-D7: with the result, which most scripts print last; the message about the draft covers no button."""
    page = open_as(bob, NEW)
    fill(page)
    page.get_by_role("button", name="Test run").click()
    page.wait_for_url(lambda url: "/edit/" in url)
    message, bar = (page.locator(css).first.bounding_box() for css in (".toast", ".form-bar"))
    assert message and bar and message["y"] + message["height"] <= bar["y"]
    trial = Trial.objects.get()
    text = "".join(f"epoch {number}: loss=0.{number}\n" for number in range(100)) + "score: 7.25\n"
    LogPiece.objects.create(trial=trial, offset=0, size=len(text), data=text.encode())
    Trial.objects.filter(pk=trial.pk).update(state="running", log_bytes=len(text))
    page.reload()
    log = page.locator("#test_run .log")
    expect(log).to_be_visible()

    def is_within_the_log(name: str) -> bool:
        button, frame = page.get_by_role("button", name=name, exact=True).bounding_box(), log.bounding_box()
        assert button and frame
        return frame["y"] <= button["y"] and button["y"] + button["height"] <= frame["y"] + frame["height"]

    eventually(lambda: is_within_the_log("7.25"), what="the end of the log")
    assert not is_within_the_log("0.0")


def test_the_arguments_of_a_script_are_read_into_the_rows(open_as, bob, lab, tmp_path):
    """TD-D7: the page stays; the preview, the steps and the metric follow."""
    (tmp_path / "train.py").write_text(
        'p.add_argument("--lr", type=float, default=0.01)\np.add_argument("--seed", type=int, default=1)\n'
        'print("accuracy:", 1)\n'
    )
    page = open_as(bob, NEW)
    page.get_by_label("Command", exact=True).fill("python train.py")
    page.get_by_text("Paste or upload the script").click()
    page.locator("[name=script_file]").set_input_files(tmp_path / "train.py")
    page.get_by_role("button", name="Read arguments").click()
    expect(page.get_by_role("status").filter(has_text="2 arguments read from train.py")).to_be_visible()
    rows = page.locator("[data-space-row]")
    expect(rows).to_have_count(2)
    expect(rows.first.get_by_label("Values")).to_have_value("0.0001, 1.0")
    expect(rows.nth(1).get_by_label("Search seed")).not_to_be_checked()
    expect(page.locator("[data-space-row] .scale")).to_have_count(1)
    rows.nth(1).get_by_label("Search seed").check()
    expect(page.locator("[data-space-row] .scale")).to_have_count(2)
    page.get_by_role("button", name="Save as draft").click()
    page.wait_for_url(lambda url: "/new/" not in url)
    experiment = Experiment.objects.get()
    assert sorted(experiment.settings.space_document) == ["lr", "seed"]
    assert (experiment.name, experiment.settings.pattern) == ("train", "accuracy: {number}")

"""Configuration: hyperparameter groups, user properties, configuration objects. Secrets are never shown."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from experiments.models import Experiment, secret
from experiments.models.status import EXPERIMENT_STATES
from experiments.web.ui.key_value_rows import naturally
from tests.web.experiment.test_execution import as_, words

pytestmark = pytest.mark.once

ODD = ["a.b", "$c", "d/e", "f%20g&h=i?", " space ", "ünï😀", "<b>", "__place__", "quote\"'"]
GROUPS = {
    "General": {name: {"value": f"{name}\n{name}"} for name in ODD},
    "Args": {"lr": {"value": "1e-3", "type": "float", "description": "Step"}, "layer10": {"value": "x"}},
    "ü/&? custom": {"layer2": {"value": ""}, "layer10": {"value": "b"}},
}


def url_of(experiment: Experiment, part: str = "") -> str:
    return reverse("experiment-configuration", args=["lab", experiment.public_id]) + part


def page_of(user, experiment: Experiment, query: str = "") -> str:
    response = as_(user).get(url_of(experiment) + query)
    assert response.status_code == 200
    return response.content.decode()


def rows(*typed: tuple) -> dict[str, str]:
    """(name, value, name before, "on" for a secret), as a browser sends them."""
    fields = {}
    for place, row in enumerate(typed):
        for part, text in zip(("name", "value", "was", "secret"), row, strict=False):
            if text or part != "secret":
                fields[f"row-{place}-{part}"] = text
    return fields


def drawn(html: str) -> dict[str, str]:
    """What a browser would send of the form as it is drawn, untouched."""
    html = html.split("<template")[0]
    fields = {
        name: unescape(value)
        for name, value in re.findall(r'<input[^>]* name="((?:row|seen)[^"]*)"[^>]*? value="([^"]*)"', html)
    }
    for name, value in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\n?(.*?)</textarea>', html, re.S):
        fields[name] = unescape(value).replace("\n", "\r\n")
    return fields | {name: "on" for name in re.findall(r'name="(row-\d+-secret)" checked', html)}


def ask(user, experiment: Experiment, part: str, **query: str) -> str:
    response = as_(user).get(url_of(experiment, part), query)
    assert response.status_code == 200
    return response.content.decode()


def save(user, experiment: Experiment, part: str, data: dict, **query: str):
    data = {"seen": str(experiment.revision.number), **data}
    response = as_(user).post(url_of(experiment, part), data, query_params=query)
    experiment.refresh_from_db()
    return response


def test_groups_stand_in_order_and_say_what_is_searched(draft, carol):
    """CML-H1 (H1, H2, H8): groups by name, names by number; what is searched; search and copy."""
    experiment = draft(hyperparameters=GROUPS)
    html = page_of(carol, experiment)
    assert [unescape(heading) for heading in re.findall(r"<h3>(.*?)</h3>", html)] == [
        "Args",
        "General",
        "ü/&? custom",
    ]
    text = words(html)
    assert text.index("layer2") < text.rindex("layer10")
    assert 'title="Type: float. Step"><code>lr</code></td><td><span class="tag"' in html
    assert 'data-copy="layer10=x\nlr=1e-3"' in html
    page = words(page_of(carol, experiment, "?q=LAYER2"))
    assert "1 match" in page and "1 of 2" in page and "lr searched" not in page
    assert "No matches for “zzz”" in words(page_of(carol, experiment, "?q=zzz"))


def test_names_are_sorted_by_their_numbers():
    assert sorted(["layer10", "layer2", "Layer1"], key=naturally) == ["Layer1", "layer2", "layer10"]
    assert sorted(["a", "10", "9", "1a", "²"], key=naturally)[:3] == ["1a", "9", "10"]


def test_any_characters_come_back_as_they_went_in(draft, bob):
    """CML-H1 (H7): saved as drawn, nothing differs; what was not touched stays to the character."""
    groups = {**GROUPS, "General": {**GROUPS["General"], "windows": {"value": "a\r\nb\rc "}}}
    experiment = draft(hyperparameters=groups)
    for name in groups:
        save(bob, experiment, "group/", drawn(ask(bob, experiment, "group/", name=name)), name=name)
    assert experiment.revision.number == 1
    data = drawn(ask(bob, experiment, "group/", name="General"))
    place = next(key for key, value in data.items() if key.endswith("-name") and value == "d/e")
    data[place.replace("name", "value")] = "changed"
    save(bob, experiment, "group/", data, name="General")
    assert experiment.settings.hyperparameters == {
        **groups,
        "General": {**groups["General"], "d/e": {"value": "changed"}},
    }


def test_properties_and_objects_have_names_of_any_characters(draft, bob):
    """CML-H2, CML-G1: added, shown, found by their address, edited and removed."""
    experiment, names = draft(), [name.strip() for name in ODD]
    data = rows(*((name, f"{name}\n{name}", "") for name in ODD))
    assert (
        save(bob, experiment, "properties/", drawn(ask(bob, experiment, "properties/")) | data).status_code
        == 302
    )
    assert experiment.properties == {name.strip(): f"{name}\n{name}" for name in ODD}
    fields = drawn(ask(bob, experiment, "properties/"))
    assert sorted(value for key, value in fields.items() if key.endswith("-was")) == sorted([*names, "", ""])
    for name in names:
        assert save(bob, experiment, "object/", {"object": name, "text": f"<{name}>"}).status_code == 302
    assert experiment.settings.objects == {name: f"<{name}>" for name in names}
    for name in names:
        page = as_(bob).get(url_of(experiment), {"in": name}).content.decode()
        link = unescape(re.search(r'href="([^"]*object/\?name=[^"]*)"', page)[1])
        assert f"<{name}>" in unescape(as_(bob).get(link).content.decode())
        save(bob, experiment, "object/delete/", {}, name=name)
    assert experiment.settings.objects == {}


def test_rows_are_added_changed_and_removed_and_a_group_goes_with_its_last_row(draft, bob):
    """CML-H1 (H3 to H5): type and description stay with their row, renamed too."""
    experiment = draft(hyperparameters=GROUPS)
    data = rows(("rate", "1e-2", "lr"), ("new", "1", ""), ("", "", ""))
    assert save(bob, experiment, "group/", data, name="Args").status_code == 302
    assert experiment.settings.hyperparameters["Args"] == {
        "rate": {"type": "float", "description": "Step", "value": "1e-2"},
        "new": {"value": "1"},
    }
    save(bob, experiment, "group/", {}, name="Args")
    assert experiment.settings.hyperparameters.keys() == {"General", "ü/&? custom"}
    save(bob, experiment, "group/remove/", {}, name="ü/&? custom")
    assert experiment.settings.hyperparameters.keys() == {"General"}
    save(bob, experiment, "group/", {"group": "TF_DEFINE", **rows(("x", "1", ""))})
    assert experiment.settings.hyperparameters["TF_DEFINE"] == {"x": {"value": "1"}}


def test_type_and_description_are_edited_and_the_value_is_read_by_its_type(draft, bob):
    """CML-H1 (H2): what is changed must fit; what a script declared stays, however odd."""
    odd = {"odd": {"value": "abc", "type": "int", "description": "a\r\nb"}}
    experiment = draft(hyperparameters={**GROUPS, "Args": {**GROUPS["Args"], **odd}})
    data = drawn(ask(bob, experiment, "group/", name="Args"))
    place = next(
        key.removesuffix("name") for key, value in data.items() if (key[-5:], value) == ("-name", "lr")
    )

    def typed(kind: str, value: str):
        changes = {f"{place}type": kind, f"{place}value": value, f"{place}description": "Step <size>\r\n"}
        return save(bob, experiment, "group/", data | changes, name="Args")

    for kind, value in (("int", "abc"), ("int", "1.5"), ("float", "1,5"), ("bool", "maybe")):
        response = typed(kind, value)
        html = unescape(response.content.decode())
        assert (
            response.status_code == 422
            and f"“{value}” is not a" in html
            and "Fix 1 row to save the changes" in html
        )
        assert all(text in html for text in (f'value="{kind}"', "Step <size>")), "what was typed stays"
    for kind, value in (
        ("int", ""),
        ("float", "None"),
        ("bool", "True"),
        ("list/int", "[1, 2]"),
        ("", "x"),
        ("int", "7"),
    ):
        assert typed(kind, value).status_code == 302
        data["seen"] = str(experiment.revision.number)
    now = experiment.settings.hyperparameters["Args"]
    assert now == {**GROUPS["Args"], **odd, "lr": {"type": "int", "value": "7", "description": "Step <size>"}}
    assert 'title="Type: int. Step &lt;size&gt;"' in page_of(bob, experiment)
    hidden = save(
        bob,
        experiment,
        "group/",
        {
            "group": "G",
            **rows(
                ("pin", "hush", "", "on"),
            ),
            "row-0-type": "int",
        },
    )
    assert hidden.status_code == 422 and "This secret is not a valid int." in hidden.content.decode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (rows(("lr", "1", ""), ("lr", "2", "")), "“lr” is in two rows"),
        (rows((" lr ", "1", ""), ("lr", "2", "")), "“lr” is in two rows"),
        (rows(("", "1", "")), "Enter a name"),
        (rows(("", "1", "lr")), "Enter a name"),
        (rows(("x" * 201, "kept", "")), "at most 200 characters"),
        (rows(("k", "", "", "on")), "Enter the secret value."),
    ],
)
def test_wrong_rows_are_said_and_kept(draft, bob, data, message):
    """CML-H1 (H6)."""
    experiment = draft(hyperparameters=GROUPS)
    response = save(bob, experiment, "group/", data, name="Args")
    html = unescape(response.content.decode())
    assert response.status_code == 422 and message in html and experiment.revision.number == 1
    assert all(text.strip() in html for text in data.values())
    again = save(bob, experiment, "group/", {"group": "Args", **rows(("x", "1", ""))})
    assert again.status_code == 422 and "A group with this name exists" in again.content.decode()


def test_rows_are_added_and_removed_without_script(draft, bob):
    experiment = draft(hyperparameters=GROUPS)
    data = rows(("one", "1", ""), ("two", "2", ""), ("two", "3", ""))
    more = save(bob, experiment, "group/", {**data, "add_row": "1"}, name="Args")
    less = save(bob, experiment, "group/", {**data, "drop_row": "1"}, name="Args")
    assert (more.status_code, less.status_code, experiment.revision.number) == (200, 200, 1)
    count = [answer.content.decode().count('name="drop_row"') for answer in (more, less)]
    assert count == [4, 2] and 'class="error"' not in more.content.decode()


def test_a_secret_is_typed_kept_replaced_and_removed_and_never_shown(draft, alice, bob):
    """CML-H1."""
    experiment = draft()
    save(bob, experiment, "group/", {"group": "General", **rows(("token", "hush-4711", "", "on"))})

    def opened() -> dict:
        return secret.opened(experiment.settings.hyperparameters).get("General", {})

    def shown() -> str:
        form = ask(alice, experiment, "group/", name="General") if opened() else ""
        return form + page_of(alice, experiment) + page_of(bob, experiment)

    assert (
        opened() == {"token": {"value": "hush-4711"}} and "hush" not in shown() and "sealed:" not in shown()
    )
    sealed = experiment.settings.hyperparameters
    save(bob, experiment, "group/", drawn(ask(bob, experiment, "group/", name="General")), name="General")
    assert experiment.settings.hyperparameters == sealed and experiment.revision.number == 2
    save(bob, experiment, "group/", rows(("key", "", "token", "on"), ("lr", "1", "")), name="General")
    assert opened() == {"key": {"value": "hush-4711"}, "lr": {"value": "1"}}
    open_it = save(bob, experiment, "group/", rows(("key", "", "key")), name="General")
    assert open_it.status_code == 422 and "Enter the value again" in open_it.content.decode()
    save(bob, experiment, "group/", rows(("key", "other-8", "key", "on"), ("lr", "1", "lr")), name="General")
    assert opened()["key"] == {"value": "other-8"} and "other-8" not in shown()
    assert "<del>••••</del><ins>••••</ins>" in page_of(bob, experiment), "that it was replaced is told"
    save(bob, experiment, "group/", rows(("lr", "1", "lr")), name="General")
    assert opened() == {"lr": {"value": "1"}}


@pytest.mark.parametrize("state", sorted(EXPERIMENT_STATES))
def test_what_is_edited_in_which_state(in_state, bob, state):
    """CML-E0, CML-H2, CML-P1: groups and objects in drafts, properties in every state but published."""
    experiment = in_state(state, hyperparameters=GROUPS, objects={"m": "x"})
    html, is_draft, is_open = page_of(bob, experiment), state == "draft", state != "published"
    assert (f'href="{url_of(experiment)}group/' in html, f'href="{url_of(experiment)}object/' in html) == (
        is_draft,
        is_draft,
    )
    assert (f'href="{url_of(experiment, "properties/")}"' in html) is is_open
    client, status = as_(bob), 200 if is_draft else 409
    for part in ("group/?name=Args", "group/remove/?name=Args", "object/?name=m", "object/clear/?name=m"):
        assert client.get(url_of(experiment, part)).status_code == status
    typed = save(bob, experiment, "group/", rows(("typed-name", "typed", "")), name="Args")
    assert typed.status_code == (302 if is_draft else 409)
    assert is_draft or "typed-name" in typed.content.decode()
    number = experiment.revision.number
    data = drawn(ask(bob, experiment, "properties/")) if is_open else {"seen": "x"}
    answer = save(bob, experiment, "properties/", data | rows(("ticket", "VIS-482", "")))
    assert answer.status_code == (302 if is_open else 409)
    assert experiment.properties == ({"ticket": "VIS-482"} if is_open else {})
    assert experiment.revision.number == number


def test_properties_that_somebody_else_changed_meanwhile(draft, alice, bob):
    """CML-H2: whoever comes second is told, and what was typed stays."""
    experiment = draft()
    old = drawn(ask(bob, experiment, "properties/"))
    save(
        alice, experiment, "properties/", drawn(ask(alice, experiment, "properties/")) | rows(("a", "1", ""))
    )
    late = save(bob, experiment, "properties/", old | rows(("mine", "typed", "")))
    assert (
        late.status_code == 409 and "typed" in late.content.decode() and experiment.properties == {"a": "1"}
    )
    seen = re.search(r'name="seen" value="(\w+)"', late.content.decode())[1]
    assert save(bob, experiment, "properties/", {**rows(("b", "2", "")), "seen": seen}).status_code == 302
    assert experiment.properties == {"b": "2"}
    long = save(
        bob, experiment, "properties/", drawn(ask(bob, experiment, "properties/")) | rows(("k", "x" * 10_001))
    )
    assert long.status_code == 422 and "10,000 characters" in long.content.decode()


def test_objects_are_added_read_edited_cleared_and_deleted(draft, bob):
    """CML-G1 (G1 to G3)."""
    experiment = draft()
    save(bob, experiment, "object/", {"object": "m/ü.yaml", "text": "depth: 3\r\n<b>\r\n"})
    save(bob, experiment, "object/", {"object": "labels", "text": ""})
    assert experiment.settings.objects == {"m/ü.yaml": "depth: 3\n<b>\n", "labels": ""}
    name_only = {"name": "m/ü.yaml"}
    html = page_of(bob, experiment, "?in=m/%C3%BC.yaml&q=DEPTH")
    assert "<mark>depth</mark>: 3" in html and "1 line matches" in html and "Clear<span" in html
    assert "Clear<span" not in page_of(bob, experiment, "?in=labels"), "it is empty"
    twice = save(bob, experiment, "object/", {"object": "labels", "text": "x"})
    assert twice.status_code == 422 and "An object with this name exists" in twice.content.decode()
    save(bob, experiment, "object/", {"text": "depth: 4"}, **name_only)
    assert experiment.settings.objects["m/ü.yaml"] == "depth: 4"
    save(bob, experiment, "object/clear/", {}, **name_only)
    assert experiment.settings.objects == {"m/ü.yaml": "", "labels": ""}
    save(bob, experiment, "object/delete/", {}, **name_only)
    assert experiment.settings.objects == {"labels": ""}
    assert as_(bob).get(url_of(experiment, "object/"), name_only).status_code == 404


def test_a_viewer_may_not_and_a_stranger_knows_nothing(draft, carol, dave):
    experiment = draft(hyperparameters=GROUPS, objects={"m": "x"})
    html = page_of(carol, experiment)
    assert (
        "depth" not in html
        and 'hx-target="#dialog"' not in html.split('id="hyperparameters"')[1].split("Objective")[0]
    )
    for part in ("group/?name=Args", "group/remove/?name=Args", "object/?name=m", "properties/"):
        assert [as_(user).get(url_of(experiment, part)).status_code for user in (carol, dave)] == [403, 404]
        assert as_(carol).post(url_of(experiment, part)).status_code == 403


def test_a_thousand_rows_and_a_million_characters_can_be_saved(draft, bob):
    """As much as the gatekeeper takes."""
    experiment = draft(hyperparameters={"General": {f"k{n}": {"value": str(n)} for n in range(1000)}})
    data = drawn(ask(bob, experiment, "group/", name="General"))
    data["row-7-value"] = "changed"
    assert save(bob, experiment, "group/", data, name="General").status_code == 302
    assert save(bob, experiment, "object/", {"object": "o", "text": "ü" * 1_000_000}).status_code == 302
    assert len(experiment.settings.objects["o"]) == 1_000_000
    assert page_of(bob, experiment)

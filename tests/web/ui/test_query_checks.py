"""What an address asks for and its page does not know: answered with a sentence, on every page and in every file."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import pytest
from django.urls import URLPattern, reverse

from experiments.models import Experiment, SavedView, User, Workspace
from experiments.query_parameters import choice, did_you_mean, faults, listed, number, quoted, text, texts
from tests.people import as_
from tests.web import test_routes
from tests.web.test_routes import browser, sample

pytestmark = pytest.mark.once

__all__ = ["browser", "sample"]

NOT_APPLIED = re.compile(r"[0-9]+ query parameters? ignored")


def sentences(page: str) -> str:
    """The text of the page, in one line."""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())


def arguments(sample: dict[str, object], route: test_routes.Route, pattern: URLPattern) -> dict[str, object]:
    values = {**sample, "verb": route.verb, "action": route.verb, "block": route.block}
    return {key: values.get(key, route.number) for key in pattern.pattern.converters}


def test_every_page_answers_a_parameter_that_it_does_not_have(browser, sample) -> None:
    """TD-C3: unknown query parameters are never silently ignored. Also where a page takes no parameter at all."""
    seen = 0
    for name, pattern in test_routes.addresses().items():
        if not pattern.callback.__module__.startswith("experiments.web.") or hasattr(
            pattern.callback, "view_class"
        ):
            continue
        route = test_routes.ROUTES[name]
        person = "root" if route.root else "alice"
        if route.wanted("get", person) != 200:
            continue
        url = reverse(name, kwargs=arguments(sample, route, pattern))
        answer = browser(person).get(url, {"bogus": "1"})
        page = answer.getvalue().decode()
        assert answer.status_code == 400, f"{name} says nothing about ?bogus=1"
        assert "Unknown parameter “bogus” in the URL." in html.unescape(page), name
        seen += 1
    assert seen > 40


def test_what_the_pages_themselves_link_to_is_accepted(browser, sample, alice: User) -> None:
    """The links, chips, heads and filter forms of every page lead to addresses without a fault."""
    client, tried = browser("alice"), set()
    for name, pattern in test_routes.addresses().items():
        route = test_routes.ROUTES[name]
        if route.wanted("get", "alice") != 200:
            continue
        url = reverse(name, kwargs=arguments(sample, route, pattern))
        page = client.get(url).getvalue().decode(errors="replace")
        for link in re.findall(r'(?:href|hx-get)="([^"]*\?[^"]*)"', page):
            target = urljoin(url, html.unescape(link)).split("#")[0]
            shape = (name, re.sub(r"=[^&]*", "", urlsplit(target).query), urlsplit(target).path)
            if urlsplit(target).netloc or shape in tried:
                continue
            tried.add(shape)
            answer = client.get(target)
            assert answer.status_code in (200, 302, 409), f"{target}, linked from {name}"
    assert len(tried) > 20


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "state=running",
            "Unknown parameter “state” in the URL. Did you mean status? Allowed: and, creator, filter, ",
        ),
        ("status=bogus", "Invalid status: “bogus”. Allowed: draft, pending, running, paused, "),
        (
            "sort=nope",
            "Invalid sort: “nope”. Allowed: name, state, created, updated, best; -name for descending",
        ),
        ("size=abc", "Invalid size: “abc”. Allowed: 25, 50, 100."),
        ("size=7", "Invalid size: “7”. Allowed: 25, 50, 100."),
        ("page=0", "Invalid page: “0”. Allowed: a whole number of 1 or more."),
        ("needs=me", "Invalid needs: “me”. Allowed: attention."),
        (
            "creator=ali",
            "No creator “ali” in this workspace. Did you mean alice? Allowed: alice, bob, carol.",
        ),
        ("creator=dave", "No creator “dave” in this workspace. Allowed: alice, bob, carol."),
        ("project=Other", "No project “Other” in this workspace. Allowed: Default."),
        ("q=a&q=b", "“q” occurs 2 times in the URL. Allowed: once."),
        ("p.lr=0.1", "Unknown parameter “p.lr” in the URL."),
        ("live=on", "Invalid live: “on”. Allowed: off."),
    ],
)
def test_the_list_of_experiments_names_what_where_and_what_is_allowed(
    draft: Callable[..., Experiment], carol: User, dave: User, query: str, sentence: str
) -> None:
    """TD-C3, on the page and in both files. A stranger's name is not confirmed."""
    draft("first")
    page = as_(carol).get(f"{reverse('experiments', args=['lab'])}?{query}")
    assert page.status_code == 400 and sentence in sentences(page.content.decode())
    assert NOT_APPLIED.search(page.content.decode())
    as_csv = as_(carol).get(f"{reverse('experiments-csv', args=['lab'])}?{query}")
    assert as_csv.status_code == 400 and sentence in as_csv.content.decode()
    assert "Content-Disposition" not in as_csv
    as_json = as_(carol).get(f"{reverse('experiments-json', args=['lab'])}?{query}")
    document = json.loads(as_json.content)
    assert (
        as_json.status_code == 400 and sentence in document["detail"] and document["error"] == "bad_request"
    )
    assert list(document["fields"]) == [query.split("=")[0]]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=bogus", "Invalid state: “bogus”. Allowed: waiting, running, "),
        (
            "p.lr=0.1",
            "Unknown parameter “p.lr” in the URL. Allowed: and, cell, columns, failure, filter, ",
        ),
        (
            "sort=p.momentum",
            "Invalid sort: “p.momentum”. Allowed: number, value, state, duration, started, p.lr",
        ),
        ("columns=p.momentum", "Invalid column: “p.momentum”. Allowed: "),
        ("page=two", "Invalid page: “two”."),
        ("status=failed", "Did you mean state?"),
    ],
)
def test_the_table_of_trials_names_what_where_and_what_is_allowed(
    draft: Callable[..., Experiment], carol: User, query: str, sentence: str
) -> None:
    """TD-C3"""
    where = ["lab", draft("first").public_id]
    page = as_(carol).get(f"{reverse('experiment-trials', args=where)}?{query}")
    assert page.status_code == 400 and sentence in sentences(page.content.decode())
    for kind in ("csv", "json"):
        file = as_(carol).get(f"{reverse(f'trials-{kind}', args=where)}?{query}")
        assert file.status_code == 400 and sentence in file.content.decode()


@pytest.mark.parametrize(
    ("page", "query", "sentence"),
    [
        ("models", "published=maybe", "Invalid published: “maybe”. Allowed: yes, no."),
        ("models", "project=Other", "No project “Other” in this workspace."),
        ("queues", "show=table", "Invalid show: “table”. Allowed: data."),
        ("workers", "state=online", "Unknown parameter “state” in the URL. Allowed: live."),
        ("search", "query=lr", "Unknown parameter “query” in the URL. Allowed: live, q."),
        ("search", "q=" + "x" * 201, "Allowed: at most 200 characters."),
        ("wall", "slide=1", "Unknown parameter “slide”"),
    ],
)
def test_the_other_lists_do_so_too(lab: Workspace, alice: User, page: str, query: str, sentence: str) -> None:
    """TD-C3"""
    args = ["lab"] if page in ("models", "wall") else []
    answer = as_(alice).get(f"{reverse(page, args=args)}?{query}")
    assert answer.status_code == 400 and sentence in sentences(answer.content.decode())


def test_the_values_that_the_filters_offer_are_accepted(
    draft: Callable[..., Experiment], alice: User, bob: User
) -> None:
    """PAI-F1: whatever the page itself proposes as creator, project, tag, size or view finds something."""
    draft("first").describe(by=alice, tags=["a b", "é&"])
    url = reverse("experiments", args=["lab"])
    page = as_(bob).get(url).content.decode()
    completions = as_(bob).get(reverse("experiments-complete", args=["lab"]), {"filter": "creator:"})
    assert re.findall(r'data-text="([^"]*)"', completions.content.decode()) == [
        "creator:me ",
        "creator:alice ",
    ]
    assert "?and=creator%3Aalice" in page and "?and=tag%3A" in page and "?and=project%3ADefault" in page
    for query in ({"creator": "alice"}, {"creator": "ALICE"}, {"creator": str(alice.pk)}, {"tag": "é&"}):
        answer = as_(bob).get(url, query)
        assert answer.status_code == 200 and [r.experiment.name for r in answer.context["page"].rows] == [
            "first"
        ]
    mine = as_(bob).get(url, {"creator": "bob"})
    assert mine.status_code == 200 and "No matching experiments" in mine.content.decode()


def test_an_empty_value_is_a_filter_that_is_not_set(draft: Callable[..., Experiment], bob: User) -> None:
    """A form without JavaScript sends all of its fields."""
    draft("first")
    answer = as_(bob).get(reverse("experiments", args=["lab"]) + "?q=&status=&size=&page=&creator=+")
    assert answer.status_code == 200 and len(answer.context["page"].rows) == 1


def test_a_live_fragment_is_drawn_while_the_page_around_it_says_it(
    draft: Callable[..., Experiment], bob: User
) -> None:
    """TD-C6: polling goes on."""
    draft("first")
    headers = {"HX-Request": "true", "HX-Target": "list"}
    answer = as_(bob).get(reverse("experiments", args=["lab"]) + "?status=bogus", headers=headers)
    assert answer.status_code == 200 and "first" in answer.content.decode()
    assert not NOT_APPLIED.search(answer.content.decode())


def test_sentences_stay_short_and_clean(rf) -> None:
    """However long the value, and whatever is in it."""
    query = rf.get("/", {"x" * 500: "1", "state": "\0\n" + "y" * 900}).GET
    sentences_by_name = faults(query, {"state": choice("a"), "page": number(1), "q": text(), "t": texts()})
    assert all(len(sentence) < 300 and sentence.isprintable() for sentence in sentences_by_name.values())
    assert len(faults(rf.get("/", {f"x{place}": "1" for place in range(90)}).GET, {})) == 5
    assert quoted("a") == "“a”" and listed(list("abcdefghijklmno")).endswith("l and 3 more")
    assert did_you_mean("own", ["owner", "bob"]) == "Did you mean owner? "
    assert did_you_mean("zzz", ["owner"]) == did_you_mean("", ["owner"]) == ""


def test_the_second_page_of_the_revisions_is_accepted(draft: Callable[..., Experiment], bob: User) -> None:
    """TD-X1: what the pager links to."""
    url = reverse("experiment-configuration", args=["lab", draft("first").public_id])
    assert as_(bob).get(url, {"page": "1"}).status_code == 200
    assert as_(bob).get(url, {"page": "x"}).status_code == 400
    beyond = as_(bob).get(url, {"page": "2"})
    assert beyond.status_code == 400
    assert "Invalid page: “2”. Allowed: 1." in sentences(beyond.content.decode())


BY_PAGE = {
    "experiments-csv": {"page"},  # a file has all rows
    "experiments-json": {"page"},
    "trials-csv": {"page"},
    "trials-json": {"page"},
    "wall": {"hold"},  # a page that no longer exists holds nothing
    "trials-compare": {"file"},  # without trials, nothing is compared
    "trials-compare-csv": {"file"},
    "trials-compare-json": {"file"},
}
ANY_VALUE = {
    *("q", "filter", "and", "cell", "failure"),  # searches and filters, each shown with what it selects
    *("last", "shown", "upto", "at", "until", "before", "after", "row", "cursor"),  # positions and fallbacks
    *("warm_start", "project_text", "query", "saved"),  # what a form is filled with
}


@pytest.mark.parametrize("value", ["bogus~é\"'<", "99999999999"])
def test_no_page_passes_over_a_value_that_it_does_not_have(browser, sample, value: str) -> None:
    """TD-C3: each parameter of each page, unless it takes any value. Redirects and 404 say so in their own way."""
    tried, ignored = 0, []
    for name, pattern in test_routes.addresses().items():
        route = test_routes.ROUTES[name]
        person = "root" if route.root else "alice"
        if route.wanted("get", person) != 200:
            continue
        url = reverse(name, kwargs=arguments(sample, route, pattern))
        for parameter in getattr(pattern.callback, "query_parameters", None) or {}:
            status = browser(person).get(url, {parameter: value}).status_code
            assert status < 500, (name, parameter)
            if parameter not in ANY_VALUE | BY_PAGE.get(name, set()) and status not in (302, 404, 400):
                ignored.append((name, parameter))
            tried += 1
    assert not ignored and tried > 150


@pytest.mark.parametrize(
    ("page", "query", "sentence"),
    [
        ("experiment-activity", "verb=bogus", "Invalid verb: “bogus”. Allowed: "),
        (
            "experiment-activity",
            "who=dave",
            "No person “dave” in this workspace. Allowed: alice, bob, carol.",
        ),
        ("activity-csv", "verb=enqeue", "Invalid verb: “enqeue”. Did you mean enqueue? Allowed: "),
        ("activity-json", "who=dave", "No person “dave”"),
        ("experiment-charts", "range=momentum&min=1", "Invalid range: “momentum”. Allowed: value, lr"),
        ("experiment-charts", "min=1", "“min” needs the name of its axis in the parameter “range”."),
        ("experiment-artifacts", "trial=7", "Invalid trial: “7”. Allowed: none."),
        ("experiment-configuration", "in=settings.yaml", "Invalid in: “settings.yaml”. Allowed: none."),
        ("experiment-edit", "advice=narrow:lr", "The advice “narrow:lr” does not apply, or no longer"),
        ("experiment-trials", "view=7", "No view “7” of this table is visible to you. Allowed: none."),
        ("trials-csv", "view=7", "No view “7” of this table is visible to you."),
        ("experiment-trials", "page=9", "Invalid page: “9”. Allowed: 1."),
    ],
)
def test_the_pages_of_an_experiment_do_so_too(
    draft: Callable[..., Experiment],
    alice: User,
    bob: User,
    carol: User,
    dave: User,
    page: str,
    query: str,
    sentence: str,
) -> None:
    """TD-C3"""
    experiment = draft("first")
    url = reverse(page, args=["lab", experiment.public_id])
    answer = as_(alice).get(f"{url}?{query}")
    text = answer.content.decode()
    assert answer.status_code == 400
    assert sentence in (json.loads(text)["detail"] if page.endswith("json") else sentences(text))


def test_a_file_selects_what_the_view_in_its_address_selects(
    draft: Callable[..., Experiment], bob: User
) -> None:
    """TD-C3: the address of a view with another ending."""
    draft("first"), draft("second")
    view = SavedView.create(draft("third").workspace, by=bob, name="Seconds", query="filter=second")
    answer = as_(bob).get(reverse("experiments-csv", args=["lab"]), {"view": view.pk})
    assert answer.status_code == 200 and answer.getvalue().decode().count("\n") == 2


def test_an_unknown_person_tag_or_view_of_the_workspace_is_named(
    draft: Callable[..., Experiment], alice: User
) -> None:
    """TD-C3"""
    draft("first").describe(by=alice, tags=["nightly"])
    for page, query, sentence in (
        (
            "experiments",
            "tag=nightli",
            "No tag “nightli” in this workspace. Did you mean nightly? Allowed: nightly.",
        ),
        ("leaderboard", "tag=weekly", "No tag “weekly” in this workspace."),
        ("experiments", "view=7", "No view “7” of this table"),
        ("experiments", "page=7", "Invalid page: “7”. Allowed: 1."),
        ("audit", "who=dave", "No entries of “dave”. Allowed: alice"),
    ):
        answer = as_(alice).get(f"{reverse(page, args=['lab'])}?{query}")
        assert answer.status_code == 400 and sentence in sentences(answer.content.decode()), page

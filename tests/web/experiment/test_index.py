"""The list of experiments: filters, order, pages, rows, acts, live fragment."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Outcome, Queue, Role, Trial, User, Worker, Workspace
from experiments.models import status as states
from experiments.web.experiment import index_table
from tests.people import end_all, look_at, make_settings

LIST = "/w/lab/experiments/"
LIVE = {"HX-Request": "true", "HX-Target": "list"}


@pytest.fixture
def ask(client, lab, alice):
    """Opens the list with these filters, as alice or as somebody else; returns the answer."""

    def get(person=None, /, **query):
        client.force_login(person or alice)
        return client.get(LIST, query)

    return get


def names(page) -> list[str]:
    return [row.experiment.name for row in page.context["page"].rows]


def chips(page) -> dict[str, int]:
    return {chip.label: chip.count for chip in page.context["page"].chips}


def many(count: int, draft, **columns) -> None:
    """Rows by the hundred, as copies of one draft."""
    first = draft("copy 0")
    for number in range(1, count):
        copy = Experiment.objects.get(pk=first.pk)
        copy.pk, copy.public_id, copy.name = None, f"copy{number:04}", f"copy {number}"
        for name, value in columns.items():
            setattr(copy, name, value)
        copy.save(force_insert=True)


# --- filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lr", ["Lr 50%_off", "ÜBER lr"]),
        ("über LR", ["ÜBER lr"]),
        ("50%", ["Lr 50%_off"]),
        ("%", ["Lr 50%_off"]),
        ("_", ["Lr 50%_off"]),
        ("0%_o", ["Lr 50%_off"]),
        ("\\", []),
        ("straße", ["STRASSE"]),
        ("  strasse  ", ["STRASSE"]),
        ("'; DROP TABLE", []),
    ],
)
def test_search_finds_a_part_of_a_name_as_it_is_written(ask, draft, typed, expected):
    """PAI-F1: folded; % and _ are letters like others."""
    for name in ("Lr 50%_off", "ÜBER lr", "STRASSE"):
        draft(name)
    assert sorted(names(ask(q=typed))) == sorted(expected)


def test_search_finds_a_part_of_an_id_or_all_of_it(ask, draft):
    """PAI-F1: part or all of an ID."""
    wanted, _ = draft("wanted"), draft("other")
    for part in (wanted.public_id, wanted.public_id.upper(), wanted.public_id[2:7]):
        assert "wanted" in names(ask(q=part))
    assert names(ask(q=wanted.public_id)) == ["wanted"]


def test_creator_is_a_name_or_an_id(ask, lab, alice, bob, draft):
    """PAI-F1: creator."""
    draft("of alice")
    theirs = draft("of bob")
    Experiment.objects.filter(pk=theirs.pk).update(creator=bob)
    assert names(ask(creator="bob")) == names(ask(creator="BOB")) == ["of bob"]
    assert names(ask(creator=str(bob.pk))) == ["of bob"]
    assert names(ask(creator="bo")) == []


def test_project_and_tag_are_exact(ask, lab, alice, draft):
    """PAI-F1: project and tag."""
    vision = lab.projects.create(name="Vision & Co")
    first, two = draft("one"), draft("two")
    first.describe(by=alice, project=vision, tags=["größe 10", 'q"uote', "night"])
    two.describe(by=alice, tags=["nightly"])
    assert names(ask(project="Vision & Co")) == ["one"]
    assert names(ask(project="Vision")) == []
    for tag in ("größe 10", 'q"uote', "night"):
        assert names(ask(tag=tag)) == ["one"]
    assert names(ask(tag="NIGHT")) == names(ask(tag="nigh")) == names(ask(tag="%")) == []


def test_status_is_exactly_one_and_chips_count_under_the_other_filters(ask, draft, in_state, alice):
    """PAI-F1: status is exactly one state; filters combine with AND."""
    draft("a draft")
    in_state("completed", name="an end").describe(by=alice, tags=["x"])
    in_state("stopped", name="another end")
    assert chips(ask()) == {"All": 3, "Draft": 1, "Stopped": 1, "Completed": 1}
    page = ask(status="completed")
    assert names(page) == ["an end"] and chips(page)["All"] == 3
    page = ask(status="draft", tag="x")
    assert names(page) == [] and chips(page) == {"All": 1, "Draft": 0, "Completed": 1}
    assert names(ask(q="end", status="stopped")) == ["another end"]


def test_the_filter_line_finds_what_the_single_filters_do(ask, draft, in_state, alice):
    """TD-C3, PAI-F1: words are parts of names; what a click on a cell adds joins the rest."""
    draft("a draft")
    in_state("completed", name="an end").describe(by=alice, tags=["x"])
    assert names(ask(filter="state:completed tag:x")) == ["an end"]
    assert names(ask(filter="draft or end", **{"and": "tag:x"})) == ["an end"]
    assert 'value="(draft or end) tag:x"' in ask(filter="draft or end", **{"and": "tag:x"}).content.decode()
    assert sorted(names(ask(filter="creator:me not needs:attention"))) == ["a draft", "an end"]
    assert chips(ask(filter="end")) == {"All": 1, "Completed": 1}


def test_an_error_in_the_filter_names_its_place_and_keeps_the_last_result(ask, draft):
    """TD-C3: position, the nearest field, and the list of the last valid filter."""
    draft("one")
    draft("two")
    page = ask(filter="nme~one", last="two")
    html = page.content.decode()
    assert page.status_code == 400 and names(page) == ["two"]
    assert "<mark>nme</mark>~one" in html and "did you mean “name”?" in html
    assert 'href="?filter=name~one">Use name' in html and 'aria-invalid="true"' in html
    assert "ignored</h2>" not in html


def test_filters_order_and_page_survive_each_other(ask, draft):
    """PAI-F1: they live in the URL, and survive sorting and paging."""
    many(60, draft, tags=["t"])
    page = ask(q="copy", tag="t", size=25, sort="name", page=2)
    html = page.content.decode()
    assert page.context["page"].summary == "26 to 50 of 59"
    links = re.findall(r'<li><a href="(\?[^"]*)"', html)
    assert len(links) == 5  # previous, three pages, next
    assert all("filter=copy+tag%3At" in link and "size=25" in link and "sort=name" in link for link in links)
    sort_links = re.findall(r'<th[^>]*><a href="(\?[^"]*)"', html)
    assert len(sort_links) == 4
    assert all("filter=copy+tag%3At" in link and "page=" not in link for link in sort_links)
    chip_links = re.findall(r'<a class="chip" href="(\?[^"]*)"', html)
    assert chip_links and all(
        "filter=copy+" in link and "sort=name" in link and "page=" not in link for link in chip_links
    )
    assert '<option value="name" selected>Name</option>' in html
    assert re.search(r"<option selected>25</option>", html)


# --- order and pages -------------------------------------------------------------------------------------------


def test_it_sorts_by_each_of_its_five_keys_in_both_directions(ask, draft):
    """PAI-L1: name, state, created, updated, best value; what has no value comes last either way."""
    now = timezone.now()
    rows = [
        ("Beta", "running", 3, 1, 0.5),
        ("alpha", "draft", 2, 3, None),
        ("Ärger", "completed", 1, 2, 0.9),
        ("zulu", "failed", 4, 4, -7.0),
    ]
    for name, state, created, updated, best in rows:
        Experiment.objects.filter(pk=draft(name).pk).update(
            state=state,
            created_at=now + timedelta(hours=created),
            updated_at=now + timedelta(hours=updated),
            best_value=best,
        )
    wanted = {
        "name": ["alpha", "Beta", "zulu", "Ärger"],
        "state": ["alpha", "Beta", "Ärger", "zulu"],
        "created": ["Ärger", "alpha", "Beta", "zulu"],
        "updated": ["Beta", "Ärger", "alpha", "zulu"],
    }
    for key, order in wanted.items():
        assert names(ask(sort=key)) == order, key
        assert names(ask(sort=f"-{key}")) == order[::-1], key
    assert names(ask(sort="best")) == ["zulu", "Beta", "Ärger", "alpha"]
    assert names(ask(sort="-best")) == ["Ärger", "Beta", "zulu", "alpha"]
    assert names(ask()) == names(ask(sort="-created")) == names(ask(sort="colour")), "newest first"
    head = ask(sort="-best").content.decode()
    assert (
        head.count('aria-sort="descending"') == 1
        and "aria-sort" in head.split(">Best<")[0].rsplit("<th", 1)[1]
    )


def test_pages_have_a_size_and_a_total_and_each_row_stands_on_one(ask, draft):
    """PAI-L1: pages have a size and a total."""
    many(120, draft, state="completed")
    seen = []
    for number in (1, 2, 3, 4, 5):
        page = ask(size=25, page=number, sort="state")  # all the same: the order must be whole all the same
        seen += names(page)
    assert page.context["page"].summary == "101 to 120 of 120"
    assert len(seen) == len(set(seen)) == 120
    assert len(names(ask(size=100))) == 100
    assert len(names(ask())) == len(names(ask(size=7))) == len(names(ask(size="all"))) == 50


def test_the_total_is_exact_to_ten_thousand(draft, alice):
    """PAI-L1: exact to 10,000, then "10k+"."""
    draft()
    page = index_table.Page(index_table.TableQuery(), Experiment.objects.all(), user=alice)
    for total, text in ((10_000, "1 to 1 of 10,000"), (10_001, "1 to 1 of 10k+")):
        page.total = total
        assert page.summary == text


@pytest.mark.parametrize(
    "query",
    [
        {"page": "-1"},
        {"page": "0"},
        {"page": "9" * 30},
        {"page": "²"},
        {"page": "1e3"},
        {"size": "-5"},
        {"size": "9" * 5000},
        {"sort": "password"},
        {"sort": "--name"},
        {"sort": "creator__password"},
        {"status": "melted"},
        {"status": "draft'"},
        {"q": "x" * 10_000},
        {"q": "\ufdfa" * 5_000},
        {"q": "%" * 10_000},
        {"q": "\0"},
        {"creator": "\0alice"},
        {"creator": "9" * 400},
        {"creator": "9" * 17},
        {"project": "x\0" * 1000},
        {"tag": "\0"},
        {"tag": '"]' * 3000},
        {"q": "\ud83d\ude00 ' \" <script>"},
        {"live": "off", "unknown": "yes"},
    ],
    ids=lambda query: str(query)[:40],
)
def test_nothing_in_the_address_breaks_the_page(ask, draft, query):
    """TD-C3: drawn all the same, with a sentence about what is invalid."""
    draft()
    query = {
        name: value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        for name, value in query.items()
    }
    page = ask(**query)
    is_said = any(words in page.content.decode() for words in ("ignored</h2>", 'id="fault"'))
    assert (page.status_code, is_said) in ((200, False), (400, True))
    assert "<script>" not in page.content.decode().replace("<script src", "").replace("<script type", "")


# --- who sees what ---------------------------------------------------------------------------------------------


def test_what_is_private_or_in_the_trash_is_neither_shown_nor_counted(ask, alice, bob, carol, draft):
    """PAI-L2, PAI-D2: private hides from members other than the creator and the owners."""
    draft("public")
    secret = draft("secret")
    secret.describe(by=alice, visibility="private", tags=["hush"])
    Experiment.objects.filter(pk=secret.pk).update(creator=bob)
    draft("gone").delete_to_trash(by=alice)
    for person, seen in ((alice, ["secret", "public"]), (bob, ["secret", "public"]), (carol, ["public"])):
        page = ask(person)
        assert names(page) == seen
        assert chips(page)["All"] == chips(page)["Draft"] == len(seen)
    assert "hush" not in ask(carol).content.decode(), "not offered as a filter either"
    assert names(ask(carol, q=secret.public_id)) == []


def test_another_workspace_is_not_in_it(ask, alice, draft):
    draft("here")
    other = Workspace.open("other", owner=alice)
    there = draft("there")
    Experiment.objects.filter(pk=there.pk).update(workspace=other, project=other.projects.get())
    assert names(ask()) == ["here"]


def ended_once(experiment: Experiment) -> None:
    """One trial has ended, after 20 s."""
    trial = experiment.trials.get(state="running")
    trial.settle(Outcome(value=0.5))
    Trial.objects.filter(pk=trial.pk).update(duration_s=20)
    look_at(experiment)
    assert Trial.take(trial.worker, ["default"])


def test_a_running_row_says_when_it_ends(ask, running):
    """TD-C2: where it can be estimated, at the same cost for many rows."""
    costs = []
    for number in range(3):
        experiment = running(f"run {number}", max_trials=20, concurrency=1)
        row = ask().context["page"].rows[0]
        assert row.experiment == experiment and "ends" not in row.note
        ended_once(experiment)
        with CaptureQueriesContext(connection) as queries:
            rows = ask().context["page"].rows
        assert [row.note[:5] for row in rows] == ["ends "] * (number + 1)  # in a while, or at a time
        costs.append(len(queries))
    assert costs[0] == costs[1] == costs[2]


def test_a_viewer_has_no_buttons_and_learns_why(ask, carol, bob, running):
    running()
    page = ask(carol).content.decode()
    assert "New experiment" not in page and "/stop/" not in page and "/delete/" not in page
    assert "Read-only: you have the viewer role" in page
    page = ask(bob).content.decode()
    assert "New experiment" in page and "/stop/" in page


# --- rows ------------------------------------------------------------------------------------------------------


def test_a_row_says_what_it_is_and_how_far_it_is(ask, running, alice):
    """PAI-S2, PAI-L1: the state as a word with its glyph; trials per state; the best value."""
    experiment = running("the run", taken=2, direction="minimize")
    end_all(experiment)
    experiment.describe(by=alice, tags=["a", "b", "c", "d"])
    html = ask().content.decode()
    assert re.search(r'data-status="running">.*?g-running.*?</svg>Running</span>', html)
    url = reverse("experiment", args=["lab", experiment.public_id])
    assert f'href="{url}" title="the run">the run</a>' in html
    assert 'aria-label="2 succeeded, 2 waiting, 2 remaining"' in html
    assert '>2 <span class="muted">/ 6</span>' in html
    assert ">0.5000<" in html and "accuracy" in html and "↓" in html
    assert '<svg class="spark"' in html and html.count('<path class="end"') == 1
    assert 'title="a, b, c, d">+2</span>' in html


def test_a_pending_row_says_why_it_waits(ask, in_state, worker, lab):
    in_state("pending")
    assert "in the queue default" in ask().content.decode()
    worker.leave()
    assert "no worker serves queue default" in ask().content.decode()
    Queue.objects.update(is_paused=True)
    assert "queue default is paused" in ask().content.decode()


WORDS = {
    "draft": ["edit", "clone", "delete"],
    "pending": ["dequeue", "clone", "stop"],
    "running": ["edit", "clone", "stop"],
    "paused": ["edit", "clone", "stop"],
    "stopping": ["clone"],
    "stopped": ["resume", "clone", "delete"],
    "completed": ["clone", "delete"],
    "failed": ["resume", "clone", "delete"],
    "published": ["clone", "delete"],
}


@pytest.mark.parametrize("state", states.EXPERIMENT_STATES)
def test_a_row_offers_what_its_state_allows_and_says_why_it_cannot_be_deleted(ask, in_state, bob, state):
    """PAI-N3, PAI-X1, PAI-C1, PAI-D1: an Actions column by the matrix; the usual ones as words."""
    experiment = in_state(state)
    page = ask(bob)
    row = page.context["page"].rows[0]
    likely, more = row.actions
    verbs = {action.url.rstrip("/").rsplit("/", 1)[1]: action for action in (*likely, *more)}
    assert [action.url.rstrip("/").rsplit("/", 1)[1] for action in likely] == WORDS[state]
    assert re.search(r'<th scope="col" class="cell-actions">Actions</th>', page.content.decode())
    possible = {verb for verb, action in verbs.items() if not action.why_not}
    may_edit = states.is_offered("edit", state) or states.is_offered("update", state)
    assert ("edit" in possible) is may_edit, "PAI-M1"
    possible.discard("edit")
    all_verbs = (
        "enqueue",
        "dequeue",
        "pause",
        "unpause",
        "stop",
        "kill",
        "resume",
        "clone",
        "reset",
        "publish",
        "delete",
    )
    offered = {verb for verb in all_verbs if states.is_offered(verb, state)}
    if state == "published":
        offered.remove("delete")  # that needs an owner
    assert possible == offered
    assert verbs["delete"].why_not or "delete" in offered
    html = page.content.decode()
    for verb in offered:
        assert reverse("experiment-action", args=["lab", experiment.public_id, verb]) in html
    if state == "running":
        assert "Stop it first" in verbs["delete"].why_not


# --- empty -----------------------------------------------------------------------------------------------------


def test_an_empty_list_teaches_the_next_step(ask, alice, carol):
    page = ask().content.decode()
    assert "No experiments yet" in page and page.count(reverse("experiment-new", args=["lab"])) == 2
    page = ask(carol).content.decode()
    assert "No experiments yet" in page and reverse("experiment-new", args=["lab"]) not in page


def test_a_list_without_matches_offers_to_clear_the_filters(ask, draft):
    draft("here")
    page = ask(q="nowhere").content.decode()
    assert "No matching experiments" in page and 'href="?">Clear filter' in page


# --- costs -----------------------------------------------------------------------------------------------------


def queries(ask, client, **query) -> int:
    ask(**query)  # signs in; content types, roles and the like are read once
    with CaptureQueriesContext(connection) as captured:
        assert client.get(LIST, query).status_code == 200
    return len([query for query in captured if "django_session" not in query["sql"]])


def test_it_has_a_fixed_number_of_queries(ask, client, draft, lab, bob):
    """A fixed number of queries: with one row and with two hundred."""
    draft("only").enqueue(by=bob)
    Worker.register("w8", host="here", pid=1, queues=["default"], slots=1, lease_s=15)
    few = queries(ask, client, size=100)
    many(200, draft, state="pending", queue=Queue.default(), tags=["x"])
    Worker.register("w9", host="here", pid=1, queues=["default"], slots=1, lease_s=15)
    Experiment.objects.filter(name__endswith="7").update(creator=bob)
    assert len(names(ask(size=100))) == 100
    assert queries(ask, client, size=100) == few <= 10


def test_an_unchanged_poll_reads_little_and_draws_nothing(client, ask, running):
    """An unchanged poll costs a few indexed reads, however long the list is."""
    running()
    ask()
    tag = client.get(LIST, headers=LIVE)["ETag"]
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(LIST, headers={**LIVE, "If-None-Match": tag})
    assert answer.status_code == 304 and not answer.content
    assert len(captured) == 6, "session, person, workspace, version, workers, role"


# --- live ------------------------------------------------------------------------------------------------------


def test_the_fragment_is_the_list_alone(client, ask, running):
    running()
    whole = ask()
    assert "ETag" not in whole and "HX-Target" in whole["Vary"]
    html = client.get(LIST, headers=LIVE).content.decode()
    assert html.strip().startswith("<section") and 'id="list"' in html and "<html" not in html
    assert 'data-live="2"' in html, "something on the page is active"


def test_its_tag_changes_with_whatever_it_shows(client, ask, running, draft, lab, alice, bob):
    """TD-X6: what changed is sent, what did not is answered with 304."""
    experiment, other = running(), draft("other")
    ask()
    changes = {
        "a new one": lambda: draft("new"),
        "trials end": lambda: end_all(experiment),
        "one goes to the trash": lambda: other.delete_to_trash(by=bob),
        "one comes back": lambda: other.restore(by=alice),
        "a worker leaves": lambda: Worker.objects.get().leave(),
        "I may act no more": lambda: lab.admit(alice, Role.VIEWER),
    }
    for what, change in changes.items():
        tag = {**LIVE, "If-None-Match": client.get(LIST, headers=LIVE)["ETag"]}
        assert client.get(LIST, headers=tag).status_code == 304, what
        change()
        assert client.get(LIST, headers=tag).status_code == 200, what


def test_a_list_in_which_nothing_moves_asks_rarely(client, ask, draft):
    draft()
    ask()
    assert 'data-live="30"' in client.get(LIST, headers=LIVE).content.decode()


def test_only_the_fragments_of_the_page_are_served(client, ask, draft):
    """The view's list, never the request's word."""
    draft()
    ask()
    page = client.get(LIST, headers={"HX-Request": "true", "HX-Target": "../secret"})
    assert page.status_code == 200 and "<html" in page.content.decode()


def test_names_never_become_html(ask, draft, alice):
    experiment = draft('<img src=x onerror="alert(1)">')
    experiment.describe(by=alice, tags=["<b>bold</b>"])
    html = ask(q="<img", tag="<b>bold</b>").content.decode()
    assert "<img" not in html and "<b>bold" not in html


# --- columns ---------------------------------------------------------------------------------------------------


def test_the_name_comes_first_and_what_people_write_is_cut_with_the_whole_in_its_title(ask, draft, lab):
    """PAI-N3: Name, State, Trials, Best, Updated, Creator, Actions."""
    name = "resnet50-with-a-name-that-is-longer-than-any-column-of-a-list-can-hold"
    frank = User.objects.create_user("frank.with-a-long-name@image-classification.example.org")
    lab.admit(frank, Role.OPERATOR)
    Experiment.draft(lab, by=frank, name=name, settings=make_settings(), tags=["a-long-tag-of-many-letters"])
    html = ask().content.decode()
    heads = re.findall(r"<th scope=.col.[^>]*>(.*?)</th>", html, re.DOTALL)
    assert [" ".join(re.sub("<[^>]+>", " ", head).split()) for head in heads] == [
        *("Name", "State", "Trials", "Best", "Updated", "Creator", "Actions")
    ]
    assert f'title="{name}">{name}</a>' in html
    assert f'<a class="truncate dim" title="{frank.username}" href="?and=creator%3A' in html


def test_a_viewer_has_no_column_for_actions(ask, draft, carol):
    draft()
    html = ask(carol).content.decode()
    assert 'class="cell-who">Creator</th>' in html and ">Actions</th>" not in html


@pytest.mark.parametrize(
    ("state", "note", "role"),
    [
        ("failed", "The search cannot continue", "bad"),
        ("completed", "max trials reached", ""),
        ("published", "read-only", ""),
        ("stopping", "1 trial ending", ""),
        ("paused", "", ""),
        ("draft", "", ""),
    ],
)
def test_the_line_below_the_state_says_why(ask, in_state, state, note, role):
    """PAI-S2: the word is the state, the line below it the outcome."""
    in_state(state)
    row = ask().context["page"].rows[0]
    assert (row.note, row.note_role) == (note, role)


def test_a_completed_one_names_its_failures(ask, running):
    experiment = running(max_trials=2, taken=2)
    first, second = experiment.trials.order_by("number")
    first.settle(Outcome(value=0.5, exit_code=0))
    second.settle(Outcome(failure="exit_code", detail="boom", exit_code=1))
    look_at(experiment)
    page = ask()
    row = page.context["page"].rows[0]
    assert (row.experiment.state, row.note) == ("completed", "")
    assert (
        'Completed<span class="separator"> · </span><span class="nowrap">1 of 2 failed</span>'
        in page.content.decode()
    )


def test_the_trend_of_the_best_never_runs_back(ask, running):
    """A later trial that ended first and was beaten by an earlier one: by number, and only what improved."""
    experiment = running(taken=4, concurrency=4, max_trials=4)
    for number, value in ((3, 0.4), (1, 0.6), (4, 0.7), (2, 0.9)):
        experiment.trials.get(number=number).settle(Outcome(value=value, exit_code=0))
    look_at(experiment)
    assert experiment.trace == [[3, 0.4], [1, 0.6], [4, 0.7], [2, 0.9]]
    spark = str(ask().context["page"].rows[0].spark)
    xs = [float(x) for x in re.findall(r"[MH]([0-9.]+)", spark.split('class="end"')[0])]
    ys = [float(y) for y in re.findall(r"(?:V|M[0-9.]+,)([0-9.]+)", spark.split('class="end"')[0])]
    assert xs == sorted(xs) and xs[-1] == 72
    assert ys == sorted(ys, reverse=True) and len(ys) == 2, "0.6 at trial 1, then 0.9 at trial 2"


@pytest.mark.parametrize("sort", ["-created", "created", "-updated", "name", "-state", "best"])
def test_the_order_is_chosen_in_the_filters_too(ask, draft, sort):
    """PAI-L1: by name, state, created, updated and best value; whichever is in effect is selected."""
    draft()
    html = ask(sort=sort).content.decode()
    assert re.search(rf'<option value="{sort}" selected>', html)


def poll(client, page):
    """What the live list asks for after this page, and its answer."""
    url = unescape(re.search(r'id="list"[^>]*hx-get="([^"]*)"', page.content.decode())[1])
    return client.get(LIST + url, headers={"HX-Request": "true", "HX-Target": "list"})


def test_new_experiments_wait_and_shown_ones_stay_where_they_are(client, ask, draft, bob, alice):
    """TD-C6: also one that the filter no longer selects; what becomes private goes; one announcement."""
    for name in ("a", "b", "c"):
        draft(name).describe(by=alice, tags=["seen"])
    first = ask(bob, filter="tag:seen")
    assert names(first) == ["c", "b", "a"] and "– show" not in first.content.decode()
    Experiment.objects.get(name="b").describe(by=alice, tags=["other"])
    Experiment.objects.get(name="a").describe(by=alice, visibility="private")
    draft("d").describe(by=alice, tags=["seen"])
    draft("e").describe(by=alice, tags=["unseen"])
    again = poll(client, first)
    html = again.content.decode()
    assert names(again) == ["c", "b"]
    assert "1 new experiment – show" in html and 'role="status">New experiments are available.<' in html
    assert "shown=" not in re.sub(r'hx-get="[^"]*shown[^"]*"', "", html), "no link keeps the place"
    assert names(poll(client, again)) == ["c", "b"]
    assert names(ask(bob, filter="tag:seen")) == ["d", "c"]


@pytest.mark.parametrize(
    "place", [{"shown": "a,b", "upto": "x"}, {"shown": "\0,²", "upto": "1"}, {"shown": "a", "upto": "9" * 30}]
)
def test_a_bad_place_is_answered(ask, draft, place):
    """TD-C6, TD-C3."""
    draft("a")
    assert ask(**place).status_code in (200, 400)


def test_a_filter_that_selects_no_experiment_says_which_condition_excludes_all(ask, draft):
    """TD-C3: with the number of experiments without it, and a link."""
    draft("resnet small")
    draft("resnet large")
    html = ask(filter="resnet tag:nightly").content.decode()
    assert "<code>tag:nightly</code> matches no experiment." in html
    assert re.search(r'href="\?filter=resnet">Without\s+this condition:\s+2 experiments</a>', html)
    assert "exclusions" not in ask(filter="tag:nightly").content.decode()

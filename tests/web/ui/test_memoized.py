"""The template tag `memoized`: HTML that is rendered once for each combination of values."""

from collections.abc import Callable

import pytest
from django.middleware.csrf import get_token
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.utils.safestring import SafeString

from experiments.models import Experiment, User, Workspace
from tests.people import as_

ROW = Template("{% memoized name row.count %}<b>{{ name }} {{ row.count }} {{ other }}</b>{% endmemoized %}")


def row(name: object, count: object, **further: object) -> str:
    return ROW.render(Context({"name": name, "row": {"count": count}, **further}))


@pytest.mark.once
def test_each_combination_of_values_has_its_own_html():
    pages = [row("a", 1), row("b", 1), row("a", 2), row("a", 1)]
    assert pages == ["<b>a 1 </b>", "<b>b 1 </b>", "<b>a 2 </b>", "<b>a 1 </b>"]


@pytest.mark.once
def test_equal_values_of_other_types_have_their_own_html():
    assert row(SafeString("<i>"), 3) == "<b><i> 3 </b>"
    assert row("<i>", 3) == "<b>&lt;i&gt; 3 </b>", "the text is not safe, although it equals the first one"
    assert [row("c", 1), row("c", True), row("c", False), row("c", 0), row("c", None)] == [
        "<b>c 1 </b>",
        "<b>c True </b>",
        "<b>c False </b>",
        "<b>c 0 </b>",
        "<b>c None </b>",
    ]


@pytest.mark.once
def test_nothing_but_its_values_is_in_a_block():
    assert row("d", 1, other="alice's") == row("d", 1, other="bob's") == "<b>d 1 </b>"


@pytest.mark.once
def test_a_token_of_a_visitor_can_not_be_in_a_block():
    request = RequestFactory().get("/")
    get_token(request)
    page = Template("{% memoized name %}{% csrf_token %}{{ request.path }}{{ csrf_token }}{% endmemoized %}")
    context = Context({"name": "a", "request": request, "csrf_token": get_token(request)})
    assert page.render(context) == ""


@pytest.mark.once
@pytest.mark.parametrize("value", [{"a": 1}, [1], object(), 1.5, RequestFactory()])
def test_a_value_that_may_change_is_refused(value: object):
    with pytest.raises(TypeError, match=r"row\.count is a"):
        row("a", value)


@pytest.mark.once
def test_a_filter_is_refused():
    with pytest.raises(TemplateSyntaxError, match="without filters"):
        Template("{% memoized name|upper %}{% endmemoized %}")


def test_the_navigation_of_a_page_is_of_its_reader(
    running: Callable[..., Experiment], lab: Workspace, alice: User, bob: User, root: User
):
    url = f"/w/lab/experiments/{running().public_id}/"
    for _ in range(2):
        pages = {user.username: as_(user).get(url).content.decode() for user in (alice, bob, root)}
        for name, page in pages.items():
            assert f'<span class="truncate">{name}</span>' in page
            assert ("Administration</a>" in page) == (name == "root")
            assert ('href="/w/lab/trash/"' in page) == (name != "bob")
            others = pages.keys() - {name}
            assert not any(f'<span class="truncate">{other}</span>' in page for other in others)


def test_the_navigation_follows_changes_at_once(lab: Workspace, alice: User):
    client = as_(alice)
    assert "<h2>Vision lab</h2>" not in client.get("/w/lab/").content.decode()
    Workspace.objects.filter(pk=lab.pk).update(name="Vision lab")
    User.objects.filter(pk=alice.pk).update(username="alice2")
    page = client.get("/w/lab/").content.decode()
    assert "<h2>Vision lab</h2>" in page and '<span class="truncate">alice2</span>' in page
    client.cookies["theme"] = "dark"
    dark = client.get("/w/lab/").content.decode()
    assert 'content="dark"' in dark and 'content="light dark"' in page

"""What somebody prefers in one browser: cookies, which every page reads."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import User, Workspace
from tests.people import as_

pytestmark = pytest.mark.once


def color_scheme(client: Client) -> str:
    html = client.get(reverse("sign-in")).content.decode()
    return html.split('name="color-scheme"')[1].split('content="')[1].split('"')[0]


@pytest.mark.parametrize(
    ("theme", "scheme"), [("light", "light"), ("dark", "dark"), ("system", "light dark")]
)
def test_every_page_has_the_theme_that_is_chosen(
    lab: Workspace, alice: User, theme: str, scheme: str
) -> None:
    client = as_(alice)
    assert client.post(reverse("prefer", args=["theme"]), {"theme": theme}).status_code == 204
    html = " ".join(client.get(reverse("home"), follow=True).content.decode().split())
    assert re.findall(r'name="theme"\s+value="(\w*)" autocomplete="off" checked', html) == [theme]
    client.logout()
    client.cookies["theme"] = theme
    assert color_scheme(client) == scheme


def test_a_box_that_is_unticked_sends_nothing(lab: Workspace, alice: User) -> None:
    """WCAG 2.1.4: shortcuts are on until somebody switches them off; TD-D5: the number in the tab is off."""
    client = as_(alice)
    home = reverse("home")
    html = client.get(home, follow=True).content.decode()
    assert is_ticked(html, "shortcuts") and "js/unseen.js" not in html
    client.post(reverse("prefer", args=["shortcuts"]))
    client.post(reverse("prefer", args=["unseen"]), {"unseen": "on"})
    html = client.get(home, follow=True).content.decode()
    assert not is_ticked(html, "shortcuts") and "js/unseen.js" in html


def is_ticked(html: str, name: str) -> bool:
    return " checked" in html.split(f'name="{name}"')[1].split(">")[0]


def test_what_nobody_can_prefer_is_refused_by_name(client: Client) -> None:
    response = client.post(reverse("prefer", args=["theme"]), {"theme": "sepia"})
    assert response.status_code == 422
    assert response.content.decode() == "theme is one of: system, light, dark."
    assert client.post(reverse("prefer", args=["language"])).status_code == 404
    client.cookies["theme"] = 'x"><script>'
    assert color_scheme(client) == "light dark"

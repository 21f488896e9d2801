"""Credentials typed into settings: no page, file or endpoint shows them to people who may not edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, Trial, User
from experiments.models.settings.shown import shown
from experiments.runner.output.masking import secrets_in, without_credentials
from tests.api.caller import Caller
from tests.people import as_, make_settings
from tests.web import test_routes
from tests.web.trial.test_table import many

TYPED = {
    "repository": "https://git.example/net.git",
    "packages": "--find-links https://u:pip4@wheels.example/\nnumpy",
    "packages_from": "list",
    "command": "curl https://hf_tokentoken@hub.example; API_KEY=sk-abc12345 python t.py --password hunter2hunter",
    "setup_script": 'export HF_TOKEN="hf_abcdefgh12"',
    "image": "registry.example/net:1",
    "image_arguments": "-e WANDB_API_KEY=0123456789abcdef",
    "objects": {"db.yaml": "url: postgres://u:pgpass@db/x"},
    "environment": {
        "DATABASE": "mysql://u:mypass@db",
        "SERVICE_TOKEN": "svc-0123456",
        "NOTE": "uses svc-0123456",
    },
}
SECRETS = (
    *("pip4", "hf_tokentoken", "sk-abc12345", "hunter2hunter", "hf_abcdefgh12"),
    *("0123456789abcdef", "pgpass", "mypass", "svc-0123456"),
)


@pytest.fixture
def secretive(draft: Callable[..., Experiment], alice: User) -> Experiment:
    """An experiment with two revisions, a clone and trials, all with credentials in their settings."""
    experiment = draft("secretive", **TYPED)
    command = f"{TYPED['command']} --epochs 3"
    experiment.edit(make_settings(**{**TYPED, "command": command}), by=alice, seen=1)
    many(experiment, 3)
    return experiment


def addresses(experiment: Experiment) -> Iterator[str]:
    """Every page and file that is about an experiment or its first trial."""
    values = {"workspace_slug": "lab", "public_id": experiment.public_id, "number": 1}
    for name, pattern in test_routes.addresses().items():
        converters = pattern.pattern.converters
        if "public_id" in converters and set(converters) <= {*values, "kind", "chart", "verb"}:
            rest = {"kind": "csv", "chart": "history", "verb": "pause"}
            yield reverse(name, kwargs={key: {**values, **rest}[key] for key in converters})


def test_no_page_or_file_shows_credentials_of_settings(secretive: Experiment, bob: User, carol: User) -> None:
    """TD-Z4: for nobody but on the form; a viewer has none."""
    first, second = secretive.trials.order_by("number")[:2]
    compared = reverse("trials-compare", args=["lab", secretive.public_id])
    urls = [*addresses(secretive), f"{compared}?trial={first.number}&trial={second.number}&rows=all"]
    shown_urls = [url for url in urls if _shows(as_(carol), url)]
    assert any(url.endswith("reproduce/") or "reproduce" in url for url in shown_urls)
    assert len(shown_urls) > 12
    page = as_(bob).get(reverse("experiment-execution", args=["lab", secretive.public_id])).content.decode()
    assert not [each for each in SECRETS if each in page] and "git.example/net.git" in page
    form = as_(bob).get(reverse("experiment-edit", args=["lab", secretive.public_id])).content.decode()
    assert "hunter2hunter" in form


def _shows(client: Client, url: str) -> bool:
    answer = client.get(url)
    text = answer.getvalue().decode(errors="replace")
    assert not [each for each in SECRETS if each in text], url
    return answer.status_code == 200


def test_the_api_shows_credentials_of_settings_only_to_editors(
    api: Callable[..., Caller], secretive: Experiment, bob: User, carol: User
) -> None:
    """TD-Z4"""
    path = f"/experiments/{secretive.public_id}"
    for tail in ("", "/revisions", "/revisions/1", "/revisions/2", "/trials/1", "/events", "/nni/experiment"):
        text = api(carol).get(path + tail).content.decode()
        assert not [each for each in SECRETS if each in text], tail
    assert "hunter2hunter" in api(bob).get(path).content.decode()
    assert (
        api(carol)
        .get(path)
        .json()["settings"]["command"]
        .startswith("curl https://••••@hub.example; API_KEY=•••• ")
    )


def test_a_script_to_reproduce_says_that_credentials_are_masked(secretive: Experiment, carol: User) -> None:
    """TD-Z4"""
    trial = Trial.objects.get(experiment=secretive, number=1)
    script = (
        as_(carol)
        .get(reverse("trial-script", args=["lab", secretive.public_id, trial.number]))
        .content.decode()
    )
    assert "# •••• is in place of a password or token: enter it" in script
    assert "hunter2hunter" not in script


def test_settings_without_credentials_are_shown_as_they_are() -> None:
    """Not a copy: this is on the way of every page."""
    settings = make_settings(
        command="python t.py --tokenizer bert --max-tokens 16777216 --sort-key time", packages="numpy"
    )
    assert shown(settings) is settings


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("--api-key=sk-1234567890", {"sk-1234567890"}),
        ("-e HF_TOKEN=hf_abcdefgh12 -v /a:/b", {"hf_abcdefgh12"}),
        ('curl -H "Authorization: Bearer abcdef0123456789xyz"', {"abcdef0123456789xyz"}),
        ('mysql --password="two words"', {"two words"}),
        ("api_key = 'sk-abc12345'", {"sk-abc12345"}),
        ("--token ${TOKEN} --password $(cat f)", set()),
        ('api_key = os.environ["API_KEY"]', set()),
        ("self.token = tokenizer_name", set()),
        ("--secret-key path/to/key", set()),
        ("--tokenizer bert-base-uncased", set()),
    ],
)
def test_values_that_a_text_assigns_to_names_of_secrets(text: str, secrets: set[str]) -> None:
    """TD-Z4: in commands and scripts, also for the masks of the log."""
    assert secrets_in({}, [text]) == secrets


def test_credentials_in_an_address_are_masked_however_short() -> None:
    """TD-Z4"""
    assert without_credentials("x https://u:p@h/y ssh://git@h/z") == "x https://u:***@h/y ssh://git@h/z"

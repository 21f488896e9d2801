"""The settings as pages, files and viewers see them: without credentials in addresses, commands and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.models import secret
from experiments.runner.output.masking import MIN_MARKED, secrets_in, without_credentials

from .settings import Settings

TEXTS = (
    *("repository", "command", "script", "setup_script", "packages", "original_packages"),
    *("image", "image_arguments", "diff", "destination"),
)
GROUPS = ("objects", "environment")


def shown(settings: Settings) -> Settings:
    """Return the settings with dots for credentials in addresses, for values that a command or script assigns to names
    such as API_TOKEN, and wherever a secret variable or hyperparameter occurs in a text."""
    secrets = secrets_of(settings)
    document = settings.document()
    masked = _masked({name: document[name] for name in (*TEXTS, *GROUPS)}, secrets)
    if all(document[name] == value for name, value in masked.items()):
        return settings
    return Settings.stored({**document, **masked})


def secrets_of(settings: Settings) -> list[str]:
    """Return the secrets that the settings contain, the longest first."""
    texts = [*(getattr(settings, name) or "" for name in TEXTS), *settings.objects.values()]
    plain = {
        name: traits["value"]
        for parameters in settings.hyperparameters.values()
        for name, traits in parameters.items()
        if "value" in traits
    }
    secrets = secrets_in(settings.environment, texts) | secrets_in(plain)
    secrets.update(secret.texts(settings.hyperparameters))
    return sorted((text for text in secrets if len(text) >= MIN_MARKED), key=len, reverse=True)


def masked_text(text: str, secrets: list[str]) -> str:
    """Return a text with dots for credentials in addresses and for these secrets."""
    text = without_credentials(text, secret.HIDDEN)
    for each in secrets:
        text = text.replace(each, secret.HIDDEN)
    return text


def masked_resolved(resolved: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what a worker resolved, such as versions of packages, as `shown` returns the settings."""
    return _masked(dict(resolved), secrets_of(settings))


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        return masked_text(value, secrets)
    if isinstance(value, dict):
        return {key: _masked(item, secrets) for key, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list) else value

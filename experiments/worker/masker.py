"""Which secrets a trial could print."""

from __future__ import annotations

import os

from django.conf import settings as django_settings

from experiments.models import Settings, secret
from experiments.runner.output.masking import Masker, secrets_in


def masker_of(settings: Settings) -> Masker:
    """Return what masks the secrets that are known to a trial's worker: hyperparameters marked as such, Trialdeck's own
    keys, and what looks like a secret in the environment of trial and worker, and in the addresses of its settings."""
    addresses = (
        settings.repository,
        settings.command,
        settings.diff,
        settings.packages,
        settings.image_arguments,
        settings.setup_script,
        settings.destination,
        *settings.objects.values(),
    )
    plain = {
        name: traits["value"]
        for parameters in settings.hyperparameters.values()
        for name, traits in parameters.items()
        if "value" in traits
    }
    looks_secret = secrets_in(os.environ) | secrets_in(settings.environment, addresses) | secrets_in(plain)
    keys = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    return Masker({*secret.texts(settings.hyperparameters), *looks_secret, *keys})

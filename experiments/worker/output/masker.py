"""Collect the secrets that a trial could print, so that the worker can mask them."""

from __future__ import annotations

import os
from collections import OrderedDict

from django.conf import settings as django_settings

from experiments.models import Revision, Settings, secret
from experiments.runner.output.masking import Masker, secrets_in


def masker_of(settings: Settings) -> Masker:
    """Return the masker of the secrets that a trial's worker knows: hyperparameters marked as secret, Trialdeck's own
    keys, and texts that look like secrets in the environment of trial and worker and in addresses of the settings."""
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


class Maskers:
    """The maskers of the latest revisions whose trials a worker has run. Its environment does not change."""

    MOST = 16

    def __init__(self) -> None:
        self._by_revision: OrderedDict[int, tuple[Settings, Masker]] = OrderedDict()

    def of(self, revision: Revision) -> Masker:
        """Return the masker of the secrets of this revision. Thread-safe."""
        settings = revision.settings
        cached_masker = self._by_revision.get(revision.pk)
        if cached_masker and cached_masker[0] is settings:
            return cached_masker[1]
        masker = masker_of(settings)
        self._by_revision[revision.pk] = settings, masker
        while len(self._by_revision) > self.MOST:
            self._by_revision.popitem(last=False)
        return masker

"""TD-A through the API: every verb in every state is accepted, already so, or refused with the way out."""

from __future__ import annotations

import pytest
from django.db import transaction

from experiments.models import status

BODIES = {"resume": {"max_trials": 99}}
VERBS = ("enqueue", "dequeue", "pause", "unpause", "stop", "kill", "resume", "reset", "publish", "clone")


@pytest.mark.parametrize("state", status.EXPERIMENT_STATES)
def test_each_verb_does_what_the_matrix_says(api, alice, in_state, state):
    """TD-A5 TD-A6 TD-A7 TD-A8 TD-A9 TD-A10 TD-A11 TD-A12 TD-A13: offered changes, already so changes nothing, the
    rest is 409."""
    experiment, caller, wrong = in_state(state), api(alice), []
    for verb in (*VERBS, "delete"):
        path = f"/experiments/{experiment.public_id}"
        with transaction.atomic():
            if verb == "delete":
                answer = caller.delete(path)
            else:
                answer = caller.post(f"{path}/{verb}", BODIES.get(verb))
            transaction.set_rollback(True)
        body = answer.json() if answer.content else {}
        got = answer.status_code, body.get("changed")
        if status.is_offered(verb, state):
            wanted = {"clone": (201, None), "delete": (204, None)}.get(verb, (200, True))
        elif status.is_already_so(verb, state):
            wanted = (200, False)
        else:
            wanted = (409, None)
            # "Dequeue it first.", or "…, or dequeue it first."
            if status.WAY_OUT[state].lower() not in body.get("detail", "").lower():
                wrong.append((verb, body))
        if got != wanted:
            wrong.append((verb, got, wanted, body))
    assert wrong == []

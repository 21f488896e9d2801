"""New proposals of an experiment, stored in a transaction of plain SQL: what the conductor does after most results."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import DataError

from experiments.models import Experiment, Overtaken, driver
from experiments.search.engine import Proposal
from experiments.worker.plain_transaction import PlainTransaction, Unusual


def store(experiment: Experiment, proposals: Sequence[Proposal]) -> bool:
    """Store proposals as waiting trials for free slots, and the others as suggestions. Return False, and write nothing,
    if this is not the common case. Raise `Overtaken` if others were proposed since the experiment was read."""
    last_ordinal = experiment.last_ordinal
    try:
        with driver.pipelined_transaction():
            locked = PlainTransaction(experiment, experiment.revision)
            locked.lock(new_trials=min(len(proposals), experiment.concurrency))
            if experiment.last_ordinal != last_ordinal:
                raise Overtaken("the proposals were changed concurrently")
            if proposals:
                experiment.last_ordinal = proposals[-1].ordinal
            trials, _ = locked.enqueue_trials(proposals)
            locked.insert_trials(trials)
            experiment.version += 1
            locked.write()
            experiment.announce()
    except (Unusual, DataError):
        return False
    return True

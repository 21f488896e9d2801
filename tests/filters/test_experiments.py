"""TD-C3: what the filter language finds among experiments, on a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.filters.experiments import filter_experiments
from experiments.filters.language import FilterError
from experiments.models import Experiment, User, Workspace


@pytest.fixture
def experiments(lab: Workspace, draft: Callable[..., Experiment], alice: User, bob: User) -> None:
    vision = lab.projects.create(name="Vision lab")
    rows = {
        "ResNet sweep": {
            "tags": ["cvpr", "night run"],
            "best_value": 0.9,
            "failed_count": 1,
            "succeeded_count": 9,
        },
        "BERT": {
            "state": "running",
            "best_value": 0.5,
            "running_count": 2,
            "project": vision,
            "max_trials": 7,
            "imported_from": "csv",
            "enqueued_at": timezone.now(),
            "creator": bob,
        },
        "Straße": {
            "state": "failed",
            "failed_count": 4,
            "description": "100% noise",
            "ran_s": 7200,
            "reason": "the same error",
        },
    }
    for age, (name, columns) in enumerate(rows.items(), 1):
        made = draft(name=name)
        created = timezone.now() - timedelta(days=age)
        Experiment.objects.filter(pk=made.pk).update(created_at=created, **columns)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "ResNet sweep, BERT, Straße"),
        ("resnet", "ResNet sweep"),
        ("STRASSE", "Straße"),
        ("name=bert", "BERT"),
        ("name~et", "ResNet sweep"),
        ("state:draft", "ResNet sweep"),
        ("state in (Running, failed)", "BERT, Straße"),
        ("creator:me", "ResNet sweep, Straße"),
        ("creator:bob", "BERT"),
        ("creator!=BOB", "ResNet sweep, Straße"),
        ("creator:nobody", ""),
        ('project:"vision lab"', "BERT"),
        ("tag:cvpr", "ResNet sweep"),
        ('tag:"night run" best>0.8', "ResNet sweep"),
        ("tag:night", ""),
        ("not tag:cvpr", "BERT, Straße"),
        ("best>0.5 or running>=2", "ResNet sweep, BERT"),
        ("best=none", "Straße"),
        ("failed>0", "ResNet sweep, Straße"),
        ("failed>10%", "Straße"),
        ("failed=10%", "ResNet sweep"),
        ("failed=0", "BERT"),
        ("not failed>0", "BERT"),
        ("duration>1h", "Straße"),
        ("description~100%", "Straße"),
        ("created<1.5d", "ResNet sweep"),
        ("queue=none", "ResNet sweep, BERT, Straße"),
        ("visibility:workspace", "ResNet sweep, BERT, Straße"),
        ("tag=none", "BERT, Straße"),
        ("reason~same", "Straße"),
        ("direction:maximize", "ResNet sweep, BERT, Straße"),
        ("waiting=0 stopped=0 early_stopped<1", "ResNet sweep, BERT, Straße"),
        ("max_trials>=7", "BERT"),
        ("max_trials=none or concurrency>100", ""),
        ("front>0", ""),
        ("parent=none", "ResNet sweep, BERT, Straße"),
        ("imported:yes", "BERT"),
        ("imported:no", "ResNet sweep, Straße"),
        ("enqueued<1d", "BERT"),
        ("status:running", "BERT"),
        ("owner:bob", "BERT"),
        ("best_value>0.8 created_at<2d", "ResNet sweep"),
    ],
)
def test_what_is_found(experiments: None, alice: User, text: str, names: str) -> None:
    matches = filter_experiments(Experiment.objects.order_by("pk"), text, reader=alice)
    assert ", ".join(matches.values_list("name", flat=True)) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("creater:me", "did you mean “creator”?"),
        ("state:runing", "Did you mean “running”?"),
        ("tag>a", "“tag” cannot be compared with “>”"),
        ("imported:maybe", "“imported” takes yes or no"),
        ("tag~a", "“tag” cannot be compared with “~”"),
        ("failed>some", "“some” is not a number"),
    ],
)
def test_what_an_error_says(alice: User, text: str, words: str) -> None:
    with pytest.raises(FilterError, match=None) as caught:
        filter_experiments(Experiment.objects.all(), text, reader=alice)
    assert words in str(caught.value)

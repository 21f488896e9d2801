"""Trialdeck for trials and notebooks: standard library only, Python 3.8 or later.

In a trial:

    import trialdeck

    params = trialdeck.get_next_parameter()
    for epoch in range(10):
        trialdeck.report_intermediate_result(train(params))
    trialdeck.report_final_result(evaluate())

In a notebook, or in a script that tunes:

    from trialdeck import Experiment

    experiment = Experiment('local')
    experiment.config.trial_command = 'python train.py'
    experiment.config.search_space = {'lr': {'_type': 'loguniform', '_value': [0.0001, 0.1]}}
    experiment.config.max_trial_number = 20
    experiment.run(8080)
"""

from __future__ import annotations  # for Python 3.8

from trialdeck.trial import (
    get_configuration,
    get_current_parameter,
    get_experiment_id,
    get_hyperparameters,
    get_next_parameter,
    get_sequence_id,
    get_trial_id,
    report_final_result,
    report_intermediate_result,
)

TYPE_CHECKING = False  # as in typing, without the time that importing it takes
if TYPE_CHECKING:
    from trialdeck.config import AlgorithmConfig, ExperimentConfig, LocalConfig
    from trialdeck.console import Console
    from trialdeck.errors import Error, Forbidden, Invalid, NotFound, Refused, Unauthorized, Unreachable
    from trialdeck.experiment import Experiment
    from trialdeck.imports import import_experiment
    from trialdeck.nni.types import RunMode, TrialHyperParameters, TrialJob, TrialMetricData, TrialResult

__version__ = "0.1.0"

# Loaded on first use: a trial needs none of them.
_LAZY = {
    "AlgorithmConfig": "config",
    "ExperimentConfig": "config",
    "LocalConfig": "config",
    "Console": "console",
    "RunMode": "nni.types",
    "TrialHyperParameters": "nni.types",
    "TrialJob": "nni.types",
    "TrialMetricData": "nni.types",
    "TrialResult": "nni.types",
    "Error": "errors",
    "Forbidden": "errors",
    "Invalid": "errors",
    "NotFound": "errors",
    "Refused": "errors",
    "Unauthorized": "errors",
    "Unreachable": "errors",
    "Experiment": "experiment",
    "import_experiment": "imports",
}

__all__ = [
    "AlgorithmConfig",
    "Console",
    "Error",
    "Experiment",
    "ExperimentConfig",
    "Forbidden",
    "Invalid",
    "LocalConfig",
    "NotFound",
    "Refused",
    "RunMode",
    "TrialHyperParameters",
    "TrialJob",
    "TrialMetricData",
    "TrialResult",
    "Unauthorized",
    "Unreachable",
    "get_configuration",
    "get_current_parameter",
    "get_experiment_id",
    "get_hyperparameters",
    "get_next_parameter",
    "get_sequence_id",
    "get_trial_id",
    "import_experiment",
    "report_final_result",
    "report_intermediate_result",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError("module 'trialdeck' has no attribute " + repr(name))
    from importlib import import_module

    value = getattr(import_module("trialdeck." + _LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])

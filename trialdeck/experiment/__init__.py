"""`Experiment` and its results, importable as from `nni.experiment`."""

from __future__ import annotations  # for Python 3.8

from trialdeck.experiment.experiment import Experiment
from trialdeck.nni.types import RunMode, TrialHyperParameters, TrialJob, TrialMetricData, TrialResult

__all__ = ["Experiment", "RunMode", "TrialHyperParameters", "TrialJob", "TrialMetricData", "TrialResult"]

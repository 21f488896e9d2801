"""Classes of results, importable as from `nni.experiment.data`."""

from __future__ import annotations  # for Python 3.8

from trialdeck.nni.types import TrialHyperParameters, TrialJob, TrialMetricData, TrialResult

__all__ = ["TrialHyperParameters", "TrialJob", "TrialMetricData", "TrialResult"]

"""Classes of the configuration, importable as from `nni.experiment.config`."""

from __future__ import annotations  # for Python 3.8

from trialdeck.config import AlgorithmConfig, ExperimentConfig, LocalConfig

__all__ = ["AlgorithmConfig", "ExperimentConfig", "LocalConfig"]

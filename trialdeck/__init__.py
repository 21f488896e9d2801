"""Trialdeck for trials and notebooks: standard library only, Python 3.8 or later.

In a trial:

    import trialdeck

    params = trialdeck.get_next_parameter()
    for epoch in range(10):
        trialdeck.report_intermediate_result(train(params))
    trialdeck.report_final_result(evaluate())
"""

from trialdeck.trial import (
    get_current_parameter,
    get_experiment_id,
    get_next_parameter,
    get_sequence_id,
    get_trial_id,
    report_final_result,
    report_intermediate_result,
)

__version__ = "0.1.0"

__all__ = [
    "get_current_parameter",
    "get_experiment_id",
    "get_next_parameter",
    "get_sequence_id",
    "get_trial_id",
    "report_final_result",
    "report_intermediate_result",
]

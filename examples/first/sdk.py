"""Read parameters and report results with the trialdeck package."""

import math

import trialdeck

params = {"x": 1.0, "y": 1.0, **trialdeck.get_next_parameter()}

for step in range(5):
    loss = math.hypot(params["x"] - 2, params["y"] + 1) + 1 / (step + 1)
    trialdeck.report_intermediate_result(loss)
trialdeck.report_final_result(loss)

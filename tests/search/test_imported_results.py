"""Results of elsewhere: what files may look like, what is said of bad ones, and how a search space takes them."""

from __future__ import annotations

import json

import pytest

from experiments.search.imported_results import (
    MAX_BYTES,
    ResultsError,
    adapt_params,
    parameter_names,
    read_results,
)
from experiments.search.space import parse

OPTUNA = """,number,value,datetime_start,duration,params_layers,params_lr,params_opt,user_attrs_note,state
0,0,0.5,2026-11-21 10:00:00.1,0 days 00:00:01,2.0,0.01,adam,x,COMPLETE
1,1,,2026-11-21 10:00:01.1,0 days 00:00:01,3.0,0.02,sgd,,FAIL
2,2,0.9,2026-11-21 10:00:02.1,0 days 00:00:01,,1e-05,sgd,,PRUNED
3,3,0.75,2026-11-21 10:00:03.1,0 days 00:00:01,,1e-05,sgd,,COMPLETE
"""
OURS = """number,id,state,value,last_value,p.lr,p.-x,p.layer,p.layer/kernel_size\r
1,abcd2345-1,succeeded,0.5,0.5,0.01,'=a,Conv,3\r
2,abcd2345-2,failed,,0.1,0.02,b,Pool,\r
3,abcd2345-3,early_stopped,0.25,0.25,0.03,'text,Pool,\r
"""


@pytest.mark.parametrize(
    ("text", "results", "skipped"),
    [
        ("lr;value;opt\n0,1;-7,5e-1;adam, v2\n", [({"lr": 0.1, "opt": "adam, v2"}, -0.75)], 0),
        (
            "lr,value,batch\n0.1,0.5,16\n0.2,7e-1,32\n",
            [({"lr": 0.1, "batch": 16}, 0.5), ({"lr": 0.2, "batch": 32}, 0.7)],
            0,
        ),
        (
            "\ufefflr;value\r\n0.1;0.5\r\n\r\n;1\r\n1;nan\r\n1;\r\n1;inf\r\n",
            [({"lr": 0.1}, 0.5), ({}, 1.0)],
            3,
        ),
        (
            'opt,flag,n,shape,value\n"a,\n""b""",True,-3,"[1, 2]",1\n',
            [({"opt": 'a,\n"b"', "flag": True, "n": -3, "shape": [1, 2]}, 1.0)],
            0,
        ),
        ("state,value\non,1\n1_0,2\n", [({"state": "on"}, 1.0), ({"state": "1_0"}, 2.0)], 0),
        (OPTUNA, [({"layers": 2.0, "lr": 0.01, "opt": "adam"}, 0.5), ({"lr": 1e-5, "opt": "sgd"}, 0.75)], 2),
        (
            OURS,
            [
                ({"lr": 0.01, "-x": "=a", "layer": "Conv", "layer/kernel_size": 3}, 0.5),
                ({"lr": 0.03, "-x": "'text", "layer": "Pool"}, 0.25),
            ],
            1,
        ),
        (
            '[{"params": {"lr": 1}, "value": 0.5}, {"params": {"lr": 2}, "value": null}]',
            [({"lr": 1}, 0.5)],
            1,
        ),
        (
            '[{"parameter": {"lr": 1}, "value": "0.5", "trialJobId": "Xy"},'
            ' {"parameter": {"lr": 2}, "value": "{\\"default\\": 3}"}]',
            [({"lr": 1}, 0.5), ({"lr": 2}, 3.0)],
            0,
        ),
        (
            '[{"number": 1, "state": "failed", "value": 1, "parameters": {"lr": 1}},'
            ' {"state": "succeeded", "value": 2, "p.lr": 2}]',
            [({"lr": 2}, 2.0)],
            1,
        ),
    ],
    ids=[
        "decimal commas",
        "csv",
        "semicolons",
        "quoted",
        "any name",
        "optuna",
        "ours",
        "json",
        "nni",
        "our json",
    ],
)
def test_it_reads_what_people_have(text: str, results: list, skipped: int) -> None:
    """NNI-S2: CSV, JSON, our exports, NNI's, Optuna's; what has no finite result is left out and counted."""
    imported = read_results(text.encode())
    assert (imported.results, imported.skipped) == (results, skipped)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "lr,value\n1,2\n3,good\n\n4,5,6\n",
            ["Line 3: value is not a number (good).", "Line 5: 3 cells instead of 2."],
        ),
        ("lr,acc\n1,2\n", ["Line 1: the column value is missing; name the results column value."]),
        (
            "params_lr,values_0\n1,2\n",
            ["Line 1: the column value is missing; name the results column value and keep one objective."],
        ),
        ("lr,lr,value\n", ["Line 1: the column lr occurs twice; remove one."]),
        (",value\n0,1\n", ["Line 1: value is the only column; add a column per parameter."]),
        (
            "lr,value\n1,\n",
            ["The file contains no results: none of its 1 rows is a finished trial with a number as value."],
        ),
        ("lr,value\n", ["The file contains no results."]),
        ('lr,value\n1,"2\n', ["Line 2: invalid CSV (unexpected end of data)."]),
        (
            "lr,value\n" + "1,x\n" * 7,
            [
                *(f"Line {n}: value is not a number (x)." for n in range(2, 7)),
                "2 more errors like these.",
            ],
        ),
        ("lr,value\n" + "1,2\n" * 10_001, ["The file has more than 10,000 results; remove some."]),
        (
            "x" * 201 + ",value\n1,2\n",
            ["Line 1: the maximum is 1,000 parameters with names of 200 characters."],
        ),
        (" \n", ["The file is empty."]),
        ("lr\0,value", ["The file contains NUL characters; save it as CSV UTF-8 or JSON."]),
        (
            "möhre,value\n".encode("latin-1"),
            ["The file is not UTF-8 text; save it as CSV UTF-8 or JSON."],
        ),
        (b"x" * (MAX_BYTES + 1), ["The file is larger than 5 MB."]),
        (
            '[{"params": {"lr": 1}, "value": true}, 3, {"params": {}, "value": 1}]',
            [
                "Result 1: value is not a number (True).",
                *(
                    f'Result {n}: must be an object such as {{"params": {{"lr": 0.1}}, "value": 0.9}}.'
                    for n in (2, 3)
                ),
            ],
        ),
        ("[1,\n]", ["Line 2, column 1: invalid JSON (Expecting value)."]),
        ('{"lr": 1}', ['The JSON must be a list of results: [{"params": {"lr": 0.1}, "value": 0.9}, …].']),
        ("[" * 100_000, ["The JSON is nested too deeply or contains a number with too many digits."]),
    ],
)
def test_it_says_what_is_wrong_and_where(data: str | bytes, message: list[str]) -> None:
    """NNI-S2: with the line, or the number of the result."""
    with pytest.raises(ResultsError) as refused:
        read_results(data if isinstance(data, bytes) else data.encode())
    assert refused.value.faults == message


def test_a_search_space_takes_values_as_its_own() -> None:
    """NNI-S2: 16.0 and 16 are the choice "16"; nested columns go into their object; null may be left out."""
    conv = {"_name": "Conv", "kernel_size": {"_type": "choice", "_value": ["3", "5"]}}
    space = parse(
        {
            "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
            "batch": {"_type": "choice", "_value": ["16", "32"]},
            "layers": {"_type": "randint", "_value": [1, 5]},
            "flag": {"_type": "choice", "_value": [1, "true", None]},
            "layer": {"_type": "choice", "_value": [conv, {"_name": "7"}]},
        }
    )
    rows = read_results(
        b"layer,layer/kernel_size,flag,batch,lr,layers,value\n"
        b"Conv,5,True,16.0,1,3.0,1\n7,,1.0,32,0.1,4,2\n7,,,32,1e-05,1,3\n"
        b"Conv,4,1,16,1,1,4\n7,3,1,16,1,1,5\nConv,,1,16,1,1,6\n7,,0,16,1,1,7\n"
    ).results
    fitting = [space.to_raw(adapt_params(space, params)) for params, _ in rows]
    assert [space.shown(raw) for raw in fitting if raw] == [
        {
            "lr": 1.0,
            "batch": "16",
            "layers": 3,
            "flag": "true",
            "layer": {"_name": "Conv", "kernel_size": "5"},
        },
        {"lr": 0.1, "batch": "32", "layers": 4, "flag": 1, "layer": {"_name": "7"}},
        {"lr": 1e-5, "batch": "32", "layers": 1, "flag": None, "layer": {"_name": "7"}},
    ]
    assert fitting[3:] == [None] * 4, "a value, a column of another object, a lack of one, a choice"
    shown = space.shown(fitting[0])
    assert adapt_params(space, shown) == shown == adapt_params(space, json.loads(json.dumps(shown)))
    assert parameter_names([({"b": 1}, 0), (shown, 0)]) == [
        "b",
        "lr",
        "batch",
        "layers",
        "flag",
        "layer",
        "layer/kernel_size",
    ]

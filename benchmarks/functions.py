"""Standard functions to minimize, with search spaces in NNI's format: flat, mixed, nested.

Each also has an initial space (`before`): too small, too large, or without the best values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Function:
    """`of` returns the value for a trial's parameters; `least` is the minimum in `space`. `second` gives a second one,
    to be minimized as well; `reference` is then the point up to which the hypervolume is taken, and `least` the
    negative hypervolume of the whole front."""

    name: str
    of: Callable[[Mapping], float]
    space: dict
    before: dict
    least: float = 0.0
    is_flat: bool = True  # numbers only
    is_nested: bool = False
    fails: Callable[[Mapping], bool] | None = None  # whether a trial with these parameters fails
    second: Callable[[Mapping], float] | None = None
    reference: tuple[float, float] = (0.0, 0.0)


def uniform(low: float, high: float) -> dict:
    return {"_type": "uniform", "_value": [low, high]}


def choice(*values: object) -> dict:
    return {"_type": "choice", "_value": list(values)}


def branin(p: Mapping) -> float:
    """Branin (1972); three minima of 0.397887."""
    x, y = p["x"], p["y"]
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann(p: Mapping) -> float:
    """Hartmann (1973) in six dimensions; the minimum is -3.32237."""
    weights = (1.0, 1.2, 3.0, 3.2)
    steepness = (
        (10, 3, 17, 3.5, 1.7, 8),
        (0.05, 10, 17, 0.1, 8, 14),
        (3, 3.5, 1.7, 10, 17, 8),
        (17, 8, 0.05, 10, 0.1, 14),
    )
    centres = (
        (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
        (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
        (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
        (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
    )
    return -sum(
        weight * math.exp(-sum(a * (x - c) ** 2 for a, c, x in zip(steep, at, p.values(), strict=True)))
        for weight, steep, at in zip(weights, steepness, centres, strict=True)
    )


def rosenbrock(p: Mapping) -> float:
    """Rosenbrock (1960): a bent valley, whose end is 0 at (1, 1, 1, 1)."""
    return _valley(list(p.values()))


def _valley(x: Sequence[float]) -> float:
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:], strict=False))


def training(p: Mapping) -> float:
    """Like the loss of a training: the best learning rate depends on the optimizer, which is a choice; the minimum is
    0."""
    penalty, best = {"sgd": (0.6, -1.0), "adam": (0.0, -3.0), "rmsprop": (0.2, -3.5), "lbfgs": (1.0, -0.5)}[
        p["optimizer"]
    ]
    rate = (math.log10(p["lr"]) - best) ** 2
    size = 0.1 * (p["layers"] - 5) ** 2 + 4 * (p["dropout"] - 0.3) ** 2
    return penalty + 0.5 * rate + size + (p["momentum"] - 0.9) ** 2


def models(p: Mapping) -> float:
    """Three kinds of model, each with its own parameters, one with another nested choice; the minimum is 0, for the
    net."""
    model = p["model"]
    if model["_name"] == "linear":
        return 1.5 + 0.2 * (math.log10(model["alpha"]) + 1) ** 2
    if model["_name"] == "forest":
        return 0.6 + 0.02 * (model["depth"] - 8) ** 2 + 0.5 * (model["share"] - 0.6) ** 2
    activation = model["act"]
    leak = 0.3 if activation["_name"] == "relu" else 2 * (activation["slope"] - 0.2) ** 2
    scaled = 0.0 if p["scaler"] == "standard" else 0.3
    return 0.5 * (math.log10(model["lr"]) + 2.5) ** 2 + 3 * (model["dropout"] - 0.4) ** 2 + leak + scaled


LINEAR = {"_name": "linear", "alpha": {"_type": "loguniform", "_value": [1e-4, 10]}}
FOREST = {"_name": "forest", "depth": {"_type": "randint", "_value": [1, 20]}, "share": uniform(0.1, 1)}
NET = {
    "_name": "net",
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "dropout": uniform(0, 0.9),
    "act": choice({"_name": "relu"}, {"_name": "leaky", "slope": uniform(0, 1)}),
}
SCALER = choice("none", "standard", "minmax")
TRAINING = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "layers": {"_type": "randint", "_value": [1, 11]},
    "dropout": {"_type": "quniform", "_value": [0, 0.8, 0.1]},
    "momentum": uniform(0, 1),
    "optimizer": choice("sgd", "adam", "rmsprop", "lbfgs"),
}

FUNCTIONS = (
    Function(
        "Branin",
        branin,
        space={"x": uniform(-5, 10), "y": uniform(0, 15)},
        before={"x": uniform(-5, 6), "y": uniform(5, 15)},
        least=0.397887,
    ),
    Function(
        "Hartmann 6",
        hartmann,
        space={name: uniform(0, 1) for name in "abcdef"},
        before={name: uniform(0.25, 1) for name in "abcdef"},
        least=-3.32237,
    ),
    Function(
        "Rosenbrock 4",
        rosenbrock,
        space={name: uniform(-2, 2) for name in "abcd"},
        before={name: uniform(-5, 10) for name in "abcd"},
    ),
    Function(
        "training (mixed)",
        training,
        space=TRAINING,
        before={
            **TRAINING,
            "lr": {"_type": "loguniform", "_value": [1e-5, 1e-3]},
            "optimizer": choice("sgd", "rmsprop"),
        },
        is_flat=False,
    ),
    Function(
        "models (nested)",
        models,
        space={"model": choice(LINEAR, FOREST, NET), "scaler": SCALER},
        before={"model": choice(LINEAR, FOREST), "scaler": SCALER},
        is_flat=False,
        is_nested=True,
    ),
)


def rate(p: Mapping) -> float:
    """Like the loss by learning rate: best at 0.01, close to where it diverges; the minimum is 0."""
    return (math.log10(p["lr"]) + 2) ** 2


RATE = {"lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]}}
BRANIN, HARTMANN, _, MIXED, _ = FUNCTIONS

# The same functions and one more, each failing in a part of the space; `before` is not used.
FAILING = (
    Function("rate, fails above 0.03", rate, space=RATE, before=RATE, fails=lambda p: p["lr"] > 0.03),
    replace(BRANIN, name="Branin, a third fails", fails=lambda p: p["x"] + p["y"] > 15 or p["x"] < -3.5),
    replace(HARTMANN, name="Hartmann 6, half fails", fails=lambda p: p["a"] + p["f"] > 1),
    replace(
        MIXED,
        name="training, out of memory or diverged",
        fails=lambda p: p["layers"] > 7 or (p["lr"] > 0.01 and p["optimizer"] != "sgd"),
    ),
)


def zdt1(p: Mapping) -> float:
    """The second value of Zitzler, Deb, Thiele (2000), number 1; the first is x1. Its front is 1 - sqrt(x1)."""
    x, *others = p.values()
    g = 1 + 9 * sum(others) / len(others)
    return g * (1 - math.sqrt(x / g))


def fonseca(p: Mapping, sign: float) -> float:
    """Fonseca, Fleming (1995): the distance from one of two points."""
    return 1 - math.exp(-sum((x - sign / math.sqrt(3)) ** 2 for x in p.values()))


# Functions with two values to minimize; `before` is not used.
TWO_VALUES = (
    Function(
        "ZDT1, two objectives",
        lambda p: p["a"],
        space={name: uniform(0, 1) for name in "abcd"},
        before={},
        least=-(11 - 1 / 3),  # up to (1, 11): 11 less the area under the front
        second=zdt1,
        reference=(1.0, 11.0),
    ),
    Function(
        "Fonseca-Fleming, two objectives",
        lambda p: fonseca(p, 1.0),
        space={name: uniform(-4, 4) for name in "abc"},
        before={},
        least=-0.342113,
        second=lambda p: fonseca(p, -1.0),
        reference=(1.0, 1.0),
    ),
)

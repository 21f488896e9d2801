"""Search spaces of every shape, for property tests."""

import math

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(-5, 5),
    st.text("ab1é ", max_size=3),
)
CHOOSABLE = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.text("ab1é ", max_size=3), SCALARS, max_size=2),
)


def finite_floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def choices(draw):
    from experiments.search.parameters import identity

    return {
        "_type": "choice",
        "_value": draw(st.lists(CHOOSABLE, min_size=1, max_size=5, unique_by=identity)),
    }


@st.composite
def randints(draw):
    low = draw(st.integers(-10, 10) | finite_floats(-10, 10))
    return {"_type": "randint", "_value": [low, math.ceil(low) + draw(st.integers(1, 8))]}


@st.composite
def uniforms(draw, kinds=("uniform", "quniform", "loguniform", "qloguniform")):
    kind = draw(st.sampled_from(kinds))
    bounds = finite_floats(1e-3, 1e3) if "log" in kind else finite_floats(-1e3, 1e3)
    low, high = sorted([draw(bounds), draw(bounds)])
    if not kind.startswith("q"):
        return {"_type": kind, "_value": [low, high]}
    step = draw(finite_floats(0.01, 10) | st.sampled_from([0.1, 0.5, 1, 3]))
    return {"_type": kind, "_value": [low, high, max(step, (high - low) / 20)]}


@st.composite
def log_randints(draw):
    low = draw(st.integers(1, 10))
    return {"_type": "lograndint", "_value": [low, low + draw(st.integers(1, 9))]}


@st.composite
def whole_steps(draw):
    kind, step = draw(st.sampled_from(["quniform", "qloguniform"])), draw(st.integers(1, 3))
    low = draw(st.integers(1, 5))
    return {"_type": kind, "_value": [low, low + draw(st.integers(0, 20)), step], "_whole": True}


@st.composite
def normals(draw):
    kind = draw(st.sampled_from(["normal", "qnormal", "lognormal", "qlognormal"]))
    value = [draw(finite_floats(-5, 5)), draw(finite_floats(0.01, 3))]
    return {
        "_type": kind,
        "_value": [*value, draw(finite_floats(0.01, 5))] if kind.startswith("q") else value,
    }


@st.composite
def nested(draw, inner):
    names = draw(
        st.lists(st.sampled_from(["conv", "Dense 2", "é/", "_"]), min_size=1, max_size=3, unique=True)
    )
    subs = st.dictionaries(st.sampled_from(["k", "units", "a.b"]), inner, max_size=2)
    return {"_type": "choice", "_value": [{"_name": name, **draw(subs)} for name in names]}


NAMES = st.sampled_from(["lr", "batch-size", "opt.name", "model/depth", "_x", "B2"])
FINITE = st.one_of(
    choices(), randints(), log_randints(), whole_steps(), uniforms(kinds=("quniform", "qloguniform"))
)
LEAVES = st.one_of(FINITE, uniforms(), normals())
documents = st.dictionaries(
    NAMES, st.one_of(LEAVES, LEAVES, nested(LEAVES | nested(LEAVES))), min_size=1, max_size=4
)
small_documents = st.dictionaries(
    NAMES, st.one_of(FINITE, nested(FINITE | nested(choices()))), min_size=1, max_size=2
)

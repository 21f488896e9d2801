"""What make test draws: of each test some cases, the same for everybody."""

from types import SimpleNamespace

from tests.support.sample import CASES, CASES_POSTGRES, left_out


def item(name: str, *, has_database: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        nodeid=name,
        fixturenames=["db"] if has_database else [],
        get_closest_marker=lambda mark: None,
    )


def test_a_few_cases_of_each_test_run_and_every_case_under_some_seed() -> None:
    cases = [item(f"tests/models/test_x.py::test_many[{n}]") for n in range(20)]
    alone = [item("tests/models/test_x.py::test_one"), item("tests/web/test_y.py::test_page")]
    pure = [item(f"tests/search/test_z.py::test_pure[{n}]", has_database=False) for n in range(20)]
    ran = set()
    for seed in range(60):
        first, again = (
            {each.nodeid for each in left_out([*cases, *alone, *pure], seed=str(seed), on_postgres=False)}
            for _ in range(2)
        )
        assert first == again and len(first) == 20 - CASES
        assert first <= {case.nodeid for case in cases}
        ran |= {case.nodeid for case in cases} - first
    assert ran == {case.nodeid for case in cases}


def test_on_postgresql_half_of_the_pages_run_and_all_else() -> None:
    pages = [item(f"tests/web/test_y.py::test_{n}") for n in range(200)]
    models = [item(f"tests/models/test_x.py::test_{n}[{m}]") for n in range(10) for m in range(4)]
    skipped = [each.nodeid for each in left_out([*pages, *models], seed="1", on_postgres=True)]
    assert 60 < sum(name.startswith("tests/web") for name in skipped) < 140
    assert sum(name.startswith("tests/models") for name in skipped) == 10 * (4 - CASES_POSTGRES)

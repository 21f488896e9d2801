"""Where every test runs: a data folder of its own, SQLite in a file (--pg: PostgreSQL), a Valkey on demand.

The environment is set here, before Django reads its settings, and nothing of the caller's gets in.
"""

import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_django
from django.template import Context
from django.utils.safestring import SafeString

from tests.support import boundary, sample
from tests.support.engine import find_engine
from tests.support.migrated import copy_migrated_sqlite
from tests.support.postgres import Postgres
from tests.support.small_disk import no_small_disk
from tests.support.valkey import Valkey

# No test depends on how fast the machine is.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")

DATABASE_FREE = ("charts", "repository_rules", "runner", "search", "timetable", "trialdeck")
FOREIGN = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "TZ")

_data = Path(tempfile.mkdtemp(prefix="trialdeck-tests-")).resolve()
_postgres: Postgres | None = None
_without_engine: list[str] = []  # why no container can be run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg", action="store_true", help="run on PostgreSQL (an embedded one) instead of SQLite"
    )
    parser.addoption("--sample", metavar="SEED", help="run what fits into minutes, drawn by this seed")
    parser.addoption("--costs", action="store_true", help="note what each test takes in tests/costs.json")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    global _postgres
    for name in list(os.environ):
        if name in FOREIGN or name.startswith(("TRIALDECK_", "GRANIAN_", "CELERY_")):
            del os.environ[name]
    if config.getoption("--costs") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(sample.Costs())
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # this process only hands tests out; each that runs them has a folder and servers of its own
    os.environ["TRIALDECK_DATA"] = str(_data)
    os.environ["TRIALDECK_HOME"] = str(_data / "home")
    os.environ["TRIALDECK_STATIC"] = str(_data / "static")
    (_data / "static").mkdir()
    os.environ["TRIALDECK_NETWORKS"] = "127.0.0.0/8,::1/128"  # where the servers of tests are
    os.environ["TRIALDECK_API_RATE"] = "0"  # tests ask often, as people whose keys are used again and again
    os.environ["DJANGO_SETTINGS_MODULE"] = "console.settings"
    if config.getoption("--pg"):
        _postgres = Postgres()
        os.environ["DATABASE_URL"] = _postgres.create_migrated("trialdeck")

    import django
    from django.conf import settings

    # The test database *is* the one that the environment names, so that workers and consoles which a test
    # starts see its rows. It lives in a folder made a moment ago; nobody's data can be hit.
    database = settings.DATABASES["default"]
    database.setdefault("TEST", {}).update(NAME=database["NAME"])
    if _postgres is None:
        copy_migrated_sqlite(Path(database["NAME"]))
    # The manifest would need collectstatic; a strong password hash would need seconds.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    # Each test client would look through all that a console of another test has collected there.
    settings.STATIC_ROOT = _data / "no-static"
    settings.STATIC_ROOT.mkdir()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django.setup()
    if _postgres:
        from experiments.models import driver

        driver.prepare_here()  # as workers and control have it
    for plugin in ("tests.people", "tests.api.caller"):  # after Django's settings are what tests need
        config.pluginmanager.import_plugin(plugin)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _postgres:
        _postgres.stop()
    shutil.rmtree(_data, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = []
    if config.getoption("--pg"):
        left_out = [item for item in items if _is_the_same_on_any_database(item)]
    else:
        if not find_chromium():
            left_out = [item for item in items if item.get_closest_marker("browser")]
        for mark, why in (
            ("root", boundary.no_accounts()),
            ("bubblewrap", boundary.no_sandbox()),
            ("small_disk", no_small_disk()),
        ):
            left_out += [item for item in items if why and item.get_closest_marker(mark)]
        contained = [item for item in items if item.get_closest_marker("container")]
        if contained and (why := find_engine()):
            left_out += contained
            _without_engine.append(why)
    if seed := config.getoption("--sample"):
        rest = [item for item in items if item not in set(left_out)]
        left_out += sample.left_out(rest, seed=seed, on_postgres=config.getoption("--pg"))
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["without_engine"] = _without_engine


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Who only hands tests out learns from those that run them."""
    _without_engine.extend(getattr(node, "workeroutput", {}).get("without_engine", []))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: to look through it for garbage takes a tenth of all time."""
    gc.collect()
    gc.freeze()


def _is_the_same_on_any_database(item: pytest.Item) -> bool:
    """Pure layers, repository rules and what the browser does with a page: proved once, by the run on SQLite."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return folder in DATABASE_FREE or any(item.get_closest_marker(mark) for mark in ("browser", "once"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if seed := terminalreporter.config.getoption("--sample"):
        terminalreporter.write_line(f"A part of the suite, drawn by seed {seed}, ran; make soak runs all.")
    if terminalreporter.config.getoption("--pg"):
        terminalreporter.write_line("Tests that know no database, and those of the browser, ran with SQLite.")
        return
    if not find_chromium():
        terminalreporter.write_line(
            "NO CHROMIUM FOUND: THE BROWSER TESTS DID NOT RUN (apt-get install chromium)", red=True, bold=True
        )
    for what, why in (
        ("TESTS AS OTHER ACCOUNTS", boundary.no_accounts()),
        ("TESTS OF BUBBLEWRAP", boundary.no_sandbox()),
        ("TESTS OF A FULL OR READ-ONLY DISK", no_small_disk()),
    ):
        if why:
            terminalreporter.write_line(f"{what} DID NOT RUN: {why}", red=True, bold=True)
    if _without_engine:
        terminalreporter.write_line(
            "NO CONTAINER CAN BE RUN: THEIR TESTS DID NOT RUN (apt-get install podman runc busybox-static): "
            + _without_engine[0],
            red=True,
            bold=True,
        )


def find_chromium() -> str | None:
    """The browser for browser tests: CHROMIUM, else the first of Debian's and Google's names on PATH."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser; a test that asks for it carries the mark `browser`."""
    path = find_chromium()
    assert path, "a test that needs a browser must carry @pytest.mark.browser"
    return path


@pytest.fixture(scope="session", autouse=True)
def django_test_environment(django_test_environment: None) -> None:
    """As pytest-django has it; but only a page's own template is kept for `response.context`, not each of the hundreds
    that it includes."""
    from django.template.base import Template
    from django.test.signals import template_rendered

    def render(self: Template, context: Context) -> SafeString:
        if not hasattr(context, "is_kept"):
            context.is_kept = True
            template_rendered.send(sender=self, template=self, context=context)
        return self.nodelist.render(context)

    Template._render = render


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Side by side (-n), each process has a data folder and a server of its own: no suffix is needed."""


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The migrated database is there already."""
    return True


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[None]:
    """As pytest-django has it; at the end, whatever still uses the test database on PostgreSQL is named and ended."""
    yield
    if _postgres is None:
        return
    from django.db import connections

    with django_db_blocker.unblock():
        name = str(connections["default"].settings_dict["NAME"])
        connections.close_all()
        if left := _postgres.end_sessions(name):
            warnings.warn(f"Left connected to the test database: {left}", stacklevel=1)


@pytest.fixture
def data() -> Path:
    """The data folder that this test session (and every process that it starts) uses."""
    return _data


@pytest.fixture
def fresh() -> Iterator[dict[str, str]]:
    """The environment of an installation of its own: an empty data folder and an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="deck-")).resolve()
    env = {**os.environ, "TRIALDECK_DATA": str(folder)}
    if _postgres:
        env["DATABASE_URL"] = _postgres.create(folder.name)
    yield env
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def migrated(fresh: dict[str, str]) -> dict[str, str]:
    """As `fresh`, with a database whose migrations are applied."""
    if _postgres:
        name = f"{Path(fresh['TRIALDECK_DATA']).name}-migrated"
        fresh["DATABASE_URL"] = _postgres.create_migrated(name)
    else:
        copy_migrated_sqlite(Path(fresh["TRIALDECK_DATA"]) / "db.sqlite3")
    return fresh


@pytest.fixture(scope="session")
def broker() -> Iterator[Valkey]:
    """A real Valkey where the settings expect the embedded one; `broker.url` is its address."""
    valkey = Valkey(_data)
    valkey.start()
    yield valkey
    valkey.stop()

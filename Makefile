# Trialdeck. `make help` says what there is.

PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
COMMAND := $(BIN)/trialdeck
TESTS   := $(VENV)/.tests-installed
# Parts of the installed packages that the console never imports, and that are therefore not compiled.
UNUSED  := tests|pip|setuptools|sqlalchemy|alembic|mako|f2py
SUITE    = $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not soak"

PORT   ?= 8000
DATA   ?=
SLOTS  ?=
DEMO   ?= 1
ARGS   ?=
JOBS   ?= 3
SEED   ?= 1
MINUTES ?= 1

UP := --port $(PORT) $(if $(DATA),--data "$(DATA)") $(if $(SLOTS),--slots $(SLOTS)) $(if $(filter 0,$(DEMO)),--no-demo)

.PHONY: help install tools compile up dev shell test lint types format soak costs lock sbom clean
.DEFAULT_GOAL := help

help:
	@echo "make up       start the console  (PORT=8000 DATA=var SLOTS=<cores> DEMO=0)"
	@echo "make dev      the same for development: debug pages, /patterns, a web server that reloads"
	@echo "make shell    a Python shell with the models  (DATA=var)"
	@echo "make install  $(VENV) with the console and $(VENV)/bin/trialdeck; what tests need comes with make test"
	@echo "make test     what of the suite fits into minutes, on SQLite and then on PostgreSQL  (ARGS='-k stop' JOBS=3 SEED=1)"
	@echo "make lint     ruff, the import contracts, djlint, mypy"
	@echo "make types    mypy alone"
	@echo "make format   format Python and templates"
	@echo "make soak     the whole suite on both databases, and the tests that take minutes  (chaos: MINUTES=1 of each kind, SEED=1)"
	@echo "make costs    measure for make test what each test takes  (on an idle machine)"
	@echo "make lock     write requirements.lock and requirements-test.lock anew from pyproject.toml"
	@echo "make sbom     write sbom.json, a CycloneDX list of what requirements.lock pins"
	@echo "make clean    remove $(VENV) and caches; never the data folder"

install: $(COMMAND)
	@:

tools: $(TESTS)
	@:

# Also where PYTHONDONTWRITEBYTECODE is set: a worker that compiles everything anew needs seconds to start.
compile: install
	@$(BIN)/python -m compileall -q console experiments trialdeck manage.py

up: compile
	@exec $(BIN)/python manage.py up $(UP)

dev: export TRIALDECK_DEBUG = 1
dev: compile
	@exec $(BIN)/python manage.py up $(UP) --reload

shell: install
	@$(if $(DATA),TRIALDECK_DATA="$(DATA)") $(BIN)/python manage.py shell

# Both databases are always tried; the status is that of the worse one. Tests compiled once are not compiled for the
# second database and for each process anew, also where PYTHONDONTWRITEBYTECODE is set.
test: export PYTHONDONTWRITEBYTECODE =
test: tools compile
	@status=0; \
	echo "== On SQLite"; $(SUITE) --sample $(SEED) $(ARGS) || status=1; \
	echo "== On PostgreSQL"; $(SUITE) --sample $(SEED) --pg $(ARGS) || status=1; \
	exit $$status

lint: tools
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@PYTHONPATH=. $(BIN)/lint-imports
	@$(BIN)/djlint templates --check --lint
	@$(MAKE) --no-print-directory types

# The plugin loads Django's settings, and those want a data folder.
types: tools
	@TRIALDECK_DATA=.mypy_cache/data $(BIN)/mypy

format: tools
	@$(BIN)/ruff check --select I --fix .
	@$(BIN)/ruff format .
	@$(BIN)/djlint templates --reformat --quiet --warn

soak: export PYTHONDONTWRITEBYTECODE =
soak: tools compile
	@status=0; \
	$(SUITE) $(ARGS) || status=1; \
	$(SUITE) --pg $(ARGS) || status=1; \
	for database in "" --pg; do \
		CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -m soak --timeout=1800 $$database $(ARGS) || status=1; \
	done; \
	exit $$status

costs: export PYTHONDONTWRITEBYTECODE =
costs: tools compile
	@$(SUITE) --costs $(ARGS)

lock: tools
	@$(BIN)/uv pip compile -q pyproject.toml --group test --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements-test.lock
	@$(BIN)/uv pip compile -q pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --constraint requirements-test.lock -o requirements.lock
	@for each in nni clearml clearml1; do \
		$(BIN)/uv pip compile -q tests/foreign/$$each.in --universal --python-version 3.11 --generate-hashes \
			--no-header --no-annotate --no-emit-index-url -o tests/foreign/$$each.lock || exit 1; \
	done

sbom:
	@$(PYTHON) deploy/sbom.py

clean:
	rm -rf $(VENV) staticfiles .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

# uv installs in seconds what pip takes half a minute for; where it cannot be had, pip does it.
define fetch
	if test -x $(BIN)/uv; then \
		$(BIN)/uv pip install -q $(2) --python $(BIN)/python --require-hashes -r $(1); \
	else \
		$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1); \
	fi
endef

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; this is %d.%d. Use: make $(MAKECMDGOALS) PYTHON=python3.11" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check "uv>=0.13,<0.14" || true
	@$(call fetch,requirements.lock)
	@$(BIN)/python -m compileall -q -j 0 -x '/($(UNUSED))/' $(VENV)/lib || true
	@touch $@

$(TESTS): requirements-test.lock $(COMMAND)
	@$(call fetch,requirements-test.lock,--compile-bytecode)
	@touch $@

# The checkout itself, editable: nothing is fetched for it.
$(COMMAND): $(STAMP) pyproject.toml trialdeck/__init__.py hatch_build.py
	@if test -x $(BIN)/uv; then \
		$(BIN)/uv pip install -q --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .; \
	else \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

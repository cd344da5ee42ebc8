# make demo, make test and make check each work as the only command on a fresh clone: they set up .venv first.
#   make PYTHON=python3.12 test     another interpreter for a new .venv
#   make JOBS=4 test                more test workers
#   make ARGS=tests/mixers test     some of the tests

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
DEMO ?= results/demo

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
# touched last, so an installation that was cut short is taken up again; older than pyproject.toml: done again
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test oldest check docs format clean

help:
	@echo "make demo     train and study eight mixers on digits, write a report (under 10 minutes; resumes where it left off)"
	@echo "make test     run the tests"
	@echo "make test-fast    run the tests that a change usually needs"
	@echo "make check    lint, formatting, types, and that imports flow one way"
	@echo "make oldest   run the tests with the oldest versions that pyproject.toml allows (.venv-oldest, Python 3.10)"
	@echo "make docs     build the documents' site into reports/site (.venv-docs, without torch)"
	@echo "make format   let ruff fix what it can"
	@echo "make clean    remove caches; results/ and .venv stay"

install: $(STAMP)

$(STAMP): pyproject.toml
	@rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "expected Python 3.10 or newer, got $$($(PYTHON) --version 2>&1); set PYTHON=python3.x" >&2; exit 1; }
	@# a folder without a working pip is a venv that was cut short: made anew
	@$(RUN) pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(RUN) pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(RUN) stmbench run experiments/quickstart.yaml --out $(DEMO)

# one thread per worker: two workers with all threads each would fight for the same cores
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(JOBS) --dist worksteal $(ARGS)

# the oldest version of each package that pyproject.toml names, and the newest of what those need
OLDEST_VENV := .venv-oldest
OLDEST := $(OLDEST_VENV)/bin/python -m

oldest:
	$(PYTHON) -m venv --clear $(OLDEST_VENV)
	$(OLDEST) pip install --disable-pip-version-check uv
	$(OLDEST) uv pip install --python $(OLDEST_VENV) --resolution lowest-direct -r pyproject.toml --extra dev
	$(OLDEST) pip install --disable-pip-version-check --no-deps -e .
	OMP_NUM_THREADS=1 $(OLDEST) pytest -n $(JOBS) --dist worksteal $(ARGS)

# what a change usually needs: little of it builds large models, and none of it trains or starts processes in number
FAST := tests/architecture_rules/test_import_flow.py tests/test_errors.py tests/test_registry.py tests/tables tests/figures \
    tests/mixers tests/plugins

test-fast: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(JOBS) --dist worksteal -m 'not slow' $(FAST)

check: $(STAMP)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	@# what the oldest Python lacks; libraries' own types are not written for it, so that some become Any
	$(RUN) mypy --python-version 3.10 --disable-error-code no-any-return --no-warn-unused-ignores
	$(RUN) pytest tests/architecture_rules/test_import_flow.py

# an environment of its own: torchattacks holds requests back to a version that mkdocs-material cannot use, and the site
# needs no torch. The packages are those of the extra 'docs', and what the command line is made of.
DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed

$(DOCS_STAMP): pyproject.toml
	@rm -f $@
	@$(DOCS_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --disable-pip-version-check \
	    'mkdocs-material>=9.5' 'mkdocstrings[python]>=0.27' 'typer>=0.16' 'rich>=13'
	@touch $@

docs: $(DOCS_STAMP)
	$(DOCS_VENV)/bin/python -m mkdocs build --strict --clean

format: $(STAMP)
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

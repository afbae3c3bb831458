# Every target works on a fresh clone: what it needs is installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEGSEARCH_DATA ?= $(abspath $(wildcard ../shared/data))
export SEGSEARCH_DATA
DATA := data/hippocampus
JOB := examples/hippocampus.yaml

.PHONY: install search test test-slow check ui clean lock

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"segsearch needs Python 3.11 or newer, this is {v[0]}.{v[1]}; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

search: install
	$(BIN)/segsearch data ingest examples/data/hippocampus $(DATA)
	$(BIN)/segsearch run --resume $(JOB)

test: install
	$(BIN)/python -m pytest --beside tests/e2e -m "not slow and not gpu" -q --durations=15

test-slow: install
	$(BIN)/python -m pytest -m "slow" -q

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not integration and not e2e and not slow and not gpu" -q

ui: install
	$(BIN)/segsearch ui

lock: install
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip > requirements.lock

clean:
	rm -rf data runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

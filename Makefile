# The whole contributor interface: run, test, check. Each sets up what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-fast test-faults coverage check docs

run: $(VENV)/.installed
	$(BIN)/taco-stream run

# A few processes (`tests/conftest.py` says how many), each taking from the others' ends when its own tests are done.
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test: $(VENV)/.installed
	$(PYTEST)

test-fast: $(VENV)/.installed
	$(PYTEST) -m "not slow"

# Lines that the suite reaches, in all processes that it starts but those in a sandbox.
coverage: $(VENV)/.installed
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-faults: $(VENV)/.installed
	FAULTS=200 $(BIN)/pytest tests/test_chaos.py

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/zensical build --strict --clean

$(VENV)/.installed-docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "taco-stream needs Python 3.11 or later; name one with PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[local,dev]'
	-@$(BIN)/pip install --quiet --constraint constraints.txt playwright || echo "without playwright the tests of the page in a browser are skipped"
	touch $@

# Every target does its own set-up: .venv is created with the first Python 3.11 to 3.13 found, and pip runs again only
# when pyproject.toml or constraints.txt changed. Nothing is needed but make and Python.
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu     takes torch from another wheel index

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo "$$python"; break; }; done)
TORCH_INDEX ?=
PYTEST_ARGS ?=

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: demo check test test-faults docs clean

demo: .venv/core
	$(BIN)/python -m synthmill.cli demo --store ./store

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=platform $(BIN)/lint-imports
	$(BIN)/python docs/generate_reference.py --check

# Two processes share the tests, as tests/conftest.py says; the order it gives them in stays.
test: .venv/dev
	$(BIN)/python -m pytest -m "not fault" --numprocesses=2 --no-loadscope-reorder $(PYTEST_ARGS)

test-faults: .venv/dev
	$(BIN)/python -m pytest -m fault $(PYTEST_ARGS)

docs: .venv/dev
	$(BIN)/python docs/generate_reference.py

clean:
	rm -rf .venv build dist platform/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "synthmill needs Python 3.11, 3.12 or 3.13, and none is on the PATH; install one or run make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

.venv/core: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) --editable '.[dev,tune,delta,iceberg]'
	@touch .venv/core $@

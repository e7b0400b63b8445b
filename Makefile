# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up in .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python from 3.11 to 3.13 on the path that answers; `make PYTHON=...` overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Tests wait for servers more than they compute, so two processes more than there are processors.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$((n + 2)) || echo 5)

.PHONY: help install demo demo-large test every-fault engines crash responder browser lint types contracts check bench accuracy lock clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Set up .venv from the pinned requirements

# The lock is whole, so nothing is resolved: pip of Python 3.11 would look past it for a package that is pinned with an extra.
$(VENV)/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python from 3.11 to 3.13 was found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing the pinned requirements into $(VENV) (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Damage a real grid, diagnose it, heal it, and undo a recovery that must fail
	@$(BIN)/medic8 demo

demo-large: install ## The same with a 256 MiB grid
	@$(BIN)/medic8 demo --large

# Whole files to each process, since servers are shared by the tests of a file; tests/conftest.py puts the slow ones first.
test: install ## Run the tests (README's test command)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

every-fault: install ## Break and heal every fault of the lab by the command line (some twenty minutes)
	@$(BIN)/python -m tests.every_fault $(ARGS)

engines: install ## Try the server programs that MEDIC8_ENGINES names, and those on the PATH
	@MEDIC8_ENGINES="$$MEDIC8_ENGINES:$$(command -v redis-server):$$(command -v valkey-server)" \
		$(BIN)/python -m pytest -q -rs tests/engines

crash: install ## Kill recoveries at every write and check the end state
	@$(BIN)/python -m tests.crash
	@CRASH_FLOW_KILLS=20 $(BIN)/python -m pytest -q tests/crash/test_flow_kills.py

responder: install ## Give two responders 200 runs, kill one and the server in the middle; measure how fast runs begin, and memory
	@RESPONDER_RUNS=200 $(BIN)/python -m pytest -q tests/deployments/test_responder_outages.py
	@$(BIN)/python benchmarks/bench_responder.py
	@$(BIN)/python benchmarks/bench_responder.py --flat 500

browser: install ## Look at forms and runs in a headless Chromium (needs Debian's chromium); MEDIC8_PICTURES=FOLDER keeps what is seen
	@$(BIN)/python -m pytest -q -m browser tests/browser

lint: install ## Style, format and spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell

types: install ## Types
	@$(BIN)/mypy

contracts: install ## Layers
	@$(BIN)/lint-imports

check: test lint types contracts ## All that the gate runs

bench: install ## Run the benchmarks; each prints a table and JSON
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

accuracy: install ## Measure how often a diagnosis is right (hours); make accuracy ARGS=--sample for a few runs
	@$(BIN)/python -m benchmarks.accuracy $(ARGS)

lock: ## Pin the requirements anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra local --extra exchange \
		--group test --group lint --group build --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate \
		--system-certs --custom-compile-command "make lock" --output-file requirements.lock

clean: ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Scenelake: `make demo` runs the main job, `make test` passes the tests; both do all set-up themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PYTHON ?= $(or $(shell command -v python3.11 || command -v python3),python3.11)
DROPS ?=
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: preflight
preflight:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { found=$$("$(PYTHON)" --version 2>&1 | head -n1); \
	    echo "Scenelake needs Python 3.11; found: $${found:-none}. Install python3.11 (and python3.11-venv), or say: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module. On Debian: apt-get install python3.11-venv" >&2; exit 1; }
	@v=$$(java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n1); \
	  [ "$${v:-0}" -ge 17 ] || { echo "Scenelake needs Java 17 or newer for Spark; found: $${v:-none}. On Debian: apt-get install openjdk-17-jre-headless" >&2; exit 1; }

$(VENV)/.complete: requirements.txt jobs/pyproject.toml audit/pyproject.toml | preflight
	@echo "setting up $(VENV) (about a minute)"
	@if [ -x $(BIN)/scenelake ]; then $(BIN)/scenelake down >/dev/null 2>&1 || true; fi
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e jobs -e audit
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib/python3.11/site-packages >/dev/null || true
	@$(BIN)/python -m scenelake.adapters.spark_archive 2>/dev/null
	@touch $@

.PHONY: setup
setup: preflight $(VENV)/.complete ## Create .venv from the pinned requirements

.PHONY: demo
demo: setup ## Run the main job end to end; DROPS="path …" takes your own MCAP files or folders
	@$(BIN)/scenelake demo $(DROPS)

.PHONY: up
up: setup ## Start the laptop stack and leave it running
	@$(BIN)/scenelake up

.PHONY: down
down: ## Stop the laptop stack
	@if [ -x $(BIN)/scenelake ]; then $(BIN)/scenelake down; else echo "nothing to stop: $(VENV) is not set up"; fi

.PHONY: test
test: setup lint ## Run the default tests
	@$(PYTEST) -m "not slow"

.PHONY: test-all
test-all: setup lint ## Run every test, the slow tiers too
	@$(PYTEST)

.PHONY: lint
lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

.PHONY: fmt
fmt: setup ## Format the code
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

.PHONY: docs
docs: setup ## Generate the documents that are made from code
	@$(BIN)/python -m scenelake.contracts.tables_document docs/tables.md
	@$(BIN)/python -m scenelake.quality.catalogue_document docs/quality.md

.PHONY: bench
bench: setup ## Run the benchmarks; results go to benchmarks/results
	@$(BIN)/python -m benchmarks

.PHONY: faults
faults: setup ## Run the fault battery (up to an hour); results go to benchmarks/results
	@$(BIN)/python -m tests.faults

.PHONY: lock
lock: setup ## Resolve requirements.in into requirements.txt
	@$(BIN)/uv pip compile requirements.in -o requirements.txt --python-version 3.11 --no-header --no-emit-index-url --quiet

.PHONY: clean
clean: ## Remove the virtual environment and all local state
	@if [ -x $(BIN)/scenelake ]; then $(BIN)/scenelake down || true; fi
	@rm -rf $(VENV) .scenelake .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Everything a person types. `make` alone lists it. Only python3 (3.11 or newer), git and make are assumed.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
export PATH := $(CURDIR)/.tools/node/bin:$(CURDIR)/.tools/pi/node_modules/.bin:$(PATH)
SETUP := $(PYTHON) tools/setup.py

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench lock prices init ui docs-test wheels clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Set up this checkout: environment, Node, pi, user interface (again: only what has changed)
	@$(SETUP)

run: setup ## Start Oqto for yourself on 127.0.0.1 (ARGS="--port 9000")
	@exec $(BIN)/oqto serve --mode local --single-user $(ARGS)

test: setup ## Run every check and every test (ARGS="tests/unit -k name" narrows pytest)
	@exec $(BIN)/python tools/verify.py $(ARGS)

check: setup ## Run the checks that start nothing: format, lint, types, import rules, generated files
	@exec $(BIN)/python tools/verify.py --checks-only

format: setup ## Format the Python and TypeScript code and apply safe lint repairs
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format .
	@cd frontend && npm run --silent format

bench: setup ## Measure: start, latency, memory, followers (loopback only)
	@for program in bench/[a-z]*.py; do $(BIN)/python $$program || exit 1; done

lock: setup ## Write the lock files anew (ARGS=--upgrade takes the newest versions)
	@$(BIN)/python tools/lock.py $(ARGS)

prices: setup ## Make the price table of the LLM proxy anew, for review
	@$(BIN)/python tools/prices.py

init: setup ## Build the first process of a sandbox from its source (ARGS=--check only compares)
	@$(BIN)/python tools/sandbox_init.py $(ARGS)

ui: ## Build the user interface if it has changed
	@$(SETUP) --only node --only npm --only ui

docs-test: setup ## Test that the documentation matches the code and its examples run
	@exec $(BIN)/pytest tests/docs $(ARGS)

wheels: setup ## Build every package into dist/ and try them in a clean environment
	@$(BIN)/python tools/wheels.py

clean: ## Remove what the set-up and the tests made (not your data or configuration)
	@rm -rf .venv .tools dist oqto_platform/ui frontend/node_modules frontend/dist
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

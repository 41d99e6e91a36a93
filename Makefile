# `make` alone explains itself. ARGS is passed on: make demo ARGS="--events 50000 --cut 5".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(MAKEFILE_LIST))

help: ## Show this help.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# One stamp a set of packages, so that `make demo` installs only what it runs.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(VENV)/.dev ## Install everything into .venv; .venv/bin/dwcp is the command.

demo: $(VENV)/.runtime ## Three regions on this machine: write, converge, compare.
	@$(BIN)/dwcp demo $(ARGS)

test: $(VENV)/.dev ## Everything but the slow tests, on real Kafka too.
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(VENV)/.dev ## Kills of nodes and brokers under load; minutes.
	$(BIN)/python -m pytest -m slow $(ARGS)

test-containers: $(VENV)/.dev ## Kafka and nodes in containers, where an engine can be had.
	$(BIN)/python -m pytest -m containers -rs $(ARGS)

docker-images: $(VENV)/.dev ## Build the images dwcp-node and dwcp-kafka; ARGS=kafka for one.
	@$(BIN)/python -m tests.containers.images $(ARGS)

docker-check: $(VENV)/.dev ## Check every file in docker/; with compose and an engine, by them too.
	$(BIN)/python -m pytest tests/containers/test_files.py -rs $(ARGS)

kills: $(VENV)/.dev ## Kill nodes and brokers under load: ARGS="--kills 100 --seed 1 --json".
	@$(BIN)/python -m tests.kills $(ARGS)

simulate: $(VENV)/.dev ## A federation on a virtual network: ARGS="--schedules 200 --seed 1 --json".
	@$(BIN)/python -m tests.simulation $(ARGS)

stripes: $(VENV)/.dev ## Data streams under fire on a virtual network: ARGS="--schedules 1000 --json".
	@$(BIN)/python -m tests.simulation.stripes_command $(ARGS)

mutants: $(VENV)/.dev ## Break the cores in named ways; the simulation has to notice each.
	@$(BIN)/python -m tests.simulation --mutants $(ARGS)

fuzz: $(VENV)/.dev ## Damage encoded units: ARGS="--count 10000000 --jobs 2 --json".
	@$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-frames: $(VENV)/.dev ## Hostile frames against all that reads a peer: ARGS="--count 10000000 --json".
	@$(BIN)/python -m tests.fuzz.frames $(ARGS)

bench: $(VENV)/.dev ## Where the time of one change goes; one module a question.
	@$(BIN)/python -m benchmarks.change_cost $(ARGS)

bench-restart: $(VENV)/.dev ## What a restart costs, by entities and by length of the log.
	@$(BIN)/python -m benchmarks.restart $(ARGS)

bench-cut: $(VENV)/.dev ## A region cut off for a minute under load: memory, delays, catching up.
	@$(BIN)/python -m benchmarks.cut $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, import contracts, spelling.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.dev ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environment and all caches of this folder.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

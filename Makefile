# `make help` lists the targets.  Everything runs in .venv, made from the locked versions.

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install run demo test check format bench bench-quick bench-peers bench-check soak faults system-packages profile

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## a locked .venv, by uv where there is one, else pip

.venv/installed: pyproject.toml uv.lock requirements-dev.lock
	@echo "installing the locked versions into .venv: once, and it may take minutes"
ifdef UV
	$(UV) sync --quiet --locked
else
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
endif
	@touch $@

run: install ## serve on http://127.0.0.1:8000
	$(BIN)/python -m app

demo: install ## serve, run a job on 100 photographs, show its results streaming, stop
	$(BIN)/python -m bench.demo

system-packages: # the browser tests drive a real one; as root on Debian it is installed, else it must be there
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-inter \
	fonts-jetbrains-mono curl >/dev/null; } || echo "no chromium: the browser tests will be skipped"

test: install system-packages ## all tests
	$(BIN)/python -m pytest

check: install system-packages ## the whole gate: format, lint, types, layers, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: install ## put the code in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: install ## minutes of random kills under load, thousands of simulated stories; every item is accounted for
	$(BIN)/python -m bench.soak --seconds 60
	$(BIN)/python -m tests.crash.storm --kills 120
	$(BIN)/python -m tests.crash.storm --kills 30 --durability power
	$(BIN)/python -m tests.simulation --from 1000 --stories 20000

faults: install ## the same faults on multiprocessing.Pool, concurrent.futures, pebble and here, as a table
	$(BIN)/python -m bench.faults

bench: install ## the service against multiprocessing.Pool in the same run, as ratios, into bench/RESULTS.md
	$(BIN)/python -m bench --write

profile: install ## where the CPU time of a million squares, of large items and of one-item jobs goes, stage by stage
	$(BIN)/python -m bench.profile
	$(BIN)/python -m bench.profile_bare
	$(BIN)/python -m bench.profile_large
	$(BIN)/python -m bench.profile_single

bench-quick: install ## the same, smaller and once: a minute, written nowhere
	$(BIN)/python -m bench --quick

bench-peers: install ## the same work through Celery, RQ, Dramatiq, Huey, Ray and Dask, into the README; half an hour
	$(BIN)/python -m bench.peers --write

bench-check: install ## whether a quick run is about as good as bench/RESULTS.md says
	$(BIN)/python -m bench.check

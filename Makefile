# The one command file: people and CI call the same targets. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
# Extra arguments for pip when it installs torch. On Linux without a GPU, name PyTorch's index of CPU builds (the install
# page of PyTorch gives its address), which saves about 2 GB of CUDA packages:
#   make run TORCH_ARGS="--extra-index-url ADDRESS"
TORCH_ARGS ?=
# Tests at a time: make test JOBS=auto takes every core; one after the other disturbs those that measure time least.
JOBS ?= 0
# Extra arguments for the command a target runs: make test ARGS="-k gate", make run ARGS="--json out.json"
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements.lock
SET_UP := $(VENV)/.set-up
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' $(LOCK))
PIP := $(BIN)/python -m pip --disable-pip-version-check

# What torch needs for CUDA on Linux. It pins these itself and pip takes them with it, so the lock leaves them out:
# a machine without a GPU then never downloads them.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx

IS_QUICK := $(filter-out 0,$(QUICK))

.PHONY: help run test check format lock promtool bench-report browser clean set-up soak

help:
	@echo "make run      set up on first use, then run the whole loop on the embedded data (ARGS=... goes to omniloop demo)"
	@echo "make test     set up on first use, then run every test (JOBS=auto, ARGS=\"-k gate\", ARGS=\"-m 'not slow'\")"
	@echo "make check    format, lint and types, changing nothing"
	@echo "make format   format the code and mend what the linter can mend"
	@echo "make bench-NAME [QUICK=1]   measure one subject: $(patsubst benchmarks/bench_%.py,%,$(wildcard benchmarks/bench_*.py))"
	@echo "make bench-report           render docs/benchmarks.md from benchmarks/results"
	@echo "make soak                   an hour of mixed load on the live service (ARGS=\"--minutes 5\"); memory must stay flat"
	@echo "make browser  a Chromium for the tests of the pages, unless there is one (Debian: as root)"
	@echo "make promtool               fetch Prometheus (Debian) for the tests of its rules, without installing it"
	@echo "make lock [UPGRADE=1]       pin every dependency anew in $(LOCK)"
	@echo "make set-up   only create $(VENV) and install (PYTHON=python3.12, TORCH_ARGS=... as the Makefile's head says)"
	@echo "make clean    remove $(VENV) and caches; your data in .omniloop stays"

run: $(SET_UP)
	@$(BIN)/omniloop demo $(ARGS)

# One thread a test process: where several run side by side, threads of one take the cores of another.
test: export OMP_NUM_THREADS ?= 1
test: $(SET_UP)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

check: $(SET_UP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(SET_UP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-report: $(SET_UP)
	$(BIN)/python -m benchmarks.report

bench-%: $(SET_UP)
	$(BIN)/python -m benchmarks.bench_$(subst -,_,$*) $(if $(IS_QUICK),--quick) $(ARGS)

soak: $(SET_UP)
	$(BIN)/python -m benchmarks.serve_soak $(ARGS)

# Debian's own where apt may be used, else the one that Playwright brings.
browser: $(SET_UP)
	@command -v chromium chromium-browser >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
		else $(BIN)/playwright install chromium; fi; }

# Debian's package, unpacked beside the environment: no root, no service. Tests of rules and metrics use it if it is there.
promtool: $(VENV)/prometheus/usr/bin/promtool

$(VENV)/prometheus/usr/bin/promtool: | $(VENV)/.python
	@command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || \
		{ echo "apt-get and dpkg-deb are needed. Elsewhere, put promtool and prometheus into PATH."; exit 1; }
	@mkdir -p $(VENV)/prometheus
	@cd $(VENV)/prometheus && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb
	@$@ --version | head -n 1

lock: $(BIN)/uv
	@$(BIN)/uv pip compile pyproject.toml --group dev --extra benchmarks --extra loop --universal --python-version 3.11 \
		--annotation-style line --custom-compile-command "make lock" $(CUDA:%=--no-emit-package %) \
		$(if $(UPGRADE),--upgrade) --quiet --output-file $(LOCK)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

set-up: $(SET_UP)

# Only when the lock itself cannot be installed is uv fetched by itself.
$(BIN)/uv: | $(VENV)/.python
	@$(PIP) install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' $(LOCK))"

# One stamp a stage, so that a set-up that was cut short goes on where it stopped.
$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11, 3.12 or 3.13, or name yours: make run PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make run PYTHON=python3.12"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.python $(LOCK)
	@if [ "$$(uname)" = Linux ] && [ -z "$(TORCH_ARGS)" ] && ! command -v nvidia-smi >/dev/null; then \
		echo "No GPU driver found. If this starts to download CUDA packages, stop it and run again with the address of"; \
		echo "PyTorch's CPU builds, which its install page gives: TORCH_ARGS=\"--extra-index-url ADDRESS\""; fi
	@echo "Installing $(TORCH)"
	@$(PIP) install "$(TORCH)" --constraint $(LOCK) $(TORCH_ARGS)
	@touch $@

$(SET_UP): $(VENV)/.torch $(LOCK) pyproject.toml
	@echo "Installing $$(grep -c '==' $(LOCK)) locked packages; this takes a few minutes"
	@$(PIP) install --quiet --requirement $(LOCK)
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@touch $@

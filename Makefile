# `make help` lists the commands. All of them work in a fresh clone; the only needs are Python, git and make.

# The locked packages ship wheels for these versions of Python: move them with the lock files.
OLDEST := 3, 11
NEWEST := 3, 14
FITS := import sys, ensurepip; sys.exit(not ($(OLDEST)) <= sys.version_info[:2] <= ($(NEWEST)))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach python,$(CANDIDATES),$(shell $(python) -c '$(FITS)' 2>/dev/null && echo $(python))) python3)

WORKERS ?= 2
TESTS ?= tests
BIN := .venv/bin
INSTALL := -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:
EDITABLE := -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --quiet

.PHONY: help setup demo test lint format docs bench lock clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*##/make \1\t/p' Makefile | expand -t 14

setup: .venv/ready  ## make the environment: .venv/bin/trivmap

demo: .venv/ready  ## train, sample, measure and report: phi^4 on 8 x 8, into a new directory under runs/
	$(BIN)/trivmap run quickstart

test: .venv/ready-to-develop  ## run the tests, or those named: make test TESTS=tests/actions
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --durations 10 $(TESTS)

lint: .venv/ready-to-develop  ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --warnings

format: .venv/ready-to-develop  ## fix what the linters can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/ready-to-document  ## build the documentation site, its notebooks included: docs/_build/html/index.html
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

bench: experiments/.venv/ready  ## measure the speed of training and of the samplers, beside their peers
	experiments/.venv/bin/python -m experiments.benchmarks training
	experiments/.venv/bin/python -m experiments.benchmarks hmc
	experiments/.venv/bin/python -m experiments.benchmarks cluster
	experiments/.venv/bin/python -m experiments.benchmarks sampling

lock: .venv/ready  ## choose the locked versions again from pyproject.toml
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check uv==0.13.9
	$(COMPILE) --upgrade --extra all --group build pyproject.toml --output-file requirements.lock
	$(COMPILE) --upgrade --group test --group lint --constraints requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --upgrade --group docs --constraints requirements.lock --constraints requirements-dev.lock \
		--output-file requirements-docs.lock
	$(COMPILE) --upgrade --group bench --constraints requirements.lock --output-file requirements-bench.lock

clean:  ## remove the environments
	rm -rf .venv experiments/.venv docs/_build docs/reference/api

# $(call environment,DIRECTORY): a virtual environment there, made again only where its Python is another one.
define environment
@command -v $(PYTHON) >/dev/null || { echo "trivmap needs Python, and there is no $(PYTHON) here." >&2; exit 1; }
@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if ($(OLDEST)) <= v <= ($(NEWEST)) else \
	"trivmap is set up with Python %d.%d to %d.%d, and $(PYTHON) is %d.%d: name another one, as in make setup PYTHON=python3.12." \
	% (($(OLDEST)) + ($(NEWEST)) + tuple(v)))'
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	{ echo "$(PYTHON) lacks its venv module: install it (Debian calls it python3-venv)." >&2; exit 1; }
@$(PYTHON) -c 'import os, sys; sys.exit(not os.path.isdir("$(1)/lib/python%d.%d" % sys.version_info[:2]))' || \
	$(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -c 'import pip' 2>/dev/null || $(1)/bin/python -m ensurepip >/dev/null
endef

.venv/ready: requirements.lock pyproject.toml
	$(call environment,.venv)
	@echo "Installing the packages that trivmap needs into .venv (a few hundred megabytes) ..."
	@$(BIN)/python $(INSTALL) --requirement requirements.lock
	@$(BIN)/python $(EDITABLE)
	@touch $@

.venv/ready-to-develop: .venv/ready requirements-dev.lock
	@echo "Installing the tools of development into .venv ..."
	@$(BIN)/python $(INSTALL) --requirement requirements-dev.lock
	@touch $@

.venv/ready-to-document: .venv/ready requirements-docs.lock
	@echo "Installing the tools of the documentation into .venv ..."
	@$(BIN)/python $(INSTALL) --requirement requirements-docs.lock
	@touch $@

experiments/.venv/ready: requirements.lock requirements-bench.lock pyproject.toml
	$(call environment,experiments/.venv)
	@echo "Installing trivmap and its peers into experiments/.venv ..."
	@experiments/.venv/bin/python $(INSTALL) --requirement requirements.lock
	@experiments/.venv/bin/python $(INSTALL) --requirement requirements-bench.lock
	@experiments/.venv/bin/python $(EDITABLE)
	@touch $@

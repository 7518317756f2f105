# SPDX-License-Identifier: Apache-2.0
#
# Every command that README and CONTRIBUTING name. All tools live in .venv; the first run sets
# everything up, later runs reuse it.

PYTHON ?= python3
# TensorFlow to build and test against. Everything from 2.14 to 2.21 works.
TF_VERSION ?= 2.21.0
JOBS ?= 2

VENV := .venv
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# The targets share build folders, and the test summary has to come last.
.NOTPARALLEL:
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Our own builds are strict; a user's pip install is not.
export CMAKE_ARGS ?= -DPIPEMODE_WERROR=ON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

system := build/.system-packages.stamp
tools := $(VENV)/.tools-tf$(TF_VERSION).stamp
editable := $(VENV)/.editable.stamp

cpp_files = $(shell find cpp tests/cpp -name '*.cc' -o -name '*.h')
shell_files = $(wildcard tools/*.sh) .ci/run
python_files = setup.py $(wildcard python tests/python examples benchmarks tools)

# $(call cpp_tests,<preset>): configure, build and run the C++ tests of one preset.
# Sanitizers of GCC 11 to 13 cannot map their shadow memory under the wide address randomisation of
# newer kernels, so it is switched off where that is allowed.
define cpp_tests
	cmake --preset $1
	cmake --build --preset $1
	launcher=(setarch "$$(uname -m)" -R); "$${launcher[@]}" true 2> /dev/null || launcher=(); \
	"$${launcher[@]}" ctest --preset $1
endef

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Train a model on images that arrive through FIFOs
	python examples/demo.py

.PHONY: test
test: build test-cpp asan tsan test-python ## Run all tests: C++, sanitizers, Python

.PHONY: test-cpp
test-cpp: $(tools) ## Run the C++ tests
	$(call cpp_tests,release)

.PHONY: asan
asan: $(tools) ## Run the C++ tests under AddressSanitizer and UBSan
	$(call cpp_tests,asan)

.PHONY: tsan
tsan: $(tools) ## Run the C++ tests under ThreadSanitizer
	$(call cpp_tests,tsan)

.PHONY: test-python
test-python: build ## Run the Python tests
	python -m pytest

.PHONY: lint
lint: style tidy ## Check style, types, licence lines and clang-tidy's findings

.PHONY: style
style: $(tools) ## The quick part of lint
	ruff check $(python_files)
	ruff format --check $(python_files)
	mypy
	@echo clang-format --dry-run -Werror
	@clang-format --dry-run -Werror $(cpp_files)
	python tools/check_spdx.py
	if command -v shellcheck > /dev/null; then shellcheck $(shell_files); fi

.PHONY: tidy
tidy: $(tools) ## Run clang-tidy over the C++ core
	cmake --preset tidy > /dev/null
	find cpp/core -name '*.cc' -print0 \
	  | xargs -0 -n 1 -P $(JOBS) clang-tidy --quiet -p build/tidy 2>&1 \
	  | { grep -v 'warnings generated\.$$' || true; }

.PHONY: format
format: $(tools) ## Format all sources in place
	ruff check --fix-only --quiet $(python_files)
	ruff format $(python_files)
	clang-format -i $(cpp_files)

.PHONY: build
build: $(editable) ## Build the extension modules in place
	python setup.py --quiet build_ext --inplace

.PHONY: wheel
wheel: $(tools) ## Build a wheel for this Python and TensorFlow into dist/
	pip wheel --no-build-isolation --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## Remove everything built; .venv stays
	rm -rf build dist $(editable)
	rm -rf python/*.egg-info python/sagemaker_tensorflow/_oplib python/sagemaker_tensorflow/*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(system): tools/install_system_packages.sh
	tools/install_system_packages.sh $(PYTHON)
	mkdir -p $(@D)
	touch $@

# The system's packages are no reason to install anew, but making a .venv may need them.
$(tools): requirements-dev.txt | $(system)
	$(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.tools-*.stamp
	pip install --quiet tensorflow-cpu==$(TF_VERSION) -r requirements-dev.txt
	# Keras 2. Without its dependencies, or a second TensorFlow would come with it.
	pip install --quiet --no-deps 'tf_keras==$(basename $(TF_VERSION)).*'
	touch $@

$(editable): $(tools) pyproject.toml setup.py
	pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

# SPDX-License-Identifier: Apache-2.0
#
# Every command that README and CONTRIBUTING name. All tools live in .venv; the first run sets
# everything up, later runs reuse it.

PYTHON ?= python3
# TensorFlow to build and test against. Everything from 2.14 to 2.21 works.
TF_VERSION ?= 2.21.0
JOBS ?= 2
# For example WHEEL_OPTIONS='--tensorflow 2.14.1 2.21.0', MATRIX_OPTIONS='--python 3.12'.
WHEEL_OPTIONS ?=
MATRIX_OPTIONS ?=
# For test-slow, for example: -k kill
PYTEST_OPTIONS ?=
# For example: --quick --case gzip
BENCH_OPTIONS ?=
# For each fuzz target. For example: FUZZ_OPTIONS='inflate_fuzzer stream_fuzzer' or --coverage
FUZZ_SECONDS ?= 60
FUZZ_OPTIONS ?=

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
test_system := build/.test-packages.stamp
bench_system := build/.bench-packages.stamp
tools := $(VENV)/.tools-tf$(TF_VERSION).stamp
editable := $(VENV)/.editable.stamp

cpp_files = $(shell find cpp tests/cpp -name '*.cc' -o -name '*.h')
shell_files = $(wildcard tools/*.sh docker/*.sh) .ci/run
python_files = setup.py $(wildcard python tests/python examples benchmarks tools cpp/fuzz)

# $(call configure,<preset>): configure one preset, against the TensorFlow in .venv.
define configure
	tensorflow=$$(python -c "import importlib.util as u; print(*u.find_spec('tensorflow').submodule_search_locations)"); \
	cmake --preset $1 -DTENSORFLOW_ROOT="$$tensorflow" -DTENSORFLOW_MINOR=$(basename $(TF_VERSION))
endef

# $(call cpp_tests,<preset>): configure, build and run the C++ tests of one preset.
# Sanitizers of GCC 11 to 13 cannot map their shadow memory under the wide address randomisation of
# newer kernels, so it is switched off where that is allowed.
define cpp_tests
	$(call configure,$1)
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

.PHONY: check
check: build test-cpp style ## Run the tests that need no whole program, and style: minutes
	python -m pytest --numprocesses $(JOBS) --dist worksteal -m 'not slow and not long'

.PHONY: test
test: build test-cpp asan tsan fuzz-check test-python ## Run all tests: C++, sanitizers, Python

.PHONY: test-cpp
test-cpp: $(tools) ## Run the C++ tests
	$(call cpp_tests,release)

.PHONY: asan
asan: $(tools) ## Run the C++ tests under AddressSanitizer and UBSan
	$(call cpp_tests,asan)

.PHONY: tsan
tsan: $(tools) ## Run the C++ tests under ThreadSanitizer
	$(call cpp_tests,tsan)

.PHONY: fuzz-check
fuzz-check: build-fuzz ## Replay the fuzz targets' corpus and fuzz each for two seconds
	python cpp/fuzz/make_corpus.py --check
	python tools/fuzz.py --seconds 2 --jobs $(JOBS)

.PHONY: fuzz
fuzz: build-fuzz ## Fuzz each target for FUZZ_SECONDS
	python tools/fuzz.py --seconds $(FUZZ_SECONDS) --keep build/fuzz/corpus $(FUZZ_OPTIONS)

.PHONY: build-fuzz
build-fuzz: $(tools) $(test_system)
	cmake --preset fuzz
	cmake --build --preset fuzz

.PHONY: test-python
test-python: build ## Run the Python tests
	python -m pytest -m 'alone and not slow'
	python -m pytest --numprocesses $(JOBS) --dist worksteal -m 'not alone and not slow'

.PHONY: test-slow
test-slow: build ## Run the Python tests that take minutes: load, many kills, large objects
	python -m pytest -m slow $(PYTEST_OPTIONS)

.PHONY: bench
bench: build $(bench_system) ## Measure how fast channels are read
	python -m sagemaker_tensorflow bench --output build/bench $(BENCH_OPTIONS)

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
tidy: $(tools) ## Run clang-tidy over the C++ core, the op and the Python module
	$(call configure,tidy) -DPython_EXECUTABLE="$$(command -v python)" > /dev/null
	find cpp/core cpp/tf cpp/python -name '*.cc' -print0 \
	  | xargs -0 -n 1 -P $(JOBS) clang-tidy --quiet -p build/tidy 2>&1 \
	  | { grep -v 'warnings generated\.$$' || true; }

.PHONY: check-pins
check-pins: $(tools) ## Check that every Python has all that requirements-dev.txt pins
	python tools/check_pins.py

.PHONY: format
format: $(tools) ## Format all sources in place
	ruff check --fix-only --quiet $(python_files)
	ruff format $(python_files)
	clang-format -i $(cpp_files)

.PHONY: build
build: $(editable) ## Build the extension modules in place
	python setup.py --quiet build_ext --inplace

.PHONY: wheel
wheel: $(tools) ## Build the wheel for this Python and all TensorFlows into dist/
	python tools/build_wheel.py $(WHEEL_OPTIONS)

.PHONY: sdist
sdist: $(tools) ## Build the source distribution into dist/
	python tools/build_wheel.py --sdist

.PHONY: test-matrix
test-matrix: $(tools) ## Test the wheel with many TensorFlows and Pythons: hours
	python tools/test_matrix.py $(MATRIX_OPTIONS)

.PHONY: clean
clean: ## Remove everything built; .venv stays
	rm -rf build dist $(editable)
	rm -rf python/*.egg-info python/sagemaker_tensorflow/_oplib python/sagemaker_tensorflow/*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(system): tools/install_system_packages.sh
	tools/install_system_packages.sh $(PYTHON)
	mkdir -p $(@D)
	touch $@

$(test_system): tools/install_system_packages.sh
	tools/install_system_packages.sh --test $(PYTHON)
	mkdir -p $(@D)
	touch $@

$(bench_system): tools/install_system_packages.sh
	tools/install_system_packages.sh --bench $(PYTHON)
	mkdir -p $(@D)
	touch $@

# The system's packages are no reason to install anew, but making a .venv may need them.
$(tools): requirements-dev.txt | $(system)
	$(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.tools-*.stamp
	pip install --quiet --no-compile tensorflow-cpu==$(TF_VERSION) -r requirements-dev.txt
	# Keras 2. Without its dependencies, or a second TensorFlow would come with it.
	pip install --quiet --no-compile --no-deps 'tf_keras==$(basename $(TF_VERSION)).*'
	# As pip does, which has one process for 15 000 files and ignores those that are no Python 3.
	python -m compileall -qq -j $(JOBS) $(VENV)/lib || true
	touch $@

$(editable): $(tools) pyproject.toml python/sagemaker_tensorflow/_version.py setup.py
	pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

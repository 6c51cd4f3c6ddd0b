# make demo and make test set everything up by themselves; Python and make are all they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
# Tests that lie together share what is made for them, and a process that is done takes over from the others.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: install demo test lint check stubs atlas-page leaderboard docs coverage mutation bench clean

install: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: install
	$(BIN)/pure demo

test: install
	$(PYTEST)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: test lint

# pure_cli/methods.pyi: the methods of Workspace for editors, from the options that pure_cli/settings/ declares.
stubs: install
	$(BIN)/python -c 'from pathlib import Path; from pure_cli.methods import stub; Path("pure_cli/methods.pyi").write_text(stub(), encoding="utf-8")'

# The page of pure atlas, from its TypeScript: needs Node.js; what is built lies in the repository, so nothing else does.
atlas-page:
	cd pure_cli/views/atlas/source && npm ci && npm run build

# docs/leaderboard.md from benchmark/leaderboard.csv, to which it adds the rows of pure benchmark --row: ROWS=mine.csv.
leaderboard: install
	$(BIN)/python -m pure_cli.stages.benchmarking.leaderboard $(ROWS)

# The pages of docs/ as a site in build/docs, with the reference of commands and Python; a link that leads nowhere fails.
docs: install
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Lines and branches of core/ and of the store: below 95 % it fails (pyproject.toml).
coverage: install
	$(PYTEST) tests/core tests/test_workspace.py --cov

# One small fault at a time in core/: how many the tests find (docs/trust.md).
mutation: install
	$(BIN)/python -m pip install --quiet "cosmic-ray>=8.3"
	$(BIN)/python tests/benchmarks/mutants.py $(MODULES)

SHARED ?= ../shared
bench: install
	$(BIN)/python tests/benchmarks/run.py $(SHARED)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage pure-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

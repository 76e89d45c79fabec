# Each target sets up .venv on first use, and again when the pins or the package's metadata change.

VENV ?= .venv
PROFILE ?= world
WORKERS ?= 2
FIGURES ?= figures

BIN := $(VENV)/bin
READY := $(VENV)/.ready
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)

.PHONY: help figures test test-slow lab lint clean
.DEFAULT_GOAL := help

help:  ## Say what the targets do
	@echo "make figures    every figure, from nothing (PROFILE=$(PROFILE) WORKERS=$(WORKERS))"
	@echo "make test       the fast tests (under 4 minutes)"
	@echo "make test-slow  the slow tests"
	@echo "make lab        the notebooks in JupyterLab"
	@echo "make lint       style of the code and the notebooks"
	@echo "make clean      remove .venv, build/ and caches; archives in data/samples/ stay"

$(READY): requirements.lock pyproject.toml
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { \
		echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not one;" \
			"install it or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

figures: $(READY)
	$(BIN)/squbed collect --profile $(PROFILE) --workers $(WORKERS)
	$(BIN)/squbed figures --profile $(PROFILE) --output $(FIGURES)

# Two processes of one thread each; nothing is fetched from a model hub.
test test-slow: export OMP_NUM_THREADS = 1
test test-slow: export HF_HUB_OFFLINE = 1

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id --extra-keys metadata.papermill notebooks/*.ipynb

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

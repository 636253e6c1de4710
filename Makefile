# make demo    see the whole platform work        make test    see its tests pass
# Each makes .venv and installs what it needs by itself; both need only Python 3.11 or newer, and make.

PYTHON ?= python3
BIN := .venv/bin
REQUIREMENTS := pyproject.toml requirements/constraints.txt
POT := .venv/messages.pot
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint requirements/constraints.txt

.PHONY: demo test lint audit evidence translations clean
.DELETE_ON_ERROR:

demo: .venv/installed-demo
	$(BIN)/realism demo $(ARGS)

test: .venv/installed-dev
	$(BIN)/python tests/chromium.py
	$(BIN)/python tests/nginx.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)  # two processes, whose threads would fight for the cores

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of the pinned packages; says so where no advisory service can be asked.
audit: .venv/installed-dev
	$(BIN)/python .ci/audit requirements/constraints.txt

# Simulates again what the tables of docs/methods.md say, and writes them there: some forty minutes on one core. The last
# one fails where the headline interval, the comparisons or the confidence sequence miss what is promised of them.
evidence: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/thresholds.py -n 200 --write
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mixed_model.py -n 100 --designs 0 1 2 --candidates ours headline --write
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage.py -n 4000 --write

# After a change to the survey's words: brings the new ones into each language's messages.po, and compiles them.
translations: .venv/installed-dev
	$(BIN)/pybabel --quiet extract --mapping study_app/translations/babel.cfg --keywords later --sort-output --no-location \
		--output $(POT) .
	for language in de fr es zh ar; do \
		$(BIN)/pybabel --quiet update --no-fuzzy-matching --ignore-obsolete --no-wrap --ignore-pot-creation-date \
			--input-file $(POT) --output-dir study_app/translations --locale $$language --init-missing; done
	$(BIN)/pybabel --quiet compile --directory study_app/translations --statistics

.venv/installed-demo: $(REQUIREMENTS) | .venv/bin/python
	@echo "Installing what the demonstration needs (torch is the largest part) …"
	$(INSTALL) --editable '.[train,demo]'
	@touch $@

.venv/installed-dev: $(REQUIREMENTS) | .venv/bin/python
	@echo "Installing what the tests need (torch is the largest part) …"
	$(INSTALL) --editable '.[train,demo,dev]'
	@touch $@ .venv/installed-demo

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	@echo "Making the virtual environment .venv …"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python3 has no venv; install it (Debian: apt install python3-venv)"; exit 2; }

clean:
	rm -rf .venv realism-demo realism-demo-train

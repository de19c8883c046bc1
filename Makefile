# make demo    train the demo study, print its law and where its figure is
# make test    the tests, without those marked slow
# make test-slow  the tests marked slow
# make notebook   open the notebooks in JupyterLab; make notebooks runs them without it
# make lint    formatting, linting, types and import contracts
# make check   lint and test; CI does that, runs the slow tests, types the README's commands and runs the notebooks
# make lock    pin the newest versions that pyproject.toml allows (needs uv)
#
# Needs python3 (3.11 to 3.14), make and git. PYTHON=python3.13 chooses another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-slow lint check docs notebook notebooks lock clean

demo: $(VENV)/installed
	$(BIN)/scaling launch demo
	$(BIN)/scaling report demo

test: $(VENV)/installed-dev
	$(BIN)/pytest

test-slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow --durations 25

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

docs: $(VENV)/installed-dev
	$(BIN)/python -m scaling.study.schema > docs/study-file.md
	$(BIN)/python docs/make_api.py > docs/api.md

notebook: $(VENV)/installed-notebook
	$(BIN)/jupyter lab notebooks

notebooks: $(VENV)/installed-dev
	$(BIN)/python notebooks/execute.py

lock:
	uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml -c .ci/constraints.txt -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache

$(VENV)/bin/python:
ifdef UV
	uv venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
ifdef UV
	uv pip install --quiet --python $(BIN)/python -r requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps -e .
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
endif
	touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
ifdef UV
	uv pip install --quiet --python $(BIN)/python -r requirements-dev.lock
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
endif
	touch $@

# Not locked: a reader's tool, which no number depends on. Read by tomllib since old pips know no groups.
$(VENV)/installed-notebook: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["notebook"], sep="\n")' > $(VENV)/notebook.txt
ifdef UV
	uv pip install --quiet --python $(BIN)/python -r $(VENV)/notebook.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/notebook.txt
endif
	touch $@

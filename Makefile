# `make demo` and `make test` need git, make, a C/C++ compiler and Python 3.11 or later with venv, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format docs train clean

demo: $(READY)
	$(BIN)/sartor demo $(ARGS)

test: $(READY) lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check framework plugins templates tests benchmarks examples training docs/*.py
	$(BIN)/ruff format --check framework plugins templates tests benchmarks examples training docs/*.py
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix framework plugins templates tests benchmarks examples training docs/*.py
	$(BIN)/ruff format framework plugins templates tests benchmarks examples training docs/*.py

# The documentation as a site, in build/site.
docs: $(READY)
	$(BIN)/python docs/website.py

# The built-in model anew: hours on two cores. See training/README.md.
train:
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/pip install -r training/requirements.txt
	.venv-train/bin/python -m training.run

clean:
	rm -rf $(VENV) .venv-train sartor-demo build dist .pytest_cache .mypy_cache .ruff_cache

# Building llama-cpp-python takes 5 to 10 minutes once; pip caches the wheel.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	@echo "Installing; the first time, llama.cpp is compiled, which takes 5 to 10 minutes."
	$(BIN)/pip install --quiet --editable '.[all,dev]'
	touch $(READY)

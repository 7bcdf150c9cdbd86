# Every target does all the set-up that it needs: Python 3.11 to 3.13 and make are enough.
SHELL := /bin/sh
PYTHON ?= python3
JOB ?= migration
VENV := .local/venv
BIN := $(VENV)/bin
LOCAL := PYTHONPATH=plugins $(BIN)/python -m pipeline_tuner.local

# Compiled modules make Airflow start in a third of the time.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak bench lint format ui stop env docs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## measure a job's configurations on real data and print which to use (JOB=migration)
	@$(LOCAL) demo --job $(JOB)

test: setup ## run all tests but the long ones (ARGS=... goes to pytest)
	@$(LOCAL) test
	@$(BIN)/python -m pytest -m "not soak" -n 3 --dist loadfile --no-loadscope-reorder --junitxml build/tests.xml $(ARGS)

soak: setup ## run the long fault tests
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

bench: setup ## compare a job with its references (JOB=migration); results go to build/bench/
	@mkdir -p build/bench
	@eval "$$($(LOCAL) env --job $(JOB))" && PYTHONPATH=.:plugins:spark_jobs $(BIN)/python -m benchmarks.$(JOB) $(ARGS)

lint: setup ## check style, imports and types
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy plugins spark_jobs

format: setup ## rewrite the code in the project's style
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

ui: setup ## start Airflow with its page on this machine and print address and login
	@$(LOCAL) ui --job $(JOB)

stop: ## stop all that runs
	@test ! -x $(BIN)/python || $(LOCAL) stop

env: setup ## print lines for a shell: eval "$(make -s env)", then use plain airflow commands
	@$(LOCAL) env --job $(JOB)

docs: setup ## build the documentation site into build/site
	@PYTHONPATH=plugins:spark_jobs $(BIN)/python -m mkdocs build --strict --site-dir build/site

clean: ## stop all that runs; delete data and reports, keep what was installed and downloaded
	@test ! -x $(BIN)/python || $(LOCAL) clean
	@rm -rf build

# The lock was installed where its copy lies in the environment: an unchanged lock costs nothing.
setup:
	@cmp -s requirements.lock $(VENV)/requirements.lock || $(MAKE) --no-print-directory install

.PHONY: install
install:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@PYTHONPATH=plugins $(PYTHON) -m pipeline_tuner.local.install

# LILE: two commands for a new user (`make demo`, `make test`), a few more for those who work on it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
CORES ?= all
STAMP := $(VENV)/.installed

# Everything runs inside .venv: no activation, nothing installed elsewhere.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all bench lint format mlflow lock clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP)  ## create .venv with the locked dependencies and this package

# uv, not pip: it resolves torch together with a torchvision that fits it.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python 3.11 is needed: install it or name one with 'make PYTHON=/path/to/python3.11 ...'"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup  ## the whole workflow on drawn images, ending with a table of recalls (five minutes)
	$(BIN)/snakemake --cores $(CORES) results/tables/demo.csv
	@$(BIN)/python workflow/scripts/show_table.py results/tables/demo.csv

# One process a core, one thread each: small tensors on several threads wait more than they compute.
test: setup  ## the tests that need no cluster, GPU or browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slurm and not gpu and not browser" $(TEST)

test-all: setup  ## every test that this machine can run
	$(BIN)/python -m pytest $(TEST)

# One section: make bench SECTION=pairs. More: make bench BENCH="--long --threads 2".
bench: setup  ## measure the matching engine on an idle machine (ten minutes): tables in benchmarks/results
	$(BIN)/python -m benchmarks.run $(SECTION) $(BENCH)

lint: setup  ## style, types, and the workflow's own lints
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/python .ci/lint_workflow.py

format: setup  ## bring all code into shape
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# Where a config says tracking.uri, name it here, too: make mlflow MLFLOW_TRACKING_URI=sqlite:////data/runs.db
mlflow: setup  ## open the recorded runs in a browser: http://127.0.0.1:5000
	@uri=$${MLFLOW_TRACKING_URI:-sqlite:///results/mlflow/mlflow.db}; \
	case $$uri in \
	  http://*|https://*) echo "The runs are on a server: $$uri" | sed 's#//[^/]*@#//#'; exit ;; \
	  sqlite:///*) test -f "$${uri#sqlite:///}" || { echo "No runs in $$uri yet: make demo"; exit 1; } ;; \
	esac; \
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --backend-store-uri "$$uri"

lock:  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --python-version 3.11 --upgrade --output-file requirements.lock --quiet

clean:  ## remove .venv and caches; results/, resources/ and work/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

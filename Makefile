# Everything runs in a virtual environment of the project's own, made from the lock file with hashes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A file of tests stays in one process: the cluster that it shares is started once.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help venv demo test e2e e2e-oldest containers images cluster cluster-down kind kind-down lint crds bench patterns failures lock clean format

help: ## show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

venv: $(STAMP) ## make the virtual environment

demo: $(STAMP) ## watch a saga undo itself, on an embedded cluster
	$(BIN)/python examples/order/demo.py

test: $(STAMP) ## unit, embedded and chart tests: no Go, no cluster
	$(BIN)/python -m pytest tests -m "not e2e and not containers and not bench" $(WORKERS)

e2e: $(STAMP) ## the scenario suite on a real control plane (needs Go)
	$(BIN)/python -m pytest tests -m e2e

e2e-oldest: $(STAMP) ## the same on the oldest Kubernetes that is supported: before a release (needs Go)
	BACKSTAY_KUBERNETES=oldest $(BIN)/python -m pytest tests -m e2e

containers: $(STAMP) ## the same in real containers, and the troubles that only they have (needs Go and root)
	$(BIN)/python -m pytest tests -m containers

images: $(STAMP) ## the images for clusters without a registry, into the user's cache (Debian 12)
	$(BIN)/python -m tests.cluster.images

cluster: $(STAMP) ## a cluster with real containers, the chart in it, and an order (needs Go and root, no Docker)
	$(BIN)/python -m tests.cluster up

cluster-down: $(STAMP) ## take it away again
	$(BIN)/python -m tests.cluster down

kind: $(STAMP) ## the same with kind (needs Docker and kind)
	$(BIN)/python -m tests.cluster up --with kind

kind-down: $(STAMP) ## take it away again
	$(BIN)/python -m tests.cluster down --with kind

bench: $(STAMP) ## figures: throughput, latency, writes
	$(BIN)/python -m pytest tests/bench -m bench -s

lint: $(STAMP) ## ruff, mypy --strict, import layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m backstay.api.crd --check crds charts/backstay/crd-bases

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

crds: $(STAMP) ## generate crds/ from the models
	$(BIN)/python -m backstay.api.crd crds charts/backstay/crd-bases

patterns: $(STAMP) ## draw docs/patterns.md anew from the manifests in examples/patterns
	$(BIN)/python -m tests.support.patterns_page

failures: $(STAMP) ## write docs/failures.md anew from tests/scenarios/catalogue
	$(BIN)/python -m tests.support.failures_page

lock: $(STAMP) ## renew the lock files (needs uv)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --upgrade --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

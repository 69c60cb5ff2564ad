# Everything runs in a virtual environment of the project's own, made from the lock file with hashes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A file of tests stays in one process: the cluster that it shares is started once.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Mostly waits for pods; each process has a control plane of its own.
TWO     := -n 2 --dist loadfile --no-loadscope-reorder

# How many universes `make simulate` plays.
RUNS ?= 20000
# How often `make chaos` kills.
KILLS   ?= 300

# How long `make soak` lasts, and whom `make compare` measures.
MINUTES ?= 60
PEER    ?= argo
BINARY  ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test e2e e2e-oldest containers images simulate chaos cluster cluster-down kind kind-down lint crds bench bench-full bench-sustained soak compare performance patterns failures lock clean format

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
	$(BIN)/python -m pytest tests -m "not e2e and not containers and not chaos and not bench" $(WORKERS)

e2e: $(STAMP) ## the scenario suite on real control planes (needs Go)
	$(BIN)/python -m pytest tests -m e2e $(TWO)

e2e-oldest: $(STAMP) ## the same on the oldest Kubernetes that is supported: before a release (needs Go)
	BACKSTAY_KUBERNETES=oldest $(BIN)/python -m pytest tests -m e2e $(TWO)

containers: $(STAMP) ## the same in real containers, and the troubles that only they have (needs Go and root)
	$(BIN)/python -m pytest tests -m containers

simulate: $(STAMP) ## the operator in RUNS=20000 small universes where everything goes wrong; KEEP=FILE keeps a tally and goes on with it
	$(BIN)/python -m tests.simulation.universe --runs $(RUNS) $(if $(KEEP),--keep $(KEEP))

chaos: $(STAMP) ## kill -9 the operator KILLS=300 times under load; goes on with a tally that is not full (needs Go)
	CHAOS_KILLS=$(KILLS) $(BIN)/python -m pytest tests/chaos -m chaos -s

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

bench: $(STAMP) ## figures in a few minutes: throughput, latency, writes, cost, recovery
	$(BIN)/python -m pytest tests/bench -m "bench and not long" -s

bench-full: $(STAMP) ## the same with thousands of runs: about forty minutes
	BENCH_SIZE=full $(BIN)/python -m pytest tests/bench -m "bench and not long" -s

bench-sustained: $(STAMP) ## 1,200 three-step runs a minute, 5,640 of them at a time: twenty minutes
	BENCH_JSON=.backstay/sustained.json $(BIN)/python -m pytest tests/bench/test_sustained.py -m long -s

soak: $(STAMP) ## half of that for MINUTES=60: are memory and file handles flat?
	BENCH_JSON=.backstay/soak.json BENCH_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/bench/test_soak.py -m long -s

compare: $(STAMP) ## a peer under the same load: PEER=argo BINARY=path/to/workflow-controller
	$(BIN)/python -m tests.bench.compare --peer $(PEER) --binary $(BINARY)

performance: $(STAMP) ## draw docs/performance.md anew from the figures in docs/performance/, and from newer ones in .backstay/
	$(BIN)/python -m tests.bench.page

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

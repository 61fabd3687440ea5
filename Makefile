# Everything a developer or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/finetune-operator
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
PYTHON := .venv/bin/python
PYTEST := .venv/bin/pytest
T ?=
# Processes that share the tests of one run.
WORKERS := 2
PARALLEL := $(if $(T),-k "$(T)",-n $(WORKERS) --dist worksteal)
export KUBECONFIG OPERATOR_IMAGE TRAINER_IMAGE HUB_IMAGE UV
# Processes of several test runs share few cores: one thread each.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(UV):
	@echo "Installing uv $(UV_VERSION)"
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -q && apt-get install -q -y python3-venv; }
	@python3 -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@echo "Installing Python packages (the first time downloads 3 GB)"
	@env -u PYTHONDONTWRITEBYTECODE $(UV) sync --frozen --all-extras --group dev --python 3.11 --compile-bytecode --quiet
	@touch $@

.PHONY: setup
setup: .venv/.synced ## Make the Python environment.

.PHONY: demo
demo: setup ## Run the demo: cluster, chart, inputs, one FinetuneJob from start to published model.
	@$(PYTHON) -m tests.demo up

.PHONY: demo-down
demo-down: setup ## Remove everything that the demo made.
	@$(PYTHON) -m tests.demo down

.PHONY: demo-kind
demo-kind: setup ## The demo on a cluster of kind: docker or podman, kind, kubectl and helm, and no root.
	@$(PYTHON) -m tests.demo up kind

.PHONY: demo-kind-down
demo-kind-down: setup ## Remove the cluster of kind.
	@$(PYTHON) -m tests.demo down kind

.PHONY: test
test: setup ## Everything that CI runs: lint, unit tests, API server tests, end-to-end tests.
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory training
	@$(MAKE) --no-print-directory twins
	@$(MAKE) --no-print-directory cluster
	@$(PYTEST) -m "api_server or cluster" -q tests/cluster tests/api tests/chart tests/cli
	@$(PYTEST) -m "e2e and not alone and not longer" -q tests/e2e -n $(WORKERS) --dist loadfile
	@$(PYTEST) -m "e2e and alone and not longer" -q tests/e2e

.PHONY: lint
lint: setup ## Style, types, import contracts, spelling, links of the documentation.
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy crds/finetune_api operator/finetune_operator trainer_image/finetune_trainer cli/finetune_cli cli/finetune_client tests examples benchmarks docs release
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/yamllint --strict .
	@.venv/bin/codespell $$(git ls-files '*.py' '*.md' '*.yaml' Makefile)
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

.PHONY: unit
unit: setup ## Unit tests: a minute once Helm is built, no cluster. One of them: make unit T=name.
	@$(PYTHON) -m tests.chart.program
	@$(PYTEST) -m "not training and not api_server and not cluster and not e2e and not twins" -q $(PARALLEL)

.PHONY: training
training: setup ## Tests that load models and train them, on one and two processes: minutes.
	@$(PYTEST) tests/trainer tests/benchmarks tests/cli -m training -q $(PARALLEL)

.PHONY: twins
twins: setup ## Train the small examples on this machine, without a cluster: a few minutes.
	@$(PYTEST) tests/examples -m twins -q $(PARALLEL)

.PHONY: cluster
cluster: setup ## Start the test cluster and build the images; keeps running.
	@$(PYTHON) -m tests.cluster up
	@$(PYTHON) -m tests.cluster images

.PHONY: cluster-down
cluster-down: setup ## Stop the test cluster.
	@$(PYTHON) -m tests.cluster down

.PHONY: api
api: setup ## Tests against the real API server: schema, defaults, CEL rules.
	@$(PYTEST) -m api_server -q $(if $(T),-k "$(T)")

.PHONY: e2e
e2e: setup ## FinetuneJobs on the real cluster. One of them: make e2e T=name.
	@$(PYTEST) tests/e2e -m e2e -q $(if $(T),-k "$(T)")

.PHONY: longer
longer: cluster ## End-to-end tests that `make test` has no time for: preempted again and again, full volume, rank 0 cut off.
	@$(PYTEST) tests/e2e -m longer -q $(if $(T),-k "$(T)")

.PHONY: scale
scale: setup ## What the operator does and costs at a thousand jobs, on a control plane of its own: half an hour or more.
	@$(PYTHON) -m benchmarks.operator

.PHONY: chaos
chaos: setup ## An hour of 20 jobs and random harm, then what must always hold: make chaos JOBS=4 MINUTES=5 SEED=7.
	@$(PYTHON) -m tests.chaos $(if $(JOBS),--jobs $(JOBS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)')

.PHONY: release
release: setup ## Build a release, push images and chart: make release REGISTRY=ghcr.io/you; files in build/release.
	@$(PYTHON) -m release $(REGISTRY)

.PHONY: generate
generate: setup ## Regenerate the committed files that say so in their first line.
	@$(PYTHON) -m finetune_api.crd crds/finetunejobs.yaml
	@$(PYTHON) -m finetune_api.reference docs
	@$(PYTHON) -m finetune_cli.reference docs
	@$(PYTHON) -m finetune_trainer.prepare.checks.signing
	@$(PYTHON) -m tests.chart.dashboards
	@$(PYTHON) -m tests.chart.values_table
	@$(PYTHON) -m tests.contract.faults
	@.venv/bin/ruff format --quiet .

.PHONY: format
format: setup ## Format the code.
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

.PHONY: clean
clean: ## Remove what was built in this checkout.
	@rm -rf build .venv

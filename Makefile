# `make` alone lists the targets. It needs only Python 3.11 or newer, and make (GNU, 3.81 or newer).

PYTHON ?= python3
VENV ?= .venv
SCENARIO ?=
NAME ?= orders
BENCH_ROUNDS ?=
ARGS ?=
# Seconds that one test may take. A test that needs longer says so with a marker.
TEST_TIMEOUT ?= 120

BIN := $(VENV)/bin
# Every file must match its hash, and nothing is built from a source of which the build tools are not pinned.
INSTALL := $(BIN)/python -m pip install --quiet --require-hashes --only-binary=:all:
INSTALL_SELF := $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
# Most tests wait for a server: three at a time fill two cores.
PYTEST := $(BIN)/python -m pytest --numprocesses=3 --dist=loadgroup --timeout=$(TEST_TIMEOUT)
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)
LOCKS := requirements/runtime.txt requirements/demo.txt requirements/dev.txt requirements/docs.txt requirements/scan.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo example test test-all lint format bench lock clean again docs panels screenshots image chart kind-up dev deploy job scan e2e kind-down

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo ## Run the demo against a dev server of its own (SCENARIO=strict: another scenario)
	@$(BIN)/fanout demo $(SCENARIO) $(ARGS)

example: $(VENV)/.demo ## Run one of the examples (NAME=orders, pipeline, deployment or report)
	@$(BIN)/python -m examples.$(NAME) $(SCENARIO) $(ARGS)

test: $(VENV)/.dev ## Run all tests that need nothing but this machine (ARGS="-k word": some of them)
	$(PYTEST) tests/unit tests/integration tests/replay $(ARGS)

# What needs a cluster is not run beside anything else: it has the same two cores.
test-all: $(VENV)/.dev ## Run the whole of tests/, also what needs a cluster
	$(PYTEST) tests --ignore=tests/e2e $(ARGS)
	$(MAKE) e2e

lint: $(VENV)/.dev ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --explicit-package-bases src tests benchmarks examples monitoring docs deploy

format: $(VENV)/.dev ## Put the code into the one format, and fix what can be fixed
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(VENV)/.dev ## Run the benchmarks (BENCH_ROUNDS=5: rounds of each)
	$(if $(BENCH_ROUNDS),BENCH_ROUNDS=$(BENCH_ROUNDS) )$(BIN)/python -m benchmarks.bench $(ARGS)

# Each lock is bound by the one before it, so the same package has the same version in all of them.
# uv asks the index that pip is set up for. None of it gets into a file.
lock: $(BIN)/uv ## Write the lock files anew (UPGRADE=1: with the newest versions)
	@index="$${UV_DEFAULT_INDEX:-$$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1)}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; set -e; \
	$(COMPILE) pyproject.toml -o requirements/runtime.txt; \
	$(COMPILE) pyproject.toml --extra devserver --group build -c requirements/runtime.txt -o requirements/demo.txt; \
	$(COMPILE) pyproject.toml --extra devserver --group dev -c requirements/demo.txt -o requirements/dev.txt; \
	$(COMPILE) pyproject.toml --extra devserver --group dev --group docs -c requirements/dev.txt -o requirements/docs.txt; \
	$(COMPILE) requirements/scan.in -o requirements/scan.txt
	@if grep -nE '://|^ *-(-index|-extra|-find|-trusted|f|i)|@ ' $(LOCKS); then \
		echo "make lock: the lines above name a place to download from; take them out" >&2; exit 1; fi

docs: $(VENV)/.docs ## Build the pages and the API reference into build/docs; a broken link fails
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder dirhtml --conf-dir docs . build/docs

panels: $(VENV)/.docs ## Draw docs/panels.png: what the dashboard shows, asked of a real Prometheus (Debian: apt install prometheus)
	$(BIN)/python -m docs.panels

screenshots: $(VENV)/.dev ## Take the pictures of docs/tutorial.md in the Web UI (Debian: apt install chromium)
	$(BIN)/python -m docs.screenshots

# On Kubernetes: a cluster of kind on this machine, with docker, kind, kubectl, helm and, for `dev`, skaffold. What is done
# there is done by name: whatever cluster kubectl is set to, no other is touched.

CLUSTER ?= fanout
NAMESPACE ?= default
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE := temporal-fanout:$(VERSION)
KUBECTL := kubectl --context kind-$(CLUSTER) --namespace $(NAMESPACE)
HELM := helm --kube-context kind-$(CLUSTER) --namespace $(NAMESPACE)

image: ## Build the image
	docker build --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD || echo unknown) .

chart: $(VENV)/.dev ## Make what is made of the chart: its schema, tables, copies, and deploy/jobs
	$(BIN)/python -m deploy.generate

kind-up: image ## Bring up the cluster of kind.yaml, and load the image
	@kind get clusters 2>/dev/null | grep -qx $(CLUSTER) || kind create cluster --name $(CLUSTER) --config kind.yaml --wait 3m
	kind load docker-image --name $(CLUSTER) $(IMAGE)

dev: ## Build, deploy and run the default scenario again on each change (ARGS="-p monitoring": with Prometheus and Grafana)
	skaffold dev --kube-context kind-$(CLUSTER) --namespace $(NAMESPACE) $(ARGS)

# The tag stays the same: the image's id starts the pods anew when it has changed.
deploy: kind-up ## Install the chart, or upgrade it (ARGS="--set worker.replicas=4")
	@id=$$(docker image inspect --format '{{.Id}}' $(IMAGE)); \
	$(HELM) upgrade --install fanout chart --wait --set worker.podAnnotations.image=$$id,exporter.podAnnotations.image=$$id $(ARGS)

job: ## Run the default scenario as a Job and follow its log (SCENARIO=stress: another)
	@job=fanout-$(or $(SCENARIO),default)-$$(date +%s); \
	$(KUBECTL) create job --from=cronjob/fanout-$(or $(SCENARIO),default) $$job || exit; \
	for try in $$(seq 60); do $(KUBECTL) logs --follow job/$$job 2>/dev/null && break; sleep 1; done; \
	$(KUBECTL) wait --for='jsonpath={.status.conditions}' --timeout=60s job/$$job >/dev/null && \
	test "$$($(KUBECTL) get job/$$job --output 'jsonpath={.status.succeeded}')" = 1

scan: $(VENV)/.scan ## Check the Dockerfile and the chart for what is known to be unwise
	$(VENV)/scan/bin/hadolint Dockerfile
	helm lint --strict chart
	for values in chart/ci/*-values.yaml; do \
		helm template fanout chart --namespace fanout --values $$values > $(VENV)/scan/rendered.yaml && \
		$(VENV)/scan/bin/checkov --config-file .checkov.yaml --file $(VENV)/scan/rendered.yaml || exit; done

e2e: $(VENV)/.dev ## Run the tests on the cluster, one after the other (ARGS="-k drained": some of them)
	$(BIN)/python -m pytest --timeout=$(TEST_TIMEOUT) tests/e2e $(ARGS)

kind-down: ## Delete the cluster
	kind delete cluster --name $(CLUSTER)

clean: ## Remove the environment, the caches and what was built
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Each stamp says what is installed in it; dev holds all that demo holds.

# Another Python than the one that made the environment, when asked for by name, makes it anew.
ifneq ($(origin PYTHON),file)
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(PYTHON))
$(VENV)/.made: again
endif
endif

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON): install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: name a newer one with PYTHON=..." % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) lacks its module venv: install it (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@echo '$(PYTHON)' > $@

$(VENV)/.demo: $(VENV)/.made requirements/demo.txt pyproject.toml
	@echo "Installing requirements/demo.txt and the project into $(VENV)"
	@$(INSTALL) -r requirements/demo.txt
	@$(INSTALL_SELF)
	@$(BIN)/python -m pip check >/dev/null || { $(BIN)/python -m pip check; echo "make: pyproject.toml asks for what the locks lack: run make lock" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/.made requirements/dev.txt pyproject.toml
	@echo "Installing requirements/dev.txt and the project into $(VENV)"
	@$(INSTALL) -r requirements/dev.txt
	@$(INSTALL_SELF)
	@$(BIN)/python -m pip check >/dev/null || { $(BIN)/python -m pip check; echo "make: pyproject.toml asks for what the locks lack: run make lock" >&2; exit 1; }
	@touch $(VENV)/.demo $@

$(VENV)/.docs: $(VENV)/.dev requirements/docs.txt
	@echo "Installing requirements/docs.txt into $(VENV)"
	@$(INSTALL) -r requirements/docs.txt
	@touch $@

# Apart from the others: the scanner wants other versions than we do.
$(VENV)/.scan: $(VENV)/.made requirements/scan.txt
	@echo "Installing requirements/scan.txt into $(VENV)/scan"
	@$(BIN)/python -m venv --clear $(VENV)/scan
	@$(VENV)/scan/bin/python -m pip install --quiet --require-hashes --only-binary=:all: -r requirements/scan.txt
	@touch $@

# By itself, so that a lock which no longer fits pyproject.toml can be written anew.
$(BIN)/uv: | $(VENV)/.made
	@echo "Installing requirements/dev.txt into $(VENV)"
	@$(INSTALL) -r requirements/dev.txt

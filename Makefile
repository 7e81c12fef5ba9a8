# The entry point: `make` lists its targets. Needs a Python of PYTHONS with pip and venv, or uv, and make (README, Start).
# All paths are relative, so that the folder may be anywhere and its name may contain a space.

PORT ?= 8080
UP_WITHIN_SECONDS ?= $(or $(shell sed -n 's/^UP_WITHIN_SECONDS=//p' .env),600)
SHELL := /bin/sh
RUN := .venv/bin/python -m
UV := $(RUN) uv pip
PYTHONS := 3.14 3.13 3.12 3.11
SUPPORTED := Python 3.11, 3.12, 3.13 or 3.14
IS_SUPPORTED := import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())
COMPOSE = COMPOSE_PROFILES='$(PROFILES)' docker compose -f docker-compose.yaml $(if $(DEV),-f deploy/dev.yaml) \
	--env-file .env $(if $(findstring local-cloud,$(PROFILES)),--env-file deploy/local-cloud.env) \
	$(if $(findstring metrics,$(PROFILES)),--env-file deploy/metrics/metrics.env) \
	$(if $(wildcard $(DIGESTS)),--env-file $(DIGESTS))
DIGESTS := deploy/digests.env
STACK := docker compose --profile '*'
IN_STEP := test -x .venv/bin/python && cmp -s requirements-dev.txt .venv/requirements-dev.txt

# Looked for once, and only by the targets that need one before .venv is there.
ifndef PYTHON
PYTHON = $(eval PYTHON := $$(shell sh devtools/python.sh $(MAY_DOWNLOAD) '$$(IS_SUPPORTED)' $$(PYTHONS)))$(PYTHON)
endif

DEMO_TAKES := COLOUR FLOW MONTH MONTHS SOURCE YEAR
DEMO_CHOICE = $(if $(FLOW),--flow '$(FLOW)') $(if $(SOURCE),--source '$(SOURCE)') $(if $(COLOUR),--colour '$(COLOUR)') \
	$(if $(MONTH),--month '$(MONTH)') $(if $(MONTHS),--months '$(MONTHS)') $(if $(YEAR),--year '$(YEAR)')

# A variable with another name would silently do nothing. Names with an underscore are settings, such as PIP_INDEX_URL.
TAKES := $(if $(filter-out demo,$(MAKECMDGOALS)),ARGS DEV PORT PROFILES) PYTHON $(DEMO_TAKES)
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN := $(foreach name,$(filter-out $(TAKES) SHELL,$(GIVEN)),$(if $(findstring _,$(name)),,$(name)))
$(if $(UNKNOWN),$(error unknown variable $(addsuffix =,$(UNKNOWN)); expected one of $(sort $(TAKES))))

# Airflow starts many processes. Without bytecode each of them would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo ui test lint lint-page bench bench-backfill bench-history psql sql doctor status metrics prune catalog docs lock wheels newest-airflow layout test-chart clean up push digests down logs ps test-stack test-faults

help: ## list these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: .demo-choice install ## load months with the real Dags and query them [FLOW=bigquery|duckdb SOURCE=... COLOUR=... MONTH=YYYY-MM MONTHS=YYYY-MM..YYYY-MM YEAR=YYYY]
	@$(RUN) devtools.demo $(DEMO_CHOICE)

# Before the installation, which takes a minute, the demo's variables are checked. An unsupported Python is told of there.
.PHONY: .demo-choice
.demo-choice:
	@$(IN_STEP) || ! '$(PYTHON)' -c '$(IS_SUPPORTED)' 2>/dev/null || '$(PYTHON)' -m devtools.demo.choice $(DEMO_CHOICE)

ui: install ## run Airflow with its web page, until Ctrl-C [PORT=8080]
	@$(RUN) devtools.ui --port '$(PORT)'

test: lint ## run the linters and the tests [ARGS="-k month"]
	@$(RUN) pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install $(if $(shell command -v npm),lint-page) ## check style, types, workflows and, with npm, the page's JavaScript
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*
	@$(RUN) check_jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*
	@.venv/bin/zizmor --offline --quiet .github

lint-page: ## check the page's JavaScript with ESLint and Prettier; needs npm
	@cd devtools/page && { test node_modules/.package-lock.json -nt package-lock.json || npm ci --silent --no-audit --no-fund; }
	@cd devtools/page && npm run --silent lint

bench: install ## measure speed and memory of the core [ARGS=--quick]
	@$(RUN) benchmarks $(ARGS)

bench-backfill: install ## measure a backfill beside one of a bare Dag [ARGS="--months 24 --rows 60000"]
	@$(RUN) benchmarks.backfill $(ARGS)

bench-history: install ## measure daily runs that load every published month, at a thousandth of its size [ARGS="--last 3"]
	@$(RUN) benchmarks.whole_history $(ARGS)

psql: install ## open a SQL prompt in the embedded warehouse [ARGS="-c 'select 1'"]
	@$(RUN) devtools.run psql $(ARGS)

sql: install ## ask the lake in SQL, at a prompt or at once [ARGS="'select count(*) from green_taxi_trips'"]
	@$(RUN) devtools.run sql $(ARGS)

doctor: ## check this machine, .env, and that sources, lake, warehouse and cloud answer [PORT=8080]
	@if test -x .venv/bin/python; then $(RUN) devtools.doctor --port '$(PORT)'; else $(MAKE) --no-print-directory -s .doctor-at-first; fi

.PHONY: .doctor-at-first
.doctor-at-first:
	@'$(PYTHON)' -c '' 2>/dev/null || { echo "problem  $(PYTHON) is missing; expected $(SUPPORTED): make doctor PYTHON=python3.13"; exit 1; }
	@'$(PYTHON)' -m devtools.doctor --port '$(PORT)'

status: install ## list which months are loaded, and whether they are up to date [ARGS="--target lake --json"]
	@$(RUN) devtools.run status $(ARGS)

metrics: install ## serve the state of the months as metrics for Prometheus, until Ctrl-C (docs/watching.md) [ARGS="--port 9465"]
	@$(RUN) devtools.run metrics $(ARGS)

prune: install ## delete the bytes of old editions in raw/ [ARGS="--keep 2 --dry-run"]
	@$(RUN) devtools.run prune $(ARGS)

catalog: install ## list the published files and their eras, and write docs/catalog.md
	@$(RUN) devtools.catalog_docs --markdown > docs/catalog.md
	@$(RUN) devtools.catalog_docs

docs: install ## write docs/dags.md, docs/catalog.md and docs/architecture.md from the code
	@$(RUN) devtools.dags_docs
	@$(RUN) devtools.catalog_docs --markdown > docs/catalog.md
	@$(RUN) devtools.import_graph

up: ## build and start the stack in Docker, and wait until it is healthy (docs/stack.md) [PROFILES=tools,local-cloud,metrics] [DEV=1] [ARGS=...]
	@$(STACK) rm --force secrets >/dev/null 2>&1 || true
	@$(COMPOSE) up $(if $(TAXI_PULL_POLICY),--no-build,--build) --detach --wait --wait-timeout '$(UP_WITHIN_SECONDS)' $(ARGS) || { $(STACK) logs --no-log-prefix --tail 3 secrets migrate; exit 1; }
	@$(STACK) logs --no-log-prefix --tail 1 migrate | sed -n 's/^blocks: //p'
	@echo "Airflow: http://localhost:$${API_PORT:-8080}, user admin; all passwords are in deploy/secrets/secrets.env"

push: ## build the image of the stack and push it to its registry [TAXI_IMAGE=registry.example.org/team/nyc-taxi:1]
	@test -n '$(TAXI_IMAGE)' || { echo "TAXI_IMAGE is not set; expected the image's name, with its registry: make push TAXI_IMAGE=registry.example.org/team/nyc-taxi:1" >&2; exit 1; }
	@$(COMPOSE) build secrets && $(COMPOSE) push secrets

digests: install ## ask the registries for the digests of the official images, and write deploy/digests.env
	@$(RUN) devtools.digests

down: ## stop the stack and keep its data [ARGS=--volumes]
	@$(STACK) down $(ARGS)

logs: ## show the logs of the stack, until Ctrl-C [ARGS=worker-default]
	@$(STACK) logs --follow --tail 100 $(ARGS)

ps: ## list the containers of the stack and their health
	@$(STACK) ps --all

test-stack: install ## run the stack in Docker, kill its parts during loads, and remove it [ARGS="--only start scale"]
	@$(RUN) tests.stack $(ARGS)

test-faults: install ## try faults on the flows, with a reader meanwhile, and count rows [ARGS="--short --only lake"]
	@$(RUN) devtools.faults $(ARGS)

# With extras, because pip takes celery[redis] for another package than a locked celery, and then lacks its hash.
lock: install ## compile the locks from their .in files, and list the wheels in devtools/wheels.txt [ARGS=--upgrade]
	@for name in requirements requirements-extra requirements-dev devtools/emulators/requirements; do \
		$(UV) compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-emit-index-url $(ARGS) \
			--custom-compile-command 'make lock' --output-file $$name.txt $$name.in || exit; \
	done
	@$(RUN) devtools.wheels --write

wheels: install ## let uv resolve the lock for each supported Python and platform, from wheels alone
	@$(RUN) devtools.wheels

newest-airflow: install ## try the bundle with the newest Airflow of the index, in a throw-away environment [ARGS=--prerelease]
	@$(RUN) devtools.newest_airflow $(ARGS)

test-chart: install ## render deploy/kubernetes with Helm and the official chart, and check it against the schema of Kubernetes
	@command -v helm >/dev/null || { echo 'helm is missing; install it: https://helm.sh/docs/intro/install' >&2; exit 1; }
	@mkdir -p .local && helm pull airflow --repo https://airflow.apache.org --version 1.22.0 --destination .local
	@AIRFLOW_CHART=.local/airflow-1.22.0.tgz $(RUN) pytest tests/deploy/test_helm_values.py $(ARGS)

layout: install ## write the bundle as a managed Airflow wants it [ARGS="astro|composer|mwaa FOLDER"]
	@$(RUN) devtools.layouts $(ARGS)

# .venv/requirements-dev.txt is a copy of the lock, written when the installation is complete: without it the installation
# starts again, and if it differs from the lock, the packages are updated.
install: ## install the locked packages into .venv (runs before every target)
	@$(IN_STEP) || $(MAKE) --no-print-directory -s .venv-in-step

.PHONY: .venv-in-step
.venv-in-step: MAY_DOWNLOAD := --download
.venv-in-step:
	@'$(PYTHON)' -c '$(IS_SUPPORTED)' 2>/dev/null || { \
		echo "$(SUPPORTED) is needed; $(PYTHON) is $$('$(PYTHON)' -V 2>/dev/null || echo missing)." \
			"Install one of them, or uv, or name another: make install PYTHON=/path/to/python3.13" >&2; exit 1; }
	@'$(PYTHON)' -m pip --version >/dev/null 2>&1 && '$(PYTHON)' -c 'import venv' 2>/dev/null || { \
		echo "$(PYTHON) has no pip or no venv module. Install uv, or on Debian: apt install python3-pip python3-venv" >&2; exit 1; }
	@'$(PYTHON)' -m devtools.install

clean: ## stop a running UI, and delete .venv, .local and caches
	@if $(IN_STEP); then $(RUN) devtools.ui --remove || echo "deleting the files anyway" >&2; fi
	@rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make up` runs the system, `make test` runs the tests. Requirements: Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
STACK := $(BIN)/python -m flashsale.stack
# Each process runs one test file at a time on its own servers.
TEST_PROCESSES ?= 3
PARALLEL = -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# For commands that read the settings and connect to no server.
NOWHERE := DJANGO_SETTINGS_MODULE=flashsale.settings.dev DATABASE_URL=postgresql://localhost/none REDIS_URL=redis:// CELERY_BROKER_URL=redis://
# Pins every package with the hashes of its files, for all platforms and Python 3.11 or later.
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --no-config --python-version 3.11 --universal --generate-hashes
# Writes HTML to var/site. A dead link is an error.
DOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: docs lock audit-dependencies bench-provider bench-door up test test-fast coverage chromium check lint rehearse bench bench-limits bench-service shapes audit clean bench-sign-in bench-rebuild bench-expiries simulate chaos soak bench-gateway bench-waiting-room canary explain

up: .venv/.runtime
	@$(STACK) up

# Timed tests run after the others, one at a time.
test: .venv/.development chromium
	$(BIN)/python -m pytest -q -m "not timed" $(PARALLEL) $(ARGS); parallel=$$?; \
	$(BIN)/python -m pytest -q -m timed $(ARGS) && exit $$parallel

# Unit and architecture tests, and integration tests that need only the servers.
test-fast: .venv/.development
	$(BIN)/python -m pytest -q -m "not timed and not slow" $(PARALLEL) $(ARGS) tests/integration tests/architecture tests/unit

# Installs Chromium. Without it, the browser tests are skipped and `.ci/run` fails.
chromium:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || echo "chromium cannot be installed here; the browser tests are skipped"

# Line and branch coverage, including child processes. Tests may fail here, because coverage slows the code down.
coverage: .venv/.development chromium
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -q $(PARALLEL) $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --sort=cover

check: lint test

lint: .venv/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(NOWHERE) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(STACK) servers -- $(BIN)/python manage.py makemigrations --check --dry-run
	$(NOWHERE) $(BIN)/python manage.py gateway_config --check
	$(NOWHERE) env $$(cat deploy/envoy/compose.env) $(BIN)/python manage.py gateway_config --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(DOCS)
	@echo "dependency audit: skipped, it needs the network; run make audit-dependencies"

rehearse: .venv/.runtime
	@$(STACK) with -- $(BIN)/python manage.py rehearse --units 500 --buyers 50000 --seconds 10 $(ARGS)

canary: .venv/.runtime
	@$(STACK) with -- $(BIN)/python manage.py rehearse --units 3000 --buyers 3000 --seconds 20 --canary 20 --canary-rate 10 --plot docs/results/canary.png $(ARGS)

bench: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_pipeline $(ARGS)

bench-cost: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_cost $(ARGS)

bench-limits: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_limits --json docs/results/limits.json $(ARGS)

bench-service: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_ratelimit_service --json docs/results/ratelimit-service.json $(ARGS)

bench-provider: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_provider --json docs/results/provider.json $(ARGS)

bench-rebuild: .venv/.development
	$(BIN)/python -m tests.load.bench_rebuild $(ARGS)

bench-expiries: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_expiries $(ARGS)

explain: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.explain --markdown docs/results/statements.md $(ARGS)

bench-door: .venv/.development
	GATEWAY_ADDRESS_RATE=1000000 GATEWAY_ADDRESS_BURST=1000000 $(STACK) with -- $(BIN)/python -m tests.load.bench_door --json docs/results/door.json $(ARGS)

bench-gateway: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_gateway --json docs/results/gateway.json $(ARGS)

bench-sign-in: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_sign_in --json docs/results/sign-in.json $(ARGS)

bench-waiting-room: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.bench_waiting_room --json docs/results/waiting-room.json $(ARGS)

shapes: .venv/.development
	$(STACK) servers -- $(BIN)/python -m tests.load.shapes

simulate: .venv/.development
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000) $(ARGS)

chaos: .venv/.development
	$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),2) $(ARGS)

soak: .venv/.development
	$(BIN)/python -m tests.chaos.soak $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),30) $(ARGS)

lock: .venv/.development
	$(LOCK) requirements/production.in -o requirements.txt
	$(LOCK) requirements/gateway.in -o requirements-gateway.txt
	$(LOCK) requirements/local.in -c requirements.txt -o requirements-local.txt
	$(LOCK) requirements/dev.in -c requirements-local.txt -o requirements-dev.txt

audit-dependencies: .venv/.development
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements-dev.txt

docs: .venv/.development
	$(DOCS)

audit: .venv/.runtime
	$(BIN)/python manage.py audit

clean:
	-test ! -x $(BIN)/python || $(STACK) clean
	rm -rf .venv var .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.runtime: requirements-local.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r requirements-local.txt
	touch $@

.venv/.development: requirements-dev.txt .venv/.runtime
	$(BIN)/pip install -q -r requirements-dev.txt
	touch $@

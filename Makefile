# `make` lists what there is. Everything happens in .venv; nothing outside this folder is changed,
# but for the Debian packages that `make test` installs when it may (see .ci/tools).

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# More arguments for the command that is run: make serve ARGS="--port 9000".
ARGS ?=
# How many processes run the tests, and which tests: make test JOBS=2 TESTS=tests/domain.
JOBS ?= auto
TESTS ?= tests
TYPED := $(wildcard gateway tests benchmarks docs grafana)

.PHONY: help serve demo test lint fix docs dashboards image-check bench bench-upstream lock clean tools

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.runtime ## run the gateway (REPLICATE_API_TOKEN=r8_… make serve)
	@exec $(PY) -m gateway serve $(ARGS)

demo: $(VENV)/.runtime ## run it with a simulated Replicate: no account, no cost
	@exec $(PY) -m gateway demo $(ARGS)

test: $(VENV)/.dev tools ## check format, lint, types and import directions, then run all tests
	@$(call step,Format)
	@$(VENV)/bin/ruff format --check . || { echo '"make fix" mends this'; exit 1; }
	@$(call step,Lint)
	@$(VENV)/bin/ruff check .
	@$(call step,Types)
	@$(VENV)/bin/mypy $(TYPED)
	@$(call step,Import directions)
	@$(VENV)/bin/lint-imports --no-logo
	@$(call step,Tests)
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup $(ARGS) $(TESTS)

lint: $(VENV)/.dev ## the same checks without the tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy $(TYPED)
	@$(VENV)/bin/lint-imports --no-logo

fix: $(VENV)/.dev ## format, and mend what the linter can mend
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

docs: $(VENV)/.dev ## rewrite the pages that are made from the code
	@$(PY) -m docs.generate

dashboards: $(VENV)/.dev ## rewrite Grafana's files, which are made from grafana/*.py
	@$(PY) -m grafana.generate

# Some minutes the first time, one later on. Not a part of `make test`: it needs root.
image-check: $(VENV)/.dev ## build the image and run it, without a container daemon (root, on Debian)
	@.ci/image-tools
	@BASE="$(BASE)" FRESH="$(FRESH)" $(PY) -m tests.image

bench: $(VENV)/.dev ## measure it side by side with its peers
	@$(PY) -m benchmarks $(ARGS)

bench-upstream: $(VENV)/.dev ## a thousand impatient clients before Replicate's own limits
	@$(PY) -m benchmarks.upstream $(ARGS)

# The locks hold for every system and Python that pyproject.toml allows, and carry digests only: no
# host, so that they hold behind any mirror. UPGRADE=1 takes the newest of everything.
LOCK = env -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	$(VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade)

CLIENT_LOCKS := $(wildcard tests/clients/*/requirements.txt)

lock: $(VENV)/.dev ## resolve the dependencies again (UPGRADE=1: the newest of all)
	@$(LOCK) pyproject.toml --extra postgres --group build -o requirements.lock >/dev/null
	@$(LOCK) pyproject.toml --all-extras --group dev -c requirements.lock \
		-o requirements-dev.lock >/dev/null
	@for lock in $(CLIENT_LOCKS); do folder=$$(dirname $$lock); \
		$(LOCK) $$folder/requirements.in \
		$$([ ! -e $$folder/overrides.txt ] || echo --override $$folder/overrides.txt) -o $$lock >/dev/null; done
	@echo "wrote requirements.lock, requirements-dev.lock and $(CLIENT_LOCKS)"

clean: ## remove the environment and everything that was built (data stays)
	@rm -rf $(VENV) build dist *.egg-info tests/clients/js/node_modules tests/clients/*/.venv
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find gateway tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

tools:
	@.ci/tools

define step
printf '\n== %s\n' '$(1)'
endef

# Each lock is installed once; a changed lock or pyproject.toml installs again, all else is instant.

$(VENV)/.runtime: requirements.lock pyproject.toml | $(PY)
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml | $(PY)
	@$(call install,requirements-dev.lock)
	@touch $(VENV)/.runtime $@

define install
set -euo pipefail; \
total=$$(grep -c '^[a-zA-Z0-9]' $(1)); count=0; \
echo "Installing $$total packages from $(1) into $(VENV) (once; half a minute or so) …"; \
$(PY) -m pip --disable-pip-version-check install --require-hashes -r $(1) \
| while read -r word name _; do \
	[ "$$word" != Collecting ] || { count=$$((count + 1)); \
	[ ! -t 1 ] || printf '\r\033[K  %d of %d: %s' "$$count" "$$total" "$$name"; }; \
done; \
[ ! -t 1 ] || printf '\r\033[K'; \
$(PIP) install --no-deps --no-build-isolation --editable .
endef

$(PY):
	@set -euo pipefail; \
	python=$$(.ci/find-python); \
	echo "Creating $(VENV) with $$python ($$("$$python" -c \
		'import platform; print(platform.python_version())'))"; \
	"$$python" -m venv --clear $(VENV)

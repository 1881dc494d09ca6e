# Everything lives in .venv and .portcullis; every target may be run again.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := .portcullis/uv/bin/uv
endif
RUN := .venv/bin/portcullis
EXTRAS := embedded web notify archive metrics state hsm

.PHONY: setup demo test check bench release audit s3 clean help

help: ## Show the targets
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready ## Install everything: Python packages, the broker's jars

.portcullis/uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Portcullis needs Python 3.11 or later' >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade --target .portcullis/uv uv

.venv/.ready: uv.lock pyproject.toml infra/kafka/pom.xml
	@if [ ! -x "$(UV)" ]; then $(MAKE) --no-print-directory .portcullis/uv/bin/uv; fi
	@UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never $(UV) sync --quiet --frozen $(foreach extra,$(EXTRAS),--extra $(extra))
	@.venv/bin/python -m compileall -q streams
	@$(RUN) broker install
	@touch $@

demo: setup ## Real ticks become signed orders, are decided, logged, stored, reported
	@$(RUN) demo

# A test that starts processes waits for a third of its time, so three at once keep two cores busy.
test: setup ## All tests
	@.venv/bin/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

check: setup ## Format, lint, types, direction of imports
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_imports.py

bench: setup ## Measure beside the leanest loop and plain Faust
	@$(RUN) bench

s3: ## Build the S3 server that the archive's tests use (with Go; 2 to 4 minutes, once)
	@GOBIN=$(CURDIR)/.portcullis/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

release: setup ## The wheel, what is in it, its licences and digests, into dist/
	@rm -rf dist && mkdir dist
	@.venv/bin/python -m hatchling build -t wheel -d dist
	@$(UV) export --quiet --frozen --no-dev $(foreach extra,$(EXTRAS),--extra $(extra)) --format cyclonedx1.5 --preview-features sbom-export -o dist/sbom.cdx.json >/dev/null
	@.venv/bin/python -m tests.licences > dist/LICENCES.md
	@cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

audit: setup ## Known vulnerabilities of the dependencies (asks osv.dev)
	@$(UV) audit --frozen

clean: ## Remove what was installed and all local data
	rm -rf .venv .portcullis

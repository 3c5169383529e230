# Largesse. `make` alone lists what can be asked for.
#
# Needs git, make and Python 3.11; everything else is installed into .venv, at the versions of
# constraints.txt. Stamps in .venv remember what is installed, so a second run begins at once.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BIN := .venv/bin
PINS := pyproject.toml constraints.txt
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
DEBIAN_TEST_PACKAGES := chromium strace wrk
# Servers that some tests start; where one cannot be had those tests say so and are skipped.
DEBIAN_TEST_SERVERS := nats-server pgbouncer postgresql-15
DEBIAN_SCREEN_FONTS := fonts-noto-color-emoji fonts-noto-cjk
ARGS ?=

.PHONY: help
help:  ## List what can be asked for.
	@echo "make <target>, where the target is:"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15

.PHONY: run
run: .venv/installed  ## Start the demo: a living economy on this machine (ARGS="--reset" begins afresh).
	@$(BIN)/largesse demo $(ARGS)

.PHONY: test
test: test-tools .venv/installed-test  ## Run every test (ARGS="tests/books" runs some).
	$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: .venv/installed-test  ## Look at style and types, without running anything.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: .venv/installed-test  ## Bring every file into the project's format.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: faults
faults: test-tools .venv/installed-test  ## Kill a serving process 200 times under load, and look at the books each time.
	LARGESSE_FAULT_ROUNDS=200 $(BIN)/python -m pytest tests/faults $(ARGS)

.PHONY: faults-long
faults-long: test-tools .venv/installed-bench  ## Break databases, disks and clocks under load (ARGS="processes --rounds 9").
	$(BIN)/python -m bench.faults $(ARGS)

.PHONY: bench
bench: test-tools .venv/installed-bench  ## Measure ledger, HTTP, sockets and start (ARGS="--quick" for a short look).
	$(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: .venv/installed-test  ## Write the tables of the documents that follow from the code.
	$(BIN)/python tests/test_docs.py

.PHONY: messages
messages: .venv/installed-test  ## Find every sentence of the pages, for those who translate them.
	$(BIN)/python scripts/messages.py

.PHONY: screens
screens: test-tools .venv/installed-test  ## Take the pictures of docs/screens anew (ARGS="room checkout" takes some).
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DEBIAN_SCREEN_FONTS) > /dev/null; \
	else \
	    echo "Names in every script need the fonts $(DEBIAN_SCREEN_FONTS)."; \
	fi
	$(BIN)/python scripts/screens.py $(ARGS)

.PHONY: constraints
constraints:  ## Pin the newest versions that pyproject.toml allows in constraints.txt.
	rm -rf .venv/pins && $(PYTHON) -m venv .venv/pins
	.venv/pins/bin/pip install --quiet -e '.[test,bench]' hatchling editables
	{ sed -n '/^#/p' constraints.txt; .venv/pins/bin/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv/pins

.PHONY: clean
clean:  ## Remove what was installed and cached here; data folders stay.
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed ---------------------------------------------------------------------------

.venv/made:
	@command -v '$(PYTHON)' > /dev/null || { \
	    echo "Python 3.11 is missing. On Debian install it with: apt-get install -y python3 python3-venv" >&2; \
	    exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) is too old: Largesse needs Python 3.11. Name another one: make run PYTHON=python3.11" >&2; \
	    exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { \
	    package="python$$('$(PYTHON)' -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        echo "Installing $$package, which makes virtual environments."; \
	        apt-get update -qq && apt-get install -y -qq "$$package" > /dev/null; \
	    else \
	        echo "Python cannot make virtual environments yet. Install that with: sudo apt-get install -y $$package" >&2; \
	        exit 1; \
	    fi; }
	@echo "Making .venv."
	@'$(PYTHON)' -m venv .venv
	@touch $@

.venv/installed: .venv/made $(PINS)
	@echo "Installing what Largesse needs into .venv; this takes a minute the first time."
	@$(INSTALL) -e .
	@touch $@

.venv/installed-test: .venv/made $(PINS)
	@echo "Installing what the tests need into .venv."
	@$(INSTALL) -e '.[test]'
	@touch $@ .venv/installed

.venv/installed-bench: .venv/installed-test
	@echo "Installing what the measurements compare with into .venv."
	@$(INSTALL) -e '.[test,bench]'
	@touch $@

.PHONY: test-tools
test-tools:
	@missing=""; \
	for tool in $(DEBIAN_TEST_PACKAGES); do \
	    command -v $$tool > /dev/null || missing="$$missing $$tool"; \
	done; \
	servers=""; \
	for server in $(DEBIAN_TEST_SERVERS); do \
	    [ -n "$$(command -v $$server)" ] || [ -x /usr/sbin/$$server ] \
	        || [ -x "/usr/lib/postgresql/$${server#postgresql-}/bin/initdb" ] \
	        || servers="$$servers $$server"; \
	done; \
	if [ -z "$$missing$$servers" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    echo "Installing$$missing$$servers, which tests use."; \
	    apt-get update -qq; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    [ -z "$$missing" ] || apt-get install -y -qq $$missing > /dev/null || exit 1; \
	    for server in $$servers; do \
	        apt-get install -y -qq --no-install-recommends $$server > /dev/null \
	            || echo "$$server cannot be installed here: the tests that start it are skipped."; \
	    done; \
	elif [ -n "$$missing" ] && [ "$$LARGESSE_TEST_BROWSER" != 0 ]; then \
	    echo "Some tests use$$missing. Install that with: sudo apt-get install -y$$missing$$servers" >&2; \
	    echo "Or run without those tests: LARGESSE_TEST_BROWSER=0 make test" >&2; \
	    exit 1; \
	else \
	    echo "Without$$missing$$servers: the tests that use them are skipped."; \
	fi

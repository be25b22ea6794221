# The two commands for a fresh machine are `make lab` and `make test`; both install what they need.
# Everything else is `.venv/bin/invoke --list`.
.DEFAULT_GOAL := help
PY := .venv/bin/python
PYTEST := .venv/bin/pytest -q
.PHONY: help setup lab test test-long check types e2e el8 vm mirror down bench format requirements

help:  ## Show the targets
	@grep -E '^[a-z0-9-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*  ## /\t/' | expand -t 14

setup:  ## Install everything that is missing (quick when nothing is)
	@bootstrap/setup.sh

lab: setup  ## A lab on this machine, the first experiment, and its report
	@.venv/bin/invoke lab.first

check: setup  ## Format, lint, types, unit tests: in a few minutes, without a lab
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PYTEST) -m "not e2e and not mirror and not long and not vm and not el8"

mirror: setup  ## Everything that a lab installs, verified or built
	@.venv/bin/invoke mirror.fill

e2e: mirror  ## End to end on one embedded lab of its own
	$(PYTEST) -m "(mirror or e2e) and not long"

el8: mirror  ## A stand-in of RHEL 8.6: the real dnf, rpm and firewalld, from a bare host to Ready and back
	$(PYTEST) -m "el8 and not long"

vm: mirror  ## The virtual machine: boot, what is wrong with it, down; alone because its processor is scarce
	$(PYTEST) -m "vm and not long"

test: check e2e el8 vm  ## Every check that fits

test-long: mirror  ## What does not fit into `make test`
	$(PYTEST) -m "long"

down:  ## Take the lab down again
	@.venv/bin/invoke lab.down --yes

bench: setup  ## Timings of the lab (see bench/README.md)
	@$(PY) bench/run.py
	@$(PY) bench/dump.py
	@$(PY) bench/analysis.py

format: setup  ## Format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

requirements:  ## Resolve requirements/all.txt anew (needs uv)
	uv pip compile pyproject.toml --extra lab --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements/all.txt

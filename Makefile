# What a developer runs, and CI too. Needs git, make and Python 3.11 or newer with venv, no more:
# each environment is made here, under .venv/, and made anew when pyproject.toml has changed.

PYTHON ?= python3
ROUNDS ?= 15
MINUTES ?= 20
TIMES ?= 20
VERSIONS := 3.11 3.12 3.13 3.14
BIN := .venv/test/bin
NEIGHBOURS := $(shell sed -nE 's/^([a-z0-9_]+) .*/\1/p' benchmarks/neighbours.txt)
# Two processes for each processor, with servers of their own, as half of the tests' time is spent waiting; one that has
# done its share takes from another's.
PYTEST := pytest --numprocesses $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN)))) --dist worksteal
# It asks the `python` on PATH where the packages are; --verifytypes heeds nothing else.
PYRIGHT := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright

.PHONY: help demo bench neighbours faults failovers test test-topologies lint typing test-lowest test-all-interpreters clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r target what; do printf '%-28s%s\n' "$$target" "$$what"; done
	@echo
	@echo 'PYTHON=... names the interpreter of a new environment (now $(PYTHON)).'

demo: .venv/demo/ready ## run the example, on a store inside its own process
	.venv/demo/bin/python -m examples.access_log

bench: .venv/bench/ready neighbours ## compare the speed with that of other clients, and renew docs/performance.md; ROUNDS=15
	.venv/bench/bin/python -m benchmarks --rounds $(ROUNDS) --json docs/performance.json --docs

# One that cannot be installed is named, with the reason, by the benchmarks.
neighbours: $(NEIGHBOURS:%=.venv/bench-%/ready)

faults: .venv/test/ready ## a long run under faults of the network and of the server; MINUTES=20
	$(BIN)/python -m tests.faults --minutes $(MINUTES) --exactly-once --deadline 10

failovers: .venv/test/ready ## primaries killed, frozen and replaced, under Sentinels and in a cluster; TIMES=20
	$(BIN)/python -m tests.faults.failovers --times $(TIMES) --network

test-topologies: .venv/test/ready ## the contract on each kind of servers, by both faces; `make test` leaves out some
	TOPOLOGIES=all $(BIN)/python -m $(PYTEST) tests/contract tests/state_machines

test: lint typing ## lint, type-check and test everything, as CI does
	$(BIN)/python -m $(PYTEST) --cov --cov-report= --cov-fail-under=0
	$(BIN)/coverage report

lint: .venv/test/ready ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

typing: .venv/test/ready ## check types: mypy, pyright, and what users see of the package
	$(BIN)/mypy
	$(PYRIGHT) --project .
	$(PYRIGHT) --verifytypes redisext --ignoreexternal

test-lowest: .venv/lowest/ready ## run the tests with the lowest versions that pyproject.toml allows
	.venv/lowest/bin/python -m $(PYTEST)

test-all-interpreters: ## run the tests on every Python found of those supported
	@passed= failed= missing=; \
	for version in $(VERSIONS); do \
		candidates="python$$version $$HOME/.pyenv/versions/$$version.*/bin/python$$version"; \
		$(call find_python,$$candidates,== ($${version%.*}, $${version#*.})); \
		if test -z "$$python"; then missing="$$missing $$version"; continue; fi; \
		echo "Python $$version: $$python"; \
		if $(MAKE) --silent PYTHON="$$python" .venv/py$$version/ready && \
			.venv/py$$version/bin/python -m $(PYTEST); \
		then passed="$$passed $$version"; else failed="$$failed $$version"; fi; \
	done; \
	echo "passed:$${passed:- none}"; \
	echo "failed:$${failed:- none}"; \
	echo "not found, so not tested:$${missing:- none}"; \
	test -n "$$passed" && test -z "$$failed"

clean: ## remove all that was made here: environments, caches, builds
	rm -rf .venv .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call find_python,CANDIDATES,CONDITION) sets $python to the first candidate that runs, can make
# an environment, and whose (major, minor) meets the condition. Running it is the only test: pyenv's
# shims are found for versions that they then refuse to run, and Debian's Python may lack ensurepip.
find_python = python=; for candidate in $(1); do \
	if "$$candidate" -c "import ensurepip, sys; sys.exit(not sys.version_info[:2] $(2))" 2>/dev/null; \
	then python=$$candidate; break; fi; done

.venv/demo/ready: INSTALL = --editable '.[embedded]'
.venv/bench/ready: INSTALL = --editable '.[bench]'
.venv/test/ready: INSTALL = --editable '.[dev]'
.venv/lowest/ready: INSTALL = --editable '.[tests]' --constraint .venv/lowest.txt
.venv/py%/ready: INSTALL = --editable '.[tests]'

# The oldest dependencies have no builds for the newest Python, so they get the oldest one there is.
.venv/lowest/ready: CANDIDATES = python3.11 $(PYTHON)
.venv/%/ready: CANDIDATES = $(PYTHON) $(VERSIONS:%=python%)

# $(make_environment) makes a new one in the target's folder.
define make_environment
$(call find_python,$(CANDIDATES),>= (3, 11)); \
	if test -z "$$python"; then \
		echo "No Python 3.11 or newer with venv and ensurepip among: $(CANDIDATES)." >&2; \
		echo "Install one (Debian: apt-get install python3-venv), or name it: make PYTHON=..." >&2; \
		exit 1; \
	fi; \
	echo "$(@D): a new environment, on $$("$$python" --version)"; \
	"$$python" -m venv --clear $(@D)
endef

.venv/%/ready: pyproject.toml
	@$(make_environment)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(INSTALL)
	@touch $@

# What cannot be installed is tried again by `make clean bench`.
$(NEIGHBOURS:%=.venv/bench-%/ready): .venv/bench-%/ready: benchmarks/neighbours.txt
	@$(make_environment)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		$$(sed -n 's/^$* //p' $<) 2> $(@D)/log || mv $(@D)/log $(@D)/not-installed
	@touch $@

# Each "name[extra]>=1.2" of pyproject.toml, be there an upper bound or not, as "name==1.2".
.venv/lowest.txt: pyproject.toml
	@mkdir -p $(@D)
	@sed -nE 's/^ *"([A-Za-z0-9_-]+)(\[.*\])?>=([0-9.]+)(,<[0-9.]+)?",$$/\1==\3/p' pyproject.toml > $@

.venv/lowest/ready: .venv/lowest.txt

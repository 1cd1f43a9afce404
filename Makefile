# Every command that people and CI use. Only make and Python 3.11 (or newer) need to be there before.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The first python3 that is new enough. Name another with make PYTHON=…
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && exit; done; echo no-python)
VENV ?= .venv
BIN := $(VENV)/bin
STATE ?= .state
PORT ?= 8443
ADMIN_PORT ?= 9443
HOSP_PORT ?= 3000
CONTROL_PORT ?= 3001
IMAGE ?= hospproxy
REPORTS := build/reports
SSLYZE := build/sslyze/bin/sslyze
# Whole, since the processes that tests start have folders of their own.
COVERED = COVERAGE_FILE='$(CURDIR)/build/coverage/data' $(BIN)/python -m coverage

.PHONY: help run test test-repeat lint load load-short scan-tls scan-tls-short slow fuzz chaos consistency machines-kill simulate simulate-short simulate-mutants bench-workers bench-bodies fuzz-credentials audit-scale bench-audit audit-kill screenshots audit-dependencies advisories sbom lock wheel image clean environment python

help: ## what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	|| grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

python:
	@if [ '$(PYTHON)' = no-python ]; then \
		echo '✗ Python 3.11 or newer is needed, and no python3 here is. Debian 12 and later have it: apt-get install python3' >&2; \
		exit 1; fi

run: python ## a stand-in HOSP and the proxy in front of it, with commands to try; Ctrl-C ends both
	@exec $(PYTHON) scripts/run.py --venv '$(VENV)' --state '$(STATE)' --port $(PORT) --admin-port $(ADMIN_PORT) \
		--hosp-port $(HOSP_PORT) --control-port $(CONTROL_PORT)

environment: python
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --extras test,lint --need node=nodejs,npm,curl,git,chromium,slowhttptest,testssl=testssl.sh,pg_ctlcluster=postgresql,redis-server \
		--need '/usr/sbin/haproxy=haproxy,/usr/sbin/rsyslogd=rsyslog,/usr/lib/*/rsyslog/lmnsd_gtls.so=rsyslog-gnutls' --npm integration/json-server --npm integration/browser

test: environment ## every test, and how much of hospproxy/ they run (at least 90 % of lines)
	@rm -rf build/coverage $(REPORTS) && mkdir -p build/coverage $(REPORTS)
	$(COVERED) run -m twisted.trial -j2 tests 2>&1 | tee $(REPORTS)/trial.txt
	@# Two at a time, a module on one core, in the order of conftest.py; what measures the whole machine runs alone.
	@# A process that has ended for a test that hangs is not begun anew: it would come to the same test.
	$(COVERED) run -m pytest integration -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0 \
		-m 'not alone' --junitxml=$(REPORTS)/junit/integration.xml
	$(COVERED) run -m pytest integration -m alone --junitxml=$(REPORTS)/junit/integration-alone.xml
	@# What a process leaves that a test killed while it saved cannot be read, and need not be.
	@$(COVERED) combine --quiet 2>/dev/null; rm -f build/coverage/data.*
	@$(COVERED) xml --quiet -o $(REPORTS)/coverage.xml
	@$(COVERED) html --quiet -d $(REPORTS)/html
	$(COVERED) report --fail-under=90

# The environment of another Python is made under build/.
TIMES ?= 20
TESTS ?= tests
test-repeat: python ## TESTS (all of tests/) TIMES times, with PYTHON=…: how many runs failed, and with what
	$(PYTHON) scripts/repeat_tests.py --times $(TIMES) --python $(PYTHON) $(if $(GC),--gc $(GC)) $(TESTS)

lint: environment ## style, types, Dockerfile, Jenkinsfile, known vulnerabilities, and what must not be in the repository
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts/*.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/python scripts/check_jenkinsfile.py Jenkinsfile
	$(BIN)/python scripts/check_repository.py
	$(BIN)/python scripts/advisories.py
	@news=$$($(BIN)/towncrier build --draft --version 0.0.0 2>&1) || { echo "$$news"; exit 1; }

load: environment ## the same load straight at HOSP and through the proxy, side by side (minutes)
	$(BIN)/python -m benchmarks.load

load-short: environment ## the same, small (less than a minute)
	$(BIN)/python -m benchmarks.load --short

# In an environment of its own: it wants an older cryptography than we do.
$(SSLYZE): | environment
	$(BIN)/python -m venv --without-pip build/sslyze
	$(BIN)/python -m pip --python build/sslyze/bin/python install --quiet 'sslyze >= 6.3, < 7'

scan-tls: environment $(SSLYZE) ## testssl.sh and SSLyze against a running proxy (minutes)
	$(BIN)/python -m integration.scan_tls --sslyze $(SSLYZE)

scan-tls-short: environment $(SSLYZE) ## the same, small (about a minute)
	$(BIN)/python -m integration.scan_tls --sslyze $(SSLYZE) --short

slow: environment ## hundreds of slow clients at once, and what the others notice of them (six minutes)
	$(BIN)/python -m benchmarks.slow

fuzz: environment ## 100,000 streams of bytes that are nearly requests (six minutes)
	FUZZ_EXAMPLES=100000 $(BIN)/python -m twisted.trial tests.arrival.test_fuzz

chaos: environment ## kill, stall and lose whatever can be, and count what became of every write (25 minutes)
	$(BIN)/python -m benchmarks.chaos

consistency: environment ## two machines on one Redis: nobody sees what was there before a write that was answered (five minutes)
	$(BIN)/python -m benchmarks.consistency

machines-kill: environment ## kill -9 workers and whole machines 50 times while clients write; each note is there once (four minutes)
	$(BIN)/python -m benchmarks.machines

bench-bodies: environment ## what the worst bodies of every size cost another client (five minutes)
	$(BIN)/python -m benchmarks.bodies

simulate: environment ## the whole service in virtual time, a new seed for each world, for an hour; says which promise broke
	$(BIN)/python -m simulation --minutes 60 --keep build/simulation

simulate-short: environment ## the same for two minutes; the seeds are printed
	$(BIN)/python -m simulation --minutes 2 --keep build/simulation

simulate-mutants: environment ## plant each defect in turn: does the simulation find it? (an hour and more)
	$(BIN)/python -m simulation --mutants

bench-workers: environment ## what two workers and a Redis cost beside one process (three minutes)
	$(BIN)/python -m benchmarks.bench_workers

fuzz-credentials: environment ## users, revocations, faults and restarts in random order: nobody gets another's answer
	$(BIN)/python -m tests.memory.credentials

audit-scale: environment ## a million audit records verified, ten million asked in a database, with the time it takes
	$(BIN)/python -m benchmarks.audit_scale
	$(BIN)/python -m benchmarks.audit_database

screenshots: environment ## the pictures of the audit page in docs/
	$(BIN)/python -m integration.screenshots

bench-audit: environment ## what it costs that no answer leaves before its record is on disk (two minutes)
	$(BIN)/python -m benchmarks.audit_cost

audit-kill: environment ## kill -9 the whole proxy 20 times under load; every answer has its record (a minute)
	AUDIT_KILLS=20 $(BIN)/python -m pytest integration/test_audit_kill.py -q -s

audit-dependencies: environment ## whether anything that is installed is known to be vulnerable (asks nobody)
	$(BIN)/python scripts/advisories.py

advisories: environment ## ask OSV_URL (an OSV service) what is known now, for audit-dependencies
	$(BIN)/python scripts/advisories.py --update

sbom: environment ## build/sbom.json: what is in what we ship (CycloneDX)
	$(BIN)/python scripts/sbom.py build/sbom.json

# The same versions for every Python that is served; hashes of every file, so that an index cannot hand out another one.
LOCKED = $(BIN)/uv pip compile setup.cfg --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url
lock: environment ## requirements.lock and requirements-all.lock: the newest versions that setup.cfg allows
	$(LOCKED) --output-file requirements.lock >/dev/null
	$(LOCKED) --extra postgresql --extra bucket --constraint requirements.lock --output-file requirements-all.lock >/dev/null

wheel: environment ## dist/hospproxy-….whl
	@rm -rf build/lib build/bdist* dist
	$(BIN)/python -m build --wheel

image: ## the container image, where Docker is
	@command -v docker >/dev/null || { echo '✗ docker is not installed here; the image is made where it is.' >&2; exit 1; }
	docker build --tag $(IMAGE) .

clean: ## away with all that was made here, the virtual environment and the state of make run too
	rm -rf .venv $(STATE) build dist *.egg-info _trial_temp* .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis integration/*/node_modules twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

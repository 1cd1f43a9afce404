# Every command that developers and CI use. Needs only make and Python 3.11 or newer.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The first python3 that is new enough. Choose another with make PYTHON=…
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
PEERS := build/peers/.installed
# An absolute path, because the processes that tests start have their own working folders.
COVERED = COVERAGE_FILE='$(CURDIR)/build/coverage/data' $(BIN)/python -m coverage

# Tests start the proxy hundreds of times, and each start would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
# The parts of make test run one after another, even with make -j.
.NOTPARALLEL:

.PHONY: help run test test-long test-short test-integration test-alone test-fast test-repeat lint docs load load-short \
    scan-tls scan-tls-short slow fuzz chaos consistency machines-kill simulate simulate-short simulate-mutants bench \
    bench-short bench-profile bench-instructions bench-road bench-hit bench-workers rehearsal bench-bodies \
    fuzz-credentials audit-scale report-scale bench-audit audit-kill screenshots audit-dependencies advisories sbom \
    lock wheel image clean environment python replacements rollout agent rollout-trial changelog reloads surge \
    bench-visible

help: ## list all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	|| grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

python:
	@if [ '$(PYTHON)' = no-python ]; then \
		echo '✗ Python 3.11 or newer is needed, and none was found. On Debian 12 or later: apt-get install python3' >&2; \
		exit 1; fi

run: python ## start a stand-in HOSP and the proxy in front of it, and print commands to try; Ctrl-C stops both
	@exec $(PYTHON) scripts/run.py --venv '$(VENV)' --state '$(STATE)' --port $(PORT) --admin-port $(ADMIN_PORT) \
		--hosp-port $(HOSP_PORT) --control-port $(CONTROL_PORT)

environment: python ## install everything that tests and linters need into .venv, and nothing else
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --extras test,lint,docs --need node=nodejs,npm,curl,git,chromium,ruby,slowhttptest,testssl=testssl.sh,pg_ctlcluster=postgresql,redis-server,promtool,systemd-analyze=systemd,kustomize \
		--need '/usr/sbin/haproxy=haproxy,/usr/sbin/rsyslogd=rsyslog,/usr/lib/*/rsyslog/lmnsd_gtls.so=rsyslog-gnutls' --npm integration/json-server --npm integration/browser --npm integration/axios

agent: environment ## prepare a CI agent: install what a build needs besides, or say what is missing
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --need docker=docker.io,git

# Random models, walks over all inputs, and the simulation: most of the time of all unit tests. They run without coverage,
# which would double that time, and not in test-fast.
LONG := arrival.test_corpus arrival.test_fuzz arrival.test_on_record guard.test_large_bodies memory.test_cache_states \
	memory.test_credentials memory.test_credentials_shared memory.test_outage memory.test_second_model \
	outward.gate.redis.test_shared_slots outward.writes.test_change_model outward.writes.test_edits_model \
	outward.writes.test_model outward.writes.test_rotation outward.writes.test_site_model \
	record.columns.test_same_rows record.columns.test_upkeep record.database.test_bounded_search \
	record.trail.test_tampering sharing.test_model sharing.test_places_base simulation \
	watch.status.test_surge_week watch.status.test_together
# Walks over the sources, and random tests of rules whose lines others run too. They run without coverage, as the long
# ones do, and in test-fast.
UNMEASURED := arrival.front.test_trust arrival.test_connection_model arrival.test_head options.test_declared_once \
	outward.gate.test_left_behind outward.writes.test_fate record.columns.test_entries record.export.test_lines \
	standin.test_params test_contract_page http.test_json_lists test_layers contract.test_schema_walk test_stops \
	test_walkthroughs watch.test_words
MODULES = $(subst /,.,$(basename $(sort $(shell find tests -name 'test_*.py'))))
SHORT = $(filter-out $(LONG:%=tests.%) $(UNMEASURED:%=tests.%) tests.simulation.%,$(MODULES))

test: test-long test-short test-integration test-alone ## run all tests and measure the coverage of hospproxy/ (at least 90 % of lines)

# Runs trial, and turns its output into JUnit XML, also if a test failed.
junit = status=0; $(2) 2>&1 | tee $(REPORTS)/$(1).txt || status=$$?; \
	$(BIN)/python scripts/trial_junit.py $(REPORTS)/$(1).txt $(REPORTS)/junit/$(1).xml; exit $$status

test-long: environment ## run the long unit tests: random models, the simulation (without coverage)
	@rm -rf $(REPORTS) && mkdir -p $(REPORTS)
	@$(call junit,trial-long,$(BIN)/python -m twisted.trial -j2 $(LONG:%=tests.%) $(UNMEASURED:%=tests.%))

test-short: environment ## run the other unit tests, and measure their coverage
	@rm -rf build/coverage $(REPORTS)/html && mkdir -p build/coverage $(REPORTS)
	@$(call junit,trial,$(COVERED) run -m twisted.trial -j2 $(SHORT))
	@$(COVERED) combine --quiet 2>/dev/null; rm -f build/coverage/data.*
	@status=0; $(COVERED) html --quiet -d $(REPORTS)/html & \
	$(COVERED) xml --quiet -o $(REPORTS)/coverage.xml || status=$$?; \
	$(COVERED) report --fail-under=90 || status=$$?; \
	wait $$! || status=$$?; exit $$status

# Each process runs whole modules, in the order of conftest.py. A process that ended because a test hung is not
# restarted: it would hang in the same test. One process more than two processors, because tests wait almost half of the
# time: for faults, timers, and processes that start.
PROCESSES ?= 3
test-integration: environment ## run the tests with real processes and sockets, PROCESSES (three) modules at a time
	$(BIN)/python -m pytest integration -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart=0 \
		-m 'not alone' --durations=40 --junitxml=$(REPORTS)/junit/integration.xml

test-alone: environment ## run the integration tests that measure the whole machine, one after another
	$(BIN)/python -m pytest integration -m alone --junitxml=$(REPORTS)/junit/integration-alone.xml

test-fast: environment ## run what a change needs while you work on it: style, types, unit tests without the long ones (three minutes)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m twisted.trial -j2 $(SHORT) $(UNMEASURED:%=tests.%)

# The environment for another Python is created under build/.
TIMES ?= 20
TESTS ?= tests
test-repeat: python ## run TESTS (default: all of tests/) TIMES times with PYTHON=…, and report which runs failed and why
	$(PYTHON) scripts/repeat_tests.py --times $(TIMES) --python $(PYTHON) $(if $(GC),--gc $(GC)) $(TESTS)

lint: environment ## check style, types, Dockerfile, Jenkinsfile, deploy/, known vulnerabilities, and forbidden content in the repository
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts/*.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/python scripts/check_jenkinsfile.py Jenkinsfile
	promtool check rules --lint=all deploy/prometheus/*.yml
	$(BIN)/python scripts/check_deploy.py
	$(BIN)/python scripts/check_repository.py
	$(BIN)/python scripts/advisories.py
	@news=$$($(BIN)/towncrier build --draft --version 0.0.0 2>&1) || { echo "$$news"; exit 1; }

docs: environment ## build the documentation site in build/docs (warnings and dead links fail)
	@$(BIN)/python scripts/build_docs.py build/docs

load: environment ## compare the same load directly at HOSP and through the proxy (minutes)
	$(BIN)/python -m benchmarks.load

load-short: environment ## a short load comparison (less than a minute)
	@mkdir -p $(REPORTS)
	$(BIN)/python -m benchmarks.load --short | tee $(REPORTS)/load.txt

# In its own environment, because it needs an older cryptography.
$(SSLYZE): | environment
	$(BIN)/python -m venv --without-pip build/sslyze
	$(BIN)/python -m pip --python build/sslyze/bin/python install --quiet 'sslyze >= 6.3, < 7'

scan-tls: environment $(SSLYZE) ## run testssl.sh and SSLyze against a proxy (minutes)
	$(BIN)/python -m integration.scan_tls --sslyze $(SSLYZE)

scan-tls-short: environment $(SSLYZE) ## a short TLS scan (about a minute)
	@mkdir -p $(REPORTS)
	$(BIN)/python -m integration.scan_tls --sslyze $(SSLYZE) --short | tee $(REPORTS)/tls.txt

slow: environment ## run hundreds of slow clients and measure their effect on other clients (six minutes)
	$(BIN)/python -m benchmarks.slow

fuzz: environment ## feed the HTTP parser 100,000 almost valid requests, and each operation 500 random ones (ten minutes)
	FUZZ_EXAMPLES=100000 $(BIN)/python -m twisted.trial tests.arrival.test_fuzz
	SCHEMATHESIS_EXAMPLES=500 $(BIN)/python -m pytest integration/test_schemathesis.py

chaos: environment ## kill, stall and disconnect every part, and check the outcome of every write (25 minutes)
	$(BIN)/python -m benchmarks.chaos

consistency: environment ## check with two machines on one Redis that no read is older than an answered write (five minutes)
	$(BIN)/python -m benchmarks.consistency

machines-kill: environment ## kill -9 workers and whole machines 50 times while clients write; check that each note is stored once (four minutes)
	$(BIN)/python -m benchmarks.machines

replacements: environment ## replace one process and two workers 10 times each under load; kill -9 their processes at every step (25 minutes)
	$(BIN)/python -m benchmarks.replacements

surge: environment ## send five times the usual traffic from one source, to one process and to two machines (seven minutes)
	$(BIN)/python -m benchmarks.surge

reloads: environment ## reload the options 50 times under load, in every way, right files and wrong ones (four minutes)
	$(BIN)/python -m benchmarks.reloads

rollout-trial: environment ## roll out bad versions and good ones behind HAProxy, by real upgrades; the bad ones must be taken back (ten minutes)
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --need '/usr/sbin/haproxy=haproxy,redis-server'
	$(BIN)/python -m benchmarks.rollout

# DO='abort /var/lib/hospproxy-rollout', for example; docs/rollout.md has the commands.
rollout: python ## roll out a version: make rollout PLAN=plan.toml OLD=1.4.0 NEW=1.5.0, or DO='status FOLDER'
	@exec $(PYTHON) deploy/rollout $(if $(DO),$(DO),run '$(PLAN)' --old '$(OLD)' --new '$(NEW)')

bench-bodies: environment ## measure how the worst bodies of every size delay another client (five minutes)
	$(BIN)/python -m benchmarks.bodies

# The peers in Python have an environment of their own: mitmproxy needs other versions of what the proxy needs too.
$(PEERS): benchmarks/peers/requirements.txt | environment
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --need '/usr/sbin/nginx=nginx,/usr/sbin/haproxy=haproxy' \
		--need '/usr/sbin/varnishd=varnish,wrk,redis-server'
	$(BIN)/python -m venv --without-pip build/peers
	$(BIN)/python -m pip --python build/peers/bin/python install --quiet --requirement benchmarks/peers/requirements.txt
	@touch $@

# BENCH='--rounds 3 --trials tls-hit --write docs/performance.md', for example.
bench: environment $(PEERS) ## measure hospproxy beside nginx, HAProxy, Varnish and proxies in Python (more than an hour)
	$(BIN)/python -m benchmarks.peers $(BENCH)

bench-short: environment $(PEERS) ## a short comparison with some peers, to see that it works (less than two minutes)
	$(BIN)/python -m benchmarks.peers --short $(BENCH)

bench-profile: environment $(PEERS) ## show in which modules the time of a TLS hit goes (a minute)
	$(BIN)/python -m benchmarks.peers.profile

bench-instructions: environment $(PEERS) ## count the instructions of a TLS hit with Valgrind (ten minutes)
	@$(PYTHON) scripts/environment.py --venv '$(VENV)' --need valgrind
	$(BIN)/python -m benchmarks.peers.instructions

# BENCH='--instructions --requests 3000', for example: on a machine that has other work.
bench-visible: environment $(PEERS) ## measure what status page, surges, traces and log cost a cache hit (three minutes)
	$(BIN)/python -m benchmarks.visible $(BENCH)

bench-hit: environment $(PEERS) ## measure what a cache hit costs between the socket and the journal, beside nginx (two minutes)
	$(BIN)/python -m benchmarks.hit $(BENCH)

simulate: environment ## simulate the whole service in virtual time for an hour, with new seeds; report which guarantee broke
	$(BIN)/python -m simulation --minutes 60 --keep build/simulation

SIMULATION ?= --minutes 2
simulate-short: environment ## simulate for two minutes; prints the seeds
	$(BIN)/python -m simulation $(SIMULATION) --keep build/simulation

simulate-mutants: environment ## plant each known defect in turn, and check that the simulation finds it (under an hour on two cores)
	$(BIN)/python -m simulation --mutants

# BENCH='--beside ../other-checkout --rounds 9', for example.
bench-road: environment ## measure the processor time of a request to HOSP and back, without sockets (two minutes)
	$(BIN)/python -m benchmarks.road $(BENCH)

bench-workers: environment ## compare two workers and a Redis with a single process (three minutes)
	$(BIN)/python -m benchmarks.bench_workers

rehearsal: environment ## compare what a rehearsal forecasts with real runs under the same options (ten minutes)
	$(BIN)/python -m benchmarks.rehearsal

fuzz-credentials: environment ## random users, revocations, faults and restarts: check that nobody gets another's response
	$(BIN)/python -m tests.memory.credentials

audit-scale: environment ## time the verification of a million audit records, and the index of a million
	$(BIN)/python -m benchmarks.audit_scale
	$(BIN)/python -m benchmarks.audit_columns

# BENCH='--lines 1000000 --packed', for example.
report-scale: environment ## time a report on ten million lines of a load balancer's log; check its figures (a minute)
	$(BIN)/python -m benchmarks.report_scale $(BENCH)

screenshots: environment ## renew the pictures of the audit, status and contract pages in docs/
	$(BIN)/python -m integration.screenshots

bench-audit: environment ## measure the cost of writing each audit record before its response (two minutes)
	$(BIN)/python -m benchmarks.audit_cost

audit-kill: environment ## kill -9 the whole proxy 20 times under load; check that every response has its record (a minute)
	AUDIT_KILLS=20 $(BIN)/python -m pytest integration/test_audit_kill.py -q -s

audit-dependencies: environment ## check the installed packages for known vulnerabilities (offline)
	$(BIN)/python scripts/advisories.py

advisories: environment ## update the vulnerabilities that audit-dependencies knows, from OSV_URL (an OSV service)
	$(BIN)/python scripts/advisories.py --update

sbom: environment ## write the bill of materials, build/sbom.json (CycloneDX)
	$(BIN)/python scripts/sbom.py build/sbom.json

# The same versions for every supported Python, with a hash of every file, so that a package index cannot replace one.
LOCKED = $(BIN)/uv pip compile setup.cfg --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url
lock: environment ## write requirements.lock and requirements-all.lock with the newest versions that setup.cfg allows
	$(LOCKED) --output-file requirements.lock >/dev/null
	$(LOCKED) --extra postgresql --extra bucket --extra zstd --constraint requirements.lock --output-file requirements-all.lock >/dev/null

changelog: environment ## move the news fragments into CHANGELOG.md, under the version of setup.cfg
	$(BIN)/towncrier build --yes --version "$$($(BIN)/python -c 'import configparser; read = configparser.ConfigParser(); read.read("setup.cfg"); print(read["metadata"]["version"])')"

wheel: environment ## build dist/hospproxy-….whl
	@rm -rf build/lib build/bdist* dist
	$(BIN)/python -m build --wheel

image: ## build the container image (needs Docker)
	@command -v docker >/dev/null || { echo '✗ docker is not installed here. Run make image on a machine that has it.' >&2; exit 1; }
	docker build --tag $(IMAGE) --build-arg VERSION="$$(sed -n 's/^version = //p' setup.cfg)" \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .

clean: ## delete everything that make created, including the virtual environment and the state of make run
	rm -rf .venv $(STATE) build dist *.egg-info _trial_temp* .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis integration/*/node_modules twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One verb per job; `make help` lists them. Everything is set up on first use: python3, make and git are enough.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
# Hundreds of processes of the tests would each compile every module for themselves.
unexport PYTHONDONTWRITEBYTECODE

# The Python that .venv is made from, and extra arguments for pytest: make test-unit ARGS='-k merge'.
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
RESULTS := .cache/test
PYTEST = NODESPAN_TEST_PROGRESS=$(RESULTS)/$(1).progress $(BIN)/python -m pytest --junit-xml=$(RESULTS)/$(1).xml
# Most of the mesh tier is waiting: its tests use a fifth of a processor each. ARGS='-n 0' for none of it.
UNIT_WORKERS = --numprocesses auto --dist worksteal
# None of them uses Hypothesis, which takes each worker a while to import.
MESH_WORKERS = --numprocesses $$(($$(nproc) + 3)) --dist loadfile --no-loadscope-reorder -p no:hypothesispytest
# What computes gets the processors when the mesh tier waits, whose clusters measure how soon packets come. Not the guests:
# their clocks go on while they wait for a processor, and what they measure then is not theirs.
BEHIND := nice -n 10
OTHER_TIERS = --ignore=tests/mesh --ignore=tests/vm --ignore=tests/browser
# After `sudo make run` the owner of the checkout can go on with what was installed, written and compiled.
OWNED = [ $$(id -u) != 0 ] || find . -path ./.git -prune -o \( -path ./.venv -o -path ./.cache -o -name __pycache__ \) \
	-prune -exec chown --recursive --no-dereference --reference=. {} +
PACKAGES = $(PYTHON) tests/support/packages.py
# Much of what is installed. Of mypy there is machine code too.
SELDOM := '/(babel|backrefs|grafana_foundation_sdk|mypyc?|pip|pkg_resources|pygments/lexers|pymdownx|setuptools)/'

MESH_PACKAGES := ca-certificates iproute2 nftables ethtool pci.ids wireguard-go wireguard-tools iputils-ping bind9-dnsutils etcd-server dnsmasq-base systemd dbus procps
BROWSER := chromium-headless-shell
# Not installed, for they would take over this machine's names, clock and init: a machine in namespaces has them.
FETCHED := systemd-resolved systemd-timesyncd chrony libpam-systemd dbus-user-session
# Nor are these, which would take over its firewall: they run in namespaces.
FIREWALLS := ufw firewalld python3-firewall python3-nftables python3-dbus python3-gi python3-cap-ng \
	gir1.2-glib-2.0 libgirepository-1.0-1 libcap-ng0 iptables libip4tc2 libip6tc2 libxtables12 libnftnl11
# Nor this, a router: it runs in a namespace. It has its libraries from nftables.
ROUTER := miniupnpd-nftables
# Nor this, which would be a service: its programs check metrics and alerts.
PROMETHEUS := prometheus

# Builds and runs the image: programs only, none of which is installed.
CONTAINERS := buildah crun golang-github-containers-common golang-github-containers-image

# All that a cluster needs; without the kernel's WireGuard also that of a process. Nothing of it runs as a service.
RUN_PACKAGES = iproute2 nftables $$(modprobe --quiet wireguard || echo wireguard-go) $(if $(VIP),etcd-server)

# What `make run` shows where there can be no cluster.
define WATCH_LINKS
export NODESPAN_STATE_DIR=$(CURDIR)/.cache/run/state NODESPAN_SOCKET=$(CURDIR)/.cache/run/agent.sock
mkdir -p .cache/run/state
rm -f "$$NODESPAN_SOCKET"
$(BIN)/nodespan agent & agent=$$!
trap 'kill $$agent 2>/dev/null || true; wait $$agent || true; $(OWNED)' EXIT
until [ -S "$$NODESPAN_SOCKET" ]; do kill -0 $$agent; sleep 0.1; done
$(BIN)/nodespan get links -w
endef

.PHONY: help run check test test-unit test-mesh test-mesh-packages test-vm test-browser lint pictures format protobuf docs docs-site packages release test-packages soak matrix bench \
	bench-compare clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

run: .venv/usable ## a mesh of three nodes here; VIP=1: a virtual IP that moves; RELAY=1: a pair that leaves its relay; without root: links, watched
	@$(PACKAGES) $(RUN_PACKAGES) || true # what is missing is named by the next command
	trap '$(OWNED)' EXIT
	[ -z "$(VIP)" ] || { $(BIN)/nodespan cluster create --vip 198.51.100.100 --demonstrate; exit; }
	[ -z "$(RELAY)" ] || { $(BIN)/nodespan cluster create --nodes 2 --relay --demonstrate; exit; }
	status=0; $(BIN)/nodespan cluster create --nodes 3 || status=$$?
	[ $$status = 3 ] || exit $$status # 3: not on this machine, or not as this user
	echo "so an agent watches the links of this machine instead, and changes nothing"
	$(WATCH_LINKS)

test: ## lint and all four test tiers; as root, or mesh and vm are skipped
	@rm -rf $(RESULTS); mkdir -p $(RESULTS); failed=
	# Debian's package of venv comes before all others, or pip would wait for those.
	$(MAKE) .venv/bin/pip
	set -m
	# apt and pip keep a processor busy each. What fails here is tried again by test-mesh, whose failure it is.
	$(MAKE) test-mesh-packages & packages=$$!
	trap 'kill -- -$$packages 2>/dev/null || true' EXIT
	# Not to leave packages half installed.
	$(MAKE) .venv/installed || { wait $$packages || true; exit 1; }
	# Most of the mesh tier is waiting, and one of the guests has one processor: all at once take half as long.
	$(MAKE) test-vm >$(RESULTS)/vm.log 2>&1 & vm=$$!
	$(BEHIND) $(MAKE) test-browser >$(RESULTS)/browser.log 2>&1 & browser=$$!
	(status=0; for verb in lint test-unit; do $(BEHIND) $(MAKE) $$verb || status=1; done; exit $$status) \
		>$(RESULTS)/unit.log 2>&1 &
	unit=$$!
	trap 'kill -- -$$packages -$$vm -$$unit -$$browser 2>/dev/null || true' EXIT
	echo "== test-mesh"
	$(MAKE) test-mesh || failed="$$failed test-mesh"
	echo "== lint, test-unit"
	wait $$unit || failed="$$failed lint or test-unit"
	cat $(RESULTS)/unit.log
	echo "== test-browser"
	wait $$browser || failed="$$failed test-browser"
	cat $(RESULTS)/browser.log
	echo "== test-vm"
	wait $$vm || failed="$$failed test-vm"
	cat $(RESULTS)/vm.log
	[ -z "$$failed" ] || echo "failed:$$failed"
	$(BIN)/python -m tests.support.tally $(RESULTS)/{unit,mesh,alone,browser,vm,hardware}.xml || failed=yes
	[ -z "$$failed" ]

check: lint ## the inner loop: lint, types, and the unit tests that start no process; under a minute
	@mkdir -p $(RESULTS)
	$(call PYTEST,check) $(UNIT_WORKERS) $(OTHER_TIERS) -m 'not process and not slow' $(ARGS)

test-unit: .venv/installed ## all unit tests; no privileges
	@$(PACKAGES) --fetch .cache/prometheus $(PROMETHEUS) || [ $$? = 3 ] # 3: not on this machine; what needs it is skipped
	mkdir -p $(RESULTS); rm -f $(RESULTS)/unit.progress
	$(call PYTEST,unit) $(UNIT_WORKERS) $(OTHER_TIERS) $(ARGS)

test-mesh: .venv/installed test-mesh-packages ## network namespaces; root
	@mkdir -p $(RESULTS); rm -f $(RESULTS)/{mesh,alone}.progress
	status=0; $(call PYTEST,mesh) $(MESH_WORKERS) -m 'not alone' tests/mesh $(ARGS) || status=$$?
	[ $$status = 5 ] && status=0 # no test of that kind was asked for
	# Two clusters, each shared by the tests of its file.
	$(call PYTEST,alone) --numprocesses 2 --dist loadfile -p no:hypothesispytest -m alone tests/mesh $(ARGS) || [ $$? = 5 ]
	exit $$status

test-mesh-packages:
	@$(PACKAGES) $(MESH_PACKAGES) || [ $$? = 3 ] # 3: not on this machine; what needs them is skipped
	$(PACKAGES) --fetch .cache/packages $(FETCHED) || [ $$? = 3 ]
	$(PACKAGES) --fetch .cache/firewalls $(FIREWALLS) || [ $$? = 3 ]
	$(PACKAGES) --fetch .cache/router $(ROUTER) || [ $$? = 3 ]
	$(PACKAGES) --fetch .cache/prometheus $(PROMETHEUS) || [ $$? = 3 ]

test-vm: .venv/installed ## kernels of their own, under User Mode Linux and QEMU, for what this kernel lacks
	@$(BIN)/python -m tests.vm.run $(ARGS)

# The mesh tier waits for its packages, which are therefore installed first.
test-browser: .venv/installed test-mesh-packages ## the dashboard in a headless Chromium, which is installed if root runs this
	@mkdir -p $(RESULTS); rm -f $(RESULTS)/browser.progress
	$(PACKAGES) $(BROWSER) || [ $$? = 3 ] # 3: not on this machine; the tests are skipped
	$(call PYTEST,browser) -n 0 tests/browser $(ARGS)

lint: .venv/installed ## ruff, mypy, and which package may import which
	@$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/imports

format: .venv/installed ## rewrite the code in its one format
	@$(BIN)/ruff check --quiet --fix --select I
	$(BIN)/ruff format

PROTOCOLS = $(wildcard discovery/wire/*.proto etcd/wire/*.proto resources/wire/*.proto runtime/codec/wire/*.proto)
protobuf: ## generate the *_pb2 modules anew from the .proto files beside them
	@[ -x .cache/protobuf/bin/python ] || $(PYTHON) -m venv .cache/protobuf
	.cache/protobuf/bin/pip install --quiet --disable-pip-version-check grpcio-tools
	.cache/protobuf/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. $(PROTOCOLS)
	sed -i -E "s/^(from |_builder.*DESCRIPTOR, ')(discovery|etcd|resources|runtime)\./\1nodespan.\2./" $(PROTOCOLS:.proto=_pb2.py) $(PROTOCOLS:.proto=_pb2.pyi)

docs: .venv/installed ## redo what in docs/ is made from the code: names, the configuration, graphs; needs Graphviz
	@$(BIN)/python -m tests.docs.public_face
	$(BIN)/python -m tests.docs.configuration
	$(BIN)/python -m tests.docs.metrics_page
	$(PACKAGES) graphviz || [ $$? = 3 ] # 3: not on this machine; the command says what to install
	$(BIN)/nodespan graph -o svg > docs/graph.svg
	$(BIN)/nodespan graph -o svg --only kubespan > docs/graph-kubespan.svg

docs-site: .venv/installed ## the documentation as a site, in dist/site
	@$(BIN)/python -m deploy.site $(ARGS)

pictures: .venv/installed ## redo docs/pictures: the dashboard in a headless Chromium; a mesh that comes up, as root
	@$(PACKAGES) $(BROWSER) $(RUN_PACKAGES) || [ $$? = 3 ] # 3: not on this machine; the test says so
	NODESPAN_PICTURES=$(CURDIR)/docs/pictures $(BIN)/python -m pytest -q -n 0 tests/browser/test_pictures.py
	$(BIN)/python -m deploy.site.mesh_picture docs/pictures/mesh.svg

packages: .venv/installed ## a .deb and an .rpm in dist/
	@$(PACKAGES) rpm || [ $$? = 3 ] # 3: not on this machine; the command says what to install
	$(BIN)/python -m deploy $(ARGS)

release: .venv/installed ## all files of a release in dist/VERSION, from the commit: sdist, wheel, packages, checksums, bill of materials
	@$(PACKAGES) rpm || [ $$? = 3 ] # 3: not on this machine; the command says what to install
	$(BIN)/python -m deploy.release $(ARGS)

test-packages: .venv/installed ## packages, image and manifest in clean roots of Debian and Ubuntu, with a real systemd; root
	@$(PACKAGES) mmdebstrap rpm gpg libgpgme11 libyajl2 $(MESH_PACKAGES)
	$(PACKAGES) --fetch .cache/containers $(CONTAINERS)
	$(BIN)/pip install --quiet --disable-pip-version-check 'kubernetes-validate>=1.34,<2' pipx uv
	$(BIN)/python -m pytest -m soak tests/packages tests/mesh/test_package.py $(ARGS)

soak: .venv/installed ## hours of faults, in a cluster that is broken again and again; root
	@$(PACKAGES) $(MESH_PACKAGES)
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest $(UNIT_WORKERS) $(OTHER_TIERS) -m 'not process'
	$(BIN)/python -m tests.vm.run -m soak
	$(BIN)/python -m pytest -m soak tests/mesh
	$(BIN)/python -m tests.soak $(ARGS)

matrix: .venv/installed ## which kinds of networks reach each other, by which path and how soon: 45 pairs; root; ARGS: words of pairs, --talos
	@$(PACKAGES) $(MESH_PACKAGES) || [ $$? = 3 ] # 3: not on this machine; the command names what is missing
	$(BIN)/python -m tests.mesh.reachability $(ARGS)

bench: .venv/installed ## measure; prints a table, each figure with its goal; ARGS: families, --sizes, --json FILE
	@$(BIN)/python -m bench $(ARGS)

bench-compare: .venv/installed ## measure this tree and the commit BASE in turn, and mark what got worse
	@[ -n "$(BASE)" ] || { echo "say with which commit to compare: make bench-compare BASE=main" >&2; exit 2; }
	@$(BIN)/python -m bench.compare $(BASE) $(ARGS)

clean: ## remove everything that was made here, .venv included
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(PACKAGES) python3-venv
	$(PYTHON) -m venv --clear .venv

.venv/installed: pyproject.toml | .venv/bin/pip
	@echo "installing into .venv"
	# The pip of an older Python takes twice the time to choose versions.
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --no-compile -e '.[dev]'
	# Processes that begin at the same time would each compile what they import; what this leaves out, few do.
	# Nothing depends on it: a file that this Python does not compile may be one that nobody imports.
	$(BIN)/python -m compileall -q -j 0 -x $(SELDOM) "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
	touch $@ .venv/usable
	$(OWNED)

# Without the tools of development.
.venv/usable: pyproject.toml | .venv/bin/pip
	@echo "installing into .venv"
	$(BIN)/pip install --disable-pip-version-check -e . | sed -u '/^Requirement already/d'
	touch $@
	$(OWNED)

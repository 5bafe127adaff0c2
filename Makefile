# Everything sets itself up on a fresh Debian 12 machine (root, package registries only) and reuses what is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR):$(CURDIR)/tests

# python3-gi comes from the distribution (and python3-cairo, which its metadata asks for): PyGObject does not build from
# PyPI on Debian 12, so the virtual environment sees the system's packages.
SYSTEM_PACKAGES := git python3 python3-venv python3-gi python3-cairo gir1.2-glib-2.0 dbus mmdebstrap systemd-container iproute2

.PHONY: help demo site test lint types unit load tools endure soak crashes scale lab bench image clean
help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: image ## two hosts and a forge, from an edited dotfile to a rolled-back system
	$(PY) -m demo

test: lint types unit load ## lint, types, unit, tool and lab tests
	@# The lab mostly waits, the tools mostly compute: together they take as long as the longer one.
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target tools lab

lint: $(VENV)/.ready $(VENV)/bin/promtool ## ruff: rules and format; the alert rules, and what each says when
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/promtool check rules packaging/monitoring/alerts.yml
	$(VENV)/bin/promtool test rules packaging/monitoring/alerts.test.yml

types: $(VENV)/.ready ## mypy, strict
	$(VENV)/bin/mypy gitopsd tests

unit: $(VENV)/.ready ## pure and fast
	$(PY) -m pytest tests/unit

load: $(VENV)/.ready ## a short fuzzing, a thousand clients, a thousand cycles, a long history, a thousand hosts in a simulation
	$(PY) -m pytest tests/fuzz tests/load tests/scale/test_model.py

tools: image ## real jj, chezmoi and git, inside the lab's image; and the unit tests on the Python that hosts have
	$(PY) -m lab run -- python3 -m pytest -q -p no:cacheprovider tests/unit
	$(PY) -m lab run -- env GITOPSD_LAB_REQUIRED=1 python3 -m pytest -p no:cacheprovider tests/tools tests/soak tests/scale/test_real.py

endure: $(VENV)/.ready ## 10,000 cycles, and a long fuzzing of socket and configuration
	LOAD_CYCLES=10000 FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),5000) $(PY) -m pytest tests/load tests/fuzz

soak: image ## kill -9 and power cuts at every step of a boot; then model-based tests of the dotfiles for SOAK_MINUTES (60)
	SOAK_CUTS=2000 $(PY) -m pytest tests/unit/test_boot_cuts.py
	SOAK_POWER_CUTS=20 $(PY) -m pytest tests/e2e/test_boot.py -k power_cuts
	CRASHES=all $(PY) -m pytest -s tests/e2e/test_boot_killed.py
	$(PY) -m lab run -- env GITOPSD_LAB_REQUIRED=1 SOAK_MINUTES=$(or $(SOAK_MINUTES),60) python3 -m pytest -p no:cacheprovider tests/soak

scale: $(VENV)/.ready ## the protocol on 10 to 10,000 hosts, in a simulation: about ten minutes
	$(PY) -m scale

crashes: image ## kill -9 and power cuts at every point of an upgrade and a rollback: about three hours
	CRASHES=all $(PY) -m pytest -s tests/e2e/test_crash_matrix.py
	$(PY) -m lab run -- env GITOPSD_LAB_REQUIRED=1 SOAK_MINUTES=1 python3 -m pytest -p no:cacheprovider -k killed tests/tools

lab: image ## machines with real systemd, nix and reboots
	$(PY) -m pytest --numprocesses=2 tests/e2e

bench: image ## figures, each beside its floor in the same run
	$(PY) -m bench

site: $(VENV)/.ready ## the documentation as a site, in site/; a warning is an error
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

image: $(VENV)/.ready ## the lab's image: about a minute, once
	$(PY) -m lab image

$(VENV)/.ready: pyproject.toml
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(SYSTEM_PACKAGES) 2>&1 | grep -v '^installed ' | wc -l); \
	if [ "$$missing" != 0 ]; then \
	  echo "installing with apt-get: $(SYSTEM_PACKAGES)"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; \
	fi
	/usr/bin/python3 -m venv --system-site-packages $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Out of Debian's package: installing that would start a server.
$(VENV)/bin/promtool: | $(VENV)/.ready
	@get="apt-get download -qq -o APT::Sandbox::User=root prometheus"; work=$$(mktemp -d); bin=$(CURDIR)/$(VENV)/bin; cd $$work; \
	  { $$get 2>/dev/null || { apt-get update -qq && $$get; }; } && \
	  dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract --to-stdout ./usr/bin/promtool >promtool && \
	  install promtool $$bin/promtool; status=$$?; rm -r $$work; exit $$status

clean: ## remove the virtual environment; the image stays in the cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

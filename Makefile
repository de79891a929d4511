# What people do with a checkout. Needs python3, python3-venv and make; `demo`, `test` and `bench` also need root.
# pip takes its indexes and certificates from the environment and its own settings, as everywhere.

PYTHON ?= python3
VENV := .venv
PYORCH := $(VENV)/bin/pyorch
SHOP := examples/shop/stack.yaml
export SHOP_PORT ?= 8080

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=SHOP_PORT,PYORCH_ROOT)
RUN := $(strip $(SUDO) $(PYORCH))
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

# Debian packages that tests look at the kernel with, or put into containers. pyorch itself needs none of them.
TEST_PACKAGES := nftables busybox-static qemu-system-x86 docker-registry skopeo zstd git openssh-client age \
                 binutils binutils-aarch64-linux-gnu
BENCH_PACKAGES := busybox-static docker-registry skopeo git

.PHONY: help install dev packages demo test check lint types units bench reference clean

help:
	@echo 'make demo    install, bring the example shop up, look at it'
	@echo 'make test    every test, the scenarios on the real kernel too (root)'
	@echo 'make check   lint, types and the tests that need no root: seconds'
	@echo 'make bench   the figures, measured here (root); PEERS=1: docker compose and podman-compose beside, from Debian'
	@echo 'make reference  the tables of docs/compose.md, made anew from the code'
	@echo 'make clean   remove what the above made in this directory'

install: $(VENV)/installed
dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	$(VENV)/bin/python -m compileall -q orchestrator
	@touch $@; $(give_back)

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	$(VENV)/bin/python -m compileall -q orchestrator tests
	@touch $@ $(VENV)/installed; $(give_back)

# Under sudo the checkout stays its owner's.
give_back = find . -xdev -user root -exec chown -h --reference=Makefile {} +

demo: install
	$(RUN) up -d --wait $(SHOP)
	$(RUN) -f $(SHOP) ps
	@echo; echo "http://127.0.0.1:$(SHOP_PORT) answers:"
	@$(PYTHON) -c "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:$(SHOP_PORT)/').read().decode())"
	@echo 'Go on:      $(RUN) -f $(SHOP) logs -f       what they say'
	@echo '            $(RUN) -f $(SHOP) exec api sh   a shell beside an api'
	@echo '            $(RUN) plan $(SHOP)             after a change: what would be done, and why'
	@echo 'Take down:  $(RUN) -f $(SHOP) down -v && $(RUN) agent stop --all'

check: dev
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint types units

lint:
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types:
	$(VENV)/bin/mypy

units:
	$(VENV)/bin/pytest -q -m 'not root and not slow' --numprocesses=auto --dist=worksteal

test: packages dev
	$(SUDO) env PYORCH_SEEDS=5000 $(VENV)/bin/pytest -q; status=$$?; $(SUDO) $(give_back); exit $$status

packages:
	@tests/packages $(TEST_PACKAGES)

bench: dev
	@tests/packages $(BENCH_PACKAGES) $(if $(PEERS),mmdebstrap)
	$(SUDO) env PYORCH_PEERS=$(PEERS) $(VENV)/bin/python -m bench; status=$$?; $(SUDO) $(give_back); exit $$status

reference: dev
	$(VENV)/bin/python docs/reference.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find orchestrator tests bench examples -name __pycache__ -prune -exec rm -rf {} +

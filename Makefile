# The commands of a checkout. `make run` and `make test` need nothing but Debian 12 with Python 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help run test check unit clients faults test-cluster bench format proto docs clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml scripts/install-python
	scripts/install-python "$(PYTHON)" "$(VENV)"
	@touch $(STAMP)

run: $(STAMP)  ## start store, lmtp, pop, imap and http with a demo account; data in var/
	@exec $(BIN)/mailkeep run --demo

test: check unit clients faults  ## install what the tests need and run them all

check: $(STAMP)  ## ruff, mypy, import rules, generated code and documents up to date
	scripts/check

unit: $(STAMP)  ## unit, property, contract and transcript tests
	$(BIN)/pytest -q -m "not clients and not running and not faults and not roundtrip and not slapd and not cluster"

clients: $(STAMP)  ## the command, real mail clients and a real directory from Debian's packages
	scripts/install-debian
	$(BIN)/pytest -q -m "(clients or running or slapd) and not faults"

faults: $(STAMP)  ## kills, full disk, outages, a thousand awkward messages; MAILKEEP_KILLS=n for more kills
	scripts/install-debian
	$(BIN)/pytest -q -m "faults or roundtrip"

test-cluster: $(STAMP)  ## the operator and real mail on a real cluster of two nodes; builds its tools once into ~/.cache/mailkeep
	scripts/cluster-tools
	$(BIN)/pytest -q -m cluster

bench: $(STAMP)  ## measure; `make bench RIVAL=dovecot` beside Dovecot where it is installed
	$(BIN)/python -m bench $(if $(RIVAL),--rival $(RIVAL)) $(ARGS)

format: $(STAMP)  ## format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

proto: $(STAMP)  ## regenerate the gRPC code
	scripts/gen-proto

docs: $(STAMP)  ## regenerate docs/options.md, docs/cli.md, the table of docs/migration.md, the manifests and the dashboards
	$(BIN)/mailkeep config reference > docs/options.md
	$(BIN)/python -m services.cli.reference > docs/cli.md
	$(BIN)/python -m services.cli.migrating.page docs/migration.md
	$(BIN)/python -m mailoperator.crd > deploy/manifests/mailservices.yaml
	$(BIN)/python -m deploy.dashboards
	$(BIN)/python scripts/gen-charts

clean:  ## remove the environment and caches; var/ is kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

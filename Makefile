PYTHON ?= python3
VENV ?= .venv
# Options for pip, e.g. the index that has torch's CPU build.
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2

RUN := $(VENV)/bin/python -m
INSTALL := $(RUN) pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e

.PHONY: help demo test check bench clean

help:
	@echo "make demo    install into $(VENV), score every bundled policy, write a report with pictures"
	@echo "make test    install the development tools too, run the tests"
	@echo "make check   lint, format, types, import contracts, spelling"
	@echo "make bench   the speed scripts in benchmarks/"
	@echo "make clean   remove $(VENV), caches and results"

demo: $(VENV)/.for-demo
	$(RUN) planararm.cli demo

test: $(VENV)/.for-dev
	$(RUN) pytest $(PYTEST_ARGS)

check: $(VENV)/.for-dev
	@test "$$(readlink envs)" = planararm/envs && test "$$(readlink policies)" = planararm/policies || \
	    { echo "envs and policies must be symbolic links to planararm/envs and planararm/policies." >&2; exit 1; }
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(VENV)/bin/lint-imports
	$(RUN) codespell_lib

bench: $(VENV)/.for-dev
	@for script in benchmarks/*.py; do \
	    echo; echo "== $$script"; $(VENV)/bin/python "$$script" || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find planararm tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A venv whose pip works is kept as it is; anything else is made anew.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "planararm needs Python >= 3.11, $(PYTHON) is %d.%d; try: make demo PYTHON=python3.11" % sys.version_info[:2])'
	@$(RUN) pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.for-demo: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) ".[render,report,cli]"
	@touch $@

# The demo's dependencies are among these, so the demo's stamp is renewed as well.
$(VENV)/.for-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) ".[dev]"
	@touch $@ $(VENV)/.for-demo

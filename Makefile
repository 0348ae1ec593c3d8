# descry: make demo · make test · make lint · make docs · make test-long; make help says what each does
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)
WORKERS := $(shell echo $$(($(JOBS) + 2)))  # tests also wait: for servers, for the disk, for a browser
export PYTHONDONTWRITEBYTECODE :=  # what one process compiled the others read, whatever the environment says

.PHONY: help demo test test-long lint docs small tables clean

help:
	@echo "make demo       make an environment, install descry, draw a gallery of synthetic people and search it"
	@echo "                (VIDEO=1: from videos of them to leads)"
	@echo "make test       make an environment with the test tools and run the tests"
	@echo "make test-long  the longer forms: fuzzing, kills, sweeps"
	@echo "make docs       the documentation as a site in site/; a warning is an error"
	@echo "make small      every table on synthetic people, from START (demo); goes on where it stopped"
	@echo "make tables     write the tables of docs/ from results/ledger.jsonl"
	@echo "make lint       style of Python, JavaScript and CSS, types, and the layers of docs/architecture.md"
	@echo "make clean      remove the environment, the site and what the demo wrote"

demo:
	@$(PYTHON) tools/environment.py web $(if $(VIDEO),video)
	@$(BIN)/descry demo $(if $(VIDEO),--video)

test:
	@$(PYTHON) tools/environment.py dev
	@echo "== running the tests with $(WORKERS) processes (those in a browser are skipped where there is no Chromium)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not long"

test-long:
	@$(PYTHON) tools/environment.py dev
	@echo "== running the long tests with $(JOBS) processes"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "long and not browser"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "long and browser" tests/browser

lint: node_modules/.bin/biome
	@node_modules/.bin/biome ci --log-level=warn
	@$(PYTHON) tools/environment.py dev
	@$(BIN)/ruff check src tests tools benchmarks recipes
	@$(BIN)/ruff format --check src tests tools benchmarks recipes
	@$(BIN)/mypy
	@$(BIN)/lint-imports

node_modules/.bin/biome: package.json
	@command -v npm >/dev/null || { echo "npm is missing, which brings the linter of JavaScript and CSS. On Debian and Ubuntu: sudo apt install npm"; exit 1; }
	@npm install --silent --no-audit --no-fund --no-package-lock && touch $@

docs:
	@$(PYTHON) tools/environment.py dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "== site/index.html is the first page"

START ?= demo
small:
	@$(PYTHON) tools/environment.py dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m descry_lab small $(START) --jobs $(JOBS)

tables:
	@$(PYTHON) tools/environment.py dev
	@$(BIN)/python -m descry_lab tables

clean:
	rm -rf .venv demo site

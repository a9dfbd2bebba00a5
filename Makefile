# `make` sets up and runs the quick grid to its report; `make help` lists the rest. GNU Make 3.81 is enough.

PYTHON   ?= python3
DATASET  ?= builtin
PROFILE  ?= auto
OUTPUTS  ?= outputs
# Cells at a time, or auto: one a core. A quick cell hardly gains from a second core.
JOBS     ?= 1
# Set it to start a sweep that takes more than an hour without a GPU.
YES      ?=
# More arguments for pip. On Linux without NVIDIA, an --extra-index-url that names PyTorch's CPU index saves gigabytes.
PIP_ARGS ?=

# Where everything is installed: an active conda environment (base is nobody's project), else .venv.
VENV := .venv
ifneq ($(CONDA_PREFIX),)
ifneq ($(CONDA_DEFAULT_ENV),base)
VENV := $(CONDA_PREFIX)
endif
endif
BIN := $(VENV)/bin

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: all setup data train-embedding-sweep train-glu-sweep grid reference speeds reports published lab check test
.PHONY: test-slow docs faults bench clean help

all: setup  ## set up, then the quick grid on the built-in corpus and its report
	@# Cells may fail: the report shows the others, and the exit status still tells. SmallBench would take two more
	@# minutes, executed notebooks one.
	$(BIN)/paramalloc sweep params/grid.yaml --profile quick --dataset builtin --outputs "$(OUTPUTS)" --jobs auto --smallbench off --notebooks off; \
	swept=$$?; \
	$(BIN)/paramalloc time params/grid.yaml --profile quick --dataset builtin --outputs "$(OUTPUTS)" --seconds 4; \
	$(BIN)/paramalloc report params/grid.yaml --profile quick --dataset builtin --outputs "$(OUTPUTS)" --name quick \
	    && exit $$swept

## The study: DATASET=<name or path> PROFILE=<auto, quick, reference or study> OUTPUTS=<folder> JOBS=<cells at a time>

data: setup  ## prepare DATASET and show it
	@mkdir -p "$(OUTPUTS)/notebooks"
	$(BIN)/papermill notebooks/data.ipynb "$(OUTPUTS)/notebooks/data.ipynb" \
	    -r dataset "$(DATASET)" -r profile "$(PROFILE)" -r outputs "$(OUTPUTS)"

STUDY = --profile "$(PROFILE)" --dataset "$(DATASET)" --outputs "$(OUTPUTS)"
SWEEP = $(STUDY) --jobs $(JOBS) $(if $(YES),--yes)

# The reference study: profile reference without a GPU, else PROFILE=study; its corpus, unless DATASET names another.
PUBLISHED = --profile "$(PROFILE:auto=reference)" --dataset "$(DATASET:builtin=../shared/data/wiki-news)" \
    --outputs "$(OUTPUTS)"
REFERENCE = $(PUBLISHED) --jobs $(JOBS) --early-stop flag --yes

train-embedding-sweep: setup  ## three embedding shares at one GLU expansion
	$(BIN)/paramalloc sweep params/embedding_sweep.yaml $(SWEEP)

train-glu-sweep: setup  ## four GLU expansions at one embedding share
	$(BIN)/paramalloc sweep params/glu_sweep.yaml $(SWEEP)

grid: setup  ## all twelve cells
	$(BIN)/paramalloc sweep params/grid.yaml $(SWEEP)

# 1: some cells failed, the others go on. 2 and 130, a mistake and Ctrl-C, end it.
reference: setup  ## the published study, in an order that may be cut off anywhere and goes on there
	@set -e; run() { $(BIN)/paramalloc sweep $(REFERENCE) "$$@" || [ $$? = 1 ]; }; \
	bench=full; for seed in 0 1 2; do run reference --seed $$seed --smallbench $$bench; bench=off; done; \
	for name in lr_check lr_check_full embed_lr_check; do run $$name --early-stop off --smallbench off; done; run noise_floor --seed 3,4,5,6,7,8 --smallbench off; \
	for seed in 0 1 2; do for name in factorized_mlp factorized_depth; do run $$name --seed $$seed --smallbench off; done; done; \
	for name in low_share tying gate sizes budget; do run $$name --smallbench off; done; \
	run vocabulary --smallbench off --early-stop off; \
	$(BIN)/paramalloc time reference $(PUBLISHED)

speeds: setup  ## how fast each shape of the grid trains and generates, measured alone
	$(BIN)/paramalloc time params/grid.yaml $(STUDY)

reports: setup  ## RESULTS.md and report.html of the three
	@set -e; for name in embedding_sweep glu_sweep grid; do \
	    $(BIN)/paramalloc report params/$$name.yaml $(STUDY) --name $$name; done

published: setup  ## every table and figure of outputs/reference again, each from its results.csv alone
	@# All reports before the first copy, which would make the tree differ from the commit that they name.
	@set -e; folders=$$(dirname $$(find outputs/reference -name RESULTS.md)); \
	for folder in $$folders; do $(BIN)/paramalloc report $$folder/results.csv --name reference-$$(basename $$folder); done; \
	for folder in $$folders; do made=outputs/reports/reference-$$(basename $$folder); \
	    cp $$made/RESULTS.md $$folder; rm -rf $$folder/figures; cp -r $$made/figures $$folder; \
	    if [ -f $$folder/report.html ]; then cp $$made/report.html $$folder; fi; done

## Around it

setup: $(VENV)/.paramalloc  ## install into .venv, or into the active conda environment

docs: setup  ## the generated numbers and lists in README.md and the folders' pages, again
	$(BIN)/python -m paramalloc.report.readmes

lab: setup  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

check: $(VENV)/.paramalloc-test  ## format, lint, types and the examples in docstrings: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q --doctest-modules paramalloc -p no:cacheprovider

# Tests run on all cores, a file on one of them; there, threads had better sleep at once.
PYTEST = OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --dist loadscope --durations 10

test: $(VENV)/.paramalloc-test  ## the tests but for the slow ones, and every notebook executed
	$(PYTEST) -m "not slow" tests
	@# The notebooks run with their defaults, in the quick profile also where there is a GPU.
	CUDA_VISIBLE_DEVICES= $(PYTEST) --nbval-lax --nbval-current-env notebooks

test-slow: $(VENV)/.paramalloc-test  ## the slow tests: crashes, kills, the published reports
	$(PYTEST) -m slow tests

faults: $(VENV)/.paramalloc-test  ## the crash suite alone, with 200 kills (test-slow: 60)
	PARAMALLOC_KILLS=200 $(PYTEST) tests/faults

bench: $(VENV)/.paramalloc-test  ## the benchmarks in tests/bench, on DATASET
	@set -e; for script in $(filter-out %/bench_gpu.py,$(wildcard tests/bench/bench_*.py)); do OMP_WAIT_POLICY=PASSIVE $(BIN)/python "$$script" "$(DATASET)"; done

clean:  ## remove .venv and caches; outputs stay
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache "$(VENV)"/.paramalloc*
	find paramalloc tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

help:  ## this list
	@awk -F ':.*## ' '/^## / {print "\n" substr($$0, 4)} \
	    /^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' Makefile

# ---- Installation -----------------------------------------------------------------------------------------------

# Asked of a Python of any age: what is wrong with it? Nothing is printed when it will do.
WRONG = import sys; v = sys.version_info[:2]; has = lambda m: __import__("importlib.util").util.find_spec(m); \
    print("is Python %d.%d" % v if not (3, 11) <= v < (3, 15) else \
    "" if has("venv") and has("ensurepip") else "has no venv and ensurepip (Debian: apt install python3-venv)")
wrong = $(shell $(1) -c '$(WRONG)' 2>/dev/null || echo does not run)
refuse = $(if $(call wrong,$(1)),$(error $(1) $(call wrong,$(1)): paramalloc needs Python 3.11 to 3.14, $(2)))

# Prints where a torch that will do is installed; fails where there is none.
TORCH = import pathlib, sys, torch; v = tuple(map(int, torch.__version__.split(".")[:2])); \
    print(pathlib.Path(torch.__file__).parents[1]); sys.exit(v < (2, 6))

LINK = import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "torch.pth").write_text(sys.argv[1])

# A torch that PYTHON has (say, a CUDA build that suits the card) is used in place, all else is our own: it comes in by
# a .pth file after the rest is installed, so that pip takes nothing but torch from there.
.venv/bin/pip:
	$(call refuse,$(PYTHON),name one: make PYTHON=python3.12)
	$(PYTHON) -m venv --clear .venv
	@if site=$$($(PYTHON) -c '$(TORCH)' 2>/dev/null); then \
	    grep -v '^torch==' requirements.txt > .venv/without-torch.txt && \
	    .venv/bin/python -m pip install $(PIP_ARGS) -r .venv/without-torch.txt && \
	    echo "The torch in $$site is used." && .venv/bin/python -c '$(LINK)' "$$site"; fi

ifneq ($(VENV),.venv)
$(BIN)/pip:
	$(error $(VENV) has no pip: conda install "python>=3.11,<3.15" pip)
endif

# Each stamp is newer than what it was installed from, so that a second `make` installs nothing.
$(VENV)/.paramalloc: EXTRAS := lab
$(VENV)/.paramalloc-test: EXTRAS := lab,test
$(VENV)/.paramalloc $(VENV)/.paramalloc-test: pyproject.toml requirements.txt | $(BIN)/pip
	$(if $(wildcard $(BIN)/python),$(call refuse,$(BIN)/python,so remove that environment or activate another))
	@# A torch that is there already and will do is not replaced by the pinned one.
	@pin=none; if $(BIN)/python -c '$(TORCH)' >/dev/null 2>&1; then pin=torch; fi; \
	grep -v "^$$pin==" requirements.txt > $(VENV)/.paramalloc-constraints.txt
	$(BIN)/python -m pip install $(PIP_ARGS) -c $(VENV)/.paramalloc-constraints.txt -e '.[$(EXTRAS)]'
	@touch $(VENV)/.paramalloc $@

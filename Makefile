# Everything from an empty machine: `make demo`, `make test`. `make help` lists the rest.

VENV ?= .venv
# The interpreter .venv is made with: the first that is new enough and can make environments.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.10 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { echo $$p; exit; }; done; echo python3)
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo study test test-all lint docs docs-serve setup doctor matrix dist clean clean-env

export TORCH_SPEC FAMILY
# More OpenMP threads than idle cores can make a training step several times slower than one thread.
test test-all: export OMP_NUM_THREADS ?= 1
# With three processors or more, tools/demo.py chooses.
ifeq ($(filter-out 1 2,$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)),)
demo: export OMP_NUM_THREADS ?= 1
endif

ifdef USE_ENV
# Somebody else's environment: used as it is, nothing is installed into it, only checked.
PY := $(USE_ENV)/bin/python
READY := check-env
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
else
PY := $(VENV)/bin/python
READY := $(VENV)/.mmattn-ready
endif

help:
	@echo 'make demo       train, evaluate and picture a small detector with attention (results in work_dirs/demo)'
	@echo 'make study      does attention help there? two variants, three seeds, a report (work_dirs/smallest/report)'
	@echo 'make test       the quick tests            make test-all   all tests'
	@echo 'make lint       check style and layout (ruff)'
	@echo 'make docs       build the docs as a site   make docs-serve  show it at localhost:8000 while you write'
	@echo 'make setup      only the environment       make doctor     what works here, and how to mend what does not'
	@echo 'make matrix     the core tests on other versions of Python, PyTorch and MMDetection (hours, gigabytes)'
	@echo 'make dist       build sdist and wheel of the commit into dist/, and try each in a fresh environment'
	@echo 'make clean      remove build left-overs    make clean-env  remove $(VENV)'
	@echo
	@echo 'demo, study, test and test-all first make the environment $(VENV), unless it is up to date: PyTorch,'
	@echo 'the onedl-* packages, mmcv with compiled ops, mmattn. Options, to be set on the command line:'
	@echo '  PYTHON=python3.12      the interpreter for $(VENV) (needs make clean-env first where $(VENV) exists)'
	@echo '  VENV=/path             another place for it'
	@echo '  USE_ENV=/path          use the environment there instead (venv or conda); it is checked, never changed'
	@echo '  TORCH_SPEC="torch==2.13.0 --index-url ..."   which PyTorch to install (likewise)'
	@echo '  ARGS="-k cbam -x"      more arguments for pytest or for the demo'
	@echo '  FAMILY=openmmlab       the upstream mmengine, mmcv and mmdet, not the forks (likewise)'
	@echo '  MMATTN_WHEEL_CACHE=/path   where the built mmcv is kept (default ~/.cache/mmattn/wheels)'
	@echo '  MAX_JOBS=1             compilers at once, when memory is short'

setup: $(READY)

$(VENV)/.mmattn-ready: setup.py $(wildcard requirements/*.txt) tools/dev/setup_env.py tools/dev/build_mmcv.py
	@echo "== environment $(VENV): 1 to 2 minutes, plus about 5 to compile mmcv when no built one was kept"
	@$(PYTHON) tools/dev/setup_env.py $(VENV)

ifdef USE_ENV
doctor: check-env
else
# Not after the set-up: where that fails, this has to say why.
doctor:
	@test -x $(PY) || echo "$(VENV) is not there yet (make setup makes it); looking at $(PYTHON)"
	@$(if $(wildcard $(PY)),$(PY),$(PYTHON)) tools/doctor.py
endif

.PHONY: check-env
check-env:
	@test -x $(PY) || { echo "USE_ENV=$(USE_ENV): there is no $(PY). Give the folder of a venv or conda environment," \
		"or leave USE_ENV out to have $(VENV) made." >&2; exit 1; }
	@$(PY) tools/doctor.py || { echo "USE_ENV=$(USE_ENV) lacks what is said above; nothing was installed into it." \
		"Mend it, or leave USE_ENV out to have $(VENV) made." >&2; exit 1; }

# A worker a processor; ARGS='-n 0' runs all tests in one process, as debuggers need it.
PARALLEL := -n auto --dist worksteal

TESTS_FAILED = code=$$?; echo "tests FAILED, see above. Only those again: make $@ ARGS=--lf;" \
	"make doctor says whether this machine lacks something." >&2; exit $$code

demo: $(READY)
	@echo "== demo: a small detector with attention, trained from scratch on generated pictures;" \
		"about 6 minutes on two cores"
	@$(PY) tools/demo.py $(ARGS) || { code=$$?; echo "demo FAILED, see above. The whole log is" \
		"work_dirs/demo/*/*.log; make doctor says whether this machine lacks something." >&2; exit $$code; }

study: $(READY)
	@echo "== study: CBAM against the plain detector, 3 seeds, on generated pictures; it goes on where it was stopped"
	@$(PY) tools/make_shapes.py
	@$(PY) tools/study.py run configs/studies/smallest.py --workers 2 $(ARGS)
	@$(PY) tools/study.py report configs/studies/smallest.py

test: $(READY)
	@echo "== quick tests, on all processors: about 15 minutes on two cores"
	@$(PY) -m pytest $(PARALLEL) $(ARGS) || { $(TESTS_FAILED); }

test-all: $(READY)
	@echo "== all tests, the slow ones too: much longer than the 15 minutes of make test"
	@$(PY) -m pytest -m '' $(PARALLEL) $(ARGS) || { $(TESTS_FAILED); }

lint: $(READY)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . || { code=$$?; echo "lint FAILED, see above;" \
		"'ruff check --fix .' and 'ruff format .' mend most of it." >&2; exit $$code; }

matrix: $(READY)
	@echo "== matrix: an environment of its own for each line of docs/install.md's table, in work_dirs/stacks"
	@$(PY) benchmarks/stacks.py $(ARGS)

dist: $(READY)
	@$(PY) -c 'import build, twine' 2>/dev/null || { echo "dist needs build and twine:" \
		"$(PY) -m pip install -c requirements/constraints.txt -r requirements/dist.txt" >&2; exit 1; }
	@$(PY) tools/dev/dist.py

# MkDocs is held to what it names: any warning, such as a link that leads nowhere, is an error.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1
docs: $(READY)
	@$(PY) -m mkdocs build --strict || { code=$$?; echo "docs FAILED, see above." \
		"Is MkDocs missing? pip install -r requirements/docs.txt" >&2; exit $$code; }

docs-serve: $(READY)
	@$(PY) -m mkdocs serve --strict $(ARGS)

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache
	find mmattn tools tests configs -name __pycache__ -prune -exec rm -rf {} +

clean-env:
	rm -rf $(VENV)

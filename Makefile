# Everything from an empty machine: `make demo`, `make test`. `make help` lists the rest.

VENV ?= .venv
# The interpreter .venv is made with: the first that is new enough and can make environments.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.10 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { echo $$p; exit; }; done; echo python3)
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-all setup doctor clean clean-env

export TORCH_SPEC
# More OpenMP threads than idle cores can make a training step several times slower than one thread.
export OMP_NUM_THREADS ?= 1

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
	@echo 'make test       the quick tests            make test-all   all tests'
	@echo 'make setup      only the environment       make doctor     what works here, and how to mend what does not'
	@echo 'make clean      remove build left-overs    make clean-env  remove $(VENV)'
	@echo
	@echo 'demo, test, test-all and doctor first make the environment $(VENV), unless it is up to date: PyTorch,'
	@echo 'the onedl-* packages, mmcv with compiled ops, mmattn. Options, to be set on the command line:'
	@echo '  PYTHON=python3.12      the interpreter for $(VENV)'
	@echo '  VENV=/path             another place for it'
	@echo '  USE_ENV=/path          use the environment there instead (venv or conda); it is checked, never changed'
	@echo '  TORCH_SPEC="torch==2.13.0 --index-url ..."   which PyTorch to install'
	@echo '  ARGS="-k cbam -x"      more arguments for pytest or for the demo'
	@echo '  MMATTN_WHEEL_CACHE=/path   where the built mmcv is kept (default ~/.cache/mmattn/wheels)'
	@echo '  MAX_JOBS=1             compilers at once, when memory is short'

setup: $(READY)

$(VENV)/.mmattn-ready: setup.py $(wildcard requirements/*.txt) tools/dev/setup_env.py tools/dev/build_mmcv.py
	@echo "== environment $(VENV): 1 to 2 minutes, plus about 5 to compile mmcv when no built one was kept"
	@$(PYTHON) tools/dev/setup_env.py $(VENV)

.PHONY: check-env
check-env:
	@test -x $(PY) || { echo "USE_ENV=$(USE_ENV): there is no $(PY). Give the folder of a venv or conda environment," \
		"or leave USE_ENV out to have $(VENV) made." >&2; exit 1; }
	@$(PY) tools/doctor.py || { echo "USE_ENV=$(USE_ENV) lacks what is said above; nothing was installed into it." \
		"Mend it, or leave USE_ENV out to have $(VENV) made." >&2; exit 1; }

demo: $(READY)
	@echo "== demo: a small detector with attention, trained from scratch on generated pictures"
	@$(PY) tools/demo.py $(ARGS)

test: $(READY)
	@echo "== quick tests"
	@$(PY) -m pytest $(ARGS)

test-all: $(READY)
	@echo "== all tests"
	@$(PY) -m pytest -m '' $(ARGS)

doctor: $(READY)
ifndef USE_ENV
	@$(PY) tools/doctor.py
endif

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find mmattn tools tests configs -name __pycache__ -prune -exec rm -rf {} +

clean-env:
	rm -rf $(VENV)

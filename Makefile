# What a developer runs; `make help` lists it. `make test PYTHON=python` uses another Python than that of .venv.
PYTHON ?= .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help install test test-all lint types docs bench demo

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/  \1:/p' Makefile | column -t -s :

install:  ## make .venv with all that development needs
	python3 -m venv .venv
	$(PYTHON) -m pip install torch==2.13.0
	$(PYTHON) -m pip install -e '.[dev,docs,databases]'
	$(PYTHON) -m pre_commit install

test:  ## the tests of the README, some minutes
	$(PYTHON) -m pytest

test-all:  ## every test, hours
	$(PYTHON) -m pytest -m ""

lint:  ## style and formatting
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:  ## static types
	$(PYTHON) -m mypy

docs:  ## build the documentation in site/
	$(PYTHON) -m mkdocs build --strict

bench:  ## auto beside its peers, an hour; BENCH=name runs another benchmark
	$(PYTHON) -m benchmarks.$(or $(BENCH),peers)

demo:  ## align two real encoders, half a minute
	$(PYTHON) -c 'from minivec.cli import main; main()' demo

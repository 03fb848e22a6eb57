# The front door: each target is a line, the work is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup build test test-rust test-python lint fmt sim bench bench-rust fuzz soak \
    demo wheel sdist acceptance clean

SECONDS ?= 60

help:           ## this list
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup:          ## install what is missing: Debian packages, .venv
	scripts/setup.sh

build:          ## compile, and install the package into .venv
	scripts/build.sh

test:           ## every test, after installing what they need and building
	scripts/test.sh rust python

test-rust:      ## the tests in Rust alone
	scripts/test.sh rust

test-python:    ## the tests in Python alone, on the package as pip installs it
	scripts/test.sh python

lint:           ## fmt, clippy, ruff, type stubs, length of files and functions
	scripts/lint.sh

fmt:            ## format the sources
	scripts/fmt.sh

sim:            ## simulate: SEED=n replays one, SEEDS=n runs that many
	scripts/sim.sh $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

bench:          ## speed beside ZEO, FileStorage, RelStorage; ARGS="--rounds 9 --rows cold"
	scripts/bench.sh $(ARGS)

bench-rust:     ## the benchmarks in Rust; ARGS="-p neo-wire" for some
	scripts/bench.sh --rust $(ARGS)

fuzz:           ## fuzz every target, SECONDS=60 in all
	scripts/fuzz.sh $(SECONDS)

soak:           ## kill -9 of every process under load: KILLS=300
	scripts/soak.sh $(or $(KILLS),300)

demo:           ## a small application on a cluster, until Ctrl-C; ONCE=1 ends by itself
	scripts/demo.sh $(if $(ONCE),--once) $(if $(FOLDER),--folder $(FOLDER)) $(ARGS)

wheel:          ## dist/*.whl for this Python, without debug information
	scripts/package.sh wheel

sdist:          ## dist/*.tar.gz
	scripts/package.sh sdist

acceptance:     ## slow: the sdist, built and installed by pip in an empty environment
	scripts/acceptance.sh

clean:          ## remove what was built; .venv too
	scripts/clean.sh

# The two commands are `make run` and `make test`; the work is done by small scripts in scripts/.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The folder where cargo puts the program. Intermediate files lie in one folder for all checkouts:
# .cargo/config.toml.
TARGET := $(or $(CARGO_TARGET_DIR),target)

PREFIX ?= /usr/local

.PHONY: help run test unit model servers faults chaos bounds simulate planted-bugs bench build install clean packages

help: ## this list
	@echo "helixstream: a Kafka Streams-style stream processor, and HelixAgent's memory topology on it"
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 18
	@echo
	@echo "make run uses the servers of BOOTSTRAP_SERVERS=host:port and POSTGRES_URL=postgres://... where these are set."

packages: ## install what is missing: Debian packages, Apache Kafka's jars
	@scripts/packages
	@scripts/kafka-jars

run: ## start Kafka, Postgres, the topology on the sample records and two nodes, until Ctrl-C
	@exec setpriv --pdeathsig TERM scripts/run

test: ## formatting, clippy, docs, all tests on servers of their own, and a sample of the bench
	@exec setpriv --pdeathsig TERM scripts/test

unit: ## the tests that need no server, compiled unoptimised: for a run after each edit
	@exec setpriv --pdeathsig TERM scripts/test unit

model: ## the tests of the memory topology against the reference model
	@exec setpriv --pdeathsig TERM scripts/test model

servers: ## the tests on real servers: Kafka, PostgreSQL, a schema registry and others
	@exec setpriv --pdeathsig TERM scripts/test servers

faults: ## the whole fault matrix on a real broker, under an hour; writes docs/fault-matrix.md
	@exec setpriv --pdeathsig TERM scripts/faults

chaos: ## three brokers and three instances under random faults; ROUNDS=1000 SEED=n
	@exec setpriv --pdeathsig TERM scripts/chaos

bounds: ## 10 million events within memory, and what is hot beside the rest; N=events M=memories
	@exec setpriv --pdeathsig TERM scripts/bounds

simulate: ## the engine under simulated faults; SEEDS=100000 or HOURS=8
	@exec scripts/simulate

planted-bugs: ## the simulation finds each of 54 bugs that are planted in the engine
	@exec scripts/planted-bugs

bench: ## one table of figures; ANCHOR=1 runs Kafka Streams (Java) beside it
	@exec scripts/bench

build: packages ## the binary, in the profile of a bare `cargo build`, which is optimised
	@scripts/claim-build-folder
	cargo build --locked

install: build ## the binary into PREFIX/bin
	install -D -m 755 "$(TARGET)/debug/helixstream" "$(DESTDIR)$(PREFIX)/bin/helixstream"

clean: ## remove the build's output and the data of make run; Kafka's jars stay in the cache
	@scripts/clean

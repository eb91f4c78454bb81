# Everything a developer runs. `make help` lists it.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# How long `make fuzz` runs each fuzz target, and how long `make soak` and `make oracle` run.
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
ORACLE_SECONDS ?= 1800

# Where `make install` puts things: DESTDIR goes before every path and into none of them.
DESTDIR ?=
PREFIX  ?= /usr/local

# rust-toolchain.toml pins the toolchain. Where rustup cannot have that one, the default one builds evictd too.
ifneq ($(shell cargo --version >/dev/null 2>&1 || echo missing),)
export RUSTUP_TOOLCHAIN := stable
$(info rust-toolchain.toml: that toolchain is not installed and cannot be: using stable)
endif

SCRIPTS := $(filter-out scripts/debian,$(wildcard scripts/* .ci/*)) $(addprefix scripts/debian/,postinst prerm postrm)

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Builds evictd as it is shipped: target/release/evictd
	cargo build --release

.PHONY: install
install: build ## Installs it with units, manual and completions: PREFIX (/usr/local), DESTDIR
	PREFIX=$(PREFIX) scripts/install target/release/evictd $(DESTDIR)

.PHONY: deb
deb: build ## Makes a Debian package in target/debian
	scripts/package target/release/evictd target/debian

.PHONY: image
image: build ## Makes an image of nothing but evictd, an archive in target/image, without an engine
	scripts/image target/release/evictd target/image

.PHONY: check
check: ## Formatting, clippy and documentation with warnings denied, shell scripts, dependencies
	@scripts/provision components deny
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	@if command -v shellcheck >/dev/null; then \
	  echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else \
	  echo "shell scripts NOT CHECKED: shellcheck is not installed (apt-get install shellcheck)" >&2; \
	fi
	scripts/check-dependencies

# Tests of servers wait more than they compute.
test-threads = $$((2 * $$(nproc)))

.PHONY: test
test: servers ## All tests, against real MySQL and Redis and an AWS emulator
	RUST_TEST_THREADS=$(test-threads) cargo test
	cargo test --quiet --test live oracle:: -- --ignored --nocapture --test-threads=1
	$(count-instructions) check

# The integration tests that start no server, many at a time: most of them wait and do not compute.
without-servers = architecture:: commands::explain commands::manual configuration:: decoder::properties edge:: \
  guarantees:: messages:: metrics:: model:: oracle::rules oracle::snapshot performance:: planner:: service::rights \
  --test-threads=16 \
  $(addprefix --skip=,daemon:: with_the_server prometheus_accepts counts_repeat the_task_definitions)

.PHONY: quick
quick: ## Every test that needs no server, within a minute of a change to one file
	@trap 'echo "make quick took $$SECONDS s"' EXIT; \
	cargo test --no-run --lib --test live; \
	cargo test --quiet --lib; \
	cargo test --quiet --test live -- $(without-servers)

# Optimised is what the instructions of a row change are spent in: evictd here, the rest in Cargo.toml.
count-instructions = CARGO_INCREMENTAL=0 cargo run --quiet --example instructions \
  $(foreach setting,opt-level=1 codegen-units=16 debug-assertions=false, \
    --config 'profile.dev.package.evictd.$(setting)') --

.PHONY: instructions
instructions: ## Counts instructions a row change and keeps the figures that make test compares with
	$(count-instructions) update

.PHONY: booted
booted: servers ## Boots a copy of this machine's system in a container, as root, and tries the package there
	cargo test --test live service::booted -- --ignored

.PHONY: demo
demo: servers ## One screen that shows what evictd does, on real servers
	cargo build --bin evictd
	cargo run --quiet --example demo

.PHONY: screenshots
screenshots: servers ## Takes the documentation's screenshots again: docs/images
	cargo build --bin evictd
	cargo run --quiet --example screenshots

.PHONY: bench
bench: servers ## Measures everything in ten minutes and six gigabytes, optimised build; writes docs/performance.md
	cargo bench --bench performance

.PHONY: fuzz
fuzz: ## Fuzzes each target for FUZZ_SECONDS (60)
	@scripts/provision fuzz
	@scripts/provision servers
	@mkdir -p fuzz/corpus/row_decoder fuzz/corpus/events
	EVICTD_FUZZ_SEEDS=$(CURDIR)/fuzz/corpus/row_decoder cargo test --test live seeds_for_the_fuzzer
	EVICTD_FUZZ_EVENTS=$(CURDIR)/fuzz/corpus/events cargo test --test live decoder::damage
	@targets=$$(cargo fuzz list); for target in $$targets; do \
	  echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  cargo fuzz run --sanitizer none "$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

.PHONY: soak
soak: servers ## Looks for one stale entry for SOAK_SECONDS (600), then in a cluster with a local buffer, while everything breaks
	@scripts/provision faketime >/dev/null
	EVICTD_SOAK_SECONDS=$(SOAK_SECONDS) EVICTD_SOAK_BUFFER=sqs \
	  cargo test --release --test live soak:: -- --nocapture --test-threads=1
	EVICTD_SOAK_SECONDS=$$(($(SOAK_SECONDS) / 4)) EVICTD_SOAK_REDIS=cluster EVICTD_SOAK_BUFFER=local \
	  cargo test --release --test live soak::no_entry -- --nocapture --test-threads=1

.PHONY: oracle
oracle: servers ## Draws cases for ORACLE_SECONDS (1800) and compares every entry with its row; ORACLE_SEED repeats one
	ORACLE_SECONDS=$(ORACLE_SECONDS) cargo test --test live oracle:: -- --include-ignored --nocapture --test-threads=1

.PHONY: oracle-faults
oracle-faults: servers ## Puts known faults back one at a time and says how soon the oracle finds each: FAULTS (all)
	scripts/oracle-fault $(FAULTS)

.PHONY: servers
servers: ## Finds or unpacks the servers that tests, demo and bench use
	@scripts/provision servers

.PHONY: clean
clean: ## Removes what cargo built, not the servers
	cargo clean

# The two commands are `make demo` and `make test`; `make help` lists the rest.

CLUSTER := tests/cluster/cluster.sh
# A static binary, for images: its own target directory, since other flags rebuild everything.
HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC  := target-static/$(HOST)/release/longshore
BUILD_STATIC := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --target $(HOST) --target-dir target-static
IMAGE_FILE ?= target-static/longshore-image.tar

.PHONY: help setup build release demo test check test-cluster fuzz attack sbom bench-reader bench-sql idle timeline static image test-image api-image chart manifests cluster-up cluster-down cluster-shell clean

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1  /p' $(MAKEFILE_LIST) | column -t -l 2

setup: ## Installs what is missing, by the system's package manager
	@scripts/setup.sh

build: setup ## Builds the binary (debug)
	cargo build --locked

release: setup ## Builds the binary (release)
	cargo build --locked --release

demo: build ## Starts the daemon on the embedded backend and runs SQL through it; no cluster, no root
	@./target/debug/longshore demo

test: setup ## Everything: formats, lints, all tests, the real cluster where it can
	@scripts/test.sh

check: setup ## The fast part: formats, lints, unit tests
	@scripts/test.sh fast

test-cluster: setup ## Only the suite on the real cluster
	@scripts/test.sh cluster

fuzz: setup ## Fuzzes what reads things from outside: FUZZ_SECONDS=60 a target, by default 20
	@scripts/fuzz.sh $(or $(FUZZ_SECONDS),20)

attack: ## Attacks a daemon beside a client that goes on: ATTACK_SECONDS=30 an attack
	LONGSHORE_ATTACK_SECONDS=$(or $(ATTACK_SECONDS),30) cargo test --locked --test it attack -- --nocapture

sbom: ## Writes a bill of materials of the binary (CycloneDX): SBOM=FILE
	scripts/supply-chain.sh sbom $(or $(SBOM),target/longshore.cdx.json)

bench-reader: ## Speed of the result reader beside its peers, and the memory that it holds
	cargo bench --locked -p longshore-reader --bench result_reader
	cargo test --locked --release -p longshore-reader --test reader_memory -- --nocapture

bench-sql: static ## CPU time of the SQL runner beside DuckDB's, where there is one (pip install duckdb-cli)
	python3 scripts/bench-sql.py $(STATIC) target/bench-sql

idle: static ## What live and finished runs cost that nothing happens to: IDLE_LIVE=1000 IDLE_FINISHED=10000
	python3 scripts/idle.py $(STATIC) target/idle $(or $(IDLE_LIVE),1000) $(or $(IDLE_FINISHED),10000)

timeline: cluster-up ## Prints the timeline of a run on the test cluster, beside kubectl's
	cargo test --locked --test cluster --no-run
	LONGSHORE_TEST_KUBECONFIG=$$($(CLUSTER) kubeconfig) \
	  $(CLUSTER) exec cargo test --locked --offline --test cluster -- --ignored --nocapture timeline

static: setup ## Builds the static binary
	$(BUILD_STATIC) --release

image: static ## Writes the image as an OCI archive, without a container engine: IMAGE=NAME:TAG IMAGE_FILE=FILE
	@scripts/image.sh archive $(STATIC) $(IMAGE_FILE)

test-image: setup ## The same as the suite on the real cluster runs it: not optimised, and built in a third of the time
	$(BUILD_STATIC) --profile image-test
	@scripts/image.sh archive target-static/$(HOST)/image-test/longshore target-static/test-image.tar

api-image: ## Makes tests/api/landed.binpb anew: the API that `make check` holds against changes (npm)
	@scripts/api.sh renew

chart: ## Checks the Helm chart and the plain manifests (Go, Python)
	@scripts/chart.sh check

manifests: ## Renders deploy/manifests and the chart's README again
	@scripts/chart.sh manifests && scripts/chart.sh readme

cluster-up: static ## Starts a real single-node Kubernetes in namespaces of its own (root, Linux, Go)
	@$(CLUSTER) up --longshore $(STATIC)

cluster-down: ## Removes it
	@$(CLUSTER) down

cluster-shell: ## A shell in its network, with kubectl
	@$(CLUSTER) shell

clean: ## Removes what was built
	rm -rf target target-static fuzz/target

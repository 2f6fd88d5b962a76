#!/usr/bin/env bash
# Runs the tests. `test.sh` runs all, `test.sh fast` what needs no build of the binary,
# `test.sh cluster` only the suite on the real cluster.
#
# The suite on the real cluster runs where it can: as root on Linux with Go, or against the cluster
# of the kubeconfig that LONGSHORE_TEST_KUBECONFIG names. What cannot run is listed by name at the
# end; with LONGSHORE_REQUIRE_ALL=1 it is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

what=${1:-all}
skipped=()
started=$SECONDS

step() { printf '\n== %s (%d s)\n' "$*" "$((SECONDS - started))" >&2; }
skip() {
  skipped+=("$1")
  printf '\n== SKIPPED %s\n' "$1" >&2
}

lints() {
  step "format"
  cargo fmt --all --check
  step "lints"
  cargo clippy --locked --workspace --all-targets -- -D warnings
  cargo clippy --locked --test cluster -- -D warnings
  step "the domain alone"
  cargo check --locked --no-default-features
  step "the API and its client alone"
  cargo check --locked --no-default-features --features client
  local missing
  if missing=$(scripts/supply-chain.sh ready 2>&1); then
    step "what is built in: licences, bans, sources"
    scripts/supply-chain.sh check
  else
    skip "what is built in: ${missing##*supply-chain: }"
  fi
  if command -v npm >/dev/null; then
    step "the API: buf lint, format and breaking"
    scripts/api.sh check
  else
    skip "the API (buf lint, format and breaking): needs npm"
  fi
}

local_tests() {
  step "unit and property tests"
  cargo test --locked --workspace --lib
  reader_tests
  step "tests through gRPC and the command line, on the local backend"
  command -v bwrap >/dev/null || skip "isolation on the local backend: needs bubblewrap"
  cargo test --locked --test it
}

reader_tests() {
  step "the result reader beside CPython, and what it holds"
  command -v python3 >/dev/null || skip "the result reader beside CPython: needs python3"
  cargo test --locked --workspace --test reader --test reader_memory
  step "fuzzing the result reader"
  # Its own question first, so that what it finds is a failure and what it lacks is not.
  local missing
  if missing=$(scripts/fuzz.sh ready 2>&1); then
    # Always the same way: what another one would find is for who looks for it, not for who lands.
    FUZZ_SEED=1 scripts/fuzz.sh "${LONGSHORE_FUZZ_SECONDS:-20}" reader json_agrees python_agrees
    step "fuzzing what else reads from outside, but for what needs the whole daemon"
    FUZZ_SEED=1 scripts/fuzz.sh 3 cri cursor page_token quantity selector spec stored
  else
    skip "fuzzing the result reader: ${missing##*fuzz: }"
  fi
}

client_tests() {
  local language missing
  for language in python go typescript java; do
    if missing=$(scripts/clients.sh ready "$language" 2>&1); then
      step "README's client in $language"
      scripts/clients.sh check "$language"
    else
      skip "README's client in $language: ${missing##*clients: }"
    fi
  done
}

chart_tests() {
  step "the Helm chart and the plain manifests"
  local missing
  if missing=$(scripts/chart.sh ready 2>&1); then
    scripts/chart.sh check
  else
    skip "the Helm chart and the plain manifests: ${missing##*chart: }"
  fi
}

cluster_tests() {
  if [ -n "${LONGSHORE_TEST_KUBECONFIG:-}" ]; then
    step "the suite on the cluster of $LONGSHORE_TEST_KUBECONFIG"
    cargo test --locked --test cluster
    return
  fi
  local reason=
  [ "$(uname -s)" = Linux ] || reason="needs Linux"
  [ "$(id -u)" = 0 ] || reason="needs root, or LONGSHORE_TEST_KUBECONFIG=FILE"
  command -v go >/dev/null || reason="needs Go, or LONGSHORE_TEST_KUBECONFIG=FILE"
  if [ -n "$reason" ]; then
    skip "the suite on the real cluster: $reason"
    return
  fi
  step "the image"
  make --no-print-directory test-image
  step "real cluster"
  tests/cluster/cluster.sh tools
  # A cluster of its own, so that one that a developer keeps is not disturbed.
  export LONGSHORE_CLUSTER_DIR=${LONGSHORE_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/longshore/test-cluster}
  tests/cluster/cluster.sh down >/dev/null 2>&1 || true
  trap 'tests/cluster/cluster.sh down >/dev/null 2>&1 || true' EXIT
  tests/cluster/cluster.sh up
  tests/cluster/cluster.sh load target-static/test-image.tar
  LONGSHORE_TEST_IMAGE=$(scripts/image.sh name)
  LONGSHORE_TEST_KUBECONFIG=$(tests/cluster/cluster.sh kubeconfig)
  LONGSHORE_TEST_CONTROL=$LONGSHORE_CLUSTER_DIR/ctl.sock
  export LONGSHORE_TEST_IMAGE LONGSHORE_TEST_KUBECONFIG LONGSHORE_TEST_CONTROL
  step "the suite on the real cluster"
  # Built before: nothing leads out of the cluster's network.
  cargo test --locked --test cluster --no-run
  tests/cluster/cluster.sh exec cargo test --locked --offline --test cluster -- --test-threads "${LONGSHORE_TEST_THREADS:-3}"
  step "what disturbs its node, alone"
  tests/cluster/cluster.sh exec cargo test --locked --offline --test cluster -- --ignored --test-threads 1 node::
}

case $what in
  fast)
    lints
    step "unit and property tests"
    cargo test --locked --workspace --lib
    ;;
  cluster) cluster_tests ;;
  all)
    lints
    local_tests
    client_tests
    chart_tests
    cluster_tests
    ;;
  *)
    printf 'usage: test.sh [fast|cluster]\n' >&2
    exit 2
    ;;
esac

printf '\n== done in %d s\n' "$((SECONDS - started))" >&2
if [ ${#skipped[@]} -gt 0 ]; then
  printf 'NOT RUN: %s\n' "${skipped[@]}" >&2
  if [ "${LONGSHORE_REQUIRE_ALL:-0}" = 1 ]; then
    printf 'a skipped suite is a failure here (LONGSHORE_REQUIRE_ALL=1)\n' >&2
    exit 1
  fi
fi

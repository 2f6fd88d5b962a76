#!/usr/bin/env bash
# What is built in. `supply-chain.sh check` compares every crate with deny.toml: licences, bans and sources, and
# advisories where `cargo deny fetch` has brought their database before, since nothing is fetched here.
# `supply-chain.sh sbom FILE` writes a bill of materials (CycloneDX, JSON) of the binary. `supply-chain.sh ready` says
# on stderr what `check` is missing and fails, or installs it.
#
# The tools are installed below ~/.cache/longshore (or $XDG_CACHE_HOME/longshore), each by its version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny=0.20.2
cyclonedx=0.5.9
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore

say() { printf 'supply-chain: %s\n' "$*" >&2; }

# tool NAME VERSION: cargo-NAME is there and on PATH.
tool() {
  local root=$cache/cargo-tools-$1-$2
  export PATH=$root/bin:$PATH
  [ -x "$root/bin/cargo-$1" ] || {
    say "installing cargo-$1 $2 below $root"
    # Without optimisation: it runs for seconds, and would be built for minutes.
    cargo install --quiet --locked --debug "cargo-$1" --version "$2" --root "$root" >&2 ||
      { say "needs cargo-$1 $2, which could not be installed"; return 1; }
  }
}

case ${1:-} in
  ready) tool deny "$deny" ;;
  check)
    tool deny "$deny"
    checks=(bans licenses sources)
    if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then
      checks+=(advisories)
    else
      say "advisories are not checked: their database is not here (cargo deny fetch)"
    fi
    cargo deny --locked --offline --workspace check --hide-inclusion-graph "${checks[@]}"
    ;;
  sbom)
    [ $# = 2 ] || { say "usage: supply-chain.sh sbom FILE"; exit 2; }
    tool cyclonedx "$cyclonedx"
    # Of what the binary is made of, so without what only builds or tests it. The tool writes beside Cargo.toml.
    cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --describe binaries
    mkdir -p "$(dirname "$2")"
    # Where it was built is nobody's business.
    sed "s#file://$PWD#file://.#" longshore_bin.cdx.json >"$2"
    rm longshore_bin.cdx.json
    say "wrote $2"
    ;;
  *)
    printf 'usage: supply-chain.sh ready | check | sbom FILE\n' >&2
    exit 2
    ;;
esac

#!/usr/bin/env bash
# Installs what the build and the tests need beside the language toolchains, by the system's
# package manager. Says what it does, and what it cannot do.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

command -v cargo >/dev/null || { say "needs Rust: install it with rustup, see rust-toolchain.toml for the version"; exit 1; }

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
# libFuzzer, for the fuzz targets.
command -v c++ >/dev/null || missing+=(g++)
# Isolates runs of the local backend; without it they are plain processes.
[ "$(uname -s)" != Linux ] || command -v bwrap >/dev/null || missing+=(bubblewrap)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  say "installing packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q install -y --no-install-recommends "${missing[@]}" >&2 ||
    { apt-get -q update >&2 && apt-get -q install -y --no-install-recommends "${missing[@]}" >&2; }
elif command -v cc >/dev/null; then
  say "not installed: ${missing[*]} (needs root and apt-get); going on without"
else
  say "needs a C compiler: install ${missing[*]} with your package manager"
  exit 1
fi

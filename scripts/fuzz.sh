#!/usr/bin/env bash
# Fuzzes the result reader. `fuzz.sh ready` says on stderr what is missing and fails, or installs
# cargo-fuzz; `fuzz.sh SECONDS [TARGET…]` runs each target so long, all by default. What it finds is
# below fuzz/artifacts; `fuzz.sh 0 TARGET FILE` runs one such file again.
#
# FUZZ_SEED makes a run the same as another one, as far as its time reaches.
#
# Without sanitizers (the crate has no unsafe code), so that the pinned stable toolchain will do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.13.2
tools=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore/cargo-tools-fuzz-$version
export PATH=$tools/bin:$PATH

say() { printf 'fuzz: %s\n' "$*" >&2; }

ready() {
  [ "$(uname -s)" = Linux ] || { say "needs Linux"; return 1; }
  command -v c++ >/dev/null || { say "needs a C++ compiler (g++), which libFuzzer is built with"; return 1; }
  [ -x "$tools/bin/cargo-fuzz" ] || {
    say "installing cargo-fuzz $version below $tools"
    cargo install --quiet --locked cargo-fuzz --version "$version" --root "$tools" >&2 ||
      { say "needs cargo-fuzz $version, which could not be installed"; return 1; }
  }
}

case ${1:-} in
  ready) ready ;;
  [0-9]*)
    seconds=$1
    shift
    ready
    if [ "$seconds" = 0 ]; then
      exec cargo fuzz run --sanitizer none "$@"
    fi
    if [ $# = 0 ]; then
      mapfile -t targets < <(cargo fuzz list)
      set -- "${targets[@]}"
    fi
    for target; do
      say "$target for $seconds s"
      mkdir -p "fuzz/corpus/$target"
      cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" fuzz/seeds -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=4096 -dict=fuzz/reader.dict \
        -print_final_stats=1 -verbosity=0 -seed="${FUZZ_SEED:-0}"
    done
    ;;
  *)
    printf 'usage: fuzz.sh ready | SECONDS [TARGET…] | 0 TARGET FILE\n' >&2
    exit 2
    ;;
esac

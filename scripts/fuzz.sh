#!/usr/bin/env bash
# Fuzzes what reads things from outside. `fuzz.sh ready` says on stderr what is missing and fails, or
# installs cargo-fuzz; `fuzz.sh SECONDS [TARGET…]` runs each target so long, all by default; by
# default those beside the result reader's get a quarter, since they read less. What it finds is below
# fuzz/artifacts; `fuzz.sh 0 TARGET FILE` runs one such file again.
#
# Each input may take SECONDS_EACH and the whole process MEMORY_MB: more of either is a finding.
#
# FUZZ_SEED makes a run the same as another one, as far as its time reaches.
#
# Without sanitizers (the crate has no unsafe code), so that the pinned stable toolchain will do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS_EACH=20
MEMORY_MB=1024

# Targets of the result reader, which share inputs and words, and those that need the daemon's code.
reader=" reader json_agrees python_agrees "
daemon=" certificate sql_policy token_file wire "

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

# run TARGET ARGUMENT…
run() {
  local features=()
  [[ $daemon != *" $1 "* ]] || features=(--features daemon)
  cargo fuzz run --sanitizer none "${features[@]}" "$@"
}

case ${1:-} in
  ready) ready ;;
  [0-9]*)
    seconds=$1
    shift
    ready
    if [ "$seconds" = 0 ]; then
      run "$@"
      exit
    fi
    all=
    if [ $# = 0 ]; then
      all=yes
      mapfile -t targets < <(cargo fuzz list)
      set -- "${targets[@]}"
    fi
    for target; do
      inputs=fuzz/inputs/$target own=$seconds words=()
      if [[ $reader == *" $target "* ]]; then
        inputs=fuzz/seeds words=(-dict=fuzz/reader.dict)
      elif [ "$all" ]; then
        own=$(((seconds + 3) / 4))
      fi
      say "$target for $own s"
      mkdir -p "fuzz/corpus/$target"
      run "$target" "fuzz/corpus/$target" "$inputs" -- \
        -max_total_time="$own" -timeout="$SECONDS_EACH" -rss_limit_mb="$MEMORY_MB" -malloc_limit_mb="$MEMORY_MB" \
        -max_len=4096 "${words[@]}" -print_final_stats=1 -verbosity=0 -seed="${FUZZ_SEED:-0}"
    done
    ;;
  *)
    printf 'usage: fuzz.sh ready | SECONDS [TARGET…] | 0 TARGET FILE\n' >&2
    exit 2
    ;;
esac

#!/bin/sh
# A runner in POSIX sh: the primes up to a number. docs/runner-contract.md says how it gives its result.
# Besides sh it needs awk, cat, dd, mktemp, sha256sum, sleep and wc, which even BusyBox has, and a writable /tmp.
set -eu
LC_ALL=C
export LC_ALL
umask 077

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Gives the object in $work/result, which is on one line without a line feed: in the result file if it has room for it,
# else in marked parts on stdout.
give() {
  size=$(($(wc -c < "$work/result")))
  if [ "$size" -le 4096 ]; then
    # In place, never by mv: in a container the file is a mount of its own.
    cat "$work/result" > "$LONGSHORE_RESULT"
    return
  fi
  number=0
  while [ $((number * 6144)) -lt "$size" ]; do
    printf '%s+%d ' "$LONGSHORE_RESULT_MARKER" $((number + 1))
    dd if="$work/result" bs=6144 skip="$number" count=1 2> "$work/dd" || { cat "$work/dd" >&2; exit 1; }
    printf '\n'
    number=$((number + 1))
  done
  sum=$(sha256sum < "$work/result")
  printf '%s=%d %s\n' "$LONGSHORE_RESULT_MARKER" "$number" "${sum%% *}"
  # Container runtimes lose what is still in the pipe when a program exits, and sh cannot see whether it is empty.
  sleep 1
}

# What a JSON string cannot have as it is does not occur in the messages of this runner.
fail() {
  printf '{"status":"error","count":0,"primes":[],"error":{"type":"%s","message":"%s"}}' "$1" "$2" > "$work/result"
  give
  exit 1
}

limit=$(cat "$LONGSHORE_INPUT")
case $limit in
  '' | *[!0-9]* | 0?* | ????????*) fail INVALID_INPUT "the input is no integer from 0 to 1000000" ;;
esac
[ "$limit" -le 1000000 ] || fail INVALID_INPUT "the input is no integer from 0 to 1000000"

awk -v limit="$limit" 'BEGIN {
  printf "{\"status\":\"success\",\"primes\":["
  for (number = 2; number <= limit; number++) {
    if (number in composite) continue
    printf "%s%d", (count++ ? "," : ""), number
    for (multiple = number * number; multiple <= limit; multiple += number) composite[multiple]
  }
  printf "],\"count\":%d,\"error\":null}", count
}' > "$work/result"
# Whatever a program prints besides its result is no harm.
echo "the result has $(($(wc -c < "$work/result"))) bytes"
give

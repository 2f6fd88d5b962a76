#!/usr/bin/env bash
# The promise of the API: `api.sh check` compares the proto files with the image of the last API that was landed and
# refuses what breaks clients; `api.sh renew` makes the image anew, once a change is meant to be promised.
#
# A break that is meant stands in tests/api/intended-breaks.txt until the image is renewed: a line for each, as `check`
# prints it. A line there that is no break any more is an error too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

image=tests/api/landed.binpb
intended=tests/api/intended-breaks.txt
buf() { npx --yes --quiet @bufbuild/buf@1 "$@"; }

case ${1:-} in
  check)
    buf lint
    # What it prints are the lines to change.
    buf format --diff --exit-code --exclude-path proto/google
    # One line for each break, without the place in the file, which changes with every edit above it.
    # 100: there are some. Anything else is buf's own failure.
    found=$(buf breaking --against "$image" --error-format json) || [ $? = 100 ]
    found=$(printf '%s' "$found" | node -e '
      const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
      for (const line of lines) {
        const { path, type, message } = JSON.parse(line);
        console.log(`${path} ${type}: ${message}`);
      }' | LC_ALL=C sort -u)
    meant=$(sed -e '/^#/d' -e '/^$/d' "$intended" | LC_ALL=C sort -u)
    unmeant=$(LC_ALL=C comm -23 <(printf '%s\n' "$found") <(printf '%s\n' "$meant") | sed '/^$/d')
    stale=$(LC_ALL=C comm -13 <(printf '%s\n' "$found") <(printf '%s\n' "$meant") | sed '/^$/d')
    if [ -n "$unmeant" ]; then
      printf 'api: these changes break clients of the landed API:\n%s\n' "$unmeant" >&2
      printf 'api: if one is meant, put its line into %s (see CONTRIBUTING.md)\n' "$intended" >&2
    fi
    [ -z "$stale" ] || printf 'api: %s has lines that are no breaks any more:\n%s\n' "$intended" "$stale" >&2
    [ -z "$unmeant$stale" ]
    ;;
  renew)
    buf build --exclude-source-info -o "$image"
    sed -i '/^#/!d' "$intended"
    printf 'api: %s is the API as it is now\n' "$image" >&2
    ;;
  *)
    printf 'usage: api.sh check|renew\n' >&2
    exit 2
    ;;
esac

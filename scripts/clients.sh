#!/usr/bin/env bash
# The clients that README.md shows, as users write them: generates their code from what `longshore proto` writes,
# compiles them, and runs them against a daemon on the local backend.
# `clients.sh ready LANGUAGE` says on stderr what is missing and fails; `clients.sh check LANGUAGE` does it.
# Languages: go, typescript, java, python.
#
# What they need is downloaded once into ~/.cache/longshore (or $XDG_CACHE_HOME/longshore), for each set of versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

say() { printf 'clients: %s\n' "$*" >&2; }
usage() {
  printf 'usage: clients.sh ready|check go|typescript|java|python\n' >&2
  exit 2
}

[ $# = 2 ] || usage
language=$2
source=examples/clients/$language
case $language in
  go) tools=(go npx) versions=(go.mod go.sum) ;;
  typescript) tools=(node npm) versions=(package.json package-lock.json) ;;
  java) tools=(java mvn) versions=(pom.xml) ;;
  python) tools=(python3) versions=(requirements.txt) ;;
  *) usage ;;
esac

ready() {
  local tool
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || { say "needs $tool"; return 1; }
  done
  [ "$language" != python ] || python3 -c 'import ensurepip' 2>/dev/null || { say "needs python3-venv"; return 1; }
}

# Starts a daemon with nothing in it, and sets `address` and `daemon`.
start() {
  local line log
  state=$(mktemp -d)
  exec {log}< <(exec "$longshore" serve --backend local --listen 127.0.0.1:0 --admin-listen off --log-format json \
    --state-dir "$state" 2>&1)
  daemon=$!
  address=
  while [ -z "$address" ] && IFS= read -r line <&"$log"; do
    case $line in
      *'"message":"serving"'*) address=$(sed 's/.*"address":"\([^"]*\)".*/\1/' <<<"$line") ;;
    esac
  done
  [ -n "$address" ] || { say "the daemon did not start: $line"; exit 1; }
  # So that it can go on writing its log.
  cat <&"$log" >/dev/null &
}

stop() {
  [ -z "${daemon:-}" ] || kill "$daemon" 2>/dev/null || true
  [ -z "${state:-}" ] || { wait "$daemon" 2>/dev/null || true; rm -rf "$state"; }
  daemon='' state=''
}

# Runs a program against a daemon of its own, with the run `customers` in it, and looks at what it prints.
# `expect NAME WANTED FILE COMMAND…`: FILE has the address that the pages use.
expect() {
  local name=$1 wanted=$2 file=$3 printed
  shift 3
  start
  "$longshore" --server "http://$address" run --id customers --runner sql \
    --input '{"dataset": "demo/shop", "sql": "select count(*) as customers from customers"}' >/dev/null 2>&1
  sed "s/127\.0\.0\.1:7420/$address/" "$file" >"$file.new"
  mv "$file.new" "$file"
  # Maven colours what others print, too.
  printed=$("$@" 2>"$work/stderr" | sed $'s/\e\\[[0-9;]*m//g') || { cat "$work/stderr" >&2; say "$name failed"; exit 1; }
  stop
  if ! grep -qE "$wanted" <<<"$(tr '\n' '|' <<<"$printed")"; then
    say "$name printed this, and not $wanted:"
    printf '%s\n' "$printed" >&2
    exit 1
  fi
  say "$name: $(tr '\n' ' ' <<<"$printed")"
}

rows='SUCCEEDED \[\["high",94\],\["low",89\],\["normal",213\],\["urgent",24\]\]\|'

check() {
  longshore=$root/${CARGO_TARGET_DIR:-target}/debug/longshore
  [ -x "$longshore" ] || cargo build --locked --quiet
  local key
  key=$(cd "$source" && sha256sum "${versions[@]}" | sha256sum | cut -c1-16)
  work=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore/clients-$language-$key
  mkdir -p "$work"
  # One at a time.
  exec 8>"$work/.lock"
  flock 8
  trap stop EXIT
  cp -R "$source/." "$work/"
  cd "$work"
  rm -rf proto gen
  "$longshore" proto --out proto 2>/dev/null
  "$language"
}

go() {
  local bin=$work/bin
  for tool in google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2; do
    local name=${tool##*/}
    [ -x "$bin/${name%@*}" ] || GOBIN=$bin command go install "$tool" >&2
  done
  PATH=$bin:$PATH npx --yes --quiet @bufbuild/buf@1 generate
  expect Go "^RUN_STATE_$rows"'NotFound RESOURCE_NOT_FOUND\|$' main.go command go run .
}

typescript() {
  [ -e node_modules/.complete ] || {
    npm ci --silent --no-audit --no-fund >&2
    touch node_modules/.complete
  }
  npm run --silent generate >&2
  # Types first, all of them; then each with its own daemon's address.
  npx --no-install tsc
  expect "TypeScript, Connect-ES" "^$rows"'NotFound RESOURCE_NOT_FOUND\|$' dist/connect.js node dist/connect.js
  expect "TypeScript, grpc-js" '^RUN_STATE_SUCCEEDED .*"rows":\[\[220\]\]' dist/grpc-js.js node dist/grpc-js.js
}

java() {
  expect Java "^RUN_STATE_$rows"'NOT_FOUND RESOURCE_NOT_FOUND\|$' src/main/java/example/Tickets.java \
    mvn --quiet --batch-mode --no-transfer-progress compile exec:java
}

python() {
  [ -x venv/bin/python ] || {
    python3 -m venv venv.new
    venv.new/bin/pip install --quiet --disable-pip-version-check -r requirements.txt >&2
    mv venv.new venv
  }
  mkdir -p gen
  venv/bin/python -m grpc_tools.protoc -I proto --python_out=gen --grpc_python_out=gen \
    proto/longshore/v1/*.proto proto/google/api/*.proto proto/google/rpc/status.proto
  expect Python "^RUN_STATE_SUCCEEDED\|\[\['high', 94\], \['low', 89\], \['normal', 213\], \['urgent', 24\]\]\|\$" \
    tickets.py venv/bin/python tickets.py
}

case $1 in
  ready) ready ;;
  check) ready && check ;;
  *) usage ;;
esac

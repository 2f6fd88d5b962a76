#!/usr/bin/env bash
# Prints the path of a pinned tool, and builds it first if it is not there:
# `go-tool.sh [--if-built] helm|kubeconform|kube-score|grpcurl`. With --if-built it fails instead.
#
# Built by `go install` below ~/.cache/longshore (or $XDG_CACHE_HOME/longshore), each version once.
set -euo pipefail

usage() {
  printf 'usage: go-tool.sh [--if-built] helm|kubeconform|kube-score|grpcurl\n' >&2
  exit 2
}
say() { printf 'go-tool: %s\n' "$*" >&2; }

build=yes
if [ "${1:-}" = --if-built ]; then
  build=no
  shift
fi
[ $# = 1 ] || usage
tool=$1
# version_variable: what the tool prints as its version is set at the link.
version_variable=main.version
case $tool in
  helm) package=helm.sh/helm/v4/cmd/helm version=v4.3.1 version_variable=helm.sh/helm/v4/internal/version.version ;;
  kubeconform) package=github.com/yannh/kubeconform/cmd/kubeconform version=v0.7.0 ;;
  kube-score) package=github.com/zegl/kube-score/cmd/kube-score version=v1.20.0 ;;
  grpcurl) package=github.com/fullstorydev/grpcurl/cmd/grpcurl version=v1.9.3 ;;
  *) usage ;;
esac
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore
dir=$cache/go-tools-$tool-$version

install() {
  command -v go >/dev/null || {
    say "$tool needs Go, or $tool $version as $dir/$tool"
    exit 1
  }
  mkdir -p "$cache"
  # One at a time: the first to come builds for those who wait.
  exec 9>"$cache/go-tools.lock"
  flock 9
  [ ! -x "$dir/$tool" ] || return 0
  say "building $tool $version: a minute or two"
  local began=$SECONDS
  rm -rf "$dir.new"
  # Elsewhere, since the module of the present directory is none of the tool's business.
  (cd / && GOBIN=$dir.new CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath" \
    go install -ldflags "-s -w -X $version_variable=$version" "$package@$version" >&2)
  rm -rf "$dir"
  mv "$dir.new" "$dir"
  say "built in $((SECONDS - began)) s"
}

if [ ! -x "$dir/$tool" ]; then
  [ $build = yes ] || exit 1
  install
fi
echo "$dir/$tool"

#!/usr/bin/env bash
# A real single-node Kubernetes cluster in namespaces of its own. See README.md.
set -euo pipefail

usage() {
  cat <<'END'
usage: cluster.sh VERB

  up [--longshore PATH]  start the cluster, unless it runs; load the busybox image, and the
                         static binary at PATH as image localhost/longshore:test
  down                   kill it and remove what is left (the logs stay)
  shell                  a shell in the cluster's network, with kubectl and KUBECONFIG
  exec CMD...            a command there
  node CMD...            a command in all the node's namespaces (ctr, nft, ps)
  ctl CMD...             status, or start, stop, restart, kill, pause, resume a component
  load TAR               load an image archive ("docker save" or OCI, with a name in it)
  images                 list the images that Pods can use
  kubeconfig             print the path of the kubeconfig
  pid                    print the process to join: nsenter -t PID -n CMD
  tools                  build what exec and shell have beside kubectl: helm, and the CRDs of others
                         at $LONGSHORE_TEST_CRDS
  build                  only build and install what up needs

The state directory is ${LONGSHORE_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/longshore/cluster};
clusters with different ones can run beside one another.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore
dir=$(realpath -m "${LONGSHORE_CLUSTER_DIR:-$cache/cluster}")
# Debian's containerd and its company, unpacked: the versions are the same
# whatever else is installed, and neither a service nor a package of the host is
# touched (Docker brings another containerd, and busybox excludes busybox-static).
unpacked=(
  containerd runc containernetworking-plugins busybox-static
  iptables libip4tc2 libip6tc2 libxtables12 libnfnetlink0 libnetfilter-conntrack3
  ipset libipset13
  libfaketime
)
# By what is in it, so that a cluster that runs keeps what it was started with.
tools=$cache/cluster-tools-$(printf '%s\n' "${unpacked[@]}" | sha256sum | cut -c 1-8)

# CustomResourceDefinitions of others that the chart makes objects of, out of their Go modules.
crds=(
  github.com/cert-manager/cert-manager@v1.21.2/deploy/crds/cert-manager.io_certificates.yaml
  github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
)
crd_dir=$cache/crds-$(printf '%s\n' "${crds[@]}" | sha256sum | cut -c 1-8)

say() { printf 'cluster: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

need_root() { [ "$(id -u)" = 0 ] || die "needs root, for namespaces, mounts and cgroups"; }

# with_apt CMD...: runs an apt command, again after one update if it fails.
with_apt() {
  export DEBIAN_FRONTEND=noninteractive
  command -v apt-get >/dev/null || die "needs Debian's apt-get (or a system like it)"
  if ! "$@" >&2; then
    say "updating apt's lists"
    apt-get -q update >&2
    "$@" >&2
  fi
}

install_tools() {
  local missing=()
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nft >/dev/null || missing+=(nftables)
  [[ $(ldconfig -p) == *libseccomp.so.2* ]] || missing+=(libseccomp2)
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing packages: ${missing[*]}"
    with_apt apt-get -q install -y --no-install-recommends --no-remove "${missing[@]}"
  fi

  [ -e "$tools/unpacked" ] && return
  say "unpacking packages below $cache: ${unpacked[*]}"
  local new=$tools.new
  rm -rf "$new" "$tools"
  mkdir -p "$new/packages"
  (cd "$new/packages" && with_apt apt-get -q -o APT::Sandbox::User=root download "${unpacked[@]}")
  local package
  for package in "$new"/packages/*.deb; do
    dpkg-deb -x "$package" "$new"
  done
  rm -r "$new/packages"
  # Their own library directory is named by the architecture; and Debian chooses
  # between nft and legacy by links that are made as a package is installed.
  (cd "$new" && ln -s usr/lib/*-linux-gnu* libraries)
  local program
  for program in iptables iptables-save iptables-restore; do
    ln -s xtables-nft-multi "$new/usr/sbin/$program"
  done
  touch "$new/unpacked"
  mv "$new" "$tools"
}

# busybox: where its package puts it depends on Debian's version.
busybox() {
  local path
  for path in "$tools/bin/busybox" "$tools/usr/bin/busybox"; do
    [ ! -x "$path" ] || { echo "$path" && return; }
  done
  die "no busybox in $tools"
}

# build sets $built to the node binary of the present sources.
build() {
  command -v go >/dev/null || die "needs go"
  local version hash flags='-s -w' began=$SECONDS
  version=$(sed -n 's/^\tk8s\.io\/kubernetes //p' "$here/go.mod")
  [[ $version =~ ^v([0-9]+)\.([0-9]+)\. ]] || die "go.mod has an unexpected version of Kubernetes: $version"
  # Without these Kubernetes says that it is v0.0.0-master, which clients mind.
  flags+=" -X k8s.io/component-base/version.gitVersion=$version"
  flags+=" -X k8s.io/component-base/version.gitMajor=${BASH_REMATCH[1]}"
  flags+=" -X k8s.io/component-base/version.gitMinor=${BASH_REMATCH[2]}"

  hash=$(cd "$here" && { echo "$flags" && go env GOVERSION GOARCH && cat go.mod go.sum ./*.go; } | sha256sum | cut -c 1-16)
  built=$cache/cluster-node/$hash
  if [ ! -x "$built" ]; then
    say "building Kubernetes $version: some minutes and 3 GB of Go's build cache the first time, half a minute later"
    mkdir -p "$cache/cluster-node"
    (cd "$here" && CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "$flags" -o "$built.new" .)
    mv "$built.new" "$built"
    say "built in $((SECONDS - began)) s"
  fi
  # A running cluster has a copy of its own, so what is not in use can go.
  touch "$built"
  find "$cache/cluster-node" -type f -mtime +7 -delete
}

prepare() {
  need_root
  mkdir -p "$cache"
  # One at a time: the first to come builds for those who wait.
  exec 9>"$cache/cluster-build.lock"
  flock 9
  install_tools
  build
  exec 9>&-
}

# pid prints the first process of a running node.
pid() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) || die "no cluster is running in $dir"
  # After a crash the number may be another process's.
  [ "/proc/$pid/exe" -ef "$dir/bin/node" ] || die "no cluster is running in $dir"
  echo "$pid"
}

ctl() {
  [ -x "$dir/bin/node" ] || die "no cluster is running in $dir"
  "$dir/bin/node" ctl "$dir" "$@"
}

install_crds() {
  [ ! -d "$crd_dir" ] || return 0
  command -v go >/dev/null || die "needs go"
  mkdir -p "$cache"
  local new crd module
  new=$(mktemp -d "$cache/.crds.XXXXXX")
  for crd in "${crds[@]}"; do
    [[ $crd =~ ^([^@]+@[^/]+)/(.+)$ ]]
    module=${BASH_REMATCH[1]}
    say "fetching $module for a definition of its"
    # The file is not written to: the module's directory is read-only.
    install -m 644 -t "$new" "$(cd / && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/${BASH_REMATCH[2]}"
  done
  mv "$new" "$crd_dir"
}

# in_network CMD...: in the cluster's network, but in the host's file system.
in_network() {
  local pid helm path=$dir/bin
  pid=$(pid)
  # Nothing leads out of that network, so what is not built yet can't be.
  helm=$("$here/../../scripts/go-tool.sh" --if-built helm) && path+=:$(dirname "$helm")
  [ ! -d "$crd_dir" ] || export LONGSHORE_TEST_CRDS=$crd_dir
  export LONGSHORE_TEST_FAKETIME=$tools/libraries/faketime/libfaketime.so.1
  exec env KUBECONFIG="$dir/kubeconfig" KUBECACHEDIR="$dir/kube-cache" PATH="$path:$PATH" \
    HELM_CACHE_HOME="$dir/kube-cache/helm" HELM_CONFIG_HOME="$dir/kube-cache/helm" \
    HELM_DATA_HOME="$dir/kube-cache/helm" \
    nsenter --target "$pid" --net -- "$@"
}

in_node() {
  local pid
  pid=$(pid)
  env PATH="$tools/usr/sbin:$tools/usr/bin:$dir/bin:$PATH" \
    LD_LIBRARY_PATH="$tools/libraries" XTABLES_LIBDIR="$tools/libraries/xtables" \
    nsenter --target "$pid" --mount --net --pid --ipc --uts -- "$@"
}

# import reads an image archive and returns when Pods can use what is in it.
import() {
  in_node ctr -n k8s.io images import - >/dev/null
  # What the kubelet sees lags a moment behind. It hears of images one after
  # the other, so once it has this one it has the new ones too.
  local last=localhost/imported:$$-$RANDOM
  in_node ctr -n k8s.io images tag localhost/pause:test "$last" >/dev/null
  ctl images "$last" >/dev/null
  in_node ctr -n k8s.io images remove "$last" >/dev/null
}

up() {
  local longshore=
  while [ $# -gt 0 ]; do
    case $1 in
      --longshore) longshore=${2:?--longshore needs the path of a static binary} && shift 2 ;;
      *) die "up: unknown option $1" ;;
    esac
  done
  [ -z "$longshore" ] || [ -f "$longshore" ] || die "no file $longshore"
  prepare
  "$built" up "$dir" "$tools"
  "$dir/bin/node" image busybox "$(busybox)" | import
  say "image localhost/busybox:test is loaded"
  if [ -n "$longshore" ]; then
    "$dir/bin/node" image longshore "$longshore" | import
    say "image localhost/longshore:test is loaded, from $longshore"
  fi
  say "KUBECONFIG=$dir/kubeconfig, to be used by: nsenter -t $(pid) -n CMD"
}

down() {
  need_root
  if [ -x "$dir/bin/node" ]; then
    "$dir/bin/node" down "$dir"
  else
    say "no cluster is running in $dir"
  fi
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  up) up "$@" ;;
  down) down ;;
  shell) in_network "${SHELL:-bash}" ;;
  exec) [ $# -gt 0 ] || die "exec: which command?" && in_network "$@" ;;
  node) [ $# -gt 0 ] || die "node: which command?" && in_node "$@" ;;
  ctl) ctl "$@" ;;
  load) [ $# -eq 1 ] || die "load: which archive?" && import <"$1" ;;
  images) ctl images ;;
  kubeconfig) pid >/dev/null && echo "$dir/kubeconfig" ;;
  pid) pid ;;
  tools)
    "$here/../../scripts/go-tool.sh" helm >&2
    install_crds
    ;;
  build) prepare ;;
  help | -h | --help) usage ;;
  *) usage >&2 && exit 2 ;;
esac

#!/usr/bin/env bash
# Makes the image from the static binary, without a container engine and without a registry.
#
#   image.sh archive BINARY FILE   writes it as an OCI layout in a tar file; `docker load`,
#                                  `podman load`, `ctr images import` and `kind load image-archive` read it
#   image.sh rootfs DIR BINARY     only its file system, below DIR (deploy/Dockerfile)
#   image.sh name                  prints the name that it gets
#
# IMAGE names it: `localhost/longshore:VERSION` by default. The same binary makes the same bytes:
# all times are SOURCE_DATE_EPOCH, by default the time of the last commit.
set -euo pipefail
binary_path=usr/local/bin/longshore
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'image: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# A key of Cargo.toml's [package] or [workspace.package].
package() { sed -n "/^\[\(workspace\.\)\{0,1\}package\]/,/^\[/s/^$1 = \"\(.*\)\"/\1/p" "$root/Cargo.toml"; }

# The binary's platform in the words of images. Fails if it would look in vain for its libraries.
platform() {
  [ -f "$1" ] || die "there is no $1: make static builds it"
  local headers
  headers=$(LC_ALL=C readelf --file-header --program-headers --wide "$1" 2>/dev/null) || die "$1 is no ELF binary"
  ! grep -q '^ *INTERP ' <<<"$headers" || die "$1 is not statically linked: make static builds one that is"
  case $headers in
    *X86-64*) echo amd64 ;;
    *AArch64*) echo arm64 ;;
    *) die "$1 is for a machine that images have no word for here" ;;
  esac
}

# What a container needs that has nothing else: names for its users, and directories that a
# read-only root file system is mounted on.
rootfs() {
  local dir=$1 binary=$2
  mkdir -p "$dir"/{dev,etc,home/nonroot,proc,sys,tmp,usr/local/bin}
  printf '%s\n' >"$dir/etc/passwd" \
    'root:x:0:0:root:/:/sbin/nologin' \
    'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' \
    'nobody:x:65534:65534:nobody:/:/sbin/nologin'
  printf '%s\n' >"$dir/etc/group" 'root:x:0:' 'nonroot:x:65532:' 'nobody:x:65534:'
  cp "$binary" "$dir/$binary_path"
  chmod 0755 "$dir/$binary_path"
  chmod 1777 "$dir/tmp"
}

# Adds entries to a tar file in which only the names, modes and contents say anything.
pack() {
  local file=$1 owner=$2 mode=$3
  shift 3
  tar --append --file "$file" --format ustar --sort name --mtime "@$epoch" --numeric-owner \
    --owner "$owner" --group "$owner" --mode "$mode" --no-recursion "$@"
}

# Moves a file to where its content names it; prints `"digest": …, "size": …`.
blob() {
  local digest size
  digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
  size=$(wc -c <"$1")
  mv "$1" "$work/layout/blobs/sha256/$digest"
  printf '"digest": "sha256:%s", "size": %d' "$digest" "$size"
}

digest_of() { sed 's/.*sha256:\([0-9a-f]*\).*/\1/' <<<"$1"; }

archive() {
  local binary=$1 out=$2 arch
  tar --version 2>/dev/null | grep -q 'GNU tar' || die "needs GNU tar"
  arch=$(platform "$binary")
  [[ $name =~ ^[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] ||
    die "IMAGE=$name is no image name with a tag, such as registry.example.com/longshore:$version"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/layout/blobs/sha256"

  rootfs "$work/root" "$binary"
  local layer=$work/layer.tar
  (
    cd "$work/root"
    pack "$layer" 0 0755 dev etc home proc sys usr usr/local usr/local/bin
    pack "$layer" 0 1777 tmp
    pack "$layer" 65532 0755 home/nonroot
    pack "$layer" 0 0644 etc/group etc/passwd
    pack "$layer" 0 0755 "$binary_path"
  )
  # Not compressed: what gzip makes of it differs between its versions.
  local layer_blob diff_id created labels config_blob manifest_blob
  layer_blob=$(blob "$layer")
  diff_id=$(digest_of "$layer_blob")
  created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
  labels=$(
    printf '"org.opencontainers.image.%s": "%s", ' \
      title longshore description "$(package description)" version "$version" revision "$revision"
    printf '"org.opencontainers.image.licenses": "%s", "org.opencontainers.image.created": "%s"' \
      "$(package license)" "$created"
  )
  cat >"$work/config" <<JSON
{"architecture": "$arch", "os": "linux", "created": "$created",
 "config": {"User": "65532:65532", "Entrypoint": ["/$binary_path"], "WorkingDir": "/",
  "Env": ["PATH=/usr/local/bin", "HOME=/home/nonroot"], "Labels": {$labels}},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$diff_id"]}}
JSON
  config_blob=$(blob "$work/config")
  cat >"$work/manifest" <<JSON
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.image.config.v1+json", $config_blob},
 "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", $layer_blob}],
 "annotations": {$labels}}
JSON
  manifest_blob=$(blob "$work/manifest")
  printf '{"imageLayoutVersion": "1.0.0"}' >"$work/layout/oci-layout"
  cat >"$work/layout/index.json" <<JSON
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
 "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", $manifest_blob,
  "platform": {"architecture": "$arch", "os": "linux"},
  "annotations": {"io.containerd.image.name": "$name", "org.opencontainers.image.ref.name": "${name##*:}"}}]}
JSON
  # For `docker load`, which may not know the layout above.
  cat >"$work/layout/manifest.json" <<JSON
[{"Config": "blobs/sha256/$(digest_of "$config_blob")", "RepoTags": ["$name"], "Layers": ["blobs/sha256/$diff_id"]}]
JSON
  (
    cd "$work/layout"
    LC_ALL=C find . -mindepth 1 -type d -printf '%P\n' | LC_ALL=C sort >"$work/dirs"
    LC_ALL=C find . -type f -printf '%P\n' | LC_ALL=C sort >"$work/files"
    pack "$work/archive.tar" 0 0755 --files-from "$work/dirs"
    pack "$work/archive.tar" 0 0644 --files-from "$work/files"
  )
  mkdir -p "$(dirname "$out")"
  mv "$work/archive.tar" "$out"
  chmod 0644 "$out"
  printf 'file    %s\nname    %s\ndigest  sha256:%s\nsize    %d bytes\n' \
    "$out" "$name" "$(digest_of "$manifest_blob")" "$(wc -c <"$out")"
}

version=${VERSION:-$(package version)}
revision=${REVISION:-$(git -C "$root" describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)}
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}
name=${IMAGE:-localhost/longshore:$version}

case ${1:-}:$# in
  archive:3) archive "$2" "$3" ;;
  rootfs:3)
    platform "$3" >/dev/null
    rootfs "$2" "$3"
    ;;
  name:1) printf '%s\n' "$name" ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

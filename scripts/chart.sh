#!/usr/bin/env bash
# The Helm chart and what is made of it.
#
#   chart.sh check       lints, renders and validates it, and looks whether the two below are up to date
#   chart.sh manifests   renders deploy/manifests/longshore.yaml from it
#   chart.sh readme      makes the table of values in its README from the comments in values.yaml
#   chart.sh ready       says on stderr what `check` lacks and fails, or installs it
#
# Helm, kubeconform and kube-score come by `go install`, Kubernetes' schemas from a Python wheel:
# all below the user's cache, none of them elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

chart=helm/longshore
manifests=deploy/manifests
tools=${XDG_CACHE_HOME:-${HOME:?}/.cache}/longshore/chart-tools
schemas_version=1.37.0
# The oldest that Chart.yaml allows, and the one that the suite runs on.
kubernetes_versions=(1.31.0 1.36.0)

schemas=$tools/kubernetes-validate@$schemas_version

say() { printf 'chart: %s\n' "$*" >&2; }

failures=0
fault() {
  say "FAILED: $*"
  failures=$((failures + 1))
}

install_schemas() {
  [ ! -d "$schemas" ] || return 0
  python3 -m pip --version >/dev/null 2>&1 || { say "needs python3 with pip"; return 1; }
  say "installing the schemas of kubernetes-validate $schemas_version below $tools"
  mkdir -p "$tools"
  local fresh
  fresh=$(mktemp -d "$tools/.schemas.XXXXXX")
  { python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: \
      --dest "$fresh" "kubernetes-validate==$schemas_version" &&
      python3 -m zipfile -e "$fresh"/*.whl "$fresh" &&
      # They refer to one another by an address on the network: by files, and nobody asks for it.
      find "$fresh" -name '*.json' -path '*-strict/*' -exec \
        sed -i -e 's|"/api/_definitions.json#|"_definitions.json#|' -e 's|^  "$id": .*,$||' -e 's|^  "$id": .*[^,]$|  "$comment": ""|' {} +; } >&2 ||
    { rm -rf "$fresh"; say "needs kubernetes-validate $schemas_version, which could not be installed"; return 1; }
  mv "$fresh" "$schemas"
}

# ready sets the paths of the tools.
ready() {
  command -v go >/dev/null || { say "needs Go"; return 1; }
  kubeconform=$(scripts/go-tool.sh kubeconform) &&
    kube_score=$(scripts/go-tool.sh kube-score) &&
    helm=$(scripts/go-tool.sh helm) &&
    install_schemas
}

render() { "$helm" template longshore "$chart" --namespace longshore "$@"; }

# The manifests: the chart without its hooks, and without saying that Helm manages them.
render_manifests() {
  cat <<'YAML'
# Rendered from helm/longshore with values.yaml beside this file, by scripts/chart.sh manifests:
# change those two. README.md says what to replace before it is applied.
---
apiVersion: v1
kind: Namespace
metadata:
  name: longshore
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/enforce-version: v1.36
YAML
  render --no-hooks --values "$manifests/values.yaml" |
    sed -e '/^ *helm\.sh\/chart: /d' -e 's/^\( *app\.kubernetes\.io\/managed-by:\) Helm$/\1 kubectl/' -e 's/[ \t]*$//' \
      -e '/^# Source: /d' -e '/^ *# helm test$/d'
}

# The README with its table made anew: one row a key, and one for what keys have in common.
render_readme() {
  local table
  table=$(mktemp)
  awk '
    function cell(text) { gsub(/\|/, "\\|", text); return text }
    /^ *$/ { comment = ""; next }
    /^ *#/ { sub(/^ *# ?/, ""); comment = comment (comment == "" ? "" : " ") $0; next }
    match($0, /^ *[A-Za-z0-9_]+:/) {
      key = substr($0, 1, RLENGTH - 1)
      value = substr($0, RLENGTH + 1)
      sub(/^ +/, "", value)
      match(key, /^ */)
      depth = RLENGTH / 2
      sub(/^ +/, "", key)
      path[depth] = key
      name = path[0]
      for (i = 1; i <= depth; i++) name = name "." path[i]
      if (value == "") {
        if (comment != "") printf "| **`%s`** | | %s |\n", name, cell(comment)
      } else if (comment == "") {
        printf "chart: %s has no comment in values.yaml\n", name > "/dev/stderr"
        failed = 1
      } else {
        printf "| `%s` | `%s` | %s |\n", name, cell(value), cell(comment)
      }
      comment = ""
      next
    }
    { printf "chart: values.yaml line %d: a default stands on one line\n", NR > "/dev/stderr"; failed = 1 }
    END { exit failed }
  ' "$chart/values.yaml" >"$table" || { rm -f "$table"; return 1; }
  awk -v table="$table" '
    /^<!-- values -->$/ {
      print; print "| key | default | |"; print "| --- | --- | --- |"
      while ((getline line < table) > 0) print line
      skip = 1
    }
    /^<!-- \/values -->$/ { skip = 0 }
    !skip
  ' "$chart/README.md"
  rm -f "$table"
}

replace() {
  cat >"$1.new"
  mv "$1.new" "$1"
}

up_to_date() {
  local file=$1 target=$2
  shift 2
  "$@" >"$work/fresh" || { fault "$file could not be made"; return; }
  diff -u "$file" "$work/fresh" >&2 || fault "$file is not what it is made of: scripts/chart.sh $target"
}

# A rendering against Kubernetes' schemas and kube-score.
validate() {
  local name=$1 file=$2 version
  for version in "${kubernetes_versions[@]}"; do
    # Certificate and ServiceMonitor belong to others, whose schemas the wheel has not: the suite on the
    # real cluster has the API server judge them by their definitions.
    "$kubeconform" -strict -skip Certificate,ServiceMonitor -schema-location \
      "$schemas/kubernetes_validate/kubernetes-json-schema/v$version-local-strict/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
      "$file" >&2 || fault "$name against the schemas of Kubernetes $version"
  done
  "$kube_score" score --output-format ci "$file" >"$work/score" || true
  if grep -v -E '^\[(OK|SKIPPED)\]' "$work/score" >&2; then fault "$name: kube-score"; fi
}

# The configuration file in a rendering is TOML. What its keys mean, the daemon's own tests know.
toml() {
  python3 -c 'import tomllib' 2>/dev/null || return 0
  sed -n '/^  longshore.toml: |/,/^---/{s/^    //p}' "$2" |
    python3 -c 'import sys, tomllib; tomllib.loads(sys.stdin.read())["namespaces"]["default"]' ||
    fault "$1: its configuration is no TOML"
}

# refused "SENTENCE" VALUES…: what can not work is refused with a sentence that says so.
refused() {
  local sentence=$1
  shift
  if render --values "$chart/ci/secret.yaml" "$@" >/dev/null 2>"$work/refusal"; then
    fault "not refused with \"$sentence\": $*"
  elif ! grep -q -F -e "$sentence" "$work/refusal"; then
    cat "$work/refusal" >&2
    fault "refused, but without saying \"$sentence\": $*"
  fi
}

refusals() {
  refused 'tls.mode must be chosen' --set tls.mode=
  refused "missing property 'tls'" --set tls=null
  refused 'name the Secret with certificate and key in tls.secretName' --set tls.secretName=
  refused 'name its issuer in tls.certificate.issuerName' --set tls.mode=certManager
  refused 'image.repository' --set image.repository=
  refused 'those belong in image.tag and image.digest' --set image.repository=localhost/longshore:0.1.0
  refused 'those belong in image.tag and image.digest' --set image.repository=localhost/longshore@sha256:0123
  refused 'networkPolicies.apiServerAddresses' --set 'networkPolicies.apiServerAddresses=null'
  refused 'choose at least one of' --set authentication.tokenReview.enabled=false
  refused 'serves everybody' --set authentication.insecureNoAuth=true
  refused 'needs TLS' --set tls.mode=plaintext,authentication.clientCertificates.caSecretName=ca
  refused 'nobody may do anything' --set authorization.mode=policy
  refused "is the release's own" --set namespaces.default.kubernetesNamespace=longshore
  refused 'is taken by namespace' --set namespaces.other.kubernetesNamespace=longshore-runs
  local key
  for key in Fin_ance 9a finance- a=b "$(printf '%064d' 0 | tr 0 a)"; do
    refused "namespaces: \`$key\` is no name" --values <(echo '{"namespaces": {"'"$key"'": {"kubernetesNamespace": "finance"}}}')
  done
  refused 'namespaces.default is always there' --set namespaces.default=null,namespaces.other.kubernetesNamespace=other
  refused 'test.clientCertSecretName' --set test.clientCertSecretName=me
  refused 'test.namespace' --set test.namespace=other
  refused 'networkPolicies.daemon.metricsReaders' --set metrics.serviceMonitor.enabled=true
  # What the daemon would refuse at its start.
  local rules='{"authorization": {"mode": "policy", "rules": [{"users": ["a"], "namespaces": ["*"], "verbs": ["*"]}, '
  refused 'tokenReview.cacheTTL is above 5m' --set authentication.tokenReview.cacheTTL=301s
  refused 'authorization.cacheTTL is above 5m' --set 'authorization.cacheTTL=4m 61s'
  refused 'terminationGracePeriodSeconds must be 5 s longer' --set config.drain_timeout=26s
  refused 'terminationGracePeriodSeconds must be 5 s longer' --set config.drain_timeout=null,terminationGracePeriodSeconds=24
  refused 'authorization.rules[1].namespaces: `nowhere` is none of namespaces' \
    --values <(echo "$rules"'{"users": ["a"], "namespaces": ["default", "nowhere"], "verbs": ["*"]}]}}')
  refused 'authorization.rules[1].profiles: profile `report` is not configured' \
    --values <(echo "$rules"'{"users": ["a"], "namespaces": ["de*"], "verbs": ["*"], "profiles": ["sql", "report"]}]}}')
  refused 'authorization.rules[1] needs users or groups' \
    --values <(echo "$rules"'{"users": [], "namespaces": ["default"], "verbs": ["*"]}]}}')
  refused 'does not match pattern' \
    --values <(echo "$rules"'{"users": ["a*b"], "namespaces": ["default"], "verbs": ["*"]}]}}')
  refused 'is an address of the API server' --set 'networkPolicies.cluster.ipBlocks[0].cidr=192.0.2.10/32'
  refused 'is an address of the API server' --set 'networkPolicies.apiServerAddresses[0]=2001:0DB8::10' \
    --set 'networkPolicies.cluster.ipBlocks[0].cidr=2001:db8:0:0::10/128'
  # What is no quantity, or would be no string of the file.
  for key in limits.max_limits.memory limits.default_limits.cpu limits.default_requests.cpu limits.default_tmp_size \
    profiles.sql.defaults.limits.memory profiles.sql.defaults.requests.memory profiles.sql.defaults.tmp_size; do
    refused "at '/config/${key//.//}': 'lots' does not match pattern" --set "config.$key=lots"
    refused "at '/config/${key//.//}': got number, want string" --set "config.$key=2"
  done
  # Unknown keys, at every depth.
  for key in nonsense image.nonsense tls.certificate.nonsense authentication.tokenReview.nonsense \
    namespaces.default.nonsense networkPolicies.daemon.nonsense networkPolicies.cluster.ipBlocks\[0\].nonsense \
    authorization.rules\[0\].nonsense config.listen config.limits.nonsense config.profiles.sql.nonsense \
    config.profiles.sql.kubernetes.nonsense config.profiles.sql.defaults.security.nonsense \
    config.volumes.data.nonsense runNamespaces.limitRange.nonsense tolerations\[0\].nonsense; do
    refused "'${key##*.}' not allowed" --set "$key=1"
  done
  refused "value must be one of" --set tls.mode=none
  refused "value must be one of" --set listenAddress=127.0.0.1
  refused "got string, want integer" --set-string terminationGracePeriodSeconds=30
}

# notes NAME VALUES…: what Helm prints after an install. What it says to paste is bash.
notes() {
  local name=$1
  shift
  "$helm" install longshore "$chart" --namespace longshore --dry-run=client "$@" | sed -n '/^NOTES:$/,$p' >"$work/$name.notes" &&
    grep -q . "$work/$name.notes" || { fault "$name: no notes"; return; }
  sed -n 's/^     //p' "$work/$name.notes" | grep -E '^ |^kubectl |^longshore |^\(' >"$work/$name.sh"
  bash -n "$work/$name.sh" || fault "$name: the commands in the notes are no bash"
  ! grep -q -E '> longshore-token( |$)' "$work/$name.sh" || fault "$name: a token in a file that others may read"
}

# before NAME FIRST THEN: in the commands of its notes.
before() {
  local first then
  first=$(grep -n -m 1 -F -e "$2" "$work/$1.sh" | cut -d: -f1) || true
  then=$(grep -n -m 1 -F -e "$3" "$work/$1.sh" | cut -d: -f1) || true
  [ -n "$first" ] && [ -n "$then" ] && [ "$first" -lt "$then" ] || fault "$1: no \`$2\` before \`$3\` in the notes"
}

# What the pages ask of a reader, and of whom.
notices() {
  local tokens='tokenReview.enabled=false,authentication.tokens.secretName=tokens'
  notes tokens --values "$chart/ci/secret.yaml" --set "authentication.$tokens"
  # Those who are in the file stay in it, and the new one may do something.
  before tokens 'get secret tokens ' 'token create me'
  before tokens 'token create me' 'create secret generic tokens '
  # It is there already, and the service account's binding may be too.
  before tokens 'create secret generic tokens ' 'kubectl replace -f -'
  before tokens 'create rolebinding me-user --role=longshore-caller --user=me' 'longshore run '
  grep -q -F 'helm test` has nothing to show who it is' "$work/tokens.notes" || fault "no word of the missing test"
  notes minimal --values "$chart/ci/minimal-rights.yaml" --set uninstall.releaseRuns=true
  grep -q -F 'authorization.rules must name its user' "$work/minimal.notes" || fault "no word of the rule"
  ! grep -q rolebinding "$work/minimal.sh" || fault "a binding in mode policy"
  grep -q -F 'the account longshore-uninstall too' "$work/minimal.notes" || fault "no word of the hook's rights"
  notes open --values "$chart/ci/no-auth.yaml" --set tls.mode=secret,tls.secretName=tls
  before open '> longshore-ca.crt' '--ca-file longshore-ca.crt'
  grep -q -F 'kubernetes.io/metadata.name":"gateway' "$work/open.notes" || fault "others are said to connect"
  notes certificates --values "$chart/ci/client-certificates.yaml"
  notes secret --values "$chart/ci/secret.yaml"
  before secret 'port-forward' '--connect-timeout'
}

# What a rendering must say, beyond being valid.
statements() {
  local long port
  long=$("$helm" template a-release-of-forty-characters-or-so-xxxxx "$chart" --values "$chart/ci/secret.yaml" \
    --namespace a-namespace-of-forty-characters-or-so-xx | sed -n 's/^ *instance = "\(.*\)"$/\1/p')
  [ ${#long} -ge 60 ] && [ ${#long} -le 63 ] || fault "the instance of long names is \`$long\`"
  # An API server within a block that the mode `cluster` reaches is left out of it.
  grep -A 1 -F 'cidr: 10.96.0.0/12' "$work/cert-manager.yaml" | grep -q -F 'except: ["10.96.0.1/32"]' ||
    fault "10.96.0.1 is not left out of 10.96.0.0/12"
  grep -A 1 -F 'cidr: 10.244.0.0/16' "$work/cert-manager.yaml" | grep -q -F 'except: ["10.244.9.0/24"]' ||
    fault "10.244.0.0/16 has not the exceptions that it was given, or others"
  # By what an address means, however it is spelt.
  grep -A 1 -F 'cidr: 2001:db8::/32' "$work/cert-manager.yaml" | grep -q -F 'except: ["2001:0DB8:0::10/128"]' ||
    fault "2001:0DB8:0::10 is not left out of 2001:db8::/32"
  grep -A 1 -F 'cidr: fd00:ec2::/112' "$work/cert-manager.yaml" | grep -q -F 'except: ["fd00:ec2::254/128"]' ||
    fault "an address of metadata is not left out of fd00:ec2::/112"
  ! grep -A 1 -F 'cidr: 2001:db8:1::/64' "$work/cert-manager.yaml" | grep -q -F 'except' ||
    fault "2001:db8:1::/64 has an exception that is not within"
  # All three ports, and the test's URL, where there is no IPv4.
  for port in 7420 7421 7422; do
    grep -q -F "listen = \"[::]:$port\"" "$work/client-certificates.yaml" || fault "port $port does not listen on IPv6"
    grep -q -F "listen = \"0.0.0.0:$port\"" "$work/secret.yaml" || fault "port $port does not listen on IPv4"
  done
  grep -q -F -e '- --server=https://a-name-that-is-so-long-that-something-has-to-be.longshore.svc:7420' "$work/client-certificates.yaml" ||
    fault "helm test on IPv6 does not call the Service by its name"
  grep -q -F -e '- --server=https://$(LONGSHORE_SERVICE_HOST):7420' "$work/secret.yaml" || fault "helm test needs DNS"
  # `helm test` by a certificate: it, no token, and no right for an account that is not asked about.
  "$helm" template longshore "$chart" --values "$chart/ci/client-certificates.yaml" --namespace longshore \
    --show-only templates/tests/submit.yaml >"$work/test"
  grep -q -F -e '- --client-cert=/etc/longshore/client/tls.crt' "$work/test" &&
    ! grep -q -E 'token-file|RoleBinding' "$work/test" || fault "helm test has not its certificate, or more"
  [ "$(grep -c '^ *key: dedicated$' "$work/cert-manager.yaml")" = 3 ] ||
    fault "daemon, hook and helm test do not tolerate the same"
  # At their bounds they are taken.
  render --values "$chart/ci/secret.yaml" --set image.repository=registry.example.com:5000/longshore \
    --set-string config.limits.max_limits.memory=1e9,config.limits.max_limits.cpu=1500000u \
    --set authentication.tokenReview.cacheTTL=5m,authorization.cacheTTL=300s \
    --set 'config.drain_timeout=1m 25s,terminationGracePeriodSeconds=90' >"$work/bounds" || fault "refused at the bounds"
  grep -A 2 -F '[authorization]' "$work/bounds" | grep -q -F 'cache_ttl = "300s"' || fault "no authorization.cache_ttl"
  ! grep -A 2 -F '[authorization]' "$work/cert-manager.yaml" | grep -q -F cache_ttl || fault "cache_ttl in mode policy"
  # No rule without peers, which would allow everything.
  ! grep -A 1 -E '^ +- (to|from):' "$work/client-certificates.yaml" | grep -q 'ports:' ||
    fault "a rule without peers"
  ! grep -q -F 'tokenreviews' "$work/client-certificates.yaml" || fault "tokenreviews without tokenReview"
  ! grep -q -F 'localsubjectaccessreviews' "$work/cert-manager.yaml" || fault "localsubjectaccessreviews in mode policy"
  ! grep -q -E "resources: .*\*|verbs: .*\*|kind: ClusterRole$" "$work/no-auth.yaml" || fault "rights beyond the table"
}

check() {
  ready
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  up_to_date "$chart/README.md" readme render_readme
  up_to_date "$manifests/longshore.yaml" manifests render_manifests
  validate "$manifests" "$manifests/longshore.yaml"
  local values name
  for values in "$chart"/ci/*.yaml; do
    name=$(basename "$values" .yaml)
    "$helm" lint --strict --quiet --namespace longshore "$chart" --values "$values" >"$work/lint" 2>&1 ||
      { cat "$work/lint" >&2; fault "$values: helm lint"; }
    render --values "$values" >"$work/$name.yaml" || { fault "$values: helm template"; continue; }
    validate "$values" "$work/$name.yaml"
    toml "$values" "$work/$name.yaml"
  done
  statements
  notices
  refusals
  [ "$failures" = 0 ] || { say "$failures failed"; return 1; }
  say "all well: $(find "$chart/ci" -name '*.yaml' | wc -l) sets of values"
}

case ${1:-} in
  check) check ;;
  ready) ready ;;
  manifests)
    ready
    render_manifests | replace "$manifests/longshore.yaml"
    ;;
  readme) render_readme | replace "$chart/README.md" ;;
  *)
    printf 'usage: chart.sh check | manifests | readme | ready\n' >&2
    exit 2
    ;;
esac

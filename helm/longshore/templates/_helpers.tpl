{{- define "longshore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of all objects. Short enough for the suffixes that some get. */}}
{{- define "longshore.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "longshore.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of what belongs to no namespace. */}}
{{- define "longshore.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "longshore.fullname" .) -}}
{{- end -}}

{{- define "longshore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "longshore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What selects the daemon's Pods, and no other Pod of the chart: the hook waits until they are gone. */}}
{{- define "longshore.selector" -}}
app.kubernetes.io/name: {{ include "longshore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: daemon
{{- end -}}

{{- define "longshore.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "longshore.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: name the ServiceAccount in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "longshore.image" -}}
{{- $repository := required "image.repository: name the image, with its registry; no public one has it (`make image` and deploy/Dockerfile make it)" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Label value by which two installations distinguish their runs. */}}
{{- define "longshore.instance" -}}
{{- $name := default (printf "%s.%s" .Release.Namespace .Release.Name) .Values.instance -}}
{{- if gt (len $name) 63 -}}
{{- printf "%s-%s" ($name | trunc 46 | trimAll "-._") ($name | sha256sum | trunc 16) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* The Kubernetes namespaces of runs, as YAML: name of Longshore's: name of Kubernetes'. */}}
{{- define "longshore.runNamespaces" -}}
{{- range $name, $namespace := .Values.namespaces }}
{{ $name }}: {{ default (printf "longshore-%s" $name) ($namespace | default dict).kubernetesNamespace }}
{{- end }}
{{- end -}}

{{/* Security of every Pod and container of the chart: what Pod Security `restricted` asks for. */}}
{{- define "longshore.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "longshore.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Resources of what runs once and is a client. */}}
{{- define "longshore.clientResources" -}}
requests: {cpu: 50m, memory: 32Mi, ephemeral-storage: 16Mi}
limits: {cpu: "1", memory: 128Mi, ephemeral-storage: 64Mi}
{{- end -}}

{{- define "longshore.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}
{{- required "tls.mode is secret: name the Secret with certificate and key in tls.secretName" .Values.tls.secretName -}}
{{- else -}}
{{- default (printf "%s-tls" (include "longshore.fullname" .)) .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{- define "longshore.host" -}}
{{- printf "%s.%s.svc" (include "longshore.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "longshore.url" -}}
{{- printf "%s://%s:%v" (ternary "http" "https" (eq .Values.tls.mode "plaintext")) (include "longshore.host" .) .Values.service.port -}}
{{- end -}}

{{/*
The same for the Pod of `helm test`, by the variables that the kubelet sets for each Service: so it
does not depend on DNS. Where the Service's address may be IPv6 it does, since the variable has no
brackets, without which there is no URL.
*/}}
{{- define "longshore.testServer" -}}
{{- if eq .Values.listenAddress "::" -}}
{{- include "longshore.url" . -}}
{{- else -}}
{{- $variable := include "longshore.fullname" . | upper | replace "-" "_" -}}
{{- printf "%s://$(%s_SERVICE_HOST):%v" (ternary "http" "https" (eq .Values.tls.mode "plaintext")) $variable .Values.service.port -}}
{{- end -}}
{{- end -}}

{{/*
By what the Pod of `helm test` shows who it is: `nothing` (nobody asks), `certificate`, `token` (of a
Secret) or `account` (its service account's). Empty: it can not, and there is none.
*/}}
{{- define "longshore.testProof" -}}
{{- if not .Values.test.enabled -}}
{{- else if .Values.authentication.insecureNoAuth -}}
nothing
{{- else if .Values.test.clientCertSecretName -}}
certificate
{{- else if .Values.test.tokenSecretName -}}
token
{{- else if .Values.authentication.tokenReview.enabled -}}
account
{{- end -}}
{{- end -}}

{{- define "longshore.testAccount" -}}
{{- printf "%s-test" (include "longshore.fullname" .) -}}
{{- end -}}

{{/* Addresses of the API server as CIDR blocks, as a YAML list. */}}
{{- define "longshore.apiServerBlocks" -}}
{{- range .Values.networkPolicies.apiServerAddresses }}
{{- if contains "/" . }}
- {{ . | quote }}
{{- else }}
- {{ printf "%s/%s" . (ternary "128" "32" (contains ":" .)) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The prefix of a CIDR block as bits, so that every spelling of an IPv6 block is compared by what it
means. What is no block gives something, and the API server refuses it.
*/}}
{{- define "longshore.bits" -}}
{{- $block := splitList "/" . -}}
{{- $bits := "" -}}
{{- if contains ":" (first $block) -}}
{{- $halves := splitList "::" (first $block) -}}
{{- $groups := without (splitList ":" (first $halves)) "" -}}
{{- $rest := without (splitList ":" (rest $halves | join "")) "" -}}
{{- range until (int (max 0 (sub 8 (add (len $groups) (len $rest))))) -}}{{- $groups = append $groups "0" -}}{{- end -}}
{{- range concat $groups $rest -}}{{- $bits = printf "%s%016b" $bits (int64 (printf "0x%s" .)) -}}{{- end -}}
{{- else -}}
{{- range splitList "." (first $block) -}}{{- $bits = printf "%s%08b" $bits (atoi .) -}}{{- end -}}
{{- end -}}
{{- $bits | trunc (last $block | atoi) -}}
{{- end -}}

{{/* Whether the block `outer` has all of `inner`, of the same family: "true", or nothing. */}}
{{- define "longshore.blockContains" -}}
{{- if and (eq (contains ":" .outer) (contains ":" .inner)) (hasPrefix (include "longshore.bits" .outer) (include "longshore.bits" .inner)) -}}
true
{{- end -}}
{{- end -}}

{{/* A duration of the schema's, such as `1h 30m`, in seconds. */}}
{{- define "longshore.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" (. | default "") -1 -}}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" . | atoi) (get (dict "h" 3600 "m" 60 "s" 1) (regexFind "[hms]" .))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/*
What the daemon would refuse at its start, and with the strategy Recreate that is after the old one
has gone.
*/}}
{{- define "longshore.validateAccess" -}}
{{- $auth := .Values.authentication -}}
{{- $authorization := .Values.authorization -}}
{{- if and $auth.tokenReview.enabled (gt (include "longshore.seconds" $auth.tokenReview.cacheTTL | atoi) 300) -}}
{{- fail "authentication.tokenReview.cacheTTL is above 5m: so long a revoked token would still be taken" -}}
{{- end -}}
{{- if and (eq $authorization.mode "kubernetes") (gt (include "longshore.seconds" $authorization.cacheTTL | atoi) 300) -}}
{{- fail "authorization.cacheTTL is above 5m: so long a right that was taken away would still hold" -}}
{{- end -}}
{{- $profiles := append (.Values.config.profiles | default dict | keys) "sql" -}}
{{- range $index, $rule := $authorization.rules -}}
{{- $key := printf "authorization.rules[%d]" $index -}}
{{- if not (or $rule.users $rule.groups) -}}
{{- fail (printf "%s needs users or groups" $key) -}}
{{- end -}}
{{- range $rule.namespaces -}}
{{- if not (or (hasSuffix "*" .) (hasKey $.Values.namespaces .)) -}}
{{- fail (printf "%s.namespaces: `%s` is none of namespaces" $key .) -}}
{{- end -}}
{{- end -}}
{{- range $rule.profiles -}}
{{- if not (has . $profiles) -}}
{{- fail (printf "%s.profiles: profile `%s` is not configured" $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the schema can not say. Each refusal names the key and what to set. */}}
{{- define "longshore.validate" -}}
{{- if not .Values.tls.mode -}}
{{- fail "tls.mode must be chosen: `secret` (a certificate that you have), `certManager` (one that cert-manager makes) or `plaintext` (tokens travel in clear)" -}}
{{- end -}}
{{- if regexMatch "[:@]" (splitList "/" .Values.image.repository | last) -}}
{{- fail (printf "image.repository: `%s` has a tag or a digest: those belong in image.tag and image.digest" .Values.image.repository) -}}
{{- end -}}
{{- range $name := keys .Values.namespaces | sortAlpha -}}
{{- if or (gt (len $name) 63) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "namespaces: `%s` is no name: at most 63 lower-case letters, digits and `-`, a letter first and no `-` last" $name) -}}
{{- end -}}
{{- end -}}
{{- $auth := .Values.authentication -}}
{{- $authenticated := or $auth.tokenReview.enabled $auth.clientCertificates.caSecretName $auth.tokens.secretName -}}
{{- if and $auth.insecureNoAuth $authenticated -}}
{{- fail "authentication.insecureNoAuth serves everybody, but a way to authenticate is configured too: drop one of the two (authentication.tokenReview.enabled is true by default)" -}}
{{- end -}}
{{- if not (or $auth.insecureNoAuth $authenticated) -}}
{{- fail "authentication: choose at least one of tokenReview.enabled, clientCertificates.caSecretName and tokens.secretName" -}}
{{- end -}}
{{- if and $auth.clientCertificates.caSecretName (eq .Values.tls.mode "plaintext") -}}
{{- fail "authentication.clientCertificates needs TLS: choose another tls.mode" -}}
{{- end -}}
{{- if and (eq .Values.authorization.mode "kubernetes") .Values.authorization.rules -}}
{{- fail "authorization.rules belong to authorization.mode `policy`; in mode `kubernetes` the cluster's own Roles decide" -}}
{{- end -}}
{{- if and $authenticated (eq .Values.authorization.mode "policy") (not .Values.authorization.rules) -}}
{{- fail "authorization.mode is `policy`, but authorization.rules has none: nobody may do anything" -}}
{{- end -}}
{{- include "longshore.validateAccess" . -}}
{{- $drain := .Values.config.drain_timeout | default "20s" -}}
{{- if gt (add (include "longshore.seconds" $drain | atoi) 5) (int64 .Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "terminationGracePeriodSeconds must be 5 s longer than config.drain_timeout (%s), or calls are cut off that it promises to let end" $drain) -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.networkPolicies.enabled (not .Values.networkPolicies.daemon.metricsReaders) -}}
{{- fail "networkPolicies.daemon.metricsReaders: metrics.serviceMonitor is enabled, but nobody may reach the metrics: name the Pods of Prometheus, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" -}}
{{- end -}}
{{- if and .Values.networkPolicies.enabled (not .Values.networkPolicies.apiServerAddresses) -}}
{{- fail "networkPolicies.apiServerAddresses: name the addresses of the API server, which runs must not reach: `kubectl -n default get service kubernetes -o jsonpath={.spec.clusterIPs}` and those of `kubectl -n default get endpointslices -l kubernetes.io/service-name=kubernetes`" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $name, $target := include "longshore.runNamespaces" . | fromYaml -}}
{{- if eq $target $.Release.Namespace -}}
{{- fail (printf "namespaces.%s.kubernetesNamespace: `%s` is the release's own; runs need one apart from the daemon's" $name $target) -}}
{{- end -}}
{{- if hasKey $seen $target -}}
{{- fail (printf "namespaces.%s.kubernetesNamespace: `%s` is taken by namespace `%s` already" $name $target (get $seen $target)) -}}
{{- end -}}
{{- $_ := set $seen $target $name -}}
{{- end -}}
{{- if not (hasKey .Values.namespaces "default") -}}
{{- fail "namespaces.default is always there: give it another kubernetesNamespace, or leave it as it is" -}}
{{- end -}}
{{- if and .Values.test.clientCertSecretName (not $auth.clientCertificates.caSecretName) -}}
{{- fail "test.clientCertSecretName: certificates count only with authentication.clientCertificates.caSecretName, the authority that signs them" -}}
{{- end -}}
{{- if not (hasKey .Values.namespaces .Values.test.namespace) -}}
{{- fail (printf "test.namespace: `%s` is none of namespaces" .Values.test.namespace) -}}
{{- end -}}
{{- end -}}

{{/* What makes an object part of the uninstall hook, with its weight. What failed stays, to be looked at. */}}
{{- define "longshore.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* A key as TOML: quoted where it has to be. */}}
{{- define "longshore.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ . | toJson }}{{ end -}}
{{- end -}}

{{/* A value as TOML. JSON's strings are TOML's; whole numbers come from YAML as floats. */}}
{{- define "longshore.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- $first := true -}}
{{- range $key, $value := . -}}
{{- if not $first }},{{ end }} {{ include "longshore.tomlKey" $key }} = {{ include "longshore.tomlValue" $value -}}
{{- $first = false -}}
{{- end }} }
{{- else if kindIs "slice" . -}}
[{{- range $i, $value := . -}}
{{- if $i }}, {{ end -}}
{{- include "longshore.tomlValue" $value -}}
{{- end -}}]
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%d" (int64 .) }}{{ else }}{{ . | toJson }}{{ end -}}
{{- else -}}
{{- . | toJson -}}
{{- end -}}
{{- end -}}

{{/* A map as a TOML table called `path` with its subtables; what is null is left out. */}}
{{- define "longshore.tomlTable" -}}
{{- $path := .path -}}
{{- $own := false -}}
{{- range .table -}}{{- if not (or (kindIs "map" .) (kindIs "invalid" .)) -}}{{- $own = true -}}{{- end -}}{{- end -}}
{{- if and $path $own }}

[{{ $path }}]
{{- end }}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "longshore.tomlKey" $key }} = {{ include "longshore.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if and (kindIs "map" $value) $value -}}
{{ include "longshore.tomlTable" (dict "path" (printf "%s%s%s" $path (ternary "." "" (ne $path "")) (include "longshore.tomlKey" $key)) "table" $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The configuration file. */}}
{{- define "longshore.config" -}}
{{- $auth := .Values.authentication -}}
{{- $config := deepCopy .Values.config -}}
{{- $any := ternary "[::]" "0.0.0.0" (eq .Values.listenAddress "::") -}}
{{- $_ := set $config "listen" (printf "%s:7420" $any) -}}
{{- $_ := set $config "admin_listen" (printf "%s:7421" $any) -}}
{{- $_ := set $config "health_listen" (printf "%s:7422" $any) -}}
{{- $_ := set $config "backend" "kubernetes" -}}
{{- $_ := set $config "instance" (include "longshore.instance" .) -}}
{{- if eq .Values.tls.mode "plaintext" -}}
{{- $_ := set $config "insecure_plaintext" true -}}
{{- else -}}
{{- $tls := dict "cert_file" (printf "/etc/longshore/tls/%s" .Values.tls.certKey) "key_file" (printf "/etc/longshore/tls/%s" .Values.tls.keyKey) -}}
{{- if $auth.clientCertificates.caSecretName -}}
{{- $_ := set $tls "client_ca_file" (printf "/etc/longshore/client-ca/%s" $auth.clientCertificates.caKey) -}}
{{- end -}}
{{- $_ := set $config "tls" $tls -}}
{{- end -}}
{{- if $auth.insecureNoAuth -}}
{{- $_ := set $config "insecure_no_auth" true -}}
{{- else -}}
{{- $authentication := dict -}}
{{- if $auth.tokens.secretName -}}
{{- $_ := set $authentication "token_file" (printf "/etc/longshore/tokens/%s" $auth.tokens.key) -}}
{{- end -}}
{{- if $auth.tokenReview.enabled -}}
{{- $_ := set $authentication "token_review" (dict "audiences" $auth.tokenReview.audiences "cache_ttl" $auth.tokenReview.cacheTTL) -}}
{{- end -}}
{{- if $authentication -}}
{{- $_ := set $config "authentication" $authentication -}}
{{- end -}}
{{- $authorization := dict "mode" .Values.authorization.mode -}}
{{- if eq .Values.authorization.mode "policy" -}}
{{- $rules := .Values.authorization.rules -}}
{{- if eq (include "longshore.testProof" .) "account" -}}
{{- $user := printf "system:serviceaccount:%s:%s" .Release.Namespace (include "longshore.testAccount" .) -}}
{{- $rules = append $rules (dict "users" (list $user) "namespaces" (list .Values.test.namespace) "verbs" (list "submit" "get" "logs") "profiles" (list "sql")) -}}
{{- end -}}
{{- $_ := set $authorization "rules" $rules -}}
{{- else -}}
{{- $_ := set $authorization "cache_ttl" .Values.authorization.cacheTTL -}}
{{- end -}}
{{- $_ := set $config "authorization" $authorization -}}
{{- end -}}
{{- $namespaces := dict -}}
{{- range $name, $target := include "longshore.runNamespaces" . | fromYaml -}}
{{- $_ := set $namespaces $name (dict "kubernetes_namespace" $target) -}}
{{- end -}}
{{- $_ := set $config "namespaces" $namespaces -}}
{{- $policies := dict "network_policies" (ternary "installed" "none" .Values.networkPolicies.enabled) -}}
{{- $_ := set $config "kubernetes" (mergeOverwrite $policies (default dict $config.kubernetes)) -}}
{{- $sql := dict "kubernetes" (dict "image" (include "longshore.image" .) "image_pull_policy" .Values.image.pullPolicy) -}}
{{- $_ := set $config "profiles" (mergeOverwrite (dict "sql" $sql) (default dict $config.profiles)) -}}
{{- include "longshore.tomlTable" (dict "path" "" "table" $config) | trim -}}
{{- end -}}

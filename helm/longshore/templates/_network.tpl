{{/* DNS, as an egress rule; nothing if nobody serves it. */}}
{{- define "longshore.dnsRule" -}}
{{- $dns := .Values.networkPolicies.dns -}}
{{- /* A rule without peers would allow everything. */ -}}
{{- if or $dns.peers $dns.addresses -}}
# DNS.
- to:
    {{- with $dns.peers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- range $dns.addresses }}
    - ipBlock:
        cidr: {{ ternary . (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) (contains "/" .) }}
    {{- end }}
  ports:
    {{- range $dns.ports }}
    - {protocol: UDP, port: {{ int . }}}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- end -}}
{{- end -}}

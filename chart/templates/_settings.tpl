{{- define "fanout.settingsName" -}}
{{ include "fanout.named" (dict "root" . "suffix" "settings") }}
{{- end }}

{{- define "fanout.temporalName" -}}
{{ include "fanout.named" (dict "root" . "suffix" "temporal") }}
{{- end }}

{{/* HOST:PORT of the server for pods of the release's namespace. */}}
{{- define "fanout.address" -}}
{{- if .Values.temporal.enabled -}}
{{ include "fanout.temporalName" . }}:7233
{{- else -}}
{{ .Values.temporal.address }}
{{- end }}
{{- end }}

{{/* What the chart's pods read: Temporal's own settings, and fanout's. No secret is among them. */}}
{{- define "fanout.settings" -}}
TEMPORAL_ADDRESS: {{ include "fanout.address" . | quote }}
TEMPORAL_NAMESPACE: {{ .Values.temporal.namespace | quote }}
{{- with .Values.temporal.tls }}
{{- if .enabled }}
TEMPORAL_TLS: "true"
{{- if .secretName }}
{{- with .caKey }}
TEMPORAL_TLS_SERVER_CA_CERT_PATH: "{{ include "fanout.tlsFolder" $ }}/{{ . }}"
{{- end }}
{{- with .certKey }}
TEMPORAL_TLS_CLIENT_CERT_PATH: "{{ include "fanout.tlsFolder" $ }}/{{ . }}"
{{- end }}
{{- with .keyKey }}
TEMPORAL_TLS_CLIENT_KEY_PATH: "{{ include "fanout.tlsFolder" $ }}/{{ . }}"
{{- end }}
{{- end }}
{{- with .serverName }}
TEMPORAL_TLS_SERVER_NAME: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
FANOUT_TASK_QUEUE: {{ .Values.taskQueue | quote }}
FANOUT_LOG_LEVEL: {{ .Values.logLevel }}
FANOUT_GRACEFUL_TIMEOUT: {{ .Values.worker.gracefulTimeout | int64 | quote }}
FANOUT_MAX_CONCURRENT_ACTIVITIES: {{ .Values.worker.maxConcurrentActivities | int64 | quote }}
FANOUT_MAX_CACHED_WORKFLOWS: {{ .Values.worker.maxCachedWorkflows | int64 | quote }}
FANOUT_METRICS_PORT: {{ .Values.worker.metricsPort | int64 | quote }}
{{- with .Values.worker.sourceRoots }}
FANOUT_SOURCE_ROOTS: {{ join " " . | quote }}
{{- end }}
FANOUT_PARENT_TYPES: {{ join " " .Values.exporter.parentTypes | quote }}
{{- end }}

{{/*
Checksums of what pods read when they start, so that a change starts them anew: the settings and, where Helm may look
at the cluster, the Secrets.
*/}}
{{- define "fanout.checksums" -}}
checksum/settings: {{ include "fanout.settings" . | sha256sum | trunc 16 }}
{{- $secrets := list }}
{{- range compact (uniq (list .Values.temporal.tls.secretName .Values.temporal.apiKey.secretName)) }}
{{- $secrets = append $secrets (lookup "v1" "Secret" $.Release.Namespace . | dig "data" dict) }}
{{- end }}
{{- with compact $secrets }}
checksum/secrets: {{ toJson . | sha256sum | trunc 16 }}
{{- end }}
{{- end }}

{{/* What selects a component's pods; nothing here changes while a release lives. Given as a dict of root and component. */}}
{{- define "fanout.selector" -}}
app.kubernetes.io/name: {{ include "fanout.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Metadata of an object. Given as a dict of root, component, name and, where there are any, labels and annotations. */}}
{{- define "fanout.metadata" -}}
{{- $own := include "fanout.selector" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" .root.Chart.Name -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- merge $own (.labels | default dict) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Metadata of a component's pods. Without the chart's version: a release of the chart alone starts no pod anew, and the
template of a Job must not change. Given as a dict of root, component, pod, the component's values, and, where there are
any, labels and annotations.
*/}}
{{- define "fanout.podMetadata" -}}
{{- $own := merge (include "fanout.selector" . | fromYaml) (.labels | default dict) -}}
labels:
  {{- merge $own .pod.podLabels .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) .pod.podAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Annotations by which a Prometheus without the operator scrapes a pod. Given as a dict of root and port. */}}
{{- define "fanout.scrapeAnnotations" -}}
{{- if .root.Values.monitoring.scrapeAnnotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

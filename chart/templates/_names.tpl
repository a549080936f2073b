{{/* For the label app.kubernetes.io/name. */}}
{{- define "fanout.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{/* What all names begin with: the release's name, followed by -fanout unless it says so itself. */}}
{{- define "fanout.fullname" -}}
{{- $name := .Values.nameOverride | default "fanout" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ .Release.Name }}-{{ $name }}
{{- end }}
{{- end }}

{{/*
The name of an object: fullname-SUFFIX. Given as a dict of root, suffix and, unless 63, max, the characters it may have.
One that is too long keeps its end, with a hash of the whole before it, so that no two of them are the same.
*/}}
{{- define "fanout.named" -}}
{{- $max := .max | default 63 | int -}}
{{- $fullname := include "fanout.fullname" .root -}}
{{- $whole := printf "%s-%s" $fullname .suffix -}}
{{- if le (len $whole) $max -}}
{{ $whole }}
{{- else -}}
{{- $kept := sub $max (add (len .suffix) 10) | int -}}
{{ $fullname | trunc $kept | trimSuffix "-" }}-{{ sha256sum $whole | trunc 8 }}-{{ .suffix }}
{{- end }}
{{- end }}

{{- define "fanout.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "fanout.named" (dict "root" . "suffix" "pods")) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* An image of values with repository, tag and digest; `tag` in the dict is for one without. */}}
{{- define "fanout.imageName" -}}
{{- $tag := .image.tag | default .tag -}}
{{ .image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The image with the command `fanout`. */}}
{{- define "fanout.image" -}}
{{ include "fanout.imageName" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}

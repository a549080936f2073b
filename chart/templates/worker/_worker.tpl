{{- define "fanout.workerName" -}}
{{ include "fanout.named" (dict "root" . "suffix" "worker") }}
{{- end }}

{{- define "fanout.workerImage" -}}
{{- if .Values.worker.image.repository -}}
{{ include "fanout.imageName" (dict "image" .Values.worker.image) }}
{{- else -}}
{{ include "fanout.image" . }}
{{- end }}
{{- end }}

{{/* How fast workers are taken away: a run in hand is worth more than a pod. */}}
{{- define "fanout.scaleDown" -}}
scaleDown:
  stabilizationWindowSeconds: {{ .Values.worker.autoscaling.scaleDownAfterSeconds | int64 }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: 60
{{- end }}

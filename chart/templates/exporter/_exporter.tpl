{{- define "fanout.exporterName" -}}
{{ include "fanout.named" (dict "root" . "suffix" "exporter") }}
{{- end }}

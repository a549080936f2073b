{{/* A volume claim. Given as a dict of root, component, name and persistence, the values of it. */}}
{{- define "fanout.claim" -}}
{{- if and .persistence.enabled (not .persistence.existingClaim) -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "fanout.metadata" (dict "root" .root "component" .component "name" .name "annotations" .persistence.annotations) | nindent 2 }}
spec:
  accessModes: [{{ .persistence.accessMode }}]
  {{- with .persistence.storageClass }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ .persistence.size | quote }}
{{- end }}
{{- end }}

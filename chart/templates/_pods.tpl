{{/* What all pods have. Given as a dict of root and pod, the component's values. */}}
{{- define "fanout.pod" -}}
serviceAccountName: {{ include "fanout.serviceAccountName" .root }}
automountServiceAccountToken: false
# A Service called temporal would put TEMPORAL_PORT and the like beside Temporal's own settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Environment, limits and mounts of a container that is a client of Temporal. Given as a dict of root, pod and, where there are any, env. */}}
{{- define "fanout.client" -}}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "fanout.settingsName" .root }}
  {{- with .pod.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $key := .root.Values.temporal.apiKey }}
{{- if or $key.secretName .env .pod.extraEnv }}
env:
  {{- if $key.secretName }}
  - name: TEMPORAL_API_KEY
    valueFrom:
      secretKeyRef:
        name: {{ $key.secretName }}
        key: {{ $key.secretKey }}
  {{- end }}
  {{- with .env }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .pod.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
resources:
  {{- toYaml .pod.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .root.Values.temporal.tls.secretName }}
  - name: temporal-tls
    mountPath: {{ include "fanout.tlsFolder" . }}
    readOnly: true
  {{- end }}
  {{- with .pod.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "fanout.tlsFolder" -}}
/etc/temporal/tls
{{- end }}

{{/* Volumes of a pod that is a client of Temporal. Given as a dict of root and pod. */}}
{{- define "fanout.clientVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- $tls := .root.Values.temporal.tls }}
{{- if $tls.secretName }}
- name: temporal-tls
  secret:
    secretName: {{ $tls.secretName }}
    defaultMode: 0440
    items:
      {{- range compact (list $tls.caKey $tls.certKey $tls.keyKey) }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
{{- with .pod.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A probe of a component's values. Given as a dict of kind and probe. */}}
{{- define "fanout.probe" -}}
{{- if .probe.enabled }}
{{ .kind }}:
  httpGet:
    path: {{ .probe.path }}
    port: metrics
  periodSeconds: {{ .probe.periodSeconds | int64 }}
  timeoutSeconds: {{ .probe.timeoutSeconds | int64 }}
  failureThreshold: {{ .probe.failureThreshold | int64 }}
{{- end }}
{{- end }}

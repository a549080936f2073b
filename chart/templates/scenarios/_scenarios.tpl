{{/* The scenarios by name: those that the command has, as `fanout scenarios` lists them, and the values' own. As JSON. */}}
{{- define "fanout.scenarios" -}}
{{- $all := dict -}}
{{- if .Values.scenarios.builtIn -}}
{{- range .Files.Get "files/scenarios.json" | fromJsonArray -}}
{{- $_ := set $all .name (dict "builtIn" true "teaches" .teaches "expected" .expected "options" .options) -}}
{{- end -}}
{{- end -}}
{{- range $name, $scenario := .Values.scenarios.custom -}}
{{- $_ := set $all $name $scenario -}}
{{- end -}}
{{ toRawJson $all }}
{{- end }}

{{/* The command of a scenario's Job. Given as a dict of root, name and scenario. As JSON. */}}
{{- define "fanout.scenarioArguments" -}}
{{- $args := list "run" -}}
{{- with .scenario -}}
{{- if .builtIn -}}
{{- $args = append $args $.name -}}
{{- else -}}
{{- $args = append $args (printf "--scenario-name=%s" $.name) -}}
{{- if hasKey . "values" -}}
{{- $args = append $args (printf "--values=%s" (toRawJson .values)) -}}
{{- end -}}
{{- with .source -}}
{{- $args = append $args (printf "--source=%s" .) -}}
{{- end -}}
{{- with .options -}}
{{- $args = append $args (printf "--options=%s" (toRawJson .)) -}}
{{- end -}}
{{- with .workflow -}}
{{- $args = append $args (printf "--workflow=%s" .) -}}
{{- end -}}
{{- with .taskQueue -}}
{{- $args = append $args (printf "--task-queue=%s" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $args = append $args (printf "--patience=%d" (int64 .root.Values.scenarios.patienceSeconds)) -}}
{{- /* What Kubernetes would take for a variable of the container's. */ -}}
{{- $escaped := list -}}
{{- range $args -}}
{{- $escaped = append $escaped (replace "$(" "$$(" .) -}}
{{- end -}}
{{ append $escaped (printf "--id=%s-$(JOB_UID)" .name) | toRawJson }}
{{- end }}

{{/*
A Job that runs a scenario. Its run's id comes from the Job's: a pod that takes another's place attaches to the run,
open or closed. Given as a dict of root, name and scenario.
*/}}
{{- define "fanout.scenarioJob" -}}
{{- $values := .root.Values.scenarios -}}
{{- $pod := dict "root" .root "component" "scenario" "pod" $values "labels" (dict "fanout/scenario" .name) -}}
backoffLimit: {{ $values.backoffLimit | int64 }}
activeDeadlineSeconds: {{ .scenario.activeDeadlineSeconds | default $values.activeDeadlineSeconds | int64 }}
ttlSecondsAfterFinished: {{ $values.ttlSecondsAfterFinished | int64 }}
podFailurePolicy:
  rules:
    # 1: the run failed or breached its tolerance, 2: wrong input. Neither gets better by another try.
    - action: FailJob
      onExitCodes:
        containerName: fanout
        operator: In
        values: [1, 2]
    # A drain, a preemption and the like are no try. No server (3) and unexpected errors (4) are one.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
template:
  metadata:
    {{- include "fanout.podMetadata" $pod | nindent 4 }}
  spec:
    {{- include "fanout.pod" $pod | nindent 4 }}
    restartPolicy: Never
    terminationGracePeriodSeconds: 10
    containers:
      - name: fanout
        image: {{ include "fanout.image" .root | quote }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args:
          {{- include "fanout.scenarioArguments" . | fromJsonArray | toYaml | nindent 10 }}
        terminationMessagePolicy: FallbackToLogsOnError
        {{- $uid := dict "name" "JOB_UID" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.labels['batch.kubernetes.io/controller-uid']")) }}
        {{- include "fanout.client" (merge (dict "env" (list $uid | toYaml)) $pod) | nindent 8 }}
    volumes:
      {{- include "fanout.clientVolumes" $pod | nindent 6 }}
{{- end }}

{{/* Given as a dict of root and name. What Kubernetes makes of it for a Job of its schedule has 11 characters more. */}}
{{- define "fanout.cronJobName" -}}
{{ include "fanout.named" (dict "root" .root "suffix" .name "max" 52) }}
{{- end }}

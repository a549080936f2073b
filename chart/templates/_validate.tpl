{{/* Fails the render where values contradict each other, with each path and its cure. */}}
{{- define "fanout.validate" -}}
{{- $errors := list -}}
{{- $v := .Values -}}

{{- with $v.temporal -}}
{{- if and .enabled .address -}}
{{- $errors = append $errors (printf "temporal.address: is %s, and temporal.enabled starts a dev server: set temporal.enabled to false, or leave temporal.address empty" .address) -}}
{{- end -}}
{{- if not (or .enabled .address) -}}
{{- $errors = append $errors "temporal.address: is empty, and temporal.enabled is false: give the server's HOST:PORT, or set temporal.enabled to true" -}}
{{- end -}}
{{- if and .enabled .tls.enabled -}}
{{- $errors = append $errors "temporal.tls.enabled: the dev server speaks no TLS: set it to false, or set temporal.enabled to false and give temporal.address" -}}
{{- end -}}
{{- if and .tls.secretName (not .tls.enabled) -}}
{{- $errors = append $errors "temporal.tls.secretName: is given, and temporal.tls.enabled is false: set that to true, or leave this empty" -}}
{{- end -}}
{{- if and .tls.serverName (not .tls.enabled) -}}
{{- $errors = append $errors "temporal.tls.serverName: is given, and temporal.tls.enabled is false: set that to true, or leave this empty" -}}
{{- end -}}
{{- if ne (empty .tls.certKey) (empty .tls.keyKey) -}}
{{- $errors = append $errors "temporal.tls.certKey: a certificate needs its private key: give temporal.tls.certKey and temporal.tls.keyKey, or neither" -}}
{{- end -}}
{{- if and .tls.secretName (not (or .tls.caKey .tls.certKey)) -}}
{{- $errors = append $errors "temporal.tls.secretName: nothing is read from it: give temporal.tls.caKey, or temporal.tls.certKey and keyKey, or leave it empty" -}}
{{- end -}}
{{- if and .apiKey.secretName (not .tls.enabled) -}}
{{- $errors = append $errors "temporal.apiKey.secretName: a key must not be sent without TLS: set temporal.tls.enabled to true" -}}
{{- end -}}
{{- if and .persistence.existingClaim (not .persistence.enabled) -}}
{{- $errors = append $errors "temporal.persistence.existingClaim: is given, and temporal.persistence.enabled is false: set that to true, or leave this empty" -}}
{{- end -}}
{{- end -}}

{{- if and $v.exporter.persistence.existingClaim (not $v.exporter.persistence.enabled) -}}
{{- $errors = append $errors "exporter.persistence.existingClaim: is given, and exporter.persistence.enabled is false: set that to true, or leave this empty" -}}
{{- end -}}

{{- with $v.worker -}}
{{- if and .image.repository (not (or .image.tag .image.digest)) -}}
{{- $errors = append $errors (printf "worker.image.tag: is empty: say which %s, by worker.image.tag or worker.image.digest" .image.repository) -}}
{{- end -}}
{{- if and (or .image.tag .image.digest) (not .image.repository) -}}
{{- $errors = append $errors "worker.image.repository: is empty, and worker.image.tag or digest is given: give the repository too, or use image.tag and image.digest" -}}
{{- end -}}
{{- $least := add .gracefulTimeout 30 | int64 -}}
{{- if and .terminationGracePeriodSeconds (lt (int64 .terminationGracePeriodSeconds) $least) -}}
{{- $errors = append $errors (printf "worker.terminationGracePeriodSeconds: is %d, and must be at least worker.gracefulTimeout and 30 more, %d: raise it, leave it at 0, or lower worker.gracefulTimeout" (int64 .terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $requests := .resources.requests | default dict -}}
{{- with .autoscaling -}}
{{- $scaled := ne .kind "none" -}}
{{- if and $scaled (not $v.worker.enabled) -}}
{{- $errors = append $errors (printf "worker.autoscaling.kind: is %s, and worker.enabled is false: there is nothing to scale; set it to none" .kind) -}}
{{- end -}}
{{- if gt (int64 .minReplicas) (int64 .maxReplicas) -}}
{{- $errors = append $errors (printf "worker.autoscaling.minReplicas: is %d, more than worker.autoscaling.maxReplicas, %d: lower it, or raise that" (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- end -}}
{{- if and (eq .kind "hpa") (not (or .cpu .memory)) -}}
{{- $errors = append $errors "worker.autoscaling.cpu: is 0, and worker.autoscaling.memory too: nothing says how many workers are wanted; give one of them" -}}
{{- end -}}
{{- range $resource, $use := dict "cpu" .cpu "memory" .memory -}}
{{- if and $scaled $use (not (hasKey $requests $resource)) -}}
{{- $errors = append $errors (printf "worker.resources.requests.%s: is missing, and worker.autoscaling.%s is a share of it: give it, or set that to 0" $resource $resource) -}}
{{- end -}}
{{- end -}}
{{- $tls := $v.temporal.tls -}}
{{- if and (eq .kind "keda") $tls.enabled (not (or $v.temporal.apiKey.secretName (and $tls.secretName $tls.certKey))) -}}
{{- $errors = append $errors "worker.autoscaling.kind: KEDA speaks TLS with Temporal only with a client's certificate or an API key: give temporal.tls.secretName with certKey and keyKey, or temporal.apiKey.secretName, or scale by hpa" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $known := list -}}
{{- range .Files.Get "files/scenarios.json" | fromJsonArray -}}
{{- $known = append $known .name -}}
{{- end -}}
{{- range $name, $scenario := $v.scenarios.custom -}}
{{- $path := printf "scenarios.custom.%s" $name -}}
{{- if has $name $known -}}
{{- $errors = append $errors (printf "%s: is the name of a scenario that fanout has: choose another" $path) -}}
{{- end -}}
{{- if eq (hasKey $scenario "values") (hasKey $scenario "source") -}}
{{- $errors = append $errors (printf "%s: needs items: give one of values and source" $path) -}}
{{- end -}}
{{- $bytes := $scenario.values | default list | toRawJson | len -}}
{{- if gt $bytes 100000 -}}
{{- $errors = append $errors (printf "%s.values: take %d bytes as JSON, and an argument of a program may have 100,000: give a source" $path $bytes) -}}
{{- end -}}
{{- if and $scenario.timeZone (not $scenario.schedule) -}}
{{- $errors = append $errors (printf "%s.timeZone: is given without a schedule: give %s.schedule, or leave it out" $path $path) -}}
{{- end -}}
{{- end -}}
{{- $all := concat ($v.scenarios.builtIn | ternary $known list) (keys $v.scenarios.custom) -}}
{{- range $v.scenarios.run -}}
{{- if not (has . $all) -}}
{{- $errors = append $errors (printf "scenarios.run: there is no scenario %s: name some of %s" . (join ", " (sortAlpha $all) | default "scenarios.custom, or set scenarios.builtIn to true")) -}}
{{- end -}}
{{- end -}}

{{- with $v.monitoring.podMonitor -}}
{{- if gt (trimSuffix "s" .scrapeTimeout | int64) (trimSuffix "s" .interval | int64) -}}
{{- $errors = append $errors (printf "monitoring.podMonitor.scrapeTimeout: is %s, longer than monitoring.podMonitor.interval, %s: lower it, or raise that" .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}

{{- $labels := dict "commonLabels" $v.commonLabels "temporal.podLabels" $v.temporal.podLabels "worker.podLabels" $v.worker.podLabels "scenarios.podLabels" $v.scenarios.podLabels "exporter.podLabels" $v.exporter.podLabels -}}
{{- range $path, $given := $labels -}}
{{- range $label, $_ := $given -}}
{{- if regexMatch "^(app.kubernetes.io/(name|instance|component|version|managed-by|part-of)|helm.sh/chart|fanout/scenario)$" $label -}}
{{- $errors = append $errors (printf "%s: %s is a label that the chart gives: leave it out" $path $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $v.temporal.enabled (regexMatch "^[0-9]" (include "fanout.fullname" .)) -}}
{{- $errors = append $errors (printf "fullnameOverride: the dev server's Service may not be called %s, since its name must begin with a letter: give a fullnameOverride, or another name to the release" (include "fanout.temporalName" .)) -}}
{{- end -}}

{{- with $errors -}}
{{- fail (printf "\n\n  %s\n" (join "\n  " .)) -}}
{{- end -}}
{{- end }}

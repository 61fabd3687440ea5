{{/* Full name: the release's name, with the chart's name unless it is in there already. */}}
{{- define "finetune-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the operator's pod; they never change for a release. */}}
{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune-operator.labels" -}}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "finetune-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "finetune-operator.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name: is empty, but serviceAccount.create is false; name an existing ServiceAccount" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Reference of an image. Takes a dict: key (the values path, for messages), image, defaultTag. */}}
{{- define "finetune-operator.image" -}}
{{- $repository := required (printf "%s.repository: is empty, and the project runs no registry; push the image to yours and set it" .key) .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.image.tag | default .defaultTag) -}}
{{- end -}}
{{- end -}}

{{/* The link of an alert to its section of the runbook, if there is one. Takes a dict: url, alert. */}}
{{- define "finetune-operator.runbook" -}}
{{- if .url -}}
runbook_url: {{ .url }}#{{ lower .alert }}
{{- end -}}
{{- end -}}

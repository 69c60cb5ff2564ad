{{/* The name of everything the chart makes: at most 50 characters, so that suffixes fit into a DNS label. */}}
{{- define "backstay.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which the operator's pods are selected; a Deployment's selector can never change. */}}
{{- define "backstay.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "backstay.labels" -}}
{{ include "backstay.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: backstay
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (list . LABELS) → the chart's labels and these; the chart's win, because its own selectors need them. */}}
{{- define "backstay.labelsAnd" -}}
{{- mergeOverwrite (deepCopy (index . 1)) (include "backstay.labels" (index . 0) | fromYaml) | toYaml -}}
{{- end -}}

{{- define "backstay.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "backstay.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name must name an existing service account when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "backstay.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What the operator does in a namespace, and why: the rules of its ClusterRole or, with watchNamespaces, of a Role in each of them. */}}
{{- define "backstay.operatorRules" -}}
# Reads the definitions.
- apiGroups: [backstay.dev]
  resources: [workflows]
  verbs: [list, watch]
# Reads the runs, puts on their finalizer and lets it go, and deletes those whose time to live is over. It makes one for a step that runs
# another workflow, and asks it to end or to be undone with its caller.
- apiGroups: [backstay.dev]
  resources: [workflowruns]
  verbs: [get, list, watch, create, patch, delete]
# Writes what it decided; nobody else writes there.
- apiGroups: [backstay.dev]
  resources: [workflows/status, workflowruns/status]
  verbs: [patch]
# Moves the older entries of a long run's journal to objects of their own, and reads them where the status does not tell all. What is written
# there is never changed, and it goes with the run.
- apiGroups: [backstay.dev]
  resources: [workflowjournals]
  verbs: [list, create]
# Keeps the slots of locks and of workflows with a limit: makes those that nobody has made, keeps their limits as the Workflow says, and takes
# them away when nobody uses them.
- apiGroups: [backstay.dev]
  resources: [semaphores]
  verbs: [list, watch, create, patch, delete]
# Writes who holds them and who waits.
- apiGroups: [backstay.dev]
  resources: [semaphores/status]
  verbs: [patch]
# Writes a DeadLetter for a step that gave up, reads what people want to become of it, and deletes those that were settled long ago.
- apiGroups: [backstay.dev]
  resources: [deadletters]
  verbs: [get, list, watch, create, delete]
# Writes what has become of them.
- apiGroups: [backstay.dev]
  resources: [deadletters/status]
  verbs: [patch]
# Reads the settings and the state of circuit breakers; makes those that steps name and nobody has made.
- apiGroups: [backstay.dev]
  resources: [circuitbreakers]
  verbs: [list, watch, create]
# Writes where they stand.
- apiGroups: [backstay.dev]
  resources: [circuitbreakers/status]
  verbs: [patch]
# Jobs are owned by their run and hold up its deletion until they are gone. Clusters that enforce owner references ask this right of
# whoever says so.
- apiGroups: [backstay.dev]
  resources: [workflowruns/finalizers]
  verbs: [update]
# One Job is one attempt of a step. A Job is made, watched and deleted, and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# Makes the volumes of workspaces, which go with their run. One that is there already is looked at: it must be the run's.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
# A step's success, its output and what keeps it from starting are read from its Pod. The Job controller makes the Pods.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Keeps the immutable revisions of workflows that runs are pinned to: they are made and read, never changed, and removed when nobody needs them.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, delete]
# Tells failures and waits where `kubectl describe` shows them; patch counts a repeated one. Why a Job has no pod (a quota, a policy)
# stands only in the Job controller's Events: those of such a Job are listed, seldom.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create, patch]
{{- if .Values.impersonation.enabled }}
# Acts as the service account of a run for its resource steps, and for the Secrets that its HTTP steps name: with the rights that account has,
# never with its own. Groups need no rule: the API server knows those of a service account.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [impersonate]
{{- end }}
{{- end -}}

{{/* Who may write what only the operator writes, as a list in CEL: JSON is that as well. */}}
{{- define "backstay.trustedUsers" -}}
{{- $operator := printf "system:serviceaccount:%s:%s" .Release.Namespace (include "backstay.serviceAccount" .) -}}
{{- prepend .Values.admissionPolicies.trusted $operator | toJson -}}
{{- end -}}

{{/* Annotations of backstay.dev that are for users to set (operator/backstay/names.py). */}}
{{- define "backstay.userAnnotations" -}}
['backstay.dev/release-finalizer']
{{- end -}}

{{/* (list . KIND NAME) → the binding of the policy of that name, for the namespaces that the operator looks after; its spec may go on. */}}
{{- define "backstay.policyBinding" -}}
{{- $root := index . 0 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: {{ index . 1 }}
metadata:
  name: {{ index . 2 }}
  labels: {{- include "backstay.labels" $root | nindent 4 }}
spec:
  policyName: {{ index . 2 }}
  {{- with $root.Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
  {{- end }}
{{- end -}}

{{/* The weight of a part of `helm test` → its annotations. */}}
{{- define "backstay.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* With backstay.containerSecurity, what the Pod Security Standard `restricted` asks for. */}}
{{- define "backstay.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "backstay.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Variables for the operator's container: what the chart's values say that is no option of the command, then the user's. */}}
{{- define "backstay.environment" -}}
{{- with .Values.http.allowedHosts }}
- name: BACKSTAY_HTTP_ALLOWED_HOSTS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.http.internalRanges }}
- name: BACKSTAY_HTTP_INTERNAL_RANGES
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.http.caConfigMap }}
- name: BACKSTAY_HTTP_CA_FILE
  value: /etc/backstay/ca/ca.crt
{{- end }}
{{- with .Values.limits.maxActiveRuns }}
- name: BACKSTAY_MAX_ACTIVE_RUNS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.limits.maxActiveRunsPerNamespace }}
- name: BACKSTAY_MAX_ACTIVE_RUNS_PER_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- if ne (int .Values.shards) 1 }}
- name: BACKSTAY_SHARDS
  value: {{ .Values.shards | quote }}
{{- end }}
{{- if ne (toString .Values.apiServer.qps) "500" }}
- name: BACKSTAY_API_QPS
  value: {{ .Values.apiServer.qps | quote }}
{{- end }}
{{- if ne (toString .Values.apiServer.burst) "1000" }}
- name: BACKSTAY_API_BURST
  value: {{ .Values.apiServer.burst | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

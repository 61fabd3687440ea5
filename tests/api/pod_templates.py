"""What spec.podTemplate takes and what it refuses, for each role: cases of test_rules.py."""

from typing import Any

from finetune_api import pod_template as words

ROLES = ("all", "prepare", "train", "publish", "track")

EVERYTHING: dict[str, Any] = {
    "labels": {"team": "search", "kueue.x-k8s.io/priority-class": "low"},
    "annotations": {"karpenter.sh/do-not-disrupt": "true"},
    "env": [
        {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "key", "optional": True}}},
    ],
    "envFrom": [{"configMapRef": {"name": "nccl"}}, {"prefix": "MY_", "secretRef": {"name": "mine"}}],
    "resources": {"requests": {"ephemeral-storage": "10Gi"}, "limits": {"rdma/ib": 1, "cpu": "8"}},
    "volumes": [
        {"name": "ca-bundle", "configMap": {"name": "company-ca", "optional": False}},
        {"name": "everything", "projected": {"sources": [{"secret": {"name": "mine"}}, {"downwardAPI": {}}]}},
    ],
    "volumeMounts": [{"name": "ca-bundle", "mountPath": "/etc/ssl/company", "readOnly": True}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
        },
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "fast", "operator": "Exists"}]}}
        ],
    },
    "tolerations": [
        {
            "key": "node.kubernetes.io/not-ready",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
    ],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "rack",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"team": "search"}},
            "matchLabelKeys": ["cost-centre"],
        }
    ],
    "runtimeClassName": "nvidia",
    "schedulerName": "volcano",
    "priorityClassName": "low",
    "serviceAccountName": "trainer",
    "imagePullSecrets": [{"name": "registry"}],
    "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000, "supplementalGroups": [3000]},
    "resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "eight-gpus"}],
    "hostNetwork": True,
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub.example"]}],
    "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
    "terminationGracePeriodSeconds": 600,
}

ACCEPTED: dict[str, dict[str, Any]] = {
    **{f"additions to the pods of {role}": {"podTemplate": {role: EVERYTHING}} for role in ROLES},
    **{
        f"CPU and memory of {role}": {
            "podTemplate": {role: {"resources": {"requests": {"cpu": "8", "memory": "32Gi"}, "limits": {"cpu": 8}}}}
        }
        for role in ("prepare", "publish", "track")
    },
    "no additions": {"podTemplate": {}},
    "additions that are empty": {"podTemplate": {"train": {}}},
}

#: Name of the case: addition, path below that of the role, words.
TOUCHED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a label of ours": ({"labels": {"finetune.dev/job-uid": "x"}}, ".labels", words.LABEL_FIX),
    "an annotation of ours": ({"annotations": {"finetune.dev/spec-hash": "x"}}, ".annotations", words.ANNOTATION_FIX),
    "a variable of ours": ({"env": [{"name": "PET_NNODES", "value": "9"}]}, ".env[0].name", words.VARIABLE_FIX),
    "a prefix of ours": ({"envFrom": [{"prefix": "FINETUNE_"}]}, ".envFrom[0].prefix", words.VARIABLE_FIX),
    "a volume of ours": ({"volumes": [{"name": "workspace", "emptyDir": {}}]}, ".volumes[0].name", words.VOLUME_FIX),
    "a volume without a source": ({"volumes": [{"name": "host"}]}, ".volumes[0]", words.SOURCE_FIX),
    "a mount over ours": (
        {"volumeMounts": [{"name": "mine", "mountPath": "/workspace/train"}]},
        ".volumeMounts[0].mountPath",
        words.PATH_FIX,
    ),
    "a mount of a volume of ours": (
        {"volumeMounts": [{"name": "write-token", "mountPath": "/token"}]},
        ".volumeMounts[0].name",
        words.VOLUME_FIX,
    ),
}

REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    f"{what} in pods of {role}": (
        {"podTemplate": {role: addition}},
        f"spec.podTemplate.{role}{path}: Invalid value: {fix}",
    )
    for what, (addition, path, fix) in TOUCHED.items()
    for role in ROLES
}
for _role in ("all", "train"):
    for _kind, _name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        REJECTED[f"{_kind} of {_name} of {_role}"] = (
            {"podTemplate": {_role: {"resources": {_kind: {_name: "1"}}}}},
            f"spec.podTemplate.{_role}.resources: Invalid value: {words.AMOUNT_FIX}",
        )
    REJECTED[f"accelerators in {_role}"] = (
        {"podTemplate": {_role: {"resources": {"limits": {"nvidia.com/gpu": 8}}}}},
        f"spec.podTemplate.{_role}.resources: Invalid value: {words.ACCELERATOR_FIX}",
    )
REJECTED |= {
    "an amount of no known form": (
        {"podTemplate": {"train": {"resources": {"limits": {"cpu": "eight"}}}}},
        'spec.podTemplate.train.resources.limits.cpu: Invalid value: "eight": '
        "spec.podTemplate.train.resources.limits.cpu in body should match",
    ),
    "root": (
        {"podTemplate": {"train": {"securityContext": {"runAsUser": 0}}}},
        "spec.podTemplate.train.securityContext.runAsUser: Invalid value: 0: "
        "spec.podTemplate.train.securityContext.runAsUser in body should be greater than or equal to 1",
    ),
    "a mount path out of ours": (
        {"podTemplate": {"all": {"volumeMounts": [{"name": "mine", "mountPath": "/cache/../workspace"}]}}},
        'spec.podTemplate.all.volumeMounts[0].mountPath: Invalid value: "/cache/../workspace": '
        "spec.podTemplate.all.volumeMounts[0].mountPath in body should match",
    ),
    "a grace period of no use": (
        {"podTemplate": {"train": {"terminationGracePeriodSeconds": 0}}},
        "spec.podTemplate.train.terminationGracePeriodSeconds: Invalid value: 0: "
        "spec.podTemplate.train.terminationGracePeriodSeconds in body should be greater than or equal to 10",
    ),
    "a folder of the node": (
        {"podTemplate": {"train": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}},
        'unknown field "spec.podTemplate.train.volumes[0].hostPath"',
    ),
    "a privileged container": (
        {"podTemplate": {"train": {"securityContext": {"privileged": True}}}},
        'unknown field "spec.podTemplate.train.securityContext.privileged"',
    ),
    "a token of a ServiceAccount": (
        {"podTemplate": {"all": {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]}}},
        'unknown field "spec.podTemplate.all.volumes[0].projected.sources[0].serviceAccountToken"',
    ),
    "another command": (
        {"podTemplate": {"prepare": {"command": ["sh"]}}},
        'unknown field "spec.podTemplate.prepare.command"',
    ),
    "a variable twice": (
        {"podTemplate": {"train": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}},
        "spec.podTemplate.train.env[1]: Duplicate value",
    ),
}

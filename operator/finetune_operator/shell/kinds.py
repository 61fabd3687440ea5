"""Where the API server keeps each kind that the operator touches."""

from dataclasses import dataclass

from finetune_api import keys
from finetune_api.types import GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True)
class Kind:
    """One resource of the API."""

    name: str
    api_version: str
    plural: str
    selector: str = ""
    """Which of them concern the operator."""

    @property
    def group_path(self) -> str:
        """Return the path of what the API server has of the kind's group and version."""
        return f"{'/api' if '/' not in self.api_version else '/apis'}/{self.api_version}"

    def path(self, namespace: str = "", name: str = "", *, subresource: str = "") -> str:
        """Return the path of one object, of all in a namespace, or of all."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{self.group_path}{scope}/{self.plural}{tail}"


FINETUNE_JOB = Kind(KIND, f"{GROUP}/{VERSION}", PLURAL)
JOB = Kind("Job", "batch/v1", "jobs", selector=keys.LABEL_JOB)
POD = Kind("Pod", "v1", "pods", selector=keys.LABEL_JOB)
POD_GROUP = Kind("PodGroup", "scheduling.k8s.io/v1beta1", "podgroups")
#: Of Kueue, newest first: what it says about a Job in its queue.
WORKLOADS = tuple(Kind("Workload", f"kueue.x-k8s.io/{version}", "workloads") for version in ("v1beta2", "v1beta1"))
CORE_EVENT = Kind("Event", "v1", "events")
EVENT = Kind("Event", "events.k8s.io/v1", "events")
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
CHILDREN = {
    kind.name: kind
    for kind in (
        JOB,
        POD,
        Kind("ConfigMap", "v1", "configmaps"),
        Kind("Service", "v1", "services"),
        CLAIM,
        POD_GROUP,
    )
}
#: In the order in which they are listed: an owner before what it owns.
WATCHED = (FINETUNE_JOB, JOB, POD)

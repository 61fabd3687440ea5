"""What is done to the jobs: one blow at a time, drawn by chance."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster import cluster, processes
from tests.cluster.ending import kill
from tests.cluster.node import NODES
from tests.e2e.gang import LABEL_ROLE, kill_operator, kill_rank
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

HUB_ANSWERS = ("cut", "lose-answer", {"status": 503}, {"status": 500}, {"status": 429, "headers": {"Retry-After": "3"}})


@dataclass(frozen=True, kw_only=True)
class Harm:
    """Blows against jobs of one namespace, operator, nodes and Hub."""

    kube: Kubectl
    hub: RunningHub
    namespace: str
    chance: random.Random

    def strike(self) -> str:
        """Do one thing and say what; one whose victim is gone meanwhile did nothing."""
        blow = self.chance.choice(
            (self._operator, self._rank, self._rank, self._pod, self._train_job, self._kubelet, self._hub, self._hub)
        )
        try:
            return blow()
        except (KubectlError, AssertionError, ValueError) as error:
            return f"{blow.__name__.strip('_')}: missed ({str(error).splitlines()[0] if str(error) else 'gone'})"

    def mend(self) -> None:
        """Take back what would last."""
        self.hub.clear()
        cluster.up()

    def _one_of(self, kind: str, wanted: Callable[[Manifest], bool], selector: str = "") -> Manifest:
        found = [each for each in self.kube.find(kind, namespace=self.namespace, selector=selector) if wanted(each)]
        return self.chance.choice(sorted(found, key=lambda each: str(each["metadata"]["name"])) or [{}])

    def _operator(self) -> str:
        kill_operator(self.kube)
        return "operator: killed"

    def _rank(self) -> str:
        job = self._one_of(jobs.KIND, lambda each: each.get("status", {}).get("phase") == "Training")
        rank = self.chance.randrange(2)
        if job:
            kill_rank(self.kube, job, rank)
        return f"rank {rank} of {job['metadata']['name']}: killed" if job else "rank: none trains"

    def _pod(self) -> str:
        return self._delete("pod", "")

    def _train_job(self) -> str:
        return self._delete("job", f"{LABEL_ROLE}=train")

    def _delete(self, kind: str, selector: str) -> str:
        victim = self._one_of(kind, lambda each: "deletionTimestamp" not in each["metadata"], selector)
        if not victim:
            return f"{kind}: none is there"
        name = victim["metadata"]["name"]
        self.kube.delete(kind, name, namespace=self.namespace, wait=False)
        return f"{kind} {name}: deleted"

    def _kubelet(self) -> str:
        worker = self.chance.choice(NODES)
        pid = processes.pid_of(f"{worker.name}-kubelet")
        if pid is not None:
            kill([pid], first=signal.SIGKILL, grace_seconds=0)
        cluster.start_node(worker.name)
        return f"kubelet of {worker.name}: killed and started again"

    def _hub(self) -> str:
        answer, times = self.chance.choice(HUB_ANSWERS), self.chance.randint(1, 3)
        self.hub.fail(answer, times=times, skip=self.chance.randrange(5))
        return f"Hub: {times} requests go wrong by {answer}"

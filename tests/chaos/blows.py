"""The blows: against operator, ranks, children, nodes, control plane, network, rights and Hub, and what people do."""

import json
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from finetune_api.keys import TELEMETRY_PORT
from tests.chaos import machine
from tests.chaos.harm import Blow, Done, NoVictimError
from tests.cluster import cluster, network
from tests.cluster.node import NODES
from tests.e2e.gang import LABEL_JOB, LABEL_ROLE, kill_operator
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import HUB_NAMESPACE, RELEASE, SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl, Manifest

TRAIN = f"{LABEL_ROLE}=train"
OPERATOR = "app.kubernetes.io/name=finetune-operator"
#: What belongs to a job and can be made again; its volume cannot.
CHILDREN = ("job", "service", "configmap", "podgroup")
DAEMONS = ("kube-controller-manager", "kube-scheduler")

#: A Hub that has its troubles: cut lines, lost answers, refusals for a while, half a download, a long pause.
BROKEN: tuple[str | dict[str, Any], ...] = (
    "cut",
    "lose-answer",
    {"status": 500},
    {"status": 503},
    {"status": 429, "headers": {"Retry-After": "3"}},
    {"cutAfterBytes": 1000},
    {"delay": 12},
)
#: A Hub of other people's making: all is well, it says, and says nothing, or something else.
ODD: tuple[dict[str, Any], ...] = ({"claim": {}}, {"claim": []}, {"amend": {"sha": ""}}, {"amend": {"sha": None}})
CALLS = "^/api/"


@dataclass(frozen=True, kw_only=True)
class Blows:
    """What can be done to the jobs of one namespace and to all that they stand on."""

    kube: Kubectl
    hub: RunningHub
    namespace: str

    def by_name(self) -> dict[str, tuple[int, Blow]]:
        """Return each with its share."""
        return {
            "operator deleted by force": (2, self._delete_operator),
            "operator killed": (2, self._kill_operator),
            "second operator": (1, self._second_operator),
            "operator's rights gone": (1, self._take_rights),
            "progress port cut": (1, self._cut_port),
            "process of a rank killed": (4, self._kill_process),
            "rank frozen": (1, self._freeze),
            "pod deleted": (2, self._delete_pod),
            "pod evicted": (1, self._evict),
            "child deleted": (2, self._delete_child),
            "job suspended": (1, self._suspend),
            "kubelet killed": (1, self._restart_kubelet),
            "kubelet away": (1, self._stop_kubelet),
            "containers of a node killed": (1, self._kill_containers),
            "node without power": (1, self._cut_power),
            "node drained": (1, self._drain),
            "API server killed": (1, self._kill_api_server),
            "controller killed": (1, self._kill_controller),
            "Hub killed": (1, self._kill_hub),
            "Hub broken": (4, self._break_hub),
            "Hub odd": (2, self._confuse_hub),
        }

    def _one_of(self, found: list[Manifest], chance: random.Random, what: str) -> Manifest:
        if not found:
            raise NoVictimError(f"no {what} is there")
        return chance.choice(sorted(found, key=_name))

    def _pods(self, selector: str = LABEL_JOB) -> list[Manifest]:
        found = self.kube.find("pods", namespace=self.namespace, selector=selector)
        return [pod for pod in found if pod["status"]["phase"] == "Running"]

    # The operator

    def _delete_operator(self, _: random.Random) -> Done:
        kill_operator(self.kube)
        return Done(text="its pod is deleted without a grace period")

    def _kill_operator(self, chance: random.Random) -> Done:
        found = self.kube.find("pods", namespace=SYSTEM_NAMESPACE, selector=OPERATOR)
        pod = self._one_of(found, chance, "operator")
        return Done(text=f"{_kill(machine.pids_of(pod))} processes")

    def _second_operator(self, chance: random.Random) -> Done:
        """Two at work at once: without `replicas` in the chart there is no Lease."""
        self._scale(2)
        return Done(text="at work", undo=lambda: self._scale(1), undo_after_seconds=chance.uniform(20, 60))

    def _scale(self, number: int) -> None:
        self.kube.run("scale", f"deployment/{RELEASE}", "-n", SYSTEM_NAMESPACE, f"--replicas={number}")

    def _take_rights(self, chance: random.Random) -> Done:
        found = json.loads(self.kube.run("get", "clusterrolebinding", "-l", OPERATOR, "-o", "json"))["items"]
        bindings = [_as_written(one) for one in found if any(_is_operator(who) for who in one.get("subjects", ()))]
        if not bindings:
            raise NoVictimError("no binding is there")
        self.kube.run("delete", "clusterrolebinding", *map(_name, bindings), "--wait=false")
        return Done(
            text=", ".join(map(_name, bindings)),
            undo=lambda: self.kube.apply(*bindings),
            undo_after_seconds=chance.uniform(10, 40),
        )

    def _cut_port(self, chance: random.Random) -> Done:
        network.cut_port(TELEMETRY_PORT)
        return Done(text="for all ranks", undo=network.heal_port, undo_after_seconds=chance.uniform(10, 60))

    # Ranks and children

    def _kill_process(self, chance: random.Random) -> Done:
        """The supervisor, the agent or the training itself: whichever it is."""
        pod = self._one_of(self._pods(TRAIN), chance, "rank")
        pids = machine.pids_of(pod)
        if not pids:
            raise NoVictimError(f"{_name(pod)} has no process")
        _kill([chance.choice(pids)])
        return Done(text=f"of {_name(pod)}")

    def _freeze(self, chance: random.Random) -> Done:
        pod = self._one_of(self._pods(TRAIN), chance, "rank")
        pids = machine.pids_of(pod)
        machine.send(signal.SIGSTOP, pids)
        undo = lambda: machine.send(signal.SIGCONT, pids)  # noqa: E731 - as elsewhere here
        return Done(text=_name(pod), undo=undo, undo_after_seconds=chance.uniform(5, 45))

    def _delete_pod(self, chance: random.Random) -> Done:
        is_forced = chance.random() < 0.25
        pod = self._one_of(self._pods(), chance, "pod")
        how = ["--grace-period=0", "--force"] if is_forced else []
        self.kube.run("delete", "pod", _name(pod), "-n", self.namespace, "--wait=false", *how)
        return Done(text=f"{_name(pod)}{', by force' if is_forced else ''}")

    def _evict(self, chance: random.Random) -> Done:
        pod = self._one_of(self._pods(), chance, "pod")
        self._evict_one(pod)
        return Done(text=_name(pod))

    def _evict_one(self, pod: Manifest) -> None:
        name = _name(pod)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        self.kube.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def _delete_child(self, chance: random.Random) -> Done:
        kind = chance.choice(CHILDREN)
        child = self._one_of(self.kube.find(kind, namespace=self.namespace, selector=LABEL_JOB), chance, kind)
        self.kube.delete(kind, _name(child), namespace=self.namespace, wait=False)
        return Done(text=f"{kind} {_name(child)}")

    def _suspend(self, chance: random.Random) -> Done:
        found = [job for job in self.kube.find(jobs.KIND, namespace=self.namespace) if not jobs.is_finished(job)]
        name = _name(self._one_of(found, chance, "job"))
        self._set_suspend(name, value=True)
        return Done(
            text=name,
            undo=lambda: self._set_suspend(name, value=False),
            undo_after_seconds=chance.uniform(2, 40),
        )

    def _set_suspend(self, name: str, *, value: bool) -> None:
        patch = json.dumps({"spec": {"suspend": value}})
        self.kube.run("patch", jobs.KIND, name, "-n", self.namespace, "--type=merge", "-p", patch)

    # Nodes

    def _restart_kubelet(self, chance: random.Random) -> Done:
        worker = chance.choice(NODES)
        machine.kill_daemon(f"{worker.name}-kubelet")
        machine.start_kubelet(worker)
        return Done(text=f"of {worker.name}, started again")

    def _stop_kubelet(self, chance: random.Random) -> Done:
        """For less or more than it takes until its node is held to be lost; its containers go on."""
        worker = chance.choice(NODES)
        machine.kill_daemon(f"{worker.name}-kubelet")
        return Done(
            text=f"of {worker.name}",
            undo=lambda: machine.start_kubelet(worker),
            undo_after_seconds=chance.uniform(10, 100),
        )

    def _kill_containers(self, chance: random.Random) -> Done:
        node = chance.choice(NODES).name
        pods = [pod for pod in self._pods() if pod["spec"].get("nodeName") == node]
        number = _kill([pid for pod in pods for pid in machine.pids_of(pod)])
        return Done(text=f"{number} processes in {len(pods)} pods of {node}")

    def _cut_power(self, chance: random.Random) -> Done:
        node = self._node_without_hub()
        cluster.stop_node(node)
        return Done(text=node, undo=lambda: cluster.start_node(node), undo_after_seconds=chance.uniform(0, 60))

    def _drain(self, chance: random.Random) -> Done:
        node = chance.choice(NODES).name
        pods = [pod for pod in self._pods() if pod["spec"].get("nodeName") == node]
        self.kube.run("cordon", node)
        for pod in pods:
            self._evict_one(pod)
        return Done(
            text=f"{len(pods)} pods of {node}",
            undo=lambda: self.kube.run("uncordon", node),
            undo_after_seconds=chance.uniform(10, 40),
        )

    def _node_without_hub(self) -> str:
        """Return the node that the Hub is not on: what was published would go with it."""
        (hub,) = self.kube.find("pods", namespace=HUB_NAMESPACE, selector="app.kubernetes.io/name=hub")
        (other,) = {node.name for node in NODES} - {hub["spec"]["nodeName"]}
        return other

    # The control plane

    def _kill_api_server(self, chance: random.Random) -> Done:
        seconds = chance.uniform(0, 20)
        machine.kill_daemon("kube-apiserver")
        time.sleep(seconds)
        machine.start_control_plane()
        return Done(text=f"and started again after {seconds:.0f} s")

    def _kill_controller(self, chance: random.Random) -> Done:
        name = chance.choice(DAEMONS)
        machine.kill_daemon(name)
        return Done(text=name, undo=machine.start_control_plane, undo_after_seconds=chance.uniform(0, 30))

    # The Hub

    def _kill_hub(self, chance: random.Random) -> Done:
        """What it holds stays, as it is on its pod's volume."""
        found = self.kube.find("pods", namespace=HUB_NAMESPACE, selector="app.kubernetes.io/name=hub")
        return Done(text=f"{_kill(machine.pids_of(self._one_of(found, chance, 'Hub')))} processes")

    def _break_hub(self, chance: random.Random) -> Done:
        return self._fail(chance, BROKEN, path="")

    def _confuse_hub(self, chance: random.Random) -> Done:
        return self._fail(chance, ODD, path=CALLS)

    def _fail(self, chance: random.Random, answers: tuple[Any, ...], *, path: str) -> Done:
        answer, times, skip = chance.choice(answers), chance.randint(1, 4), chance.randrange(6)
        self.hub.fail(answer, path=path, times=times, skip=skip)
        return Done(text=f"{times} requests after {skip} others: {json.dumps(answer)}")


def _kill(pids: list[int]) -> int:
    number = machine.kill_all(pids)
    if not number:
        raise NoVictimError("nothing runs")
    return number


def _name(found: Manifest) -> str:
    return str(found["metadata"]["name"])


def _is_operator(who: Manifest) -> bool:
    return who.get("namespace") == SYSTEM_NAMESPACE


def _as_written(found: Manifest) -> Manifest:
    """Return an object without what the API server has added."""
    kept = ("name", "namespace", "labels", "annotations")
    return found | {"metadata": {key: value for key, value in found["metadata"].items() if key in kept}}

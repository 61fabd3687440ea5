import json

from tests.cluster.diagnosis import of_cluster

NODE = {
    "metadata": {"name": "node-1"},
    "spec": {"taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]},
    "status": {
        "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": "True"}],
        "allocatable": {"nvidia.com/gpu": "8"},
    },
}


def test_a_diagnosis_tells_pods_events_and_nodes_and_what_of_it_cannot_be_read() -> None:
    def kubectl(*arguments: str) -> str:
        if arguments[1] == "pods":
            raise OSError("no route to host")
        return json.dumps({"items": [NODE]}) if arguments[1] == "nodes" else ""

    assert of_cluster(kubectl) == (
        "--- pods\n"
        "(cannot be read: no route to host)\n"
        "--- events that are not normal\n"
        "(none)\n"
        "--- nodes\n"
        "node-1: DiskPressure=True Ready=True; taints: node.kubernetes.io/disk-pressure:NoSchedule; nvidia.com/gpu: 8"
    )


def test_of_a_long_list_the_end_is_told_and_how_much_is_left_out() -> None:
    def kubectl(*arguments: str) -> str:
        lines = [f"{number:03d} " + "x" * 400 for number in range(100)]
        return '{"items": []}' if arguments[1] == "nodes" else "\n".join(lines)

    pods = of_cluster(kubectl).split("--- ")[1].splitlines()

    assert pods[:2] == ["pods", "(60 earlier lines)"]
    assert [line[:4] for line in pods[2:]] == [f"{number:03d} " for number in range(60, 100)]
    assert {len(line) for line in pods[2:]} == {300}

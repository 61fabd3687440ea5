import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.demo import volumes
from tests.demo.__main__ import NAMESPACE, _manifest
from tests.stack import jobs
from tests.stack.stand_ins import StandIns

BOUND = json.dumps({"status": {"phase": "Bound"}})
PENDING = json.dumps({"status": {"phase": "Pending"}})


def test_where_nodes_offer_no_accelerator_the_demo_trains_on_cpu_and_says_so(tmp_path: Path) -> None:
    console = Console(record=True, width=120)

    manifest = _manifest(StandIns(tmp_path, has={"nodes": "0 0", "pvc": BOUND}).given, console)

    assert manifest == jobs.load_example("demo", namespace=NAMESPACE, resources__accelerator__perNode=0)
    assert "No node offers nvidia.com/gpu: the job trains on CPU" in console.export_text()


def test_where_nodes_offer_accelerators_the_demo_is_the_example_as_it_stands(tmp_path: Path) -> None:
    console = Console(record=True, width=120)

    manifest = _manifest(StandIns(tmp_path, has={"nodes": "8 8", "pvc": BOUND}).given, console)

    assert manifest == jobs.load_example("demo", namespace=NAMESPACE)
    assert console.export_text() == ""


def test_where_the_storage_class_refuses_volumes_of_several_nodes_the_demo_has_one_and_says_so(tmp_path: Path) -> None:
    console = Console(record=True, width=120)
    cluster = StandIns(tmp_path, has={"nodes": "8", "pvc": PENDING, "events": "event/shared-volume-probe.1"})

    manifest = _manifest(cluster.given, console)

    assert manifest == jobs.load_example(
        "demo", namespace=NAMESPACE, resources__nodes=1, storage__accessMode="ReadWriteOnce"
    )
    assert "gives no ReadWriteMany volume: the job has one node" in console.export_text()
    assert cluster.calls[-1].startswith("kubectl delete pod/shared-volume-probe pvc/shared-volume-probe ")


def test_a_storage_class_that_says_nothing_for_long_gives_no_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "LIMIT_SECONDS", 0)
    cluster = StandIns(tmp_path, has={"pvc": PENDING}).given

    assert volumes.offers_shared_volumes(cluster.kubectl, namespace=NAMESPACE, image="a") is False

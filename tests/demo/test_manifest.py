from pathlib import Path

from rich.console import Console

from tests.demo.__main__ import NAMESPACE, _manifest
from tests.stack import jobs
from tests.stack.stand_ins import StandIns


def test_where_nodes_offer_no_accelerator_the_demo_trains_on_cpu_and_says_so(tmp_path: Path) -> None:
    console = Console(record=True, width=120)

    manifest = _manifest(StandIns(tmp_path, has={"nodes": "0 0"}).given, console)

    assert manifest == jobs.load_example("demo", namespace=NAMESPACE, resources__accelerator__perNode=0)
    assert "No node offers nvidia.com/gpu: the job trains on CPU" in console.export_text()


def test_where_nodes_offer_accelerators_the_demo_is_the_example_as_it_stands(tmp_path: Path) -> None:
    console = Console(record=True, width=120)

    manifest = _manifest(StandIns(tmp_path, has={"nodes": "8 8"}).given, console)

    assert manifest == jobs.load_example("demo", namespace=NAMESPACE)
    assert console.export_text() == ""

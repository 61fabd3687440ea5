"""The examples for GPUs, through everything that prepare checks: with models and datasets of their names and forms."""

from pathlib import Path

import pytest
import yaml

from finetune_api.reasons import Reason
from finetune_trainer.hub.client import connect
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.workspace.manifest import InputsManifest
from tests.examples.stand_ins import NUM_ROWS, push_stand_ins
from tests.hub import RunningHub
from tests.trainer.conftest import Run, run_in

EXAMPLES = Path(__file__).parents[2] / "examples"

VISION = ["text", "image", "video", "message"]
PAGES = ["query", "positive", "negative_0"]
#: Modalities and embedding size of the model, and the columns of each training set.
EXPECTED = {
    "lora": (VISION, 4096, {"pages": PAGES}),
    "multi-node": (VISION, 2048, {"pages": PAGES, "questions": ["query", "positive"]}),
    "multimodal-reranker": (VISION, None, {"vdr": PAGES}),
    "qwen3-vl-vdr": (VISION, 2048, {"vdr": PAGES}),
    "router": (["image", "text"], 384, {"pages": PAGES}),
    "text-embedding": (["text"], 384, {"questions": ["query", "positive", "negative_0", "negative_1", "negative_2"]}),
}
#: The stand-ins are small.
FEW_ROWS = ("the set fills no larger ones", "or take rows out")


def run_of(example: str, folder: Path, hub: RunningHub) -> Run:
    spec = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())["spec"]
    return run_in(folder, spec).at(hub.endpoint).with_token(read=hub.read_token)


@pytest.mark.parametrize("example", EXPECTED)
def test_prepare_finds_nothing_wrong(example: str, hub: RunningHub, tmp_path: Path) -> None:
    run = run_of(example, tmp_path, hub)
    push_stand_ins(run.config.spec, connect(hub.endpoint, token=hub.write_token))

    result = prepare(run.config, run.settings)

    manifest = InputsManifest.read(run.workspace.manifest)
    columns = {table.name: [column.name for column in table.columns] for table in manifest.train}
    warnings = [one for one in result.warnings if not one.endswith(FEW_ROWS)]
    assert (result.reason, warnings) == (Reason.VALIDATED, [])
    assert (manifest.model.modalities, manifest.model.embedding_dimension, columns) == EXPECTED[example]
    data = run.config.spec.data
    names = [*(dataset.name for dataset in data.train), *(dataset.name for dataset in data.evaluation)]
    assert {dataset.name: (dataset.rows, dataset.skipped) for dataset in manifest.datasets} == dict.fromkeys(
        names, (NUM_ROWS, 0)
    )


def test_every_example_for_gpus_is_tried() -> None:
    needs_gpus = {path.stem for path in EXAMPLES.glob("*.yaml")} - {"demo", "manuals", "quickstart"}

    assert set(EXPECTED) == needs_gpus

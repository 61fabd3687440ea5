"""`finetune estimate`: what a job needs, of a model in a folder or on the Hub, before anything is fetched."""

import json
from pathlib import Path

import pytest
import yaml

from finetune_cli.main import main
from finetune_trainer.hub.client import connect
from tests.hub import RunningHub

SPEC = {
    "model": {"source": "hf://demo/minilm", "maxSeqLength": 64},
    "data": {"train": [{"name": "qa", "source": "hf://demo/qa"}]},
    "training": {"perDeviceTrainBatchSize": 256, "loss": {"name": "MultipleNegativesRankingLoss"}},
    "storage": {"size": "10Gi"},
}


def write(folder: Path, **changes: object) -> str:
    job = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneJob", "metadata": {"name": "qa"}}
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job | {"spec": SPEC | changes}))
    return str(file)


EXPECTED = """\
FinetuneJob default/qa
host memory of each pod: about 7.5 GB; spec.resources.requests.memory asks for 16Gi (17 GB): fits
  1 x 91 MB of weights while a process loads them
  1 x 3.0 GB of libraries (assumed)
  91 MB to save them (assumed)
  273 MB of the checkpoint that is being written (assumed)
  4 x 1.0 GB of loader workers (assumed)
  7.1 MB of batches in shared memory (assumed)
shared memory of each pod: about 7.1 MB; spec.resources.sharedMemory asks for 2Gi (2.1 GB): fits
  9 batches that loaders hold x 256 rows x 3 kB at most (assumed)
device memory of each process: about 6.8 GB; 24 GB: fits
  91 MB of weights
  91 MB of gradients
  182 MB of the optimizer
  5.0 GB of activations of the largest batch (assumed)
  1 x 786 kB of inputs, all that are accumulated (assumed)
  1.5 GB of CUDA and libraries (assumed)
storage of the job: about 1.0 GB; spec.storage.size asks for 10Gi (11 GB): fits
  92 MB of models
  1 x 91 MB of result
  3 x 273 MB of checkpoints, one being written
Note: the data, which has to fit beside them, is not counted
"""


def test_a_model_in_a_folder_is_counted_by_its_configuration_and_the_names_of_its_weights(
    tmp_path: Path, text_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["estimate", write(tmp_path), "--source", f"hf://demo/minilm={text_model}", "--device-memory", "24G"])

    assert (code, capsys.readouterr().out) == (0, EXPECTED)


def test_a_model_on_the_hub_is_counted_without_fetching_its_weights(
    tmp_path: Path,
    text_model: Path,
    hub: RunningHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo("demo/minilm", private=False, exist_ok=True)
    api.upload_folder(repo_id="demo/minilm", folder_path=text_model)
    hub.clear()

    code = main(["estimate", write(tmp_path), "--device-memory", "24G"])

    assert (code, capsys.readouterr().out) == (0, EXPECTED)
    assert {call.rpartition(" ")[2] for call in hub.calls() if "model.safetensors" in call} == {"206"}


def test_what_cannot_fit_ends_with_10(tmp_path: Path, text_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, storage={"size": "500Mi"})

    code = main(["estimate", file, "--source", f"hf://demo/minilm={text_model}"])

    told = capsys.readouterr().out
    assert code == 10
    assert "storage of the job: about 1.0 GB; spec.storage.size asks for 500Mi (524 MB): does not fit\n" in told
    assert "device memory of each process: about 6.8 GB; not stated\n" in told


def test_programs_get_needs_in_bytes(tmp_path: Path, text_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, storage={"size": "500Mi"})

    code = main(["estimate", file, "--source", f"hf://demo/minilm={text_model}", "-o", "json"])

    needs = {one["resource"]: one for one in json.loads(capsys.readouterr().out)["needs"]}
    assert code == 10
    storage = needs["storage"]
    assert (storage["haveBytes"], storage["field"], storage["verdict"]) == (
        500 * 2**20,
        "spec.storage.size",
        "does not fit",
    )
    assert storage["bytes"] == sum(part["bytes"] for part in storage["parts"])
    assert needs["device memory"]["haveBytes"] is None


def test_a_claim_is_a_folder_that_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["estimate", write(tmp_path, model={"source": "pvc://models/minilm"})])

    assert code == 10
    assert "add --source pvc://models/minilm=FOLDER" in capsys.readouterr().err


def test_a_folder_without_safetensors_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["estimate", write(tmp_path), "--source", f"hf://demo/minilm={tmp_path}"])

    assert code == 12
    assert "its weights cannot be counted because it has no safetensors" in capsys.readouterr().err

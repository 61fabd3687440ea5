"""`finetune serve`: the server of a model by its family, pinned to the commit, or why there is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_cli.cluster.stored import Manifest
from finetune_cli.main import main
from finetune_cli.models.described import Described, describe
from finetune_cli.models.manifests import container, deployment, inference_service
from finetune_cli.models.servers import choose, notes, refusal
from tests.cli.api_stub import JOBS, serving, write_kubeconfig
from tests.cli.stored_jobs import SUCCEEDED, TRAINING
from tests.cli.test_download import IN_BUCKET, IN_REGISTRY, publish, published_at
from tests.hub import RunningHub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MINILM = Described(
    modules=("Transformer", "Pooling", "Normalize"),
    model_type="bert",
    architecture="BertModel",
    pooling="mean",
    num_labels=1,
    is_reranker=False,
    stated=frozenset({"architectures", "max_seq_length", "model_type"}),
    has_prompts=False,
    is_compared_by_length=False,
    num_bytes=90_000_000,
)
QWEN = replace(MINILM, model_type="qwen3_vl", architecture="Qwen3VLModel", pooling="lasttoken", num_bytes=4_300_000_000)
CROSS_ENCODER = replace(
    MINILM, modules=("Transformer",), architecture="BertForSequenceClassification", pooling="", is_reranker=True
)


def arguments(model: Described) -> tuple[str, tuple[str, ...]]:
    server = choose(model, repository="acme/better", commit=COMMIT)
    return server.name, server.arguments


def test_the_family_decides_and_the_commit_is_pinned() -> None:
    pinned = f"--revision={COMMIT}"

    assert arguments(MINILM) == (
        "TEI",
        ("--model-id=acme/better", pinned, "--pooling=mean", "--auto-truncate", "--port=8080"),
    )
    assert arguments(CROSS_ENCODER) == ("TEI", ("--model-id=acme/better", pinned, "--auto-truncate", "--port=8080"))
    assert arguments(replace(MINILM, stated=frozenset())) == (
        "vLLM",
        (
            "--model=acme/better",
            pinned,
            "--runner=pooling",
            '--pooler-config={"pooling_type": "MEAN"}',
            "--port=8080",
        ),
    )
    assert arguments(QWEN) == (
        "vLLM",
        (
            "--model=acme/better",
            pinned,
            "--runner=pooling",
            '--pooler-config={"pooling_type": "LAST"}',
            "--port=8080",
        ),
    )


@pytest.mark.parametrize(
    ("model", "because"),
    [
        (
            replace(MINILM, modules=("Router",)),
            "it has an encoder for each kind of input (Router), and servers load one",
        ),
        (
            replace(QWEN, modules=("Transformer", "LogitScore"), is_reranker=True),
            "it scores by the tokens that it would write (LogitScore), which is done by Sentence Transformers alone",
        ),
        (replace(MINILM, modules=("CLIPModel",)), "they do not have its module CLIPModel"),
        (replace(MINILM, model_type="vit"), "neither TEI nor vLLM has models of type vit"),
        (replace(MINILM, pooling="max"), "TEI does not make one embedding of many by max"),
        (replace(QWEN, pooling="cls+mean"), "vLLM does not make one embedding of many by cls+mean"),
        (
            replace(MINILM, modules=("Transformer", "Pooling", "Dense")),
            "servers would leave its Dense layer out, which Sentence Transformers 6 saves under another name",
        ),
        (
            replace(MINILM, model_type="mpnet", stated=frozenset()),
            "vLLM has no models of type mpnet, and TEI does not start without max_seq_length in its configurations; "
            "a job that is run once more by this release writes what it can of them",
        ),
        (replace(CROSS_ENCODER, model_type="mpnet"), "neither TEI nor vLLM has rerankers of type mpnet"),
        (replace(MINILM, pooling="lasttoken"), "TEI does not make one embedding of many by lasttoken"),
        (
            replace(CROSS_ENCODER, modules=("Transformer", "Pooling")),
            "its score is made by modules of Sentence Transformers, and not by the transformer itself",
        ),
        (replace(CROSS_ENCODER, num_labels=3), "it gives 3 scores per pair, and a rank has one"),
    ],
)
def test_what_no_server_loads_is_refused_with_the_reason(model: Described, because: str) -> None:
    assert refusal(model) == because


def test_what_a_server_does_not_do_is_told() -> None:
    assert notes(MINILM) == []
    assert len(notes(replace(MINILM, has_prompts=True, is_compared_by_length=True))) == 2


def test_both_manifests_run_the_same_container_with_the_token_as_a_reference() -> None:
    server = choose(QWEN, repository="acme/better", commit=COMMIT)
    own = container(server, num_bytes=QWEN.num_bytes, secret=("reader", "token"), hub=None)

    workload, service = deployment("pages", own, namespace="search", annotations={})
    (inference,) = inference_service("pages", own, namespace="search", annotations={})

    pod = workload["spec"]["template"]
    assert pod["spec"]["containers"] == [own]
    assert service["spec"]["selector"] == workload["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert inference["spec"]["predictor"]["containers"] == [{**own, "name": "kserve-container"}]
    assert own["resources"]["limits"] == {"memory": "10Gi", "nvidia.com/gpu": 1}
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "reader", "key": "token"}}}
    assert token in own["env"]


LIBRARY = "sentence_transformers.base.modules"
FILES: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{LIBRARY}.transformer.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{LIBRARY}.normalize.Normalize"},
    ],
    "sentence_bert_config.json": {"max_seq_length": 64},
    "config.json": {"architectures": ["BertModel"], "model_type": "bert"},
    "1_Pooling/config.json": {"pooling_mode": "mean", "embedding_dimension": 384},
    "config_sentence_transformers.json": {
        "model_type": "SentenceTransformer",
        "prompts": {"query": "find: "},
        "similarity_fn_name": "cosine",
    },
}


def published(hub: RunningHub, **changes: object) -> str:
    files = {name: json.dumps(content).encode() for name, content in {**FILES, **changes}.items()}
    return publish(hub, {**files, "model.safetensors": b"w" * 1000})


def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Manifest, *options: str) -> int:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with serving({JOBS + "/pages": (200, job)}) as address:
        write_kubeconfig(tmp_path / "config", address)
        return main(["serve", "pages", *options])


pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_a_model_is_described_by_its_configurations_without_its_weights(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    commit = published(hub)
    hub.clear()

    found = describe("acme/better", commit)

    assert found == replace(MINILM, has_prompts=True, num_bytes=1000)
    assert [call for call in hub.calls() if "resolve" in call and "safetensors" in call] == []


@pytest.mark.parametrize(
    ("form", "kinds"), [("deployment", ["Deployment", "Service"]), ("kserve", ["InferenceService"])]
)
def test_the_manifest_is_all_that_is_printed(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path,
    hub: RunningHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    kinds: list[str],
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    commit = published(hub)

    code = typed(tmp_path, monkeypatch, published_at(commit), "-o", form)

    printed = capsys.readouterr()
    manifests = list(yaml.safe_load_all(printed.out))
    assert (code, [one["kind"] for one in manifests]) == (0, kinds)
    assert {one["metadata"]["namespace"] for one in manifests} == {"search"}  # where the Secret with the token is
    assert f"--revision={commit}" in printed.out
    assert manifests[0]["metadata"]["annotations"] == {
        "finetune.dev/job": "search/pages",
        "finetune.dev/commit": commit,
    }
    assert [line.partition(": ")[0] for line in printed.err.splitlines()] == ["Note", "Note"]  # the token, the prompts


def test_a_model_that_no_server_loads_ends_with_12(
    tmp_path: Path, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    commit = published(hub, **{"config.json": {"model_type": "vit"}})

    code = typed(tmp_path, monkeypatch, published_at(commit))

    printed = capsys.readouterr()
    assert (code, printed.out) == (12, "")
    assert printed.err == (
        "search/pages: no server loads acme/better: neither TEI nor vLLM has models of type vit; "
        f'load it with SentenceTransformer("acme/better", revision="{commit}")\n'
    )


def test_a_model_in_a_bucket_is_not_served_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(tmp_path, monkeypatch, IN_BUCKET) == 2
    assert capsys.readouterr().err == (
        "search/pages: its model is in a bucket, s3://company/models/a-1, and what is served here is a commit of the "
        "Hub; name that folder as storageUri of a KServe InferenceService\n"
    )


def test_a_model_in_a_registry_is_pulled_for_whoever_serves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(tmp_path, monkeypatch, IN_REGISTRY) == 2
    assert capsys.readouterr().err == (
        "search/pages: its model is an OCI artifact, and what is served here is a commit of the Hub; "
        f"`oras pull registry.example/team/pages@sha256:{'0' * 64}` writes its folder, which servers load\n"
    )


def test_what_is_not_published_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpublished = {**SUCCEEDED, "status": {**SUCCEEDED["status"], "published": None}}

    assert [typed(tmp_path, monkeypatch, job) for job in (TRAINING, unpublished)] == [31, 31]
    assert capsys.readouterr().err == (
        "search/pages has published no model (it is Training); `finetune watch pages` waits for that\n"
        "search/pages has published no model (it is Succeeded); `finetune download` gets it off its volume\n"
    )

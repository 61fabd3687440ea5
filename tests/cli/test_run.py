"""`finetune run`, for real: a tiny model from a Hub over loopback, trained in a process of its own, published."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from finetune_api.contract import ExitCode, Progress, Role
from finetune_api.status import MetricsStatus, ProgressStatus
from finetune_cli.local.display import Display
from finetune_cli.local.following import Sight, ask, newest_event
from finetune_cli.main import main
from finetune_trainer.hub.client import connect
from finetune_trainer.train.report.telemetry import serve_telemetry
from finetune_trainer.train.report.tracker import Tracker
from tests.hub import RunningHub
from tests.trainer.conftest import png, write_jsonl, write_pages

pytestmark = pytest.mark.training


@pytest.fixture
def here(tmp_path: Path, hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder at hand, and a user who is logged in at the Hub."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return folder


def write_job(folder: Path, **spec: Any) -> str:  # noqa: ANN401 - fields of a spec
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneJob",
        "metadata": {"name": "pages"},
        "spec": {"resources": {"accelerator": {"perNode": 0}}, **spec},
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(manifest))
    return str(file)


def pages_job(folder: Path, hub: RunningHub, *, model: Path, **spec: Any) -> str:  # noqa: ANN401 - as above
    """Put a model and pages on the Hub and return a manifest that trains three steps on them."""
    api = connect(hub.endpoint, token=hub.write_token)
    colors = ("red", "green", "blue", "white", "black", "yellow")
    rows = [{"query": f"a {color} page", "image": png(color)} for color in colors]
    write_pages(folder / "pages", train=rows, test=rows)
    for name, kind, source in (("tiny", "model", model), ("pages", "dataset", folder / "pages")):
        api.create_repo(f"demo/{name}", repo_type=kind)
        api.upload_folder(repo_id=f"demo/{name}", repo_type=kind, folder_path=source)
    dataset = {"source": "hf://demo/pages", "columns": {"query": "query", "positive": "image"}}
    return write_job(
        folder,
        model={"source": "hf://demo/tiny"},
        data={"train": [{"name": "pages", **dataset}], "evaluation": [{"name": "held-out", **dataset}]},
        training={"maxSteps": 3, "perDeviceTrainBatchSize": 2, "loss": {"matryoshkaDimensions": [64, 16]}},
        publish={"repository": "demo/finetuned", "tokenSecret": {"name": "hub-token"}, "always": True},
        **spec,
    )


def test_a_manifest_is_trained_here_and_published_by_the_same_command_later(
    here: Path, hub: RunningHub, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # At the end alone: the model of the first step, whose learning rate is 0, would be as good and is none to publish.
    job = pages_job(here, hub, model=tiny_model, evaluation={"every": 3})

    codes = [main(["run", job, "--no-publish"])]
    first = capfd.readouterr().out
    unpublished = hub.calls()
    codes += [main(["run", job])]
    second = capfd.readouterr().out

    workspace = here / "build" / "finetune" / "pages"
    assert codes == [ExitCode.SUCCESS] * 2, first + second
    assert "FinetuneJob default/pages in build/finetune/pages" in first
    assert "Model and data are checked and in place: pages 6 rows, held-out 6 rows." in first
    assert "held-out" in first
    assert "ndcg@10" in first
    assert "by embedding size" in first
    assert "Model      build/finetune/pages/train/model" in first
    assert 'Load it    SentenceTransformer("build/finetune/pages/train/model")' in first
    assert "Report     build/finetune/pages/report.html" in first
    report = (workspace / "report.html").read_text()
    assert re.findall('aria-label="(.*?)"', report) == ["loss", "ndcg@10"]
    assert "<strong>Succeeded</strong>: ndcg@10 on held-out " in report
    assert "no: --no-publish was given" in first
    assert not [call for call in unpublished if "demo/finetuned" in call]
    assert "3 steps were made before" in second
    assert "Published as demo/finetuned@" in second
    assert len(hub.commits("demo/finetuned")["commits"]) == 2
    folders = ["inputs", "local", "logs", "owner.json", "owner.lock", "publish", "report.html", "train"]
    assert sorted(path.name for path in workspace.iterdir()) == folders
    assert not [
        file for file in workspace.rglob("*") if file.is_file() and hub.write_token in file.read_text("latin-1")
    ]


def test_bad_data_ends_with_its_exit_code_the_field_what_to_do_and_the_log(
    here: Path, claim: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q"}])
    train = {"name": "qa", "source": "pvc://inputs/qa", "columns": {"query": "question", "positive": "answer"}}
    job = write_job(here, model={"source": "pvc://inputs/model"}, data={"train": [train]})

    code = main(["run", job, "--claim", f"inputs={claim}"])

    told = capfd.readouterr().err
    assert code == ExitCode.BAD_DATA
    assert "ColumnNotFound (exit code 11): spec.data.train[0]" in told
    assert "has no column answer" in told
    assert "Log: build/finetune/pages/logs/prepare.log" in told
    assert "Traceback" not in told
    assert not (here / "build/finetune/pages/train").exists()


@pytest.mark.parametrize(
    ("spec", "arguments", "expected"),
    [
        ({"modl": {}}, [], "spec.modl: {} is wrong because there is no such field; did you mean model?"),
        ({"data": {"train": [{"name": "a", "source": "pvc://x"}]}}, [], "add --claim x=FOLDER"),
        (
            {"model": {"source": "hf://demo/tiny", "revision": b"v1"}},
            [],
            r'spec.model.revision: "djE=\n" is wrong because as !!binary it is no JSON; write it as a string',
        ),
        ({}, ["--processes", "99"], "--processes: 99 is wrong"),
        ({}, ["--workspace", "job.yaml"], "--workspace: "),
        ({}, ["--workspace", "loop"], "--workspace: "),
        (
            {},
            ["--workspace", "/proc/nowhere/a/b"],
            "--workspace: /proc/nowhere cannot be written (No such file or directory); "
            "name a folder where you may write",
        ),
    ],
)
def test_what_can_be_said_before_anything_is_begun_ends_with_bad_spec(
    here: Path, capfd: pytest.CaptureFixture[str], spec: dict[str, Any], arguments: list[str], expected: str
) -> None:
    sources = {
        "model": {"source": "hf://demo/tiny"},
        "data": {"train": [{"name": "pages", "source": "hf://demo/pages"}]},
    }
    (here / "loop").symlink_to(here / "loop")
    job = write_job(here, **(sources | spec))

    code = main(["run", job, *arguments])

    told = capfd.readouterr().err
    assert code == ExitCode.BAD_SPEC
    assert expected in told
    assert "Traceback" not in told


def test_several_jobs_are_too_many_for_one_run(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = {"train": [{"name": "pages", "source": "hf://demo/pages"}]}
    job = write_job(here, model={"source": "hf://demo/tiny"}, data=data)
    text = Path(job).read_text()
    Path(job).write_text(f"{text}---\n{text}")

    code = main(["run", job])

    assert code == ExitCode.BAD_SPEC
    assert "2 FinetuneJobs (pages, pages) are too many for one run" in capfd.readouterr().err


def test_a_claim_without_a_folder_is_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "job.yaml", "--claim", "models"])

    assert ended.value.code == 2
    assert "'models' is not NAME=DIR; write for example models=./models" in capfd.readouterr().err


def progress(step: int, **metrics: float) -> Progress:
    told = ProgressStatus(stage="Training", step=step, total_steps=40, percent=step * 100 // 40, eta_seconds=65)
    return Progress(attempt=1, progress=told, metrics=MetricsStatus.model_validate(metrics))


def test_off_a_terminal_a_line_is_written_for_each_tenth_and_each_score() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=40), metric="mrr@10")
    steps = [progress(0), progress(1, train_loss=2.5), progress(4, train_loss=1.25, learning_rate=1e-4)]
    steps += [progress(5, train_loss=1.25), progress(5, train_loss=1.25, score=0.5, best_score=0.5)]

    display.show(Role.TRAIN, [Sight(Role.TRAIN, 1.0), *(Sight(Role.TRAIN, 2.0, progress=one) for one in steps)])

    assert output.getvalue().splitlines() == [
        "Training         started",
        "Training         0/40 (0 %)  1:05 min left",
        "Training         1/40 (2 %)  loss 2.5000  1:05 min left",
        "Training         4/40 (10 %)  loss 1.2500  learning rate 1.00e-04  1:05 min left",
        "Training         5/40 (12 %)  loss 1.2500  mrr@10 0.5000  best 0.5000  1:05 min left",
    ]


def test_off_a_terminal_a_long_download_says_every_half_minute_that_it_goes_on() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=40), metric="ndcg@10")
    looks = [(1.0, ""), (2.0, "model found"), (29.0, "file fetched"), (31.0, "model 1.2 GB"), (32.0, "model 1.3 GB")]

    display.show(Role.PREPARE, [Sight(Role.PREPARE, seconds, event=event) for seconds, event in looks])

    assert output.getvalue().splitlines() == ["Preparing        started", "Preparing        model 1.2 GB"]


def reading(rows: int) -> Progress:
    told = {"stage": "Reading", "dataset": "pages", "rows": rows, "total_rows": 100, "percent": rows}
    return Progress(attempt=1, progress=ProgressStatus.model_validate({**told, "rows_per_second": 2, "eta_seconds": 9}))


def test_off_a_terminal_reading_says_every_half_minute_how_far_it_is() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=40), metric="ndcg@10")
    looks = [(1.0, 1), (29.0, 40), (31.0, 41), (32.0, 60)]

    display.show(Role.PREPARE, [Sight(Role.PREPARE, seconds, progress=reading(rows)) for seconds, rows in looks])

    assert output.getvalue().splitlines() == [
        "Preparing        started",
        "Reading          41/100 (41 %)  pages  2.0 rows per second  9 s left",
    ]


def test_on_a_terminal_reading_has_a_bar() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=100, force_terminal=True), metric="ndcg@10")

    display.show(Role.PREPARE, [Sight(Role.PREPARE, 3.0, progress=reading(41))])

    assert all(one in output.getvalue() for one in ("Reading", "━", "41/100 (41 %)", "9 s left", "pages", "2.0 rows"))


def test_on_a_terminal_the_newest_state_is_shown_with_a_bar() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=100, force_terminal=True), metric="ndcg@10")

    display.show(Role.PREPARE, [Sight(Role.PREPARE, 3.0, event="model found hf://demo/tiny")])
    display.show(Role.TRAIN, [Sight(Role.TRAIN, 3.0, progress=progress(20, train_loss=0.25))])

    shown = output.getvalue()
    assert "model found hf://demo/tiny" in shown
    assert "20/40" in shown
    assert "loss 0.2500" in shown
    assert "━" in shown


def test_training_is_asked_where_it_is_and_only_this_attempt_is_believed() -> None:
    with serve_telemetry(Tracker(attempt=2), port=0) as port:
        answers = (ask(port, attempt=2), ask(port, attempt=3))

    assert answers[0] is not None
    assert answers[0].progress.stage == "Loading"
    assert answers[1] is None
    assert ask(port, attempt=2) is None


def test_the_newest_event_is_read_past_lines_that_are_no_log(tmp_path: Path) -> None:
    log = tmp_path / "prepare.log"
    found = {"time": "now", "level": "info", "event": "model found", "source": "hf://demo/tiny", "commit": "1234"}
    log.write_text(f"{json.dumps(found)}\nsome library says hello\n{{")

    assert newest_event(log) == "model found source hf://demo/tiny"

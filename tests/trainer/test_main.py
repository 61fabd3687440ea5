"""The command line: one role, one result in the termination message, one agreed exit code, no secret anywhere."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from finetune_api.contract import ExitCode, Role, RunResult
from finetune_api.reasons import Reason
from finetune_trainer.__main__ import USAGE, main
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.publishing import scores, write_report


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A role takes over the logging of its process; give it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def run_role(role: str, run: Run, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a container's command in a process of its own, with nothing of this process's environment but the path."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment = {**kept, "OMP_NUM_THREADS": "1", **run.environment(), **more}
    command = [sys.executable, "-m", "finetune_trainer", role]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


def told(run: Run) -> RunResult:
    return RunResult.model_validate_json(run.settings.termination_message.read_bytes())


def train_a_little(weights: Path) -> None:
    """Change all weights: an unchanged model is not published."""
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)


def text_job(make_run: MakeRun, **spec: Any) -> Run:  # noqa: ANN401 - fields of a spec
    train = {"name": "qa", "source": "pvc://inputs/qa", "columns": {"query": "question", "positive": "answer"}}
    return make_run(**{"model": {"source": "pvc://inputs/model"}, "data": {"train": [train]}, **spec})


def test_a_job_goes_from_the_hub_to_the_hub_through_all_roles_but_train(
    make_run: MakeRun, hub: RunningHub, tiny_model: Path, tmp_path: Path
) -> None:
    claim = tmp_path / "claims" / "inputs"
    shutil.copytree(tiny_model, claim / "model")
    rows = [{"query": f"a {color} page", "image": png(color)} for color in ("red", "green")]
    write_pages(claim / "pages", train=rows, test=rows)
    dataset = {"source": "pvc://inputs/pages", "columns": {"query": "query", "positive": "image"}}
    run = make_run(
        model={"source": "pvc://inputs/model"},
        data={"train": [{"name": "pages", **dataset}], "evaluation": [{"name": "held-out", **dataset}]},
        publish={"repository": "demo/finetuned", "tokenSecret": {"name": "hub"}, "gate": {}},
    )
    run = run.at(hub.endpoint).with_token(write=hub.write_token)

    preflight, prepare = run_role("preflight", run), run_role("prepare", run)
    prepared = told(run)
    shutil.copytree(run.workspace.base_model, run.workspace.model)
    train_a_little(run.workspace.model / "model.safetensors")
    write_report(run, scores())
    publish, again = run_role("publish", run), run_role("publish", run)

    logs = "".join(process.stderr for process in (preflight, prepare, publish, again))
    assert [process.returncode for process in (preflight, prepare, publish, again)] == [0, 0, 0, 0], logs
    assert (prepared.role, prepared.reason) == (Role.PREPARE, Reason.VALIDATED)
    few, leaked = prepared.warnings
    assert few == "spec.data.train[0]: batches of 2 rows instead of 32; the set fills no larger ones"
    assert "2 rows are also held-out pairs" in leaked
    assert (told(run).role, told(run).reason) == (Role.PUBLISH, Reason.ALREADY_PUBLISHED)
    assert told(run).evaluations == scores()
    assert len(hub.commits("demo/finetuned")["commits"]) == 2
    assert hub.write_token not in logs
    assert run.workspace.role_log("prepare").read_text() == prepare.stderr
    assert run.workspace.role_log("publish").read_text() == publish.stderr + again.stderr
    for line in logs.splitlines():
        assert {"time", "level", "role", "event"} <= json.loads(line).keys()


def test_bad_input_ends_with_its_reason_and_exit_code(
    make_run: MakeRun, claim: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q"}])
    run = text_job(make_run)

    code = main(["prepare"], run.environment())

    result = told(run)
    assert code == ExitCode.BAD_DATA
    assert (result.role, result.reason) == (Role.PREPARE, Reason.COLUMN_NOT_FOUND)
    assert "has no column answer" in result.message
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_config_of_another_version_is_refused(make_run: MakeRun) -> None:
    run = text_job(make_run)
    environment = run.environment()
    config = json.loads(run.settings.run_config.read_bytes())
    run.settings.run_config.write_text(json.dumps(config | {"version": 2}))

    code = main(["prepare"], environment)

    assert code == ExitCode.INTERNAL_ERROR
    assert told(run).message == (
        "run config has version 2, this trainer image knows 1; use the trainer image of the operator's release"
    )


def test_a_field_of_a_newer_release_is_named(make_run: MakeRun) -> None:
    run = text_job(make_run)
    environment = run.environment()
    config = json.loads(run.settings.run_config.read_bytes())
    config["spec"]["training"]["distillation"] = {"teacher": "hf://acme/teacher"}
    run.settings.run_config.write_text(json.dumps(config))

    code = main(["prepare"], environment)

    assert (code, told(run).message) == (
        ExitCode.BAD_SPEC,
        "spec.training.distillation: this trainer image does not know the field; leave it out, or set spec.image to an "
        "image of the operator's release",
    )


@pytest.mark.parametrize("content", [None, "{", '{"version": 1}'])
def test_a_run_config_that_cannot_be_read_is_refused(make_run: MakeRun, content: str | None) -> None:
    run = text_job(make_run)
    environment = run.environment()
    run.settings.run_config.unlink()
    if content is not None:
        run.settings.run_config.write_text(content)

    code = main(["publish"], environment)

    assert (code, told(run).reason) == (ExitCode.INTERNAL_ERROR, Reason.INTERNAL_ERROR)


def test_a_full_volume_is_told_as_such(make_run: MakeRun, claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a"}])
    run = text_job(make_run)
    environment = run.environment()
    full = Path("/dev/full")

    def copy_to_a_full_device(source: Path, target: Path) -> None:
        with full.open("wb", buffering=0) as file:
            file.write(source.read_bytes())

    monkeypatch.setattr(shutil, "copyfile", copy_to_a_full_device)

    code = main(["prepare"], environment)

    assert (code, told(run).reason) == (ExitCode.STORAGE_FULL, Reason.STORAGE_FULL)


def test_a_crash_is_told_in_one_line_with_the_traceback_in_the_log_and_no_token(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = text_job(make_run).with_token(read="very-secret")

    def crash(*_: object) -> None:
        raise ZeroDivisionError("near very-secret\nand hf_" + "a" * 34)

    monkeypatch.setattr("finetune_trainer.prepare.prepare.prepare", crash)

    code = main(["prepare"], run.environment())

    log = capfd.readouterr().err
    assert code == ExitCode.INTERNAL_ERROR
    assert told(run).message == "ZeroDivisionError: near hf_*** and hf_***"
    assert "Traceback" in log
    assert "very-secret" not in log
    assert "a" * 34 not in log


def test_a_termination_message_that_cannot_be_written_does_not_fail_the_run(make_run: MakeRun) -> None:
    run = text_job(make_run)
    environment = run.environment() | {"FINETUNE_TERMINATION_MESSAGE": "/nowhere/log"}

    assert main(["preflight"], environment) == 0


def test_ranks_of_a_node_have_logs_of_their_own_on_the_volume(make_run: MakeRun) -> None:
    cpus = {"nodes": 2, "accelerator": {"perNode": 2}}
    run = text_job(make_run, resources=cpus, storage={"accessMode": "ReadWriteMany"})
    (run.workspace.root / "train").touch()  # so that nothing can be written below it
    run = replace(run, config=run.config.model_copy(update={"simulated_accelerator": True}))

    train = run_role("train", run, FINETUNE_ATTEMPT="3", FINETUNE_TELEMETRY_PORT="0")

    first, second = (run.workspace.rank_log(3, rank) for rank in (0, 1))
    assert train.returncode != 0
    assert "rank failed" in first.read_text(), train.stderr
    assert [json.loads(line)["rank"] for line in second.read_text().splitlines()] == [1]
    assert set(train.stderr.splitlines()) == {*first.read_text().splitlines(), *second.read_text().splitlines()}


@pytest.mark.parametrize("name", ["FINETUNE_ATTEMPT", "PET_NODE_RANK", "PET_NPROC_PER_NODE"])
def test_wiring_that_is_no_number_is_told(make_run: MakeRun, name: str) -> None:
    run = text_job(make_run)

    train = run_role("train", run, **{name: "first"})

    assert (train.returncode, told(run).reason) == (ExitCode.INTERNAL_ERROR, Reason.INTERNAL_ERROR)
    assert told(run).message == (
        "FINETUNE_ATTEMPT, PET_NODE_RANK and PET_NPROC_PER_NODE must be whole numbers: "
        "ValueError: invalid literal for int() with base 10: 'first'"
    )
    assert [json.loads(line)["event"] for line in train.stderr.splitlines()] == ["run ended"]


@pytest.mark.parametrize("arguments", [[], ["fit"], ["prepare", "train"]])
def test_anything_but_one_role_is_answered_with_the_usage(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, {}) == 2
    assert capfd.readouterr().err == USAGE + "\n"


MODEL = {"torch", "transformers", "sentence_transformers", "sklearn", "scipy"}
DATA = {"datasets", "pyarrow", "pandas", "numpy", "PIL"}


def printed_by(program: str) -> str:
    """Return what a program prints in a process of its own, in which nothing is loaded yet."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=6000).stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("publish.preflight", MODEL | DATA),
        ("publish.publish", MODEL | DATA),
        ("prepare.prepare", MODEL),
        ("train.supervisor", MODEL | DATA | {"huggingface_hub"}),
    ],
)
def test_a_role_starts_without_what_it_does_not_need(module: str, heavy: set[str]) -> None:
    program = f"import sys, finetune_trainer.__main__, finetune_trainer.{module}; print({heavy} & set(sys.modules))"

    assert printed_by(program) == "set()\n"


def test_libraries_are_loaded_without_looking_for_garbage_among_them() -> None:
    program = (
        "import gc, finetune_trainer.train.rank\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000, gc.get_stats()[0]['collections'] < 100)"
    )

    assert printed_by(program) == "True True True\n"


def test_a_process_ends_at_once_after_everybody_has_tidied_up() -> None:
    program = (
        "import atexit; from finetune_trainer.workspace.process import end\n"
        "class Module:\n    def __del__(self): print('taken down')\n"
        "module = Module(); atexit.register(print, 'tidied up'); print('said'); end(3)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=600)

    assert (done.returncode, done.stdout, done.stderr) == (3, "said\ntidied up\n", "")

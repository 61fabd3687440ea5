"""What a local run makes of a manifest and of this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_cli.local.devices import Devices, choose_devices
from finetune_cli.local.earlier import begin, occupied, told_as_failures
from finetune_cli.local.plan import Plan, check_claims, local_config
from finetune_cli.local.roles import inherited, next_attempt, role_wiring, running
from finetune_cli.local.tokens import require_token, token_file
from finetune_cli.manifest.checking import Job, check
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence
from tests.api.conftest import MINIMAL
from tests.stack.jobs import change

EIGHT = {"resources": {"nodes": 2, "accelerator": {"perNode": 4}}, "storage": {"accessMode": "ReadWriteMany"}}


def job(**changes: object) -> Job:
    checked = check(change(MINIMAL, **changes))
    assert isinstance(checked, Job), checked
    return checked


def plan(root: Path, given: Job, *, processes: int = 1, claims: dict[str, Path] | None = None) -> Plan:
    config = local_config(given, Devices(processes=processes, on_accelerator=False))
    return Plan(config=config, workspace=Workspace(root), claims=claims or {}, publishes=True, notes=())


@pytest.mark.parametrize(
    ("changes", "visible", "wanted", "expected"),
    [
        ({}, 1, None, (1, True, 0)),
        ({}, 8, None, (1, True, 0)),
        ({}, 8, 2, (2, True, 1)),
        ({}, 0, None, (1, False, 1)),
        (EIGHT, 8, None, (8, True, 0)),
        (EIGHT, 2, None, (2, True, 1)),
        (EIGHT, 0, None, (1, False, 2)),
        (EIGHT, 0, 8, (8, False, 1)),
        ({"resources": {"accelerator": {"perNode": 0}}}, 8, None, (1, False, 0)),
    ],
)
def test_processes_follow_the_manifest_as_far_as_the_machine_goes_and_differences_are_said(
    changes: dict[str, Any], visible: int, wanted: int | None, expected: tuple[int, bool, int]
) -> None:
    devices = choose_devices(job(**changes).spec, visible=visible, wanted=wanted)

    assert (devices.processes, devices.on_accelerator, len(devices.notes)) == expected


def test_another_global_batch_is_said_in_rows() -> None:
    devices = choose_devices(job(**EIGHT).spec, visible=2, wanted=None)

    assert devices.notes == (
        "spec.resources: 8 processes in a cluster and 2 here, so that a step takes 64 rows instead of 256 and scores "
        "may differ; training.perDeviceTrainBatchSize and --processes change that",
    )


@pytest.mark.parametrize(("visible", "wanted"), [(2, 3), (0, 17), (1, 0)])
def test_more_processes_than_can_be_used_are_refused(visible: int, wanted: int) -> None:
    with pytest.raises(RunFailure, match=f"--processes: {wanted} is wrong because") as refused:
        choose_devices(job().spec, visible=visible, wanted=wanted)

    assert refused.value.reason is Reason.INVALID_ARGUMENT


def test_equal_numbers_of_processes_give_equal_runs_and_the_config_asks_for_what_is_here() -> None:
    first, again = (local_config(job(**EIGHT), Devices(2, on_accelerator=True)) for _ in range(2))
    other = local_config(replace(job(**EIGHT), name="other"), Devices(3, on_accelerator=True))

    assert (first.world_size, first.simulated_accelerator) == (2, False)
    assert first.spec_hash == again.spec_hash
    assert first.spec_hash != other.spec_hash


def test_a_job_whose_gangs_may_be_smaller_runs_here_on_one_node() -> None:
    elastic = job(resources={"nodes": 4, "minNodes": 2}, storage={"accessMode": "ReadWriteMany"})

    resources = local_config(elastic, Devices(1, on_accelerator=False)).spec.resources

    assert (resources.nodes, resources.gang_sizes) == (1, (1,))


def test_several_cpu_processes_are_said_to_be_no_accelerators() -> None:
    config = local_config(job(), Devices(3, on_accelerator=False))

    assert (config.processes_per_node, config.simulated_accelerator) == (3, True)


def test_every_claim_that_is_not_mapped_is_told_with_its_field_and_option(tmp_path: Path) -> None:
    spec = job(model__source="pvc://models/base", data__train__0__source="pvc://inputs").spec

    with pytest.raises(RunFailure) as refused:
        check_claims(spec, {"models": tmp_path / "none"})

    assert refused.value.message.splitlines() == [
        f"--claim: models={tmp_path}/none is wrong because there is no such folder; name a folder of this machine",
        "spec.data.train[0].source: pvc://inputs is wrong because this machine has no volume claims; "
        "add --claim inputs=FOLDER",
    ]
    check_claims(spec, {"models": tmp_path, "inputs": tmp_path})


def test_a_workspace_resumes_only_the_manifest_that_it_was_begun_with(tmp_path: Path) -> None:
    begun = plan(tmp_path, job())
    changed = plan(tmp_path, job(training__learningRate=1e-3, retry={"userErrors": 9}))
    with occupied(begun):
        begin(begun, fresh=False)
    begun.workspace.train.mkdir()
    begin(plan(tmp_path, job(retry={"userErrors": 9})), fresh=False)

    with pytest.raises(RunFailure) as refused:
        begin(changed, fresh=False)

    assert refused.value.reason is Reason.INVALID_ARGUMENT
    assert refused.value.message == (
        f"--workspace: {tmp_path} holds the training of another manifest (spec.training.learningRate was 2e-05 and is "
        "0.001); add --fresh to give up that training, or name another --workspace to keep it"
    )
    assert begun.workspace.train.exists()


def test_a_fresh_run_gives_up_training_and_receipt_but_keeps_the_inputs(tmp_path: Path) -> None:
    begun = plan(tmp_path, job())
    for folder in (begun.own, begun.workspace.train, begun.workspace.inputs, begun.workspace.receipt.parent):
        folder.mkdir(parents=True)

    begin(begun, fresh=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs", "local"]


def test_a_training_that_finetune_run_did_not_begin_is_left_alone(tmp_path: Path) -> None:
    begun = plan(tmp_path, job())
    begun.workspace.train.mkdir()
    begun.own.mkdir()

    with pytest.raises(RunFailure, match="it was not begun by finetune run"):
        begin(begun, fresh=False)


def test_a_workspace_has_one_run_at_a_time(tmp_path: Path) -> None:
    begun = plan(tmp_path, job())

    with occupied(begun), pytest.raises(RunFailure, match="is in use by another finetune run"), occupied(begun):
        pass


def test_a_workspace_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    begun = plan(tmp_path / "file", job())

    with (
        pytest.raises(RunFailure, match="cannot be written") as refused,
        told_as_failures(begun.workspace),
        occupied(begun),
    ):
        pass

    assert refused.value.reason is Reason.INVALID_ARGUMENT


def test_claims_lie_where_prepare_looks_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    begun = plan(tmp_path / "workspace", job(), claims={"models": folder})

    with occupied(begun):
        begin(begun, fresh=False)

    assert (begun.claim_mounts / "models").resolve() == folder


def test_a_role_gets_nothing_of_another_run_and_no_token_but_by_file(tmp_path: Path) -> None:
    shell = {
        "HF_TOKEN": "x",
        "HF_OIDC_ID_TOKEN": "x",
        "PET_NNODES": "2",
        "RANK": "1",
        "FINETUNE_ATTEMPT": "7",
        "HF_ENDPOINT": "http://hub",
        "AWS_SECRET_ACCESS_KEY": "x",
    }

    taken = [inherited(shell, role) for role in (Role.TRAIN, Role.PREPARE)]
    wiring = role_wiring(plan(tmp_path, job()), attempt=2, port=9, ended=tmp_path / "ended")

    assert taken == [
        {"HF_ENDPOINT": "http://hub"},
        {"HF_ENDPOINT": "http://hub", "AWS_SECRET_ACCESS_KEY": "x"},  # whose keys prepare reads buckets with
    ]
    assert wiring["HF_HOME"] == str(tmp_path / "local" / "huggingface")
    assert (wiring["FINETUNE_READ_TOKEN_FILE"], wiring["FINETUNE_WRITE_TOKEN_FILE"]) == ("/dev/null", "/dev/null")


def test_the_last_words_of_a_role_that_cannot_begin_are_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module named torch' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    given = plan(tmp_path / "run", job())

    with running(Role.TRAIN, given) as role:
        role.process.wait(timeout=300)

    assert role.result().message == "train ended with exit code 3 and did not say why"
    assert given.log(Role.TRAIN, attempt=1).read_text() == "no module named torch\n"


def test_the_token_is_a_file_for_each_role_that_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")

    given = {}
    for role in Role:
        with token_file(role) as environment:
            given[role] = {name: Path(file).read_text() for name, file in environment.items()}

    assert given == {
        Role.PREFLIGHT: {"FINETUNE_WRITE_TOKEN_FILE": "hf_mine"},
        Role.PREPARE: {"FINETUNE_READ_TOKEN_FILE": "hf_mine"},
        Role.TRAIN: {},
        Role.PUBLISH: {"FINETUNE_WRITE_TOKEN_FILE": "hf_mine"},
        Role.TRACK: {},
    }


def test_publishing_without_a_token_is_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))

    with pytest.raises(RunFailure, match="set HF_TOKEN, run `hf auth login`, or add --no-publish") as refused:
        require_token()

    assert refused.value.reason is Reason.TOKEN_REFUSED


def test_each_run_is_a_later_attempt(tmp_path: Path) -> None:
    begun = plan(tmp_path, job())
    before = next_attempt(begun)
    with Fence.of(begun.workspace, begun.config, attempt=3).held():
        after = next_attempt(begun)

    other = replace(begun, config=begun.config.model_copy(update={"spec": job(training={"seed": 7}).spec}))
    assert (before, after, next_attempt(other)) == (1, 4, 1)

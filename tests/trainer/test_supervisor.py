import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.train.gang.records import ENV_RECORDS
from finetune_trainer.train.supervisor import command_of, rank_environment, threads_per_process, torchrun_arguments
from tests.listening import free_port
from tests.trainer.train_inputs import prepare_pages, run_config

PATIENCE_SECONDS = 240
SUPERVISE = """
import sys
from pathlib import Path
from typing import Any
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from finetune_trainer.train.supervisor import supervise
config, root, attempt, result = sys.argv[1:]
ended = supervise(RunConfig.model_validate_json(Path(config).read_bytes()), Workspace(Path(root)), int(attempt))
Path(result).write_text(ended.model_dump_json(by_alias=True))
"""
TWO_NODES: dict[str, Any] = {
    "resources": {"nodes": 2, "accelerator": {"perNode": 1}},
    "storage": {"accessMode": "ReadWriteMany"},
}
ONE_PROCESS: dict[str, Any] = {"accelerator": {"perNode": 0}}
ENDLESS = {"perDeviceTrainBatchSize": 8, "maxSteps": 100_000}
#: What a pod template or a shell may set for its own programs.
TOKENS = [
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_TOKEN_PATH"),
    *("HF_OIDC_RESOURCE", "HF_OIDC_ID_TOKEN", "FINETUNE_READ_TOKEN_FILE", "FINETUNE_WRITE_TOKEN_FILE"),
]


@dataclass
class Pod:
    """A supervisor in a process of its own, as in a training pod."""

    process: subprocess.Popen[bytes]
    result_file: Path
    log: Path

    def result(self) -> RunResult:
        self.process.wait(PATIENCE_SECONDS)
        assert self.result_file.exists(), self.log.read_text()
        return RunResult.model_validate_json(self.result_file.read_bytes())


@contextlib.contextmanager
def pod(config: RunConfig, workspace: Workspace, folder: Path, *, node: int = 0, **environment: str) -> Iterator[Pod]:
    config_file, result_file, log = (folder / f"{name}-{node}" for name in ("config", "result", "log"))
    config_file.write_text(config.model_dump_json(by_alias=True))
    arguments = [sys.executable, "-c", SUPERVISE, str(config_file), str(workspace.root), "1", str(result_file)]
    own = {"OMP_NUM_THREADS": "1", "FINETUNE_TELEMETRY_PORT": "0", **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=os.environ | own, stdout=output, stderr=output)
    try:
        yield Pod(process, result_file, log)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def of_a_gang() -> dict[str, str]:
    """Return what both pods of a gang of two are told."""
    static = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "localhost"}
    return static | {"PET_MASTER_PORT": str(free_port())}


@contextlib.contextmanager
def two_pods(config: RunConfig, workspace: Workspace, folder: Path) -> Iterator[list[Pod]]:
    static = of_a_gang()
    with (
        pod(config, workspace, folder, node=0, PET_NODE_RANK="0", **static) as first,
        pod(config, workspace, folder, node=1, PET_NODE_RANK="1", **static) as second,
    ):
        yield [first, second]


def wait_for(path: Path, pods: list[Pod]) -> None:
    wait_until(path.exists, pods, f"{path} did not come")


def wait_until(holds: Callable[[], object], pods: list[Pod], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert all(one.process.poll() is None for one in pods), [one.log.read_text() for one in pods]
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def rank_processes(supervisor: int) -> list[int]:
    """Return the processes that train under a supervisor, by their start."""
    parents = {int(path.name): parent_of(path) for path in Path("/proc").glob("[0-9]*")}
    agents = [process for process, parent in parents.items() if parent == supervisor]
    return sorted(process for process, parent in parents.items() if parent in agents)


def children_of(supervisor: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent_of(path) == supervisor]


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_sigterm_at_one_of_two_nodes_saves_and_ends_both_as_preempted(tmp_path: Path) -> None:
    config = run_config(training=ENDLESS, evaluation={"every": 50_000}, checkpoint={"everySteps": 50_000}, **TWO_NODES)
    workspace = prepare_pages(tmp_path / "workspace", config)

    with two_pods(config, workspace, tmp_path) as pods:
        wait_for(workspace.baseline, pods)
        pods[1].process.send_signal(signal.SIGTERM)
        results = [one.result() for one in pods]

    (saved,) = workspace.checkpoints.iterdir()
    message = f"asked to end; checkpoint of step {int(saved.name.removeprefix('step-'))} saved"
    assert [(result.reason, result.message) for result in results] == [(Reason.PREEMPTED, message)] * 2
    assert not workspace.report.exists()


def test_a_rank_that_comes_first_waits_for_rank_0(tmp_path: Path) -> None:
    config = run_config(training={"perDeviceTrainBatchSize": 8, "maxSteps": 2}, **TWO_NODES)
    workspace, static = prepare_pages(tmp_path / "workspace", config), of_a_gang()

    with pod(config, workspace, tmp_path, node=1, PET_NODE_RANK="1", **static) as second:
        wait_until(lambda: children_of(second.process.pid), [second], "nobody looks for rank 0")
        with pod(config, workspace, tmp_path, node=0, PET_NODE_RANK="0", **static) as first:
            results = [one.result() for one in (first, second)]

    assert [result.reason for result in results] == [Reason.TRAINED] * 2


def test_a_pod_that_is_to_go_before_its_gang_has_met_goes_at_once_and_meets_nobody(tmp_path: Path) -> None:
    config = run_config(training=ENDLESS, **TWO_NODES)
    workspace, static = prepare_pages(tmp_path / "workspace", config), of_a_gang()

    with pod(config, workspace, tmp_path, node=0, PET_NODE_RANK="0", **static) as first:
        wait_until(lambda: listens(static["PET_MASTER_PORT"]), [first], "rank 0 waits for nobody")
        agents = children_of(first.process.pid)
        first.process.send_signal(signal.SIGTERM)
        result = first.result()

    message = "asked to end before a new checkpoint could be saved"
    assert (result.reason, result.message) == (Reason.PREEMPTED, message)
    assert not listens(static["PET_MASTER_PORT"])
    assert [agent for agent in agents if Path(f"/proc/{agent}").exists()] == []


def listens(port: str) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("localhost", int(port))) == 0


def test_a_killed_rank_ends_the_pod_of_the_others_which_do_not_wait_for_it(tmp_path: Path) -> None:
    config = run_config(training=ENDLESS, evaluation={"every": 50_000}, **TWO_NODES)
    assert config.spec.rank_patience_seconds > PATIENCE_SECONDS, "who waits for it would end in time, too"
    workspace = prepare_pages(tmp_path / "workspace", config)

    with two_pods(config, workspace, tmp_path) as pods:
        wait_for(workspace.checkpoints / "step-000002", pods)
        (rank_1,) = rank_processes(pods[1].process.pid)
        os.kill(rank_1, signal.SIGKILL)
        survivor, victim = (one.result() for one in pods)

    assert (victim.reason, victim.failed_rank) == (Reason.RANK_KILLED, 1)
    assert victim.message == "rank 1 was ended from outside by SIGKILL"
    assert (survivor.reason, survivor.failed_rank) == (Reason.PEER_LOST, 0)


@contextlib.contextmanager
def pod_of_one_process(folder: Path, **environment: str) -> Iterator[tuple[Pod, Workspace, int]]:
    """Start a training without torchrun; give the pod, its workspace and the rank that has written a checkpoint."""
    config = run_config(training=ENDLESS, evaluation={"every": 50_000}, resources=ONE_PROCESS)
    workspace = prepare_pages(folder / "workspace", config)
    with pod(config, workspace, folder, node=0, **environment) as one:
        wait_for(workspace.checkpoints / "step-000002", [one])
        (rank,) = children_of(one.process.pid)
        yield one, workspace, rank


def test_a_single_process_is_the_only_one_beside_its_supervisor_and_saves_when_the_pod_is_to_end(
    tmp_path: Path,
) -> None:
    with pod_of_one_process(tmp_path, WORLD_SIZE="2", MASTER_ADDR="localhost") as (one, workspace, rank):
        started = command_line_of(rank)
        one.process.send_signal(signal.SIGTERM)
        result = one.result()

    assert started == [sys.executable, "-m", "finetune_trainer.train.rank"]
    saved = max(int(folder.name.removeprefix("step-")) for folder in workspace.checkpoints.iterdir())
    assert (result.reason, result.message) == (
        Reason.PREEMPTED,
        f"asked to end; checkpoint of step {saved} saved",
    )


def test_a_single_process_that_is_killed_is_told_as_rank_0(tmp_path: Path) -> None:
    with pod_of_one_process(tmp_path) as (one, _, rank):
        os.kill(rank, signal.SIGKILL)
        result = one.result()

    assert (result.reason, result.failed_rank) == (Reason.RANK_KILLED, 0)
    assert result.message == "rank 0 was ended from outside by SIGKILL"


def test_a_second_signal_ends_a_single_process_that_does_not_save(tmp_path: Path) -> None:
    with pod_of_one_process(tmp_path) as (one, _, rank):
        os.kill(rank, signal.SIGSTOP)
        one.process.send_signal(signal.SIGTERM)
        wait_for(Path(environment_of(rank)[ENV_RECORDS]) / "stop", [one])
        one.process.send_signal(signal.SIGTERM)
        result = one.result()

    assert (result.reason, result.failed_rank) == (Reason.RANK_KILLED, 0)


def command_line_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/cmdline").read_text().split("\0")[:-1]


def environment_of(process: int) -> dict[str, str]:
    """Return what a process was started with."""
    lines = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


def test_no_token_of_the_pod_gets_into_the_training_processes(tmp_path: Path) -> None:
    config = run_config(training=ENDLESS, evaluation={"every": 50_000})
    workspace = prepare_pages(tmp_path / "workspace", config)
    environment = {"HF_ENDPOINT": "http://hub", **dict.fromkeys(TOKENS, "hf_secret")}

    with pod(config, workspace, tmp_path, node=0, **environment) as one:
        wait_for(workspace.checkpoints / "step-000002", [one])
        given = [environment_of(rank) for rank in rank_processes(one.process.pid)]

    assert [rank["HF_ENDPOINT"] for rank in given] == ["http://hub"] * 2
    assert [[name for name, value in rank.items() if value == "hf_secret"] for rank in given] == [[], []]


def test_accelerators_that_are_not_there_fail_the_run_instead_of_training_on_cpu(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has an accelerator")
    config = run_config().model_copy(update={"simulated_accelerator": False})
    workspace = prepare_pages(tmp_path / "workspace", config)

    with pod(config, workspace, tmp_path) as one:
        result = one.result()

    assert result.reason is Reason.NODE_FAULT
    assert "2 were asked for, but 0 are visible in this pod" in result.message
    assert result.attempt == 1


def test_a_run_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    config = run_config(training={"perDeviceTrainBatchSize": 8, "maxSteps": 1})
    workspace = prepare_pages(tmp_path / "workspace", config)
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    with pod(config, workspace, tmp_path, TMPDIR=str(temporary)) as one:
        result = one.result()

    assert (result.reason, list(temporary.rglob("*"))) == (Reason.TRAINED, [])


@pytest.mark.parametrize(
    ("resources", "is_simulated", "first"),
    [
        ({"accelerator": {"perNode": 1}}, True, ["finetune_trainer.train.rank"]),
        ({"accelerator": {"perNode": 0}}, False, ["finetune_trainer.train.rank"]),
        ({"accelerator": {"perNode": 1}}, False, ["finetune_trainer.train.gang.agent", "--standalone"]),
        ({"accelerator": {"perNode": 2}}, True, ["finetune_trainer.train.gang.agent", "--standalone"]),
    ],
)
def test_torchrun_starts_all_but_a_single_process_on_a_cpu(
    resources: dict[str, Any], first: list[str], *, is_simulated: bool
) -> None:
    config = run_config(resources=resources).model_copy(update={"simulated_accelerator": is_simulated})

    assert command_of(config, {})[:4] == [sys.executable, "-m", *first]


def test_torchrun_takes_the_gang_from_the_environment_or_is_a_gang_of_its_own() -> None:
    fixed = ["--max-restarts=0", "--shutdown-timeout=10", "--module", "finetune_trainer.train.rank"]

    assert torchrun_arguments(run_config(), {"PET_NNODES": "2"}) == fixed
    assert torchrun_arguments(run_config(), {}) == ["--standalone", "--nnodes=1", "--nproc-per-node=2", *fixed]


#: Means something to a shell.
ODD: dict[str, Any] = {"source": "pvc://inputs/model", "prompts": {"query": "$(touch made); `id` && exit | cat"}}


@pytest.mark.parametrize("num_processes", [0, 2])
def test_nothing_that_a_manifest_says_is_in_a_command_line(num_processes: int) -> None:
    resources = {"accelerator": {"perNode": num_processes}}
    plain, odd = run_config(resources=resources), run_config(resources=resources, model=ODD)

    for environment in ({}, {"PET_NNODES": "2"}):
        assert command_of(odd, environment) == command_of(plain, environment)


@pytest.mark.parametrize(("cpu", "threads"), [("8", 4), ("3", 1), ("500m", 1)])
def test_the_processes_of_a_pod_share_its_cpus(cpu: str, threads: int) -> None:
    config = run_config(resources={"accelerator": {"perNode": 2}, "requests": {"cpu": cpu}})

    assert threads_per_process(config) == threads


@pytest.mark.parametrize(
    ("resources", "is_simulated", "pod", "memory"),
    [
        ({"accelerator": {"perNode": 1}}, True, {}, {"MALLOC_MMAP_THRESHOLD_": "2097152", "THP_MEM_ALLOC_ENABLE": "1"}),
        (
            {"accelerator": {"perNode": 0}},
            False,
            {},
            {"MALLOC_MMAP_THRESHOLD_": "2097152", "THP_MEM_ALLOC_ENABLE": "1"},
        ),
        ({"accelerator": {"perNode": 1}}, False, {}, {}),
        (
            {"accelerator": {"perNode": 1}},
            True,
            {"MALLOC_MMAP_THRESHOLD_": "4096", "THP_MEM_ALLOC_ENABLE": "0"},
            {"MALLOC_MMAP_THRESHOLD_": "4096", "THP_MEM_ALLOC_ENABLE": "0"},
        ),
    ],
)
def test_ranks_on_cpus_give_freed_tensors_back_unless_the_pod_says_how_memory_is_allocated(
    resources: dict[str, Any], pod: dict[str, str], memory: dict[str, str], *, is_simulated: bool
) -> None:
    config = run_config(resources=resources).model_copy(update={"simulated_accelerator": is_simulated})

    given = rank_environment(config, pod)

    assert {name: given[name] for name in ("MALLOC_MMAP_THRESHOLD_", "THP_MEM_ALLOC_ENABLE") if name in given} == memory


def test_the_pod_decides_how_many_threads_a_process_has() -> None:
    assert rank_environment(run_config(), {"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"

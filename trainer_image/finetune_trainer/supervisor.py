"""Starts the training processes of one pod, passes on the wish to stop, and tells how it all ended."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from finetune_api import keys
from finetune_api.contract import RunConfig, RunResult
from finetune_api.quantities import parse_quantity
from finetune_api.workspace import Workspace
from finetune_trainer.distributed.outcome import conclude
from finetune_trainer.distributed.records import ENV_RECORDS, Records
from finetune_trainer.token_variables import TOKEN_VARIABLES

#: Ranks that do not end by themselves after a peer's death are killed after so many seconds.
SHUTDOWN_SECONDS = 10
#: Where torchrun makes folders, even for logs that nobody asked for. Left alone, it leaves one in /tmp for every run.
ENV_LOGS = "PET_LOG_DIR"
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
#: Training reads nothing but the workspace, and reports to nobody but the operator.
CLOSED_WORLD = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
#: How ranks on CPUs come by memory, unless the pod's environment says otherwise. Left alone, glibc puts ever larger
#: tensors into its heap, which batches of many lengths leave in pieces. From 2 MB on they get pages of their own, which
#: go back when they are freed; huge pages, where the node has them, make up for the time that takes. Measured in
#: docs/benchmarks.md.
CPU_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2 * 2**20), "THP_MEM_ALLOC_ENABLE": "1"}


def supervise(config: RunConfig, workspace: Workspace, attempt: int) -> RunResult:
    """Train in the processes that this pod should have; return when all have ended.

    SIGTERM to this process makes every rank of the gang save a checkpoint at one agreed step and end as Preempted.
    """
    kills_before = count_memory_kills()
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        records = Records(Path(folder))
        process = start(config, workspace, attempt=attempt, records=records)
        with pass_on_stop(process, records):
            exit_code = process.wait()
        result = conclude(
            records.read(),
            exits=records.read_exits(),
            exit_code=exit_code,
            stop_requested=records.stop_file.exists(),
            memory_kills=count_memory_kills() - kills_before,
        )
    return result.model_copy(update={"attempt": attempt})


def start(config: RunConfig, workspace: Workspace, *, attempt: int, records: Records) -> subprocess.Popen[bytes]:
    """Start torchrun in a session of its own, so that a terminal's signals reach only the supervisor."""
    run_config = records.folder / "run.json"
    run_config.write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
    own = {
        ENV_RECORDS: str(records.folder),
        keys.ENV_RUN_CONFIG: str(run_config),
        keys.ENV_WORKSPACE: str(workspace.root),
        keys.ENV_ATTEMPT: str(attempt),
        ENV_LOGS: str(records.folder),
    }
    command = [sys.executable, "-m", "finetune_trainer.distributed.agent", *torchrun_arguments(config, os.environ)]
    environment = {**rank_environment(config, os.environ), **own}
    return subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603


def rank_environment(config: RunConfig, pod: Mapping[str, str]) -> dict[str, str]:
    """Return what ranks get to know of the pod's environment, which goes before our defaults.

    A pod template or a shell may set tokens; training reaches no Hub, and what it writes gets published.
    """
    defaults = {"OMP_NUM_THREADS": str(threads_per_process(config)), **(CPU_MEMORY if config.on_cpu else {})}
    inherited = {name: value for name, value in pod.items() if name not in TOKEN_VARIABLES}
    return {**defaults, **inherited, **CLOSED_WORLD}


def torchrun_arguments(config: RunConfig, environment: Mapping[str, str]) -> list[str]:
    """Return torchrun's arguments. On more than one node it reads the rest from PET_*; the operator restarts gangs."""
    gang = (
        []
        if "PET_NNODES" in environment
        else ["--standalone", "--nnodes=1", f"--nproc-per-node={config.processes_per_node}"]
    )
    fixed = ["--max-restarts=0", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
    return [*gang, *fixed, "--module", "finetune_trainer.train"]


def threads_per_process(config: RunConfig) -> int:
    """Return the threads of one training process: its part of the pod's CPUs, at least one."""
    return max(1, int(parse_quantity(config.spec.resources.requests.cpu)) // config.processes_per_node)


@contextlib.contextmanager
def pass_on_stop(process: subprocess.Popen[bytes], records: Records) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT ask the ranks to save and end; a second one ends torchrun.

    torchrun is not told the first time: it would give the ranks its own time limit and call their end a failure.
    """

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if records.stop_file.exists():
            process.terminate()
        records.stop_file.touch()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def count_memory_kills() -> int:
    """Return how many processes of this container the kernel has killed for memory; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", MEMORY_EVENTS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0

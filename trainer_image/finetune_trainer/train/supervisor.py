"""Starts the training processes of one pod, passes on the wish to stop, and tells how it all ended."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from finetune_api import keys
from finetune_api.contract import RunConfig, RunResult
from finetune_api.quantities import parse_quantity
from finetune_api.workspace import Workspace
from finetune_trainer.hub.token_variables import TOKEN_VARIABLES
from finetune_trainer.train.gang.outcome import conclude
from finetune_trainer.train.gang.records import ENV_RECORDS, Records
from finetune_trainer.train.gang.stacks import ask_for_stacks

TRAIN = "finetune_trainer.train.rank"
#: Ranks that do not end by themselves after a peer's death are killed after so many seconds.
SHUTDOWN_SECONDS = 10
#: A rank that has not ended so many seconds after it was asked to is asked where it stands, within the grace period.
STACKS_SECONDS = 20.0
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
#: What torchrun, or a launcher like it that somebody runs us under, tells a rank of its gang. A process that trains
#: alone would wait for the others.
GANG_VARIABLES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
#: How ranks on CPUs come by memory, unless the pod's environment says otherwise. Left alone, glibc puts ever larger
#: tensors into its heap, which batches of many lengths leave in pieces. From 2 MB on they get pages of their own, which
#: go back when they are freed; huge pages, where the node has them, make up for the time that takes. Measured in
#: docs/benchmarks.md.
CPU_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2 * 2**20), "THP_MEM_ALLOC_ENABLE": "1"}


def supervise(config: RunConfig, workspace: Workspace, attempt: int) -> RunResult:
    """Train in the processes that this pod should have; return when all have ended.

    SIGTERM to this process makes every rank of the gang save a checkpoint at one agreed step and end as Preempted; if
    the gang has not met yet, it ends this pod at once.
    """
    kills_before = count_memory_kills()
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        records = Records(Path(folder))
        if is_alone(config):
            records.met_file.touch()
        process = start(config, workspace, attempt=attempt, records=records)
        end = process.kill if is_alone(config) else process.terminate
        with pass_on_stop(records, end=end, leave=partial(kill_session, process)):
            exit_code = process.wait()
        result = conclude(
            records.read(),
            exits=read_exits(config, records, exit_code=exit_code),
            exit_code=exit_code,
            stop_requested=records.stop_file.exists(),
            memory_kills=count_memory_kills() - kills_before,
            has_watchdog=not config.on_cpu and config.world_size > 1,
        )
    return result.model_copy(update={"attempt": attempt})


def start(config: RunConfig, workspace: Workspace, *, attempt: int, records: Records) -> subprocess.Popen[bytes]:
    """Start the ranks in a session of their own, so that a terminal's signals reach only the supervisor."""
    run_config = records.folder / "run.json"
    run_config.write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
    own = {
        ENV_RECORDS: str(records.folder),
        keys.ENV_RUN_CONFIG: str(run_config),
        keys.ENV_WORKSPACE: str(workspace.root),
        keys.ENV_ATTEMPT: str(attempt),
        ENV_LOGS: str(records.folder),
    }
    environment = {**rank_environment(config, os.environ), **own}
    return subprocess.Popen(command_of(config, os.environ), env=environment, start_new_session=True)  # noqa: S603


def is_alone(config: RunConfig) -> bool:
    """Return whether the only rank is started as it is: it has nobody to meet, and torchrun takes memory (ADR 17).

    On an accelerator torchrun also sees to it that the Trainer uses one of several, so there it is always in between.
    """
    return config.on_cpu and config.world_size == 1


def command_of(config: RunConfig, environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts the ranks of this pod."""
    if is_alone(config):
        return [sys.executable, "-m", TRAIN]
    return [sys.executable, "-m", "finetune_trainer.train.gang.agent", *torchrun_arguments(config, environment)]


def read_exits(config: RunConfig, records: Records, *, exit_code: int) -> dict[int, int]:
    """Return exit codes of failed ranks, by rank: as torchrun saw them, or that of the only one."""
    if is_alone(config):
        return {0: exit_code} if exit_code else {}
    return records.read_exits()


def rank_environment(config: RunConfig, pod: Mapping[str, str]) -> dict[str, str]:
    """Return what ranks get to know of the pod's environment, which goes before our defaults.

    A pod template or a shell may set tokens; training reaches no Hub, and what it writes gets published.
    """
    defaults = {"OMP_NUM_THREADS": str(threads_per_process(config)), **(CPU_MEMORY if config.on_cpu else {})}
    withheld = TOKEN_VARIABLES | (GANG_VARIABLES if is_alone(config) else set())
    inherited = {name: value for name, value in pod.items() if name not in withheld}
    return {**defaults, **inherited, **CLOSED_WORLD}


def torchrun_arguments(config: RunConfig, environment: Mapping[str, str]) -> list[str]:
    """Return torchrun's arguments. On more than one node it reads the rest from PET_*; the operator restarts gangs."""
    gang = (
        []
        if "PET_NNODES" in environment
        else ["--standalone", "--nnodes=1", f"--nproc-per-node={config.processes_per_node}"]
    )
    fixed = ["--max-restarts=0", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
    return [*gang, *fixed, "--module", TRAIN]


def threads_per_process(config: RunConfig) -> int:
    """Return the threads of one training process: its part of the pod's CPUs, at least one."""
    return max(1, int(parse_quantity(config.spec.resources.requests.cpu)) // config.processes_per_node)


@contextlib.contextmanager
def pass_on_stop(records: Records, *, end: Callable[[], None], leave: Callable[[], None]) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT ask the ranks to save and end; a second one calls `end`.

    Ranks that have not met the others have nothing to save, and may never meet them: `leave` is called instead. Where a
    queue admits a gang again while it is on its way out, a new rank would meet the old ones and be asked to end, too.

    Ranks that have not ended after a while, as in a gang that hangs, write where they stand to their logs.

    torchrun is not told the first time: it would give the ranks its own time limit and call their end a failure. A rank
    takes SIGTERM for the same wish, so one without torchrun is killed.
    """

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if records.stop_file.exists():
            end()
            return
        records.stop_file.touch()
        if records.met_file.exists():
            asking.start()
        else:
            leave()

    asking = threading.Timer(STACKS_SECONDS, ask_for_stacks, [records])
    asking.daemon = True
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        asking.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill torchrun with its ranks: while it waits for other nodes it takes no other signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def count_memory_kills() -> int:
    """Return how many processes of this container the kernel has killed for memory; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", MEMORY_EVENTS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0

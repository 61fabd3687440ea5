"""Several ranks on this machine, forked from a server that has imported the trainer once: a gang in a second.

What a rank runs is the real thing over gloo; only torchrun, which starts fresh interpreters, is left out.
"""

import atexit
import functools
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from finetune_api import keys
from finetune_api.contract import RunConfig, RunResult
from finetune_api.workspace import Workspace
from finetune_trainer.train.gang.records import ENV_RECORDS, Records
from tests.listening import free_port

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["finetune_trainer.train.rank", "tests.trainer.train_inputs"])
PATIENCE_SECONDS = 1200


@dataclass(frozen=True)
class Gang:
    """Running ranks."""

    processes: Sequence[BaseProcess]
    answers: Sequence[Connection]
    log_files: Sequence[Path]

    def results(self, *, limit_seconds: float = PATIENCE_SECONDS) -> list[Any]:
        """Wait; return what each rank's function returned, by rank.

        Raises:
            AssertionError: a rank ended without an answer, or the limit has passed; with the logs of all, which are
                ended.

        """
        found: dict[int, Any] = {}
        deadline = time.monotonic() + limit_seconds
        while len(found) < len(self.answers):
            waiting = [answer for rank, answer in enumerate(self.answers) if rank not in found]
            ready = wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._ended(f"no answer of {len(waiting)} ranks in {limit_seconds} s")
            for answer in ready:
                assert isinstance(answer, Connection)
                rank = self.answers.index(answer)
                try:
                    found[rank] = answer.recv()
                except EOFError:
                    raise self._ended(f"rank {rank} ended without an answer") from None
        for process in self.processes:
            process.join(PATIENCE_SECONDS)
        return [found[rank] for rank in range(len(self.answers))]

    def logs(self) -> list[str]:
        """Return what each rank wrote to its standard streams, by rank."""
        return [file.read_text(errors="replace") for file in self.log_files]

    def _ended(self, why: str) -> AssertionError:
        self.kill()
        return AssertionError("\n".join([why, *(f"rank {rank}:\n{log}" for rank, log in enumerate(self.logs()))]))

    def kill(self) -> None:
        """End every rank at once, as a lost node does."""
        for process in self.processes:
            process.kill()
            process.join()


def start_gang(function: Callable[..., Any], *arguments: Any, world_size: int = 2) -> Gang:  # noqa: ANN401
    """Start `function(*arguments)` on each rank, with the environment that torchrun gives."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(dir=all_logs()))
    log_files = [folder / f"rank-{rank}.log" for rank in range(world_size)]
    processes, answers = [], []
    for rank, log_file in enumerate(log_files):
        log_file.touch()
        answer, answer_to = CONTEXT.Pipe(duplex=False)
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "LOCAL_WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        process = CONTEXT.Process(target=be_rank, args=(function, arguments, environment, log_file, answer_to))
        process.start()
        answer_to.close()
        processes.append(process)
        answers.append(answer)
    return Gang(processes, answers, log_files)


@functools.cache
def all_logs() -> Path:
    """Return the folder of this test run's logs."""
    folder = Path(tempfile.mkdtemp(prefix="gangs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def be_rank(
    function: Callable[..., Any],
    arguments: Any,  # noqa: ANN401
    environment: dict[str, str],
    log_file: Path,
    answer: Connection,
) -> None:
    """Run in the child."""
    os.environ.update(environment)
    with log_file.open("wb") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    answer.send(function(*arguments))
    answer.close()
    os._exit(0)


def train_rank(config: RunConfig, root: Path, folder: Path, attempt: int = 1) -> int:
    """Run the training program of one rank; `folder` takes its record. Returns its exit code."""
    from finetune_trainer.train.rank import main

    config_file = folder / f"run-{os.environ['RANK']}.json"
    config_file.write_text(config.model_dump_json(by_alias=True))
    os.environ[keys.ENV_RUN_CONFIG] = str(config_file)
    os.environ[keys.ENV_WORKSPACE] = str(root)
    os.environ[keys.ENV_ATTEMPT] = str(attempt)
    os.environ[keys.ENV_TELEMETRY_PORT] = "0"
    os.environ[ENV_RECORDS] = str(folder)
    return main()


def train_gang(config: RunConfig, workspace: Workspace, folder: Path, *, attempt: int = 1) -> list[RunResult]:
    """Train on two ranks; return how each ended, by rank."""
    folder.mkdir(parents=True, exist_ok=True)
    start_gang(train_rank, config, workspace.root, folder, attempt).results()
    return [record.result for record in Records(folder).read()]

"""Several ranks on this machine, forked from a server that has imported the trainer once: a gang in a second.

What a rank runs is the real thing over gloo; only torchrun, which starts fresh interpreters, is left out.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from finetune_api import keys
from finetune_api.contract import RunConfig, RunResult
from finetune_api.workspace import Workspace
from finetune_trainer.distributed.records import ENV_RECORDS, Records

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["finetune_trainer.train", "tests.trainer.train_inputs"])
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Gang:
    """Running ranks."""

    processes: Sequence[BaseProcess]
    answers: Sequence[Connection]

    def results(self) -> list[Any]:
        """Wait; return what each rank's function returned, by rank."""
        found = [answer.recv() for answer in self.answers]
        for process in self.processes:
            process.join(PATIENCE_SECONDS)
        return found

    def kill(self) -> None:
        """End every rank at once, as a lost node does."""
        for process in self.processes:
            process.kill()
            process.join()


def start_gang(function: Callable[..., Any], *arguments: Any, world_size: int = 2) -> Gang:  # noqa: ANN401
    """Start `function(*arguments)` on each rank, with the environment that torchrun gives."""
    port = free_port()
    processes, answers = [], []
    for rank in range(world_size):
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
        process = CONTEXT.Process(target=be_rank, args=(function, arguments, environment, answer_to))
        process.start()
        answer_to.close()
        processes.append(process)
        answers.append(answer)
    return Gang(processes, answers)


def be_rank(function: Callable[..., Any], arguments: Any, environment: dict[str, str], answer: Connection) -> None:  # noqa: ANN401
    """Run in the child."""
    os.environ.update(environment)
    answer.send(function(*arguments))
    answer.close()
    os._exit(0)


def train_rank(config: RunConfig, root: Path, folder: Path, attempt: int = 1) -> int:
    """Run the training program of one rank; `folder` takes its record. Returns its exit code."""
    from finetune_trainer import train

    config_file = folder / f"run-{os.environ['RANK']}.json"
    config_file.write_text(config.model_dump_json(by_alias=True))
    os.environ[keys.ENV_RUN_CONFIG] = str(config_file)
    os.environ[keys.ENV_WORKSPACE] = str(root)
    os.environ[keys.ENV_ATTEMPT] = str(attempt)
    os.environ[keys.ENV_TELEMETRY_PORT] = "0"
    os.environ[ENV_RECORDS] = str(folder)
    return train.main()


def train_gang(config: RunConfig, workspace: Workspace, folder: Path, *, attempt: int = 1) -> list[RunResult]:
    """Train on two ranks; return how each ended, by rank."""
    folder.mkdir(parents=True, exist_ok=True)
    start_gang(train_rank, config, workspace.root, folder, attempt).results()
    return [record.result for record in Records(folder).read()]


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

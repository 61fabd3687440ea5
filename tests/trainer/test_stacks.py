"""A rank that hangs tells where before it goes, in real processes: a supervisor, and a rank that waits for ever."""

import signal
import subprocess
import sys
from pathlib import Path

from finetune_api.contract import RunResult
from finetune_api.reasons import Reason
from tests.trainer.train_inputs import run_config

HANGING = """
import threading
from finetune_trainer.train.gang.records import Records
from finetune_trainer.train.gang.stacks import tell_stacks

def wait_for_a_peer_that_is_gone():
    print("it hangs", flush=True)
    threading.Event().wait()

tell_stacks(Records.of_environment(), rank=0)
wait_for_a_peer_that_is_gone()
"""
SUPERVISE = f"""
import sys
from pathlib import Path
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from finetune_trainer.train import supervisor
supervisor.command_of = lambda config, environment: [sys.executable, "-c", {HANGING!r}]
supervisor.STACKS_SECONDS = 0.1
config, root, result = sys.argv[1:]
ended = supervisor.supervise(RunConfig.model_validate_json(Path(config).read_bytes()), Workspace(Path(root)), 1)
Path(result).write_text(ended.model_dump_json(by_alias=True))
"""


def test_a_rank_that_hangs_writes_where_it_stands_when_its_pod_has_to_go(tmp_path: Path) -> None:
    config, result = tmp_path / "run.json", tmp_path / "result.json"
    config.write_text(run_config(resources={"accelerator": {"perNode": 0}}).model_dump_json(by_alias=True))
    command = [sys.executable, "-c", SUPERVISE, str(config), str(tmp_path), str(result)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pod:
        assert pod.stdout is not None
        assert pod.stderr is not None
        assert pod.stdout.readline() == "it hangs\n"
        pod.send_signal(signal.SIGTERM)
        said = [next(line for line in pod.stderr if "in wait_for_a_peer_that_is_gone" in line)]
        pod.send_signal(signal.SIGTERM)
        pod.wait(300)

    assert said[0].strip() == 'File "<string>", line 8 in wait_for_a_peer_that_is_gone'
    assert RunResult.model_validate_json(result.read_bytes()).reason is Reason.RANK_KILLED

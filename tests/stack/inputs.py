"""Puts the inputs of the examples on the Hub, through the Hub's own HTTP interface."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi

from tests.stack.install import HUB_NAMESPACE, ROOT, WRITE_TOKEN
from tests.stack.kubectl import Kubectl


@contextmanager
def reach_hub(kubectl: Kubectl) -> Iterator[str]:
    """Yield an address of the Hub that works on this machine."""
    with kubectl.port_forward("svc/hub", 80, namespace=HUB_NAMESPACE) as endpoint:
        yield endpoint


def push_inputs(kubectl: Kubectl, which: str) -> None:
    """Build the inputs `pages`, `manuals` or `all` if they are missing, and push what the Hub does not have."""
    folder = ROOT / "build" / "inputs"
    _run("build", str(folder), which)
    with reach_hub(kubectl) as endpoint, tempfile.TemporaryDirectory() as temporary:
        token = Path(temporary) / "token"
        token.write_text(WRITE_TOKEN)
        _run("push", str(folder), "--endpoint", endpoint, "--token-file", str(token))


def forget_model(kubectl: Kubectl, repository: str) -> None:
    """Remove what an earlier run has published, so that a job of the same content is trained once more."""
    with reach_hub(kubectl) as endpoint:
        HfApi(endpoint, token=WRITE_TOKEN).delete_repo(repository, missing_ok=True)


def _run(*arguments: str) -> None:
    environment = os.environ | {"HF_HUB_DISABLE_TELEMETRY": "1"}
    subprocess.run([sys.executable, "-m", "examples.inputs", *arguments], cwd=ROOT, env=environment, check=True)

"""Starts `tests.demo.published_model` with the environment of a fresh user of the published model."""

import json
import os
import subprocess
import sys
import tempfile

from tests.stack.inputs import reach_hub
from tests.stack.install import READ_TOKEN, ROOT
from tests.stack.kubectl import Kubectl


def evaluate_published(kubectl: Kubectl, repository: str, dataset: str, *, layout: str) -> dict[str, float]:
    """Return the scores of the model as downloaded from the Hub into an empty cache."""
    with tempfile.TemporaryDirectory() as cache, reach_hub(kubectl) as endpoint:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": READ_TOKEN,
            "HF_HOME": cache,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",  # a second one spins when another process is at work
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.demo.published_model", repository, dataset, layout],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    scores: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return scores

"""A Hub behind a proxy, with a certificate that the company has signed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_api.contract import ExitCode, RunResult
from finetune_api.reasons import Reason
from tests.hub import running_hub
from tests.private_ca import certify
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.image_host import running_proxy

HOST = "hub.company.example"


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    publish = {"repository": "demo/better", "tokenSecret": {"name": "hub-token"}}
    data = {"train": [{"name": "qa", "source": "hf://demo/qa"}]}
    run = make_run(model={"source": "hf://demo/base"}, data=data, publish=publish)
    return run.at(f"https://{HOST}").with_token(write="hf_demo_write")


def preflight(run: Run, **environment: str) -> RunResult:
    """Run preflight as its container does: its client looks at proxy and certificates once."""
    command = [sys.executable, "-m", "finetune_trainer", "preflight"]
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, env=own | run.environment() | environment, check=False, capture_output=True)
    assert done.returncode in (ExitCode.SUCCESS, ExitCode.HUB_UNAVAILABLE), done.stderr
    return RunResult.model_validate_json(run.settings.termination_message.read_bytes())


def test_the_hub_is_reached_through_the_proxy_and_trusted_by_the_authority_that_the_environment_names(
    run: Run, tmp_path: Path
) -> None:
    certified = certify(tmp_path, [HOST])
    asked: list[str] = []
    with running_hub(tls=certified.server_side()) as hub, running_proxy(asked, port=hub.tls_port) as port:
        proxy = f"http://127.0.0.1:{port}"

        distrusted = preflight(run, HTTPS_PROXY=proxy)
        trusted = preflight(run, HTTPS_PROXY=proxy, SSL_CERT_FILE=str(certified.authority))

        assert list(hub.commits("demo/better")["branches"]) == ["main"]
    assert distrusted.reason is Reason.HUB_UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in distrusted.message
    assert (trusted.reason, trusted.message) == (
        Reason.VALIDATED,
        "The token may write to demo/better, which is created.",
    )
    assert set(asked) == {f"CONNECT {HOST}:443 None"}

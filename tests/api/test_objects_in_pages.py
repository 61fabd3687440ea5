"""What the pages say to apply besides FinetuneJobs, as the API server takes it."""

import pytest
import yaml

from tests.contract.pages import Block, blocks
from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server
#: Kueue's objects need Kueue: tests/e2e/queue.py.
KIND = "Pod"
BLOCKS = [block for block in blocks("yaml") if {one.get("kind") for one in yaml.safe_load_all(block.text)} == {KIND}]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_api_server_takes_what_a_page_says_to_apply(block: Block, kubectl: Kubectl) -> None:
    objects = list(yaml.safe_load_all(block.text))
    for one in objects:
        one["metadata"]["namespace"] = "default"

    command = ["create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"]
    printed = kubectl.run(*command, stdin=yaml.safe_dump_all(objects))

    assert len(printed.splitlines()) == len(objects)

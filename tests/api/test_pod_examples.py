"""Every example in docs/pods.md, as the types read it."""

import re
from pathlib import Path

import pytest
import yaml

from finetune_api.pod_checks import check_pod_templates
from finetune_api.pod_template import PodSecurity, PodTemplates
from tests.stack.kubectl import Kubectl

PAGE = Path(__file__).parents[2] / "docs" / "pods.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
OBJECTS = [block for block in BLOCKS if block.startswith("apiVersion:")]
EXAMPLES = [block for block in BLOCKS if block not in OBJECTS]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5
    assert OBJECTS


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_may_be_written_so(example: str) -> None:
    found = yaml.safe_load(example)

    PodSecurity.model_validate(found.pop("podSecurity", {}))
    templates = PodTemplates.model_validate(found.pop("podTemplate", {}))

    assert found == {}
    assert list(check_pod_templates(templates, path="podTemplate")) == []


@pytest.mark.api_server
@pytest.mark.parametrize("objects", OBJECTS)
def test_the_api_server_takes_the_objects(objects: str, kubectl: Kubectl) -> None:
    printed = kubectl.run("create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-", stdin=objects)

    assert len(printed.splitlines()) == objects.count("kind: ")

"""Every example in docs/pods.md, as the types read it."""

import re
from pathlib import Path

import pytest
import yaml

from finetune_api.pod_checks import check_pod_templates
from finetune_api.pod_template import PodSecurity, PodTemplates

PAGE = Path(__file__).parents[2] / "docs" / "pods.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_may_be_written_so(example: str) -> None:
    found = yaml.safe_load(example)

    PodSecurity.model_validate(found.pop("podSecurity", {}))
    templates = PodTemplates.model_validate(found.pop("podTemplate", {}))

    assert found == {}
    assert list(check_pod_templates(templates, path="podTemplate")) == []

from pathlib import Path

import pytest
import yaml

from finetune_api.problems import check_spec, parse_job
from finetune_api.types import FinetuneJob
from finetune_cli.manifest.validate import read_jobs

ROOT = Path(__file__).parents[2]
#: FinetuneJobs; what tools and API servers are given about them is in `gitops` and `policies`.
EXAMPLES = sorted(
    path for path in (ROOT / "examples").rglob("*.yaml") if path.parent.name not in ("gitops", "policies")
)


def manifests_in(text: str) -> list[str]:
    """Return the YAML blocks of a Markdown text that are FinetuneJobs."""
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    return [block for block in blocks if "kind: FinetuneJob" in block]


MANIFESTS = manifests_in((ROOT / "README.md").read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_is_a_valid_job_without_problems(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    manifest["metadata"] |= {"namespace": "default", "uid": "0"}

    job = parse_job(manifest)

    assert isinstance(job, FinetuneJob), job
    assert check_spec(job.spec) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_keeps_the_schema_and_the_rules_of_the_crd(path: Path) -> None:
    reading = read_jobs([str(path)])

    assert [str(finding) for finding in reading.findings] == []
    assert len(reading.jobs) == 1


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_is_listed_in_the_readme(path: Path) -> None:
    assert f"({path.relative_to(ROOT)})" in (ROOT / "README.md").read_text()


def test_the_readme_begins_with_the_quickstart() -> None:
    assert yaml.safe_load(MANIFESTS[0]) == yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())

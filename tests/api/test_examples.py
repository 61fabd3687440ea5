"""Every example, as the real API server takes it."""

from pathlib import Path

import pytest

from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server
ROOT = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.yaml") if path.parent.name not in ("gitops", "policies")
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_api_server_takes_the_example_without_a_warning(name: str, kubectl: Kubectl) -> None:
    where = ["--dry-run=server", "--validate=strict", "--warnings-as-errors", "--namespace", "default"]
    text = "".join(
        line for line in (ROOT / name).read_text().splitlines(keepends=True) if not line.startswith("  namespace:")
    )

    printed = kubectl.run("create", *where, "-o", "name", "-f", "-", stdin=text)

    assert printed.startswith("finetunejob.finetune.dev/")

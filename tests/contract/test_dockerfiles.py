import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_CODE = r"COPY (?:crds|operator|trainer_image|tests)/"


def instructions(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile's last stage, each in one line."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r" *\\\n *", " ", "\n".join(lines)).splitlines()
    begin = max(index for index, line in enumerate(joined) if line.startswith("FROM "))
    return joined[begin + 1 :]


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "trainer_image/Dockerfile"])
def test_own_code_is_copied_after_the_dependencies_are_installed_so_that_a_change_of_it_does_not_install_them_anew(
    dockerfile: str,
) -> None:
    found = instructions(ROOT / dockerfile)

    installing = [index for index, line in enumerate(found) if re.match(r"RUN .*pip install", line)]
    copying = [index for index, line in enumerate(found) if re.match(OWN_CODE, line)]

    assert (len(installing), len(copying)) == (1, 2)
    assert installing[0] < copying[0]


def test_the_hub_image_installs_nothing() -> None:
    (copied, *others) = [
        line for line in instructions(ROOT / "tests/hub/Dockerfile") if line.startswith(("COPY", "RUN"))
    ]

    assert (copied, others) == ("COPY tests/hub /opt/finetune/tests/hub", [])

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_CODE = r"COPY (?:crds|operator|trainer_image)/finetune_"


def instructions(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile, each in one line."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return re.sub(r" *\\\n *", " ", "\n".join(lines)).splitlines()


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "trainer_image/Dockerfile"])
def test_own_code_is_copied_after_the_dependencies_are_installed_so_that_a_change_of_it_does_not_install_them_anew(
    dockerfile: str,
) -> None:
    found = instructions(ROOT / dockerfile)

    installing = [index for index, line in enumerate(found) if re.match(r"RUN .*pip install .*--require-hashes", line)]
    copying = [index for index, line in enumerate(found) if re.match(OWN_CODE, line)]

    assert (len(installing), len(copying)) == (1, 2)
    assert installing[0] < copying[0]


def test_the_image_for_cpus_has_nothing_that_pytorch_asks_for_on_linux_alone() -> None:
    (exporting,) = [line for line in instructions(ROOT / "trainer_image" / "Dockerfile") if "uv export" in line]
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (torch,) = [one for one in packages if one["name"] == "torch"]

    on_linux = {one["name"] for one in torch["dependencies"] if "linux" in one.get("marker", "")}

    assert set(re.findall(r"--prune (\S+?)\)?(?= |$)", exporting)) == on_linux


def test_the_hub_image_installs_nothing() -> None:
    (copied, *others) = [
        line for line in instructions(ROOT / "tests/hub/Dockerfile") if line.startswith(("COPY", "RUN"))
    ]

    assert (copied, others) == ("COPY tests/hub /opt/finetune/tests/hub", [])

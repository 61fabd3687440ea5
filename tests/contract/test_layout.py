import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_operator_folder_is_no_package_so_that_it_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_standard_librarys_operator_is_imported_from_the_checkout() -> None:
    script = "import operator; print(operator.__file__)"

    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert Path(found.strip()).is_relative_to(Path(sys.base_prefix).resolve())


def test_ci_runs_the_readmes_test_command_and_nothing_else() -> None:
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]

    assert commands == ["exec make test"]

from pathlib import Path
from typing import Any

import pytest

from tests.cluster import engine


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TEMPORARY", tmp_path / "temporary")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))


def install_docker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, client: str, has_buildx: bool, answers: bool
) -> None:
    """Put a docker on PATH that speaks as the real one does, by its documentation."""
    program = folder / "docker"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$1" in\n'
        f"version) echo {client}; exit {0 if answers else 1} ;;\n"
        f"buildx) echo github.com/docker/buildx v0.19; exit {0 if has_buildx else 1} ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("docker", "expected"),
    [
        ({"client": "27.3.1", "has_buildx": True, "answers": True}, "docker"),
        ({"client": "27.3.1", "has_buildx": False, "answers": True}, "buildah"),
        ({"client": "23.0.0", "has_buildx": False, "answers": True}, "buildah"),
        ({"client": "20.10.24+dfsg1", "has_buildx": False, "answers": True}, "docker"),
        ({"client": "27.3.1", "has_buildx": True, "answers": False}, "buildah"),
    ],
)
def test_docker_builds_only_where_its_engine_answers_and_has_buildkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: dict[str, Any], expected: str
) -> None:
    install_docker(tmp_path, monkeypatch, **docker)

    assert engine.find().name == expected


def test_without_docker_buildah_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert engine.find().name == "buildah"

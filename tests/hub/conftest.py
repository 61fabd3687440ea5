"""A Hub per test, and the real client pointed at it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars

from tests.hub import RunningHub, running_hub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Forgive huggingface_hub 2.4 that it hands LFS content to httpx2 by an argument that httpx2 deprecates."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"))


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the client off Xet, as HF_HUB_DISABLE_XET=1 does at its import, and its cache in the test's folder."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    disable_progress_bars()


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def api(hub: RunningHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.write_token)


@pytest.fixture
def reader(hub: RunningHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.read_token)


@pytest.fixture
def stranger(hub: RunningHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_other_write")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client wanted to wait between its tries; it goes on at once."""
    seconds: list[float] = []
    clock = SimpleNamespace(sleep=seconds.append)
    monkeypatch.setattr(huggingface_hub.utils._http, "time", clock)
    monkeypatch.setattr(huggingface_hub.file_download, "time", clock)
    return seconds

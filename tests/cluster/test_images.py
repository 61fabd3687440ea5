from pathlib import Path

import pytest

from tests.cluster import images, paths, processes


def test_without_a_cluster_no_image_is_built_and_the_way_to_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(processes, "RECORDS", tmp_path / "records")

    with pytest.raises(SystemExit, match=r"cluster: is not up, .*; run `python -m tests.cluster up` first"):
        images.ensure()

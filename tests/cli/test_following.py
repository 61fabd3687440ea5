"""What the display of a local run reads while the role it follows goes on writing."""

import os
import shutil
from pathlib import Path

import pytest

from finetune_cli.local.following import bytes_below


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    bookkeeping = folder / ".cache" / "huggingface" / "download"
    bookkeeping.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "config.json").write_bytes(bytes(24))
    (bookkeeping / "model.safetensors.metadata").write_bytes(bytes(7))
    return folder


def test_the_size_of_a_model_counts_all_files_that_are_there(model: Path) -> None:
    assert bytes_below(model) == 1031


def test_the_size_of_a_model_is_told_while_prepare_removes_the_folders_of_the_download(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def scandir(path: str | os.PathLike[str]) -> object:
        entries = real(path)
        listed.append(os.fspath(path))
        if Path(path).name == "huggingface":  # it has been listed, and is gone before what is in it is read
            monkeypatch.undo()
            shutil.rmtree(model / ".cache")
            monkeypatch.setattr(os, "scandir", scandir)
        return entries

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)

    assert bytes_below(model) == 1024
    assert str(model / ".cache" / "huggingface") in listed
    assert not (model / ".cache").exists()


def test_a_model_that_is_not_there_yet_has_no_size(tmp_path: Path) -> None:
    assert bytes_below(tmp_path / "model") == 0

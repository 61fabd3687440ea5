"""Datasets that are wrong in one way each, pushed to the Hub for the tests of bad input."""

import tempfile
from pathlib import Path

from tests.stack.install import WRITE_TOKEN

NUM_ROWS = 20
NUM_BROKEN = 6


def push_bad_datasets(endpoint: str) -> None:
    """Push `demo/broken-images` (6 of 20 images cut short) and `demo/no-rows`."""
    from huggingface_hub import HfApi, constants

    constants.HF_HUB_DISABLE_XET = True  # the Hub of the tests offers plain LFS, as self-hosted ones do
    api = HfApi(endpoint=endpoint, token=WRITE_TOKEN)
    for name, images in {"broken-images": _images(), "no-rows": []}.items():
        api.create_repo(f"demo/{name}", repo_type="dataset", exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), images)
            api.upload_folder(repo_id=f"demo/{name}", repo_type="dataset", folder_path=folder)


def _images() -> list[bytes]:
    import io

    from PIL import Image

    images = []
    for index in range(NUM_ROWS):
        buffer = io.BytesIO()
        image = Image.new("RGB", (64, 64), (index * 10, 0, 0))
        image.putpixel((0, 0), (0, 255, 0))  # what is the same all over is no page
        image.save(buffer, format="PNG")
        images.append(buffer.getvalue() if index >= NUM_BROKEN else buffer.getvalue()[:60])
    return images


def _write(folder: Path, images: list[bytes]) -> None:
    from datasets import Dataset, Features, Image, Value

    columns = {
        "query": [f"page {i}" for i in range(len(images))],
        "image": [{"bytes": data, "path": None} for data in images],
    }
    features = Features({"query": Value("string"), "image": Image()})
    (folder / "data").mkdir()
    Dataset.from_dict(columns, features=features).to_parquet(folder / "data" / "train-00000-of-00001.parquet")

"""What the trainer's image is without NVIDIA's libraries: PyTorch as it was built, on a stand-in for all of them."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the image for CPUs does not have.
NVIDIA = ("nvidia", "cuda", "triton")
PROGRAM = """
import torch
import torch.distributed
from transformers import BertConfig, BertModel

try:
    torch.cuda.is_current_stream_capturing()
except torch.AcceleratorError as error:
    print(str(error).splitlines()[0])
size = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=16)
bert = BertModel(BertConfig(**size))
bert(torch.ones(2, 4, dtype=int), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])).last_hidden_state.sum().backward()
torch.optim.AdamW(bert.parameters(), fused=True).step()
model = torch.nn.Linear(4, 4)
torch.linalg.svd(model(torch.ones(2, 4))).S.sum().backward()
torch.distributed.init_process_group("gloo", init_method="file://PLACE", rank=0, world_size=1)
torch.distributed.all_reduce(model.weight.grad)
print(torch.cuda.is_available(), torch.cuda.device_count(), bool(model.weight.grad.isfinite().all()))
"""
NO_DEVICE = "CUDA error: no CUDA-capable device is detected\n"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The installed packages without NVIDIA's, and the stand-in laid over them."""
    if shutil.which("cc") is None or shutil.which("readelf") is None:
        pytest.skip("cc or readelf is missing: the image makes the stand-in with gcc and binutils")
    folder = tmp_path / "packages"
    folder.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if package.name == "torch":  # whose libraries look for others beside where they seem to lie
            shutil.copytree(package, folder / package.name, copy_function=os.symlink)
        elif not package.name.startswith(NVIDIA):
            (folder / package.name).symlink_to(package)
    subprocess.run([ROOT / "trainer_image" / "no_device.sh", folder, folder], check=True)
    return folder


def test_pytorch_computes_on_cpu_where_no_library_of_nvidia_s_is_installed(packages: Path, tmp_path: Path) -> None:
    program = PROGRAM.replace("PLACE", str(tmp_path / "rendezvous"))

    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, NO_DEVICE + "False 0 True\n"), done.stderr

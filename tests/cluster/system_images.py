"""The two images that the cluster itself needs, each one layer of a few files: no image builder is involved."""

import hashlib
import io
import json
import tarfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.cluster.paths import CLUSTER

PREFIX = "finetune.test/"
BUSYBOX_PROGRAM = Path("/bin/busybox")
ARCHIVE = CLUSTER / "system-images.tar"
# Programs that tests call; busybox finds them by the name it is called by.
BUSYBOX_NAMES = ("sh", "cat", "echo", "httpd", "id", "mkdir", "nslookup", "sleep", "test", "wget")


class References(NamedTuple):
    """The names of both images; a tag is the hash of the contents: another checkout's image is not taken for ours."""

    pause: str
    busybox: str


@cache
def references(binaries: Path) -> References:
    """Return the names of the images that are made of these binaries and of this machine's busybox."""
    pause, busybox = (_layer_digest(layer)[:16] for layer in _layers(binaries))
    return References(f"{PREFIX}pause:{pause}", f"{PREFIX}busybox:{busybox}")


def write_archive(binaries: Path) -> Path:
    """Write both images into one archive that `ctr images import` understands, and return its path."""
    pause, busybox = _layers(binaries)
    names = references(binaries)
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    images = {names.pause: (pause, ["/pause"]), names.busybox: (busybox, ["/bin/sh"])}
    write_images(ARCHIVE, images)
    return ARCHIVE


def write_images(file: Path, images: dict[str, tuple[bytes, list[str]]]) -> None:
    """Write an archive of images, each by its name: its only layer, and the command that it runs."""
    with tarfile.open(file, "w") as archive:
        entries = [
            _add_image(archive, name=name, layer=layer, command=command) for name, (layer, command) in images.items()
        ]
        _add(archive, "manifest.json", json.dumps(entries).encode())


def _layers(binaries: Path) -> tuple[bytes, bytes]:
    links = {f"bin/{name}": "busybox" for name in BUSYBOX_NAMES}
    return (
        build_layer(programs={"pause": binaries / "pause"}, links={}),
        build_layer(programs={"bin/busybox": BUSYBOX_PROGRAM}, links=links),
    )


def _layer_digest(layer: bytes) -> str:
    return hashlib.sha256(layer).hexdigest()


def build_layer(*, programs: dict[str, Path], links: dict[str, str]) -> bytes:
    """Return the layer with these programs and links, by their paths without the first slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name, source in programs.items():
            _add(layer, name, source.read_bytes(), mode=0o755)
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            layer.addfile(link)
    return buffer.getvalue()


def _add_image(archive: tarfile.TarFile, *, name: str, layer: bytes, command: list[str]) -> dict[str, object]:
    digest = _layer_digest(layer)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "User": "65535:65535", "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config_bytes = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    _add(archive, config_name, config_bytes)
    _add(archive, f"{digest}.tar", layer)
    return {"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}


def _add(archive: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))

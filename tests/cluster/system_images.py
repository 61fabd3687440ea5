"""The two images that the cluster itself needs, each one layer of a few files: no image builder is involved."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.paths import CLUSTER

PAUSE = "finetune.test/pause:1"
BUSYBOX = "finetune.test/busybox:1"
ARCHIVE = CLUSTER / "system-images.tar"
# Programs that tests call; busybox finds them by the name it is called by.
BUSYBOX_NAMES = ("sh", "cat", "echo", "httpd", "id", "mkdir", "nslookup", "sleep", "test", "wget")


def write_archive(binaries: Path) -> None:
    """Write both images into one archive that `ctr images import` understands."""
    pause = _layer(programs={"pause": binaries / "pause"}, links={})
    links = {f"bin/{name}": "busybox" for name in BUSYBOX_NAMES}
    busybox = _layer(programs={"bin/busybox": Path("/bin/busybox")}, links=links)
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(ARCHIVE, "w") as archive:
        entries = [
            _add_image(archive, name=PAUSE, layer=pause, command=["/pause"]),
            _add_image(archive, name=BUSYBOX, layer=busybox, command=["/bin/sh"]),
        ]
        _add(archive, "manifest.json", json.dumps(entries).encode())


def _layer(*, programs: dict[str, Path], links: dict[str, str]) -> bytes:
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
    digest = hashlib.sha256(layer).hexdigest()
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


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))

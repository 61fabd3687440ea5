"""How long a change of our code takes until pods run it: `python -m benchmarks.code_change`.

Changes the API package, which both images hold, in a copy of this checkout, and has `python -m tests.cluster images`
build, push and pull what that changes; then a pod of each image prints what it finds. Needs the project's own cluster.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import report
from tests.stack.install import ROOT
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import find_target

NAMESPACE = "finetune-benchmark"
CHANGED = Path("crds/finetune_api/__init__.py")
LIMIT = "--timeout=120s"


def main() -> None:
    """Run the benchmark and print its figures."""
    target = find_target()  # the images of the checkout as it stands are there before the clock starts
    if not target.is_ours:
        raise SystemExit("KUBECONFIG: is set, but images are built for the project's own cluster only; unset it")
    kube = target.kubectl
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy_checkout(Path(folder) / "checkout")
        mark = secrets.token_hex(8)
        started = time.monotonic()
        with (checkout / CHANGED).open("a") as file:
            file.write(f'BENCHMARK_MARK = "{mark}"\n')
        images = build_images(checkout)
        built = time.monotonic()
        run_pods(kube, {name: images[name] for name in ("operator", "trainer")}, mark=mark)
        ran = time.monotonic()
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE, wait=False)
    find_target()  # the nodes have the images of the checkout again
    report(
        "code-change",
        [
            ("images built, pushed and on both nodes", built - started, "s", ""),
            ("a pod of each image ran the change", ran - built, "s", ""),
            ("from the change to pods that ran it", ran - started, "s", "under 60"),
        ],
    )


def copy_checkout(folder: Path) -> Path:
    """Copy what git knows of, as it lies in the checkout; a benchmark that is killed leaves no change in there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build_images(checkout: Path) -> dict[str, str]:
    """Return the references of the images of a checkout, by name; each is on every node."""
    command = [sys.executable, "-m", "tests.cluster", "images"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    references: dict[str, str] = json.loads(done.stdout)
    return references


def run_pods(kube: Kubectl, images: dict[str, str], *, mark: str) -> None:
    """Run a pod of each image to its end.

    Raises:
        SystemExit: one does not have the change.
    """
    kube.apply(*(build_pod(name, image) for name, image in images.items()))
    for name, image in images.items():
        kube.run("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", NAMESPACE, LIMIT)
        if (printed := kube.run("logs", name, "-n", NAMESPACE).strip()) != mark:
            raise SystemExit(f"the pod of {image} printed {printed!r}, not the change {mark!r}")


def build_pod(name: str, image: str) -> Manifest:
    """Return a pod that prints the change."""
    script = "import finetune_api; print(finetune_api.BENCHMARK_MARK)"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": image, "command": ["python", "-c", script]}],
        },
    }


if __name__ == "__main__":
    main()

"""`python -m release REGISTRY`: builds a release, pushes images and chart, and leaves its files in build/release."""

import argparse
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import finetune_api
from release import chart, evidence, images
from release.notes import release_notes, section
from tests.chart.helm import Helm
from tests.chart.program import MISSING, find
from tests.cluster.progress import say
from tests.stack.install import ROOT


def main() -> None:
    """Release the version of the checkout."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("registry", help="where images and chart go, for example ghcr.io/you; you are logged in there")
    release(parser.parse_args().registry.rstrip("/"))


def release(registry: str) -> Path:
    """Make all of it; return the folder with the files."""
    began, version, source = datetime.now(UTC), finetune_api.__version__, evidence.read_source()
    if (program := find()) is None:
        raise SystemExit(MISSING)
    folder = ROOT / "build" / "release" / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base, (operator, trainer, trainer_cpu) = images.push(registry, version)
    say("Chart, packages and what they are made of")
    helm = Helm(program, dict(os.environ))
    named = {"image": operator, "trainerImage": trainer}
    changes = section((ROOT / "CHANGELOG.md").read_text(), version)
    pushed = chart.push(helm, registry, version, named, changes=changes, folder=folder)
    uv = os.environ.get("UV", "uv")
    subprocess.run([uv, "build", "--quiet", "--no-create-gitignore", "--out-dir", folder], cwd=ROOT, check=True)
    evidence.write_sboms(uv, folder)
    all_images = (operator, trainer, trainer_cpu)
    notes = release_notes(version, changes=changes, images=all_images, chart=pushed)
    (folder / "NOTES.md").write_text(notes)
    statement = evidence.provenance(
        source,
        version=version,
        registry=registry,
        base_image=base,
        images=all_images,
        chart=pushed,
        files=sorted(folder.iterdir()),
        began=began,
        ended=datetime.now(UTC),
    )
    (folder / "provenance.json").write_text(json.dumps(statement, indent=2) + "\n")
    (folder / "SHA256SUMS").write_text(evidence.checksums(sorted(folder.iterdir())))
    if source.changed:
        say(f"{len(source.changed)} files are not committed: this is a trial, and provenance.json says so")
    say(f"{pushed.reference} {version}; its files are in {folder.relative_to(ROOT)}")
    return folder


if __name__ == "__main__":
    main()

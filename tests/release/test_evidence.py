import subprocess
from datetime import UTC, datetime
from pathlib import Path

from release.chart import Chart, sha256
from release.evidence import SBOMS, Source, checksums, provenance
from release.images import Pushed
from tests.stack.install import ROOT

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_provenance_names_what_was_made_with_digests_and_what_it_was_made_of(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_text("wheel")

    statement = provenance(
        Source(commit="c0ffee", changed=[" M README.md"]),
        version="1.2.0",
        registry="registry.example",
        base_image="python:3.11",
        images=[Pushed("registry.example/finetune-operator", "1.2.0", f"sha256:{'a' * 64}")],
        chart=Chart(wheel, "oci://registry.example/charts/finetune-operator", f"sha256:{'b' * 64}"),
        files=[wheel],
        began=AT,
        ended=AT,
    )

    assert statement["subject"] == [
        {"name": "registry.example/finetune-operator:1.2.0", "digest": {"sha256": "a" * 64}},
        {"name": "oci://registry.example/charts/finetune-operator:1.2.0", "digest": {"sha256": "b" * 64}},
        {"name": "a.whl", "digest": {"sha256": sha256(wheel)}},
    ]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["internalParameters"] == {"baseImage": "python:3.11", "uncommittedChanges": [" M README.md"]}
    assert definition["resolvedDependencies"] == [
        {"name": "source", "digest": {"gitCommit": "c0ffee"}},
        {"name": "uv.lock", "digest": {"sha256": sha256(ROOT / "uv.lock")}},
    ]


def test_checksums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "SHA256SUMS").write_text(checksums([tmp_path / "a", tmp_path / "b"]))

    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, stdout=-1)

    assert done.stdout == b"a: OK\nb: OK\n"


def test_the_sboms_of_the_images_list_what_their_dockerfiles_install() -> None:
    for name, dockerfile in (
        ("finetune-operator-image", "Dockerfile"),
        ("finetune-trainer-image", "trainer_image/Dockerfile"),
    ):
        (exporting,) = [line for line in (ROOT / dockerfile).read_text().splitlines() if "uv export" in line]
        assert " ".join(SBOMS[name]) in exporting

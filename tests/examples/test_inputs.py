"""The models and datasets of the examples, built at once and looked at."""

import hashlib
import math
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.inputs import cache
from examples.inputs.building import build_input, choose_inputs
from examples.inputs.debian_packages import unpack_packages
from examples.inputs.manuals import build_tables
from examples.inputs.page_drawing import Page, draw_page
from examples.inputs.pages import Split, build_rows, split_pages
from examples.inputs.sections import Section, choose_sections, parse_sections
from tests.hub import running_hub

ROOT = Path(__file__).parents[2]
RED_TABLE = Page(color="red", kind="table", place="top left", header="cyan")

HTML = """
<html><head><title>Manual</title><style>h1 {}</style></head><body>
<nav>Contents</nav> Before any heading.
<h1>Chapter 2. Package <i>management</i>&para;</h1>
<p>Package management is <b>what</b></p><p>dpkg does.</p><script>run()</script>
<h2>2.1.4. Holding back a package.</h2><pre>apt-mark
  hold</pre>
</body></html>
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of the pages example, built without a cache."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for entry in choose_inputs("pages"):
            build_input(entry, folder=folder)
    return folder


def hash_files(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def words(number: int) -> str:
    return " ".join(f"word{index}" for index in range(number))


def test_the_tiny_model_embeds_text_and_pages_into_64_dimensions_of_length_one(built: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(built / "models/demo/tiny-qwen3-vl"), device="cpu")

    embeddings = model.encode(["red table at the top left", draw_page(RED_TABLE, rng=random.Random(0))])

    assert model.modalities == ["text", "image", "video", "message"]
    assert embeddings.shape == (2, 64)
    assert [math.hypot(*embedding) for embedding in embeddings] == pytest.approx([1, 1])


def test_the_tiny_model_is_a_qwen3_vl_of_half_a_million_parameters(built: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(built / "models/demo/tiny-qwen3-vl")

    assert type(model).__name__ == "Qwen3VLModel"
    assert 400_000 < model.num_parameters() < 600_000


def test_the_tiny_models_bytes_depend_on_the_seed_and_the_sentences_only(tmp_path: Path) -> None:
    from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl

    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        build_tiny_qwen3_vl(tmp_path / name, sentences=["red table", "blue table"], seed=seed)

    first, again, other = (hash_files(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_building_the_tiny_model_leaves_torchs_random_numbers_alone(tmp_path: Path) -> None:
    import torch

    from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl

    before = torch.random.get_rng_state()

    build_tiny_qwen3_vl(tmp_path, sentences=["red table"])

    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_combination_of_the_evaluation_pages_is_trained_on() -> None:
    pages = split_pages()

    assert len(pages.held_out) == len(set(pages.held_out)) == 96
    assert set(Counter(pages.train).values()) == {4}
    assert len(set(pages.train)) + len(pages.held_out) == 6 * 4 * 4 * 4
    assert not set(pages.train) & set(pages.held_out)


def test_every_word_of_the_evaluation_pages_is_trained_on() -> None:
    pages = split_pages()

    trained, held_out = ({value for page in part for value in page} for part in (pages.train, pages.held_out))

    assert held_out <= trained


def test_the_seed_decides_which_pages_are_held_out() -> None:
    first: Split = split_pages(seed=0)

    assert split_pages(seed=0) == first
    assert split_pages(seed=1) != first


def test_equal_seeds_give_equal_rows_and_other_seeds_other_drawings() -> None:
    pages = [RED_TABLE, RED_TABLE._replace(kind="pie chart")]

    first, again, other = (build_rows(pages, seed=seed) for seed in (0, 0, 1))

    assert first == again
    assert [row["image"]["bytes"] for row in first] != [row["image"]["bytes"] for row in other]


@pytest.mark.parametrize(
    "other",
    [
        RED_TABLE._replace(color="blue"),
        RED_TABLE._replace(kind="bar chart"),
        RED_TABLE._replace(place="bottom left"),
        RED_TABLE._replace(header="pink"),
    ],
)
def test_pages_that_differ_in_one_word_look_different(other: Page) -> None:
    image, other_image = (draw_page(page, rng=random.Random(0)) for page in (RED_TABLE, other))

    assert image.size == other_image.size == (96, 128)
    assert image.tobytes() != other_image.tobytes()


def test_a_kind_that_cannot_be_drawn_is_refused_with_those_that_can() -> None:
    with pytest.raises(ValueError, match="'poem' cannot be drawn; take one of bar chart, pie chart, line chart, table"):
        draw_page(RED_TABLE._replace(kind="poem"), rng=random.Random(0))


def test_the_pages_load_as_a_dataset_of_questions_and_images(built: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    splits = load_dataset(str(built / "datasets/demo/pages"), cache_dir=str(tmp_path))

    assert {name: (len(split), split.column_names) for name, split in splits.items()} == {
        "train": (1152, ["query", "image"]),
        "eval": (96, ["query", "image"]),
    }
    assert len(set(splits["eval"]["query"])) == 96
    assert splits["eval"][0]["image"].size == (96, 128)


def test_a_manual_is_cut_into_headings_without_numbers_and_texts_without_their_heading() -> None:
    assert parse_sections(HTML) == [
        Section("Package management", "is what dpkg does."),
        Section("Holding back a package", "apt-mark hold"),
    ]


def test_sections_are_left_out_if_short_or_there_already() -> None:
    long_enough = Section("Package management", words(40))
    same_heading = Section("package Management", "Other " + words(40))
    same_text = Section("Managing packages", words(40))
    short_text = Section("Short text", words(39))
    short_heading = Section("Packages", "More " + words(40))

    chosen = choose_sections([long_enough, same_heading, same_text, short_text, short_heading])

    assert chosen == [long_enough]


def test_held_out_headings_are_queries_for_their_section_among_all_sections() -> None:
    sections = [Section(f"heading {number}", f"text {number}") for number in range(8)]

    tables = build_tables(sections)

    texts = {row["id"]: row["text"] for row in tables["corpus", "test"]}
    queries = {row["id"]: row["text"] for row in tables["queries", "test"]}
    found = [Section(queries[row["query_id"]], texts[row["corpus_id"]]) for row in tables["relevant", "test"]]
    trained, held_out = (
        [Section(row["heading"], row["section"]) for row in tables["pairs", split]] for split in ("train", "test")
    )
    assert len(found) == len(queries) == 2
    assert found == held_out
    assert sorted(found + trained) == sections
    assert list(texts.values()) == [section.text for section in sections]
    assert build_tables(sections) == tables


def test_unpacked_packages_are_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    unpack_packages(["no-such-package"], folder=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_apt_get_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(RuntimeError, match="apt-get: is not on this machine"):
        unpack_packages(["no-such-package"], folder=tmp_path / "root")


def test_what_was_built_is_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builds: list[Path] = []

    first, again = (cache.ensure_built("pages", builds.append) for _ in range(2))

    assert first == again == tmp_path / "finetune-operator/inputs" / f"pages-{cache.source_key()}"
    assert len(builds) == 1


def test_a_build_that_breaks_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build_half(folder: Path) -> None:
        (folder / "half").write_text("a file")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cache.ensure_built("pages", build_half)

    assert list((tmp_path / "finetune-operator/inputs").iterdir()) == []


def push(folder: Path, *, endpoint: str, token_file: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because the Hub's client reads the environment at import."""
    arguments = [str(folder), "--endpoint", endpoint, "--token-file", str(token_file)]
    return subprocess.run(
        [sys.executable, "-m", "examples.inputs", "push", *arguments],
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(token_file.parent)},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_second_push_of_the_same_files_commits_nothing(built: Path, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with running_hub() as hub:
        token_file.write_text(f"{hub.write_token}\n")

        pushes = [push(built, endpoint=hub.endpoint, token_file=token_file) for _ in range(2)]

        commits = hub.commits("demo/pages", repo_type="dataset"), hub.commits("demo/tiny-qwen3-vl")
    assert [(done.returncode, done.stderr) for done in pushes] == [(0, ""), (0, "")]
    assert [len(history["commits"]) for history in commits] == [2, 2]  # creation, and the files
    assert {"README.md", "model.safetensors", "modules.json"} <= set(commits[1]["commits"][0]["files"])


def test_a_refused_push_names_repository_hub_and_reason(built: Path, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with running_hub() as hub:
        token_file.write_text(hub.read_token)

        done = push(built, endpoint=hub.endpoint, token_file=token_file)

        expected = f"demo/tiny-qwen3-vl: cannot be pushed to {hub.endpoint} because 403 Forbidden"
    assert done.returncode == 1
    assert done.stderr.startswith(expected)
    assert hub.read_token not in done.stderr

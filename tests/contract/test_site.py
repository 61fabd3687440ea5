"""docs/hooks/links.py: links as the forge reads them, in the site. `make lint` builds all of it and checks each one."""

from pathlib import Path

from mkdocs.config import load_config
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.hooks import links
from tests.contract.pages import ROOT


def turned(source: str, markdown: str) -> tuple[str, list[str]]:
    """Return what becomes of the Markdown of a page, and what the site has besides the page."""
    config = load_config(str(ROOT / "mkdocs.yml"), plugins=[])
    config.plugins._current_plugin = None  # mkdocs sets it around its plugins' hooks
    uri = links.PAGES.get(source) or Path(source).relative_to("docs").as_posix()
    file = File.generated(config, uri, abs_src_path=str(ROOT / source))
    files = Files([file])
    text = links.on_page_markdown(markdown, page=Page(None, file, config), config=config, files=files)
    return text, sorted(set(files.src_uris) - {uri})


def test_pages_link_to_pages_wherever_they_lie() -> None:
    assert turned("README.md", "[a](docs/faq.md) ![b](docs/how-it-works.svg) [c](docs/adr) [d](#here)") == (
        "[a](faq.md) ![b](how-it-works.svg) [c](adr/README.md) [d](#here)",
        [],
    )
    assert turned("docs/tutorial/laptop.md", "[a](../../README.md#try) [b](../faq.md) [c](https://a.example/)") == (
        "[a](../index.md#try) [b](../faq.md) [c](https://a.example/)",
        [],
    )


def test_other_files_and_folders_of_the_checkout_become_part_of_the_site() -> None:
    assert turned("docs/faq.md", "[a](../examples/lora.yaml) [b](../examples/policies)") == (
        "[a](source/examples/lora.yaml.txt) [b](source/examples/policies.txt)",
        ["source/examples/lora.yaml.txt", "source/examples/policies.txt"],
    )


def test_what_is_not_there_stays_as_it_is_for_the_strict_build_to_refuse() -> None:
    assert turned("docs/faq.md", "[a](../nowhere.md) [b](nowhere.md)") == ("[a](../nowhere.md) [b](nowhere.md)", [])

"""What pages link to outside docs/ is part of the site, too, so that links as the forge reads them work in both places.

The README and its kind are pages; any other file of the checkout is shown as plain text, a folder as the names of its
files. What is linked and not there stays as it is, and fails the strict build.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages that lie at the top of the checkout, and what they are called in the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
RELATIVE_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])[^)#\s]+")


def on_config(config: MkDocsConfig) -> None:
    """List in the navigation what a pattern there stands for."""
    (about,) = [entry["About"] for entry in config.nav or [] if "About" in entry]
    decisions = about[-1]
    decisions["Decisions"] = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.glob(decisions["Decisions"]))]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie at the top of the checkout."""
    for source, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn each relative link, which counts from where the page lies in the checkout, into one within the site."""
    folder = Path(str(page.file.abs_src_path)).parent

    def turned(match: re.Match[str]) -> str:
        target = (folder / match[0]).resolve()
        if (target / "README.md").exists():
            target /= "README.md"
        if not target.exists():
            return match[0]
        return os.path.relpath(_uri_in_site(target, config, files), Path(page.file.src_uri).parent)

    return RELATIVE_LINK.sub(turned, markdown)


def _uri_in_site(target: Path, config: MkDocsConfig, files: Files) -> str:
    """Return what a file of the checkout is called in the site, adding it where it is none of the documentation."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    source = target.relative_to(ROOT).as_posix()
    if source in PAGES:
        return PAGES[source]
    uri = f"source/{source}.txt"  # as text, which every browser shows
    if uri not in files.src_uris and target.is_dir():
        files.append(File.generated(config, uri, content="\n".join(sorted(path.name for path in target.iterdir()))))
    elif uri not in files.src_uris:
        files.append(File.generated(config, uri, abs_src_path=str(target)))
    return uri

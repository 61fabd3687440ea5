"""Writes PDF files of plain text, for tests of what reads them."""

import textwrap
from collections.abc import Sequence

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def make_pdf(texts: Sequence[str]) -> bytes:
    """Return a file with one page per text; texts are ASCII without parentheses and backslashes."""
    pages = range(4, 4 + 2 * len(texts), 2)
    kids = " ".join(f"{number} 0 R" for number in pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} /MediaBox [0 0 595 842] >>".encode(),
        FONT,
    ]
    for number, text in zip(pages, texts, strict=True):
        resources = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {number + 1} 0 R >>".encode())
        objects.append(_contents(text))
    return _file(objects)


def _contents(text: str) -> bytes:
    lines = "".join(f"({line}) Tj T*\n" for line in textwrap.wrap(text, width=80))
    stream = f"BT /F1 12 Tf 14 TL 40 800 Td\n{lines}ET\n"
    return f"<< /Length {len(stream)} >>\nstream\n{stream}endstream".encode()


def _file(objects: Sequence[bytes]) -> bytes:
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{entries}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return content + end.encode() + f"startxref\n{len(content)}\n%%EOF\n".encode()

"""What bytes are that are no image that is read, by how they begin."""

import re

#: Beginnings by format; `.` stands for any byte.
_BEGINNINGS = {
    "AVIF": rb"....ftyp(avif|avis)",
    "HEIC": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
    "JPEG 2000": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "HTML": rb"\s*(<!--.*?-->\s*)?<(!DOCTYPE html|html|head|body)",
    "PDF": rb"%PDF-",
    "PostScript": rb"%!PS",
    "ICO": rb"\x00\x00\x01\x00",
    "PSD": rb"8BPS",
    "WAV audio": rb"RIFF....WAVE|RF64....WAVE",
    "MP3 audio": rb"ID3|\xff[\xfb\xf3\xf2]",
    "FLAC audio": rb"fLaC",
    "Ogg audio": rb"OggS",
    "AIFF audio": rb"FORM....AIF",
    "M4A audio": rb"....ftypM4A",
    "MP4 video": rb"....ftyp",
    "Matroska or WebM video": rb"\x1a\x45\xdf\xa3",
    "AVI video": rb"RIFF....AVI ",
    "MPEG video": rb"\x00\x00\x01[\xba\xb3]",
    "a ZIP archive": rb"PK\x03\x04",
    "gzip": rb"\x1f\x8b",
    "JSON": rb"\s*[\[{]\s*[\"\[{\]}]",
    "XML": rb"\s*<\?xml",
    "a pointer of Git LFS": rb"version https://git-lfs",
}
_FORMATS = {name: re.compile(pattern, re.DOTALL | re.IGNORECASE) for name, pattern in _BEGINNINGS.items()}
_REMEDIES = {
    "HTML": "the page of an error, perhaps; fetch the image itself",
    "PDF": "make an image of each page",
    "a ZIP archive": "unpack it",
    "a pointer of Git LFS": "fetch the file with `git lfs pull`",
}
IMAGES = ("AVIF", "HEIC", "JPEG 2000", "JPEG XL", "SVG", "PostScript", "ICO", "PSD")
_LOOKED_AT = 2000


def format_of(content: bytes) -> str | None:
    """Return what content is that is no image that is read, None if its beginning says nothing."""
    head = content[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    return next((name for name, pattern in _FORMATS.items() if pattern.match(head)), None)


def remedy_for(name: str) -> str:
    """Return what to do with content of a format."""
    if name in IMAGES:
        return "convert it to PNG, JPEG or WEBP"
    return _REMEDIES.get(name, "only images can be read here")

"""formats: tell by its first bytes what a file is, and name what publishers and proxies send in place of one."""

from __future__ import annotations

import re

FIRST_BYTES = 512
GZIP, PARQUET, ZIP, CSV = ".gz", ".parquet", ".zip", ".csv"

_MAGIC = {b"\x1f\x8b": GZIP, b"PAR1": PARQUET, b"PK\x03\x04": ZIP}
_NAMES = {GZIP: "a file compressed by gzip", PARQUET: "a Parquet file", ZIP: "a zip archive"}
_HTML = rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype\s+html|<html)"
_IMPOSTORS = (
    (re.compile(rb"version https://git-lfs\.github\.com/"), "a Git LFS pointer, not the file that it stands for"),
    (re.compile(_HTML, re.IGNORECASE | re.DOTALL), "an HTML page, not a file"),
    (re.compile(rb"<\?xml|<Error\b", re.IGNORECASE), "an XML error page, not a file"),
    (re.compile(rb"[{\[]"), "a JSON answer, not a file"),
    (re.compile(rb"PARE"), "an encrypted Parquet file"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "a file compressed by zstd"),
    (re.compile(rb"BZh"), "a file compressed by bzip2"),
    (re.compile(rb"\xfd7zXZ"), "a file compressed by xz"),
)


def format_of(start: bytes) -> str:
    """Return the suffix of the format that the first bytes have; .csv if they are those of no other."""
    return next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), CSV)


def impostor(start: bytes, suffix: str) -> str | None:
    """Return what a file is whose first bytes are not those of its suffix, in words; None if nothing is known of it."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, words in _IMPOSTORS:
        if pattern.match(text):
            return words
    found = format_of(start)
    return _NAMES.get(found) if found != suffix else None


def kind(start: bytes) -> str:
    """Return what content of no known format is, without a word of it: it may be an internal answer."""
    return "text" if start.removeprefix(b"\xef\xbb\xbf").isascii() and b"\0" not in start else "binary data"


def twice(inner: bytes) -> str | None:
    """Return what is wrong with what a gzip file holds, by its first bytes; None if it may be CSV."""
    if format_of(inner) == GZIP:
        return "compressed by gzip twice"
    found = impostor(inner, CSV)
    return f"compressed by gzip, {found}" if found else None

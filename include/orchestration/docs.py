"""docs: a Dag's Markdown as Airflow's window can show it."""

from __future__ import annotations

import re

_CODE = re.compile(r"`([^`]+)`")
_TERMS = re.compile(r"^- `[^`]+`(?:, `[^`]+`)*", re.MULTILINE)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def for_the_ui(markdown: str) -> str:
    """Return the Markdown with emphasis in place of inline code, which is strong where a list item begins with it.

    Airflow 3.3.2 pads inline code by 8 pixels on each side, so that it covers the lines above and below.
    """
    bold_terms = _TERMS.sub(lambda terms: _CODE.sub(lambda code: f"**{_literal(code[1])}**", terms[0]), markdown)
    return _CODE.sub(lambda code: f"*{_literal(code[1])}*", bold_terms)


def _literal(text: str) -> str:
    return _PUNCTUATION.sub(r"\\\1", text)

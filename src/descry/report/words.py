"""Text of others made safe to be shown: what cannot be seen, or turns what follows round, is written out."""

from __future__ import annotations

import unicodedata
from typing import Any

_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(value: Any) -> str:
    """Text in which control characters, lone surrogates, byte-order marks and marks of writing direction appear as
    their escapes."""
    return "".join(_seen(c) for c in str(value))


def _seen(c: str) -> str:
    hidden = unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"
    return f"\\u{ord(c):04x}" if hidden or c in _TURNING or c in "\ufeff\u2028\u2029\ufffe\uffff" else c

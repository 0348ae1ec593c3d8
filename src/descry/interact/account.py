"""What the account (audit) says of a search: that it was made, against which rows, by which model; and commitments.

With the inquiry's key each commitment can be checked against the inquiry: that this picture, these words and this
ranking are what was searched for and shown. Without it they are noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..audit import commitment
from ..query import Query
from .rounds import Round


def ref_of(key: bytes) -> str:
    """How the account names an inquiry: the same in all its lines, and nothing without the key."""
    return commitment(key, "inquiry", "")[:32]


def searched(key: bytes, made: Round) -> dict[str, Any]:
    """The facts of a round's line."""
    where = {"inquiry": ref_of(key), "round": made.number, "parent": made.parent}
    return where | asked(key, made.query, made.results, made.snapshot, made.model)


def asked(key: bytes, query: Query, results: Sequence[tuple[int, float]], snapshot: str, model: str) -> dict[str, Any]:
    """The facts of any search. results: (item id, score), best first. snapshot: names the rows. model: fingerprint."""
    said = query.to_json()
    pictures = [row["sha256"] for name in ("sketches", "photos") for row in said[name]]
    return {
        "asked_with": query.kind,
        "pictures": [commitment(key, "picture", sha) for sha in pictures],
        "query": commitment(key, "query", canonical(said)),
        "results": commitment(key, "results", canonical([[i, s] for i, s in results])),
        "shown": len(results),
        "gallery": snapshot,
        "model": model,
    }


def canonical(value: Any) -> str:
    """JSON in one spelling, so that it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

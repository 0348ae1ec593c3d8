"""Redaction is complete in any spelling, keeps sentences, and takes time in proportion to the text."""

from __future__ import annotations

import unicodedata

import pytest

from descry.report.redaction import GONE, Redactor

FILE = "/home/Jané Doe/evidence box/Zoë Smith_0042 c1.JPG"
SPELLINGS = [
    FILE, FILE.upper(), FILE.lower(), FILE.replace("/", "\\"), "C:" + FILE.replace("/", "\\"),
    "Zoë Smith_0042 c1.JPG", "zoë smith_0042 c1.jpg", "ZOË SMITH_0042 C1", "Zoë Smith_0042 c1", "Zoë-Smith-0042-c1",
    "Zoë.Smith.0042.c1.jpeg", "Zoë Smith 0042 c1 (2).jpg", "(Zoë Smith_0042 c1.JPG)", "“Zoë Smith_0042 c1”",
    "file:///home/Jan%C3%A9/Zoë Smith_0042 c1.JPG", "evidence box/Zoë Smith_0042 c1", "Evidence Box", "evidence_box",
    unicodedata.normalize("NFD", "Zoë Smith_0042 c1.JPG"), unicodedata.normalize("NFD", FILE),
]  # fmt: skip
UNKNOWN = [
    "/home/John Roe/secret plan.jpg", "/home/John Roe", "C:\\Users\\John Roe\\plan.png", "C:\\Users\\John Roe",
    "\\\\server\\John Roe\\plan", "~/John Roe/plan.jpg", "./John Roe/plan", "../John/Roe", "John/Roe/plan.jpg",
    "file:///John/Roe", "John_Roe.jpg", "smb://john/roe", "/John", "john.roe.mp4", "/Volumes/John van der Roe/x",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_name_goes_in_any_spelling(spelling) -> None:
    said = Redactor([FILE])(f"see {spelling}, and the red coat").casefold()
    assert GONE in said
    for secret in ("zo", "smith", "0042", "doe", "jan", "evidence"):
        assert secret not in said, said
    assert said.endswith("and the red coat")


@pytest.mark.parametrize("path", UNKNOWN)
def test_what_looks_like_a_path_goes_with_its_blanks(path) -> None:
    said = Redactor([])(f"I saw {path} and the red coat").casefold()
    for secret in ("john", "roe", "plan", "users", "van", "der"):
        assert secret not in said, said
    assert said.startswith("i saw (path)")
    assert said.endswith("and the red coat")


@pytest.mark.parametrize("text", [
    "A man in a grey/blue coat, n/a, and/or 1/2 of them.", "at 13:30, 3.5 m away; 12/11/2026",
    "he's well-known: e.g. here",
    "Zwei Männer – “Jacke”, rot/blau? no: red", "p. 12, 5 p.m.",
])  # fmt: skip
def test_sentences_stay(text) -> None:
    said = Redactor([FILE])(text)
    assert said == text or said == text.replace("rot/blau?", GONE)


def test_it_is_done_once_and_for_all() -> None:
    redact = Redactor([FILE, "/x/path.jpg"])
    for text in [*SPELLINGS, *UNKNOWN]:
        assert redact(redact(f"a {text} b")) == redact(f"a {text} b")


@pytest.mark.parametrize("piece", ["a", "/", "\\", ".", "_", "a.", "a/", "a b ", "/a ", "Zoë ", "Smith_", "e\u0301"])
def test_every_character_is_looked_at_a_bounded_number_of_times(piece, monkeypatch) -> None:
    """Counted by the words and tokens that are looked at, for texts of two lengths."""
    from descry.report import redaction

    calls = 0
    real = redaction._folded

    def folded(word: str) -> str:
        nonlocal calls
        calls += 1 + len(word)
        return real(word)

    redact = Redactor([FILE] * 100)
    monkeypatch.setattr(redaction, "_folded", folded)
    costs = []
    for length in (2_000, 20_000):
        calls = 0
        redact((piece * length)[:length])
        costs.append(calls)
    assert costs[1] <= 11 * costs[0] + 200

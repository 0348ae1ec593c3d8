"""Commands that read a data set's texts name the words that the model does not know."""

from __future__ import annotations

from descry.text import word_level
from descry.training.start import tell_unknown


def test_unknown_words_are_named_with_their_share(capsys) -> None:
    words = word_level(["a red jacket", "a blue jacket"])
    tell_unknown(words, ["a khaki jacket", "a red jacket", "khaki tennis", ""])
    said = capsys.readouterr().err
    assert "2 words" in said
    assert "67 %" in said
    assert said.index("'khaki'") < said.index("'tennis'")
    tell_unknown(words, ["a red jacket"])
    assert capsys.readouterr().err == ""

"""Caption statistics, the cache of crops, the file checks, and that data files never import torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from descry.data import module
from descry.data.check import caption_statistics, commonest
from descry.data.table import Row, Table
from descry.images import decodes


def test_caption_statistics(tmp_path) -> None:
    rows = (
        Row("train", "1", "a.jpg", captions=("one two three", "one"), back_translations=("x", "y")),
        Row("train", "1", "b.jpg", captions=("one",)),
        Row("test", "2", "c.jpg"),
        Row("test", "2", sketch="c.png", captions=("a b c d",)),
    )
    table = Table("t", tmp_path, rows)
    train, test = caption_statistics(table, lambda texts: [len(t.split()) + 2 for t in texts], limit=4)
    assert (train.split, train.count, train.different, train.most_words, train.back_translated) == ("train", 3, 2, 3, 2)
    assert train.mean_words == pytest.approx(5 / 3)
    assert (train.most_tokens, train.limit, train.cut) == (5, 4, 1)
    assert (test.count, test.cut, test.mean_tokens) == (1, 1, 6.0)
    assert caption_statistics(table)[0].cut is None
    assert commonest(table, 1) == [("one", 2)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_decoding_sees_whole_and_truncated_pictures(tmp_path, kind) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (128, 64, 3), np.uint8)).save(path, kind)
    assert decodes(path) == ""
    path.write_bytes(path.read_bytes()[:-1500])
    assert decodes(path) == "corrupt"
    assert decodes(tmp_path / "absent.jpg") == "missing"


def test_importing_every_reader_imports_no_torch() -> None:
    code = (
        "import sys; from descry.data import DATASETS, module; [module(n) for n in DATASETS];"
        "import descry.data.check, descry.data.leaks, descry_people.miniature;"
        "import descry.data.sketches, descry.data.check;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cards_give_a_source_for_every_number() -> None:
    card = module("cuhk-pedes").CARD
    assert card.expected["train photos"].number == 34_054
    total = sum(card.expected[f"{s} captions"].number for s in ("train", "val", "test"))
    assert total == 80_440
    pairs = sum(module(n).CARD.expected["train captions"].number for n in ("cuhk-pedes", "icfg-pedes", "rstpreid"))
    tri = module("tri-pedes")
    assert pairs == tri.CARD.expected["train captions"].number == 139_810
    assert tri.CARD.expected["train ids"].number == 17_806
    assert sum(e.number for what, e in tri.CARD.expected.items() if what.endswith("captions")) == 175_972
    assert tri.expected(parts=("RSTP",))["test sketches"].number == 1_000
    assert all(e.source for n in ("market-sketch-1k", "pku-sketch") for e in module(n).CARD.expected.values())

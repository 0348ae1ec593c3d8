"""Near-duplicates across sets: found through resizing and recompression, not between other people; identities leave
evaluation.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from descry.data import module, read
from descry.data.leaks import BITS, DCT, find_leaks, load_leaks, perceptual_hash, without_leaks
from descry.errors import DataError
from descry.images import load


def table(name, root, **options):
    return module(name).table(root, **options)


def test_the_cosine_transform_is_the_textbook_one() -> None:
    """Against the sum of its definition, and a constant picture has only its first coefficient."""
    x = np.random.default_rng(0).random((32, 32))
    slow = sum(
        x[m, n] * np.cos(np.pi * 3 * (2 * m + 1) / 64) * np.cos(np.pi * 5 * (2 * n + 1) / 64)
        for m in range(32)
        for n in range(32)
    )
    assert (DCT @ x @ DCT.T)[3, 5] == pytest.approx(slow, rel=1e-4)
    flat = DCT @ np.ones((32, 32)) @ DCT.T
    assert np.abs(flat).sum() == pytest.approx(flat[0, 0], rel=1e-4)


def test_the_hash_survives_resizing_and_recompression(drawn, tmp_path) -> None:
    paths = sorted(drawn("rstpreid", "data_captions").glob("imgs/*.jpg"))[::3]
    for path in paths:
        with Image.open(path) as image:
            code = perceptual_hash(image)
            image.resize((96, 200), Image.Resampling.BICUBIC).save(tmp_path / "again.jpg", quality=60)
        with Image.open(tmp_path / "again.jpg") as again:
            assert (code != perceptual_hash(again)).sum() <= 4
    codes = [perceptual_hash(Image.open(p)) for p in paths]
    apart = [(a != b).sum() for i, a in enumerate(codes) for b in codes[:i]]
    assert code.shape == (BITS,)
    assert np.median(apart) > 12


@pytest.fixture
def planted(copied, drawn):
    """CUHK-PEDES whose training set holds two test photographs of RSTPReid, one of them resized."""
    root, other = copied("cuhk-pedes", "reid_raw"), drawn("rstpreid", "data_captions")
    source = sorted(other.glob("imgs/0006_*.jpg"))
    target = sorted(root.glob("imgs/cam_a/*.jpg")), sorted(root.glob("imgs/CUHK01/*.jpg"))
    target[0][0].write_bytes(source[0].read_bytes())
    with Image.open(source[1]) as image:
        image.resize((100, 210)).save(target[1][0], quality=80)
    return table("cuhk-pedes", root), table("rstpreid", other)


def pixels(paths: list[str]) -> np.ndarray:
    """Stands in for an embedding: centred grey pixels as unit rows."""
    rows = np.stack([load(p, (48, 24)).astype(np.float32).mean(0).ravel() for p in paths])
    rows -= rows.mean(1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_planted_photographs_are_found_and_nothing_else_with_an_embedding(planted) -> None:
    found = find_leaks(*planted, embed=pixels, least_cosine=0.98, threads=1)
    assert {p.b for p in found.pairs} == {"imgs/0006_c1_0001.jpg", "imgs/0006_c2_0001.jpg"}
    assert found.identities() == {"test": ("6",)}
    assert all(p.bits <= 8 and p.cosine is not None and p.cosine >= 0.98 for p in found.pairs)
    assert find_leaks(*planted, embed=lambda paths: -pixels(paths) if "cuhk" in paths[0] else pixels(paths)).pairs == ()


def test_a_copy_within_one_set_is_found_across_its_splits(copied) -> None:
    root = copied("icfg-pedes", "hyphen")
    assert {p.b for p in find_leaks(table("icfg-pedes", root), table("icfg-pedes", root), most_bits=0).pairs} == set()
    train, test = root / "imgs/train/0002/0002_001.jpg", root / "imgs/test/0005/0005_002.jpg"
    test.write_bytes(train.read_bytes())
    found = find_leaks(table("icfg-pedes", root), table("icfg-pedes", root), most_bits=0)
    assert [(p.a_pid, p.b_pid, p.bits) for p in found.pairs] == [("2", "5", 0)]


def test_evaluation_leaves_the_identities_out(planted, drawn, tmp_path) -> None:
    find_leaks(*planted, embed=pixels, threads=1).save(tmp_path / "leaks.json")
    leaks = load_leaks(tmp_path / "leaks.json")
    bench = read("rstpreid", drawn("rstpreid", "data_captions")).test["text"]
    clean = without_leaks(bench, leaks)
    assert (len(bench.probes), len(bench.photos)) == (20, 10)
    assert (len(clean.probes), len(clean.photos)) == (10, 5)
    assert {p.pid for p in clean.probes} == {1}
    assert clean.fingerprint() != bench.fingerprint()


def test_ignore_sets_are_renumbered(drawn) -> None:
    from descry.data.leaks import Leaks, Pair

    bench = read("tri-pedes:parts=RSTP", drawn("tri-pedes", "imgs-sketch")).test["sketch"]
    gone = bench.photos[0]
    name = (
        gone.path.split("tri-pedes0/set/")[-1]
        if "tri-pedes0/set/" in gone.path
        else "/".join(gone.path.split("/")[-3:])
    )
    clean = without_leaks(bench, Leaks("a", "b", (Pair("x", name, "1", "2", "train", "test", 0),)))
    assert 0 < len(clean.probes) < len(bench.probes)
    for probe in clean.probes:
        path = probe.query.sketches[0].value.replace("imgs-sketch", "imgs")
        assert [clean.photos[i].path for i in probe.ignore] == [path]


def test_a_list_of_another_kind_is_refused(tmp_path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match="is not a list of leaks"):
        load_leaks(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="format 9"):
        load_leaks(tmp_path / "x.json")

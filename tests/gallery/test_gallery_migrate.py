"""Moving a gallery to Milvus: resumable, counted, compared, and its answers say that they are approximate."""

from __future__ import annotations

import pytest

from descry.errors import IndexMismatch, UsageError
from descry.gallery import Gallery
from descry.query import Filters, Query

from .plain_model import PlainModel, draw

pytest.importorskip("pymilvus", reason="pymilvus is not installed (pip install -e '.[milvus]')")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")


def test_a_gallery_is_copied_completed_and_searched(tmp_path, crops, model):
    from descry.gallery.migrate import migrate

    there = f"milvus:{tmp_path / 'm.db'}"
    with Gallery.create(tmp_path / "g", model) as local:
        local.index(crops)
        local.store.release()
        first = migrate(tmp_path / "g", there, "my crops")
        assert (first.total, first.copied, first.present) == (24, 24, 0)
        draw(crops / "cam0" / "p000.png", 500)
        (crops / "cam1" / "p001.png").unlink()
        draw(crops / "new.png", 501)
        local.index(crops)
        local.store.release()
        again = migrate(tmp_path / "g", there, "my crops")
        assert (again.total, again.copied, again.present, again.removed) == (24, 2, 22, 1)
        query = Query(photos=str(crops / "cam1" / "p005.png"), unwanted="a hat")
        here = local.search(query, 24)
        with Gallery.open(f"{there}#my_crops", model) as remote:
            found = remote.search(query, 24)
            assert found.ids == here.ids
            assert (found.exact, found.considered) == (False, 24)
            assert "approximate: ranked among 24 candidates" in found.note
            few = remote.search(query.replace(filters=Filters(path="cam0/*")), 24)
            assert len(few) == 12
        with pytest.raises(IndexMismatch):
            Gallery.open(f"{there}#my_crops", PlainModel("other", 1))


@pytest.mark.parametrize("address", ["postgres://x", "milvus://h:1#bad name"])
def test_addresses_that_cannot_be_meant(address):
    from descry.gallery.milvus import parse

    with pytest.raises(UsageError, match="milvus://HOST:PORT"):
        parse(address)

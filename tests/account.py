"""A small gallery with an inquiry, for the tests of reports and purges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from descry.gallery import Gallery
from descry.gallery.scan import Rows
from descry.gallery.sources import Sources
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import Finding, InquiryStore
from descry.query import Filters, Query
from gallery.plain_model import PlainModel, draw

NAME = "north gate, Tuesday"
NOTE = "the same bag as the witness drew"
WORDS = "chartreuse windbreaker"


def sketch(seed: int = 7) -> bytes:
    """A PNG that is long enough to be kept on several pages."""
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def crop(folder: Path, i: int) -> Path:
    """A crop of noise, so that no two look alike; its name says camera and time."""
    pixels = np.random.default_rng(1000 + i).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    path = folder / f"cam{i % 2}" / f"p{i:03d}_202611{i % 28 + 1:02d}T120000.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make(root: Path, count: int = 24) -> Path:
    """crops/ and gallery/ below root, with one file that is no picture; the gallery's folder."""
    for i in range(count):
        crop(root / "crops", i)
    draw(root / "crops" / "cam0" / "tiny.png", 1, (4, 4))
    with Gallery.create(root / "gallery", PlainModel()) as gallery:
        sources = Sources("dirname", r"(\d{8}T\d{6})", "", "")
        gallery.index(root / "crops", sources=sources)
        assert len(gallery) == count
    return root / "gallery"


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Gallery, InquiryStore]]:
    """The gallery and its inquiries."""
    with Gallery.open(folder) as gallery:
        store = InquiryStore(folder)
        try:
            yield gallery, store
        finally:
            store.close()


def ask(gallery: Gallery, store: InquiryStore, name: str = NAME, **query: Any) -> Session:
    """An inquiry of one round."""
    session = Session(Rows(gallery.store, gallery.snapshot()), PlainModel(), Inquiry(name), store, 20)
    session.ask(Query(**(query or {"sketches": sketch(), "wanted": WORDS})))
    return session


def converse(gallery: Gallery, store: InquiryStore, name: str = NAME) -> Session:
    """Three rounds with a mark and filters, a branch, and two findings."""
    session = ask(gallery, store, name)
    first = session.inquiry.current
    session.mark(like=[first.ids[3]], unlike=[first.ids[0]])
    session.go(1)
    session.ask(first.query.replace(filters=Filters(("cam1",), datetime(2026, 11, 1), None, "*p*")), "filters")
    session.go(2)
    for item, verdict in ((first.ids[1], "worth following"), (first.ids[5], "set aside")):
        about = gallery.items([item])[0]
        store.find(name, Finding(item, verdict, NOTE, 1, about.sha256))
    return session

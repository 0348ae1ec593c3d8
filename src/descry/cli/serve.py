"""descry serve: the page of a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from ..errors import Bound


def serve(
    gallery: tyro.conf.Positional[Path],
    /,
    model: str = "",
    port: Annotated[int, Bound(0, 65_535)] | None = None,
    browser: Annotated[bool, tyro.conf.arg(help="open the browser (--no-browser for scripts)")] = True,
    folder: tuple[Path, ...] = (),
) -> int:
    """Serve a gallery as a web page: draw, describe, refine. Only this machine can reach it.

    Args:
        gallery: a gallery folder, with --folder a new one is made where there is none; or the address of a PostgreSQL
            store (postgresql://USER@HOST/DATABASE#NAME).
        model: where the gallery's model is now, if it was moved.
        port: TCP port; 0 takes any free one. If omitted, 8642, or any free one if that is taken.
        folder: a folder of crops that may be indexed from the page, with everything below it.
    """
    from ..web.serving import serve as start

    start(gallery, model or None, browser, port, folders=folder)
    return 0

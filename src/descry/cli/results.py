"""How a search is shown: lines, JSON, a table, a contact sheet, copied pictures."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any


def tell(found: Any, as_json: bool) -> None:
    """Print the leads, or JSON; what is not data goes to stderr."""
    rows = [_row(found, j) for j in range(len(found))]
    if as_json:
        answer = {"results": rows, "considered": found.considered, "total": found.total, "exact": found.exact}
        print(json.dumps(answer | {"removed_by_filter": found.removed, "note": found.note}, indent=1))
        return
    for row in rows:
        where = " ".join(filter(None, (row["camera"], row["time"], row["footage"] and f"from {row['footage']}")))
        print(f"{row['rank']:>4}  {row['score']:8.3f}  id {row['id']:<8} {row['path']}  {where}".rstrip())
    if not rows:
        by = ", ".join(f"{name} keeps out {n}" for name, n in found.removed.items())
        print(f"nothing to show among {found.total} items{': ' + by if by else ''}", file=sys.stderr)
    else:
        print(
            f"{len(rows)} leads of {found.considered} items considered; to be looked at, not identifications",
            file=sys.stderr,
        )


def _row(found: Any, j: int) -> dict[str, Any]:
    from ..footage.origin import origin_of

    item = found.items[j]
    origin = origin_of(item.path)
    return {
        "rank": j + 1,
        "id": item.id,
        "path": shown(item.path),
        "score": round(float(found.scores[j]), 6),
        "cosine": round(float(found.cosines[j]), 6),
        "camera": item.camera,
        "time": item.time.isoformat() if item.time else "",
        "track": item.track,
        "footage": origin.told if origin else "",
        "parts": {
            f"{kind}: {label}": round(float(v), 6)
            for (kind, label), v in zip(found.parts, found.contributions[:, j], strict=True)
        },
    }


def shown(path: str) -> str:
    """A path as text that can be printed whatever bytes it holds."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_csv(path: Path, found: Any) -> None:
    """A table; cells that a spreadsheet would take for a formula get a quote in front."""
    from ..report.table import cell

    names = ("rank", "id", "path", "score", "cosine", "camera", "time", "track", "footage")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for j in range(len(found)):
            row = _row(found, j)
            writer.writerow([cell(row[n]) for n in names])


def copy_pictures(folder: Path, found: Any) -> None:
    """Copy the pictures shown, named by rank and id."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank, item in enumerate(found.items, 1):
        source = Path(item.path)
        if source.is_file():
            shutil.copyfile(source, folder / f"{rank:04d}_{item.id}{source.suffix.lower()}")
        else:
            print(f"rank {rank}: the file {shown(item.path)} is not there any more", file=sys.stderr)


def contact_sheet(path: Path, found: Any, columns: int = 5, tile: tuple[int, int] = (128, 256)) -> None:
    """A picture of the leads in rows, each with rank, score and id, under the line that says what they are."""
    from PIL import Image, ImageDraw, ImageFont

    from .. import images
    from ..errors import ImageRejected

    width, height, label = *tile, 38
    rows = max(1, -(-len(found) // columns))
    sheet = Image.new("RGB", (columns * (width + 8) + 8, rows * (height + label + 8) + 28), "white")
    draw = ImageDraw.Draw(sheet)
    draw.font = ImageFont.load_default(14)
    draw.text((8, 5), "Search leads - not an identification", fill="black")
    for j, item in enumerate(found.items):
        x, y = 8 + j % columns * (width + 8), 28 + j // columns * (height + label + 8)
        try:
            picture = images.read(item.path)
            picture.thumbnail(tile)
            sheet.paste(picture, (x + (width - picture.width) // 2, y))
        except ImageRejected as error:
            draw.rectangle((x, y, x + width, y + height), outline="grey")
            draw.text((x + 4, y + height // 2), f"file {error.reason}", fill="grey")
        draw.text((x, y + height + 2), f"{j + 1}   {found.scores[j]:.2f}\nid {item.id}", fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    print(f"contact sheet: {path}", file=sys.stderr)

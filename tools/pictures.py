"""Draw docs/pictures/page.png anew: the page in Chromium, after one search in a gallery of synthetic people.

    python tools/pictures.py [--identities 250]

It makes the demo gallery in a temporary folder, opens the page as a user would, gives it the sketch of a person who is
in the gallery and a sentence, and takes a picture of the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "page.png"


def remembered(people: Path) -> tuple[str, str]:
    """The sketch and a short sentence of one person: the first whose sentence names a jacket and no backpack."""
    rows = [json.loads(line) for line in (people / "table.jsonl").read_text("utf-8").splitlines()]
    sketches = {row["pid"]: row["sketch"] for row in rows if row.get("sketch")}
    told = [(row["pid"], words) for row in rows for words in row.get("captions", ())]
    pid, words = next(
        (p, w) for p, w in told if p in sketches and "jacket" in w and "backpack" not in w and len(w) < 70
    )
    return sketches[pid], words.rstrip(".")


def draw(place: Path, identities: int) -> None:
    """Make the gallery, serve it, search it, and write the picture."""
    names = (os.environ.get("CHROMIUM", ""), "chromium-headless-shell", "chromium", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if not browser:
        sys.exit("there is no Chromium: on Debian, apt install chromium-headless-shell; or name one with CHROMIUM=PATH")
    descry = [sys.executable, "-m", "descry"]
    if not (place / "gallery").is_dir():
        subprocess.run([*descry, "demo", str(place), "--identities", str(identities), "--no-browser"], check=True)
    people = place / "people"
    sketch, words = remembered(people)
    serve = [*descry, "serve", str(place / "gallery"), "--no-browser", "--port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        link = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        with sync_playwright() as driver:
            page = driver.chromium.launch(executable_path=browser, args=root).new_page(
                viewport={"width": 1400, "height": 1000}
            )
            page.goto(link)
            page.wait_for_selector("body[data-ready]", state="attached")
            if page.get_by_role("button", name="Skip").is_visible():  # the tour
                page.get_by_role("button", name="Skip").click()
            page.set_input_files("input[type=file]", str(people / sketch))
            page.fill("#text", f"{words}, no backpack")
            page.press("#text", "Enter")
            page.wait_for_function("() => descry.page.round && !descry.page.busy", timeout=120_000)
            page.wait_for_load_state("networkidle")
            page.mouse.move(700, 2)
            page.screenshot(path=PICTURE)
    finally:
        server.terminate()
        server.wait(30)
    Image.open(PICTURE).convert("RGB").quantize(256).save(PICTURE, optimize=True)  # a quarter of the bytes


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--identities", type=int, default=250, help="people in the gallery")
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), options.parse_args().identities)

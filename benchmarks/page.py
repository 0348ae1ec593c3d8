"""How fast the page is: first paint, drawing, and rounds over HTTP at 10^5 crops with the demo model.

Vectors are random (speed does not depend on what they show), written into an ordinary gallery; texts and sketch go
through the real encoders, over a real connection. Drawing and painting are measured in Chromium. Prints a table and,
with --out, JSON with the machine beside it.

    python benchmarks/page.py --items 100000 --out page.json
    python benchmarks/page.py --beside CHECKOUT      CPU seconds of the rounds, this version and another by turns
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import io
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image, ImageDraw

import descry
from descry.gallery import Gallery
from descry.gallery.contract import Entry
from descry.gallery.gallery import binding_of
from descry.gallery.local import LocalStore
from descry.search import unit
from descry.web.app import create_app
from descry.web.desk import Desk
from descry.web.limits import LIMITS

try:
    from descry.web.safety import Tokens
except ImportError:  # --beside an older checkout
    from descry.web.tokens import Tokens  # type: ignore[no-redef,import-not-found]

THINGS = ("hat", "coat", "skirt", "scarf", "bag", "umbrella", "jacket", "dress")
COLOURS = ("red", "blue", "green", "black", "white", "grey", "yellow", "brown")
CHUNK = 20_000


def fill(folder: Path, model: Any, items: int) -> None:
    """A gallery of random vectors."""
    store = LocalStore.create(folder, binding_of(model))
    rng = np.random.default_rng(0)
    for start in range(0, items, CHUNK):
        n = min(CHUNK, items - start)
        names = [(f"/crops/{i:07d}.jpg", hashlib.sha256(b"%d" % i).digest()) for i in range(start, start + n)]
        rows = [Entry(path, sha, 1, 1, look=int.from_bytes(sha[:8], "big")) for path, sha in names]
        store.add(rows, unit(rng.normal(size=(n, model.dimension)).astype(np.float32)))
    store.close()


class Served:
    """A server on a free port, and one connection to it."""

    def __init__(self, folder: Path, model: Any):
        self.gallery = Gallery.open(folder, model)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.tokens = Tokens(os.urandom(32))
        desk = Desk(self.gallery, replace(LIMITS, searches_per_minute=10**6, burst=10**6))
        app = create_app(desk, self.tokens, lambda: frozenset({self.address}))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()
        while not desk.loaded:
            time.sleep(0.05)
        self.connection = http.client.HTTPConnection(self.address)

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.tokens.make()}", "Content-Type": kind}
        self.connection.request(method, f"/api/v1{path}", data, headers)
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(said)
        return said

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.gallery.close()


CLOCK = [time.perf_counter]
"""What times are read from; --beside takes the CPU seconds of the process instead."""


def timed(work: Callable[[int], Any], repeats: int) -> dict[str, float]:
    """Median and 95th percentile in ms."""
    taken = []
    for i in range(repeats):
        begin = CLOCK[0]()
        work(i)
        taken.append(1000 * (CLOCK[0]() - begin))
    return {"median": statistics.median(taken), "p95": sorted(taken)[int(0.95 * (repeats - 1))]}


def sketch(i: int) -> bytes:
    """A multipart body with a drawing."""
    image = Image.new("RGB", (512, 1024), "white")
    ImageDraw.Draw(image).ellipse((150, 60 + i, 360, 300), outline="black", width=6)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return head + buffer.getvalue() + b"\r\n--x--\r\n"


def rounds(served: Served, repeats: int, turn: int = 0) -> dict[str, Any]:
    """Rounds as the page makes them, in an inquiry of their own."""
    out: dict[str, Any] = {}
    base = f"/inquiries/{served.call('POST', '/inquiries', {'name': f'bench {turn}'})['id']}"
    asset = ""

    def drawn(i: int) -> None:
        nonlocal asset
        asset = served.call("POST", "/assets", sketch(i + 10 * turn), "multipart/form-data; boundary=x")["id"]
        served.call("POST", f"{base}/rounds", {"sketches": [{"asset": asset}], "phrases": [{"text": "red coat"}]})

    def refined(i: int) -> None:
        said = [{"text": f"{COLOURS[i % 8]} {THINGS[i // 8 % 8]}"}, {"text": "backpack", "wanted": bool(i % 2)}]
        served.call("POST", f"{base}/rounds", {"sketches": [{"asset": asset}], "phrases": said})

    out["sketch and words, new drawing"] = timed(drawn, max(3, repeats // 4))
    out["refine by words"] = timed(refined, repeats)
    ids = [lead["item"]["id"] for lead in served.call("GET", f"{base}/rounds/1")["results"]["leads"]]
    out["refine by marks"] = timed(lambda i: served.call("POST", f"{base}/marks", {"like": [ids[i % 50]]}), repeats)
    out["next question"] = timed(lambda i: served.call("GET", f"{base}/question"), max(3, repeats // 4))
    steps = ("undo", "redo")
    out["undo, redo"] = timed(lambda i: served.call("PUT", f"{base}/head", {"step": steps[i % 2]}), repeats)
    out["200 more leads"] = timed(
        lambda i: served.call("GET", f"{base}/rounds/2/results?cursor={200 * (i % 9)}&limit=200"), repeats
    )
    return out


def browser(served: Served) -> dict[str, Any]:
    """First paint and drawing in Chromium; nothing where there is none."""
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), "")
    if not path:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        shown = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        paints, readies = [], []
        for _ in range(5):
            page = shown.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(f"http://{served.address}/#token={served.tokens.make()}")
            page.wait_for_selector("body[data-ready]", state="attached")
            readies.append(page.evaluate("performance.now()"))
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        box = page.locator("canvas.board").bounding_box()
        for stroke in range(40):
            x, y = box["x"] + 10 + 4 * stroke, box["y"] + 20
            page.mouse.move(x, y)
            page.mouse.down()
            for step in range(50):
                page.mouse.move(x + 8 * (step % 5), y + 6 * step)
            page.mouse.up()
        costs = sorted(page.evaluate("descry.page.query.board.costs"))
        shown.close()
    return {
        "first contentful paint": {"median": statistics.median(paints), "most": max(paints)},
        "page ready": {"median": statistics.median(readies), "most": max(readies)},
        "drawing, each event": {
            "median": statistics.median(costs),
            "p99": costs[int(0.99 * (len(costs) - 1))],
            "most": costs[-1],
        },
    }


def turns(args: argparse.Namespace, model: Any) -> None:
    """Serve until standard input ends; for each line, do a block of rounds and print the CPU milliseconds of each."""
    CLOCK[0] = time.process_time
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "gallery", model, args.items)
        served = Served(Path(folder) / "gallery", model)
        print("ready", flush=True)
        for line in sys.stdin:
            served.connection.close()  # the server ended it while the other version had its turn; it opens again
            made = rounds(served, args.repeats, int(line))
            print(json.dumps({name: row["median"] for name, row in made.items()}), flush=True)
        served.close()


def beside(args: argparse.Namespace) -> dict[str, Any]:
    """Medians over blocks of rounds, taken by turns from servers of the other checkout and of this one, and ratios."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--turns", "--items", str(args.items), "--model", args.model]
    command += ["--repeats", str(args.repeats)]
    servers = [
        subprocess.Popen(
            command, env=os.environ | threads | {"PYTHONPATH": str(checkout / "src")}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for checkout in (args.beside, Path(__file__).resolve().parents[1])
    ]  # fmt: skip
    found: list[list[dict[str, float]]] = [[], []]
    for server in servers:
        server.stdout.readline()  # type: ignore[union-attr]
    for turn in range(args.blocks + 1):
        for server, rows in zip(servers, found, strict=True):
            print(turn, file=server.stdin, flush=True)
            rows.append(json.loads(server.stdout.readline()))  # type: ignore[union-attr]
    for server in servers:
        server.communicate()
    out = {}
    for name in found[0][0]:  # the first block warms up
        old, new = ([row[name] for row in rows[1:]] for rows in found)
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        row = {"other": statistics.median(old), "this": statistics.median(new), "ratio": statistics.median(ratios)}
        out[name] = row | {"least": min(ratios), "most": max(ratios)}
    return out


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--beside", type=Path, help="another checkout: compare the CPU seconds of rounds")
    parser.add_argument("--blocks", type=int, default=8, help="with --beside: blocks of rounds of each version")
    parser.add_argument("--turns", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turns:
        turns(args, descry.load(args.model))
        return
    if args.beside:
        print(
            f"{args.items:,} items, CPU ms of a request, {args.beside.name} and this version, {args.blocks} blocks each"
        )
        for name, row in beside(args).items():
            span = f"{row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f})"
            print(f"  {name:<32}{row['other']:8.1f}{row['this']:8.1f}  {span}")
        return
    model = descry.load(args.model)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "gallery", model, args.items)
        served = Served(Path(folder) / "gallery", model)
        rows = rounds(served, args.repeats) | browser(served)
        served.close()
    print(f"{args.items:,} items of {model.dimension} dimensions, model {args.model}")
    for name, ms in rows.items():
        print(f"  {name:<32}" + "".join(f"  {k} {v:8.1f} ms" for k, v in ms.items()))
    if args.out:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.out.write_text(
            json.dumps({"items": args.items, "dimension": model.dimension, "ms": rows, **machine}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()

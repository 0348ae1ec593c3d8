"""From video to leads on synthetic people: boxes, tracks, crops, words, and speed.

    python benchmarks/footage.py --markdown             (about five minutes)
    python benchmarks/footage.py --model FOLDER         (an object detection model instead of background subtraction)
    python benchmarks/footage.py --speed VIDEO          (speed alone, on a video of your own)
    python benchmarks/footage.py --speed VIDEO --untrained   (with a model of the size of RT-DETR R18, random weights)

Videos are drawn by `descry people --videos`: fixed cameras, one to six people at once, who cross, stop and hide each
other, and stretches with nobody. A box is right when its overlap (IoU) with a true one is 0.5 or more; people of whom
less than half is visible need not be found. R@1: each person is asked for by the words of one pass; right when the
first lead shows that person. `ideal` is the same from the true boxes and tracks. Speed: one source, frames a second.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from descry import Gallery, Query, load
from descry.footage import Boxes, BoxTable, Settings, Video, crop
from descry.footage.detecting import detector_of
from descry.footage.tracking import Passes
from descry.gallery.sources import Sources
from descry_people.video import write_videos


@dataclass
class Truth:
    """One video. boxes: frame → boxes with numbers of passes. visible: (frame, pass) → share. pid, text: by pass."""

    video: Path
    boxes: dict[int, Boxes]
    visible: dict[tuple[int, int], float]
    pid: dict[int, int]
    text: dict[int, str]


def truths(folder: Path) -> list[Truth]:
    """What is known of a folder of videos."""
    rows = [json.loads(line) for line in (folder / "passes.jsonl").read_text("utf-8").splitlines()]
    out = []
    for video in sorted(folder.glob("*.mp4")):
        mine = [r for r in rows if r["video"] == video.name]
        lines = [line.split(",") for line in video.with_suffix(".txt").read_text("utf-8").splitlines()]
        visible = {(int(v[0]) - 1, int(v[1])): float(v[8]) for v in lines}
        boxes = BoxTable.read(str(video.with_suffix(".txt"))).frames
        out.append(Truth(video, boxes, visible, *({r["number"]: r[k] for r in mine} for k in ("pid", "text"))))
    return out


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of (N, 4) with (M, 4) corners: (N, M)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]) for c in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6)


def boxes_and_tracks(truth: Truth, name: str) -> Counter:
    """Right, wrong and missed boxes, identity switches, and passes that were found, of one video."""
    video = Video(str(truth.video))
    detector = detector_of(name)(video)
    if detector.stretch:
        detector.learn(video.samples(0, detector.stretch, detector.samples, detector.height))
    passes, counts, last = Passes(10.0, sure=detector.sure), Counter(), dict[int, int]()
    for frame in video.frames(10.0):
        found = detector.detect([frame])[0]
        tracks, true = passes.follow(frame, found), truth.boxes.get(frame.number)
        if true is None:
            counts["wrong"] += len(found.scores)
            continue
        table = overlaps(found.corners, true.corners)
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(-table), strict=True) if table[i, j] >= 0.5]
        hit = {j for _, j in pairs}
        needed = [j for j, t in enumerate(true.tracks) if truth.visible[frame.number, int(t)] >= 0.5]
        counts["right"] += len(pairs)
        counts["wrong"] += len(found.scores) - len(pairs)
        counts["missed"] += sum(j not in hit for j in needed)
        for i, j in pairs:
            one = int(true.tracks[j])
            if tracks[i] >= 0:
                counts["switches"] += one in last and last[one] != tracks[i]
                last[one] = tracks[i]
    counts["passes"], counts["passes found"] = len(truth.pid), len(last)
    return counts


def words_to_leads(known: list[Truth], crops: Path, gallery: Path, model: Any) -> dict[str, float]:
    """Index crops and ask for each person in words; R@1 in percent, and how many queries and crops."""
    by_video = {t.video.stem: t for t in known}
    whose: dict[str, int] = {}
    with open(crops / "crops.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            truth = by_video[Path(row["source"]).stem]
            x, y, w, h = (float(row[k]) for k in ("x", "y", "width", "height"))
            true = truth.boxes.get(int(row["frame"]))
            if true is not None:
                table = overlaps(np.array([[x, y, x + w, y + h]], np.float32), true.corners)[0]
                if table.max() >= 0.5:
                    whose[row["path"]] = truth.pid[int(true.tracks[table.argmax()])]
    asked = {pid: truth.text[one] for truth in known for one, pid in truth.pid.items()}
    right = 0
    with Gallery.create(gallery, model) as opened:
        opened.index((str(crops),), sources=Sources(table=str(crops / "crops.csv"), time="csv"))
        total = len(opened)
        for pid, text in asked.items():
            first = opened.search(Query(wanted=text), 1).paths[0]
            right += whose.get(Path(first).relative_to(crops.resolve()).as_posix()) == pid
    return {"R@1": 100 * right / len(asked), "queries": len(asked), "crops": total, "of people": len(whose)}


def speed(video: Path, name: str, seconds: float) -> dict[str, float]:
    """Frames a second of decoding alone, of the detector alone, and of all; the share of time outside the detector.

    Decoding alone is PyAV to RGB; the detector alone has its frames in memory, and for a background that includes
    reducing them. The share compares the whole with the detector alone.
    """
    import av
    import trackers  # noqa: F401 - so that importing it is not timed

    begin, frames = time.perf_counter(), []
    with av.open(str(video)) as container:
        for picture in container.decode(video=0):
            picture.to_ndarray(format="rgb24")
            if (picture.time or 0) > seconds:
                break
            frames.append(picture)
    decode = time.perf_counter() - begin
    del frames
    source = Video(str(video))
    inner = detector_of(name)
    spent = [0.0]

    def timed(given: Any) -> Any:
        detector = inner(given)
        for method in ("detect", "learn"):
            plain = getattr(detector, method)

            def wrapped(*args: Any, plain: Any = plain) -> Any:
                start = time.perf_counter()
                try:
                    return plain(*args)
                finally:
                    spent[0] += time.perf_counter() - start

            setattr(detector, method, wrapped)
        return detector

    count = sum(1 for _ in source.frames(10.0))
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        crop(video, out, Settings(detector=name), jobs=1, detector=timed)
        whole = time.perf_counter() - begin
    return {
        "decode": count / decode, "detector": count / spent[0], "all": count / whole,
        "share outside the detector": 1 - spent[0] / whole,
    }  # fmt: skip


def measure(
    folder: Path, identities: int, seconds: float, views: int, name: str, size: tuple[int, int]
) -> dict[str, Any]:
    """Everything, with the videos and crops in a folder."""
    videos = write_videos(folder / "videos", identities, seconds, views, size=size)
    known, out = truths(videos), {}
    counts: Counter = sum((boxes_and_tracks(t, name) for t in known), Counter())
    out["recall"] = counts["right"] / (counts["right"] + counts["missed"])
    out["precision"] = counts["right"] / (counts["right"] + counts["wrong"])
    out |= {k: counts[k] for k in ("switches", "passes", "passes found")}
    model = load("demo")
    for kind, settings in (("found", Settings(detector=name)), ("ideal", Settings(rate=0, detector=str(videos)))):
        report = crop(videos, folder / kind, settings)
        tracks = defaultdict(int)
        with open(folder / kind / "crops.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                tracks[row["track"]] += 1
        out[kind] = {"tracks": report.tracks, "crops per pass": report.crops / max(1, counts["passes"])}
        out[kind] |= words_to_leads(known, folder / kind, folder / f"{kind}-gallery", model)
    out["speed"] = speed(known[0].video, name, seconds)
    return out


def untrained(folder: Path) -> str:
    """A model of the shape of RT-DETR R18 with random weights: it finds nothing, as fast as the trained one."""
    import transformers as t

    depth = t.RTDetrResNetConfig(
        depths=[2, 2, 2, 2], layer_type="basic", hidden_sizes=[64, 128, 256, 512],
        out_features=["stage2", "stage3", "stage4"]
    )  # fmt: skip
    config = t.RTDetrConfig(
        backbone_config=depth, encoder_in_channels=[128, 256, 512], hidden_expansion=0.5, decoder_layers=3,
        id2label={0: "person", 1: "other"}, label2id={"person": 0, "other": 1},
    )  # fmt: skip
    t.RTDetrForObjectDetection(config).save_pretrained(folder)
    t.RTDetrImageProcessorPil().save_pretrained(folder)
    return str(folder)


def markdown(got: dict[str, Any]) -> str:
    """The table of docs/video.md."""
    ideal, found, fast = got["ideal"], got["found"], got["speed"]
    rows = [
        ("recall of boxes, IoU ≥ 0.5", f"{100 * got['recall']:.1f} %", "100 %"),
        ("precision of boxes, IoU ≥ 0.5", f"{100 * got['precision']:.1f} %", "100 %"),
        ("identity switches", got["switches"], 0),
        ("passes with a track", f"{got['passes found']} of {got['passes']}", f"{got['passes']}"),
        ("tracks", found["tracks"], ideal["tracks"]),
        ("crops per pass", f"{found['crops per pass']:.1f}", f"{ideal['crops per pass']:.1f}"),
        (f"R@1 of words, {found['queries']} people", f"{found['R@1']:.1f} %", f"{ideal['R@1']:.1f} %"),
        ("frames a second: PyAV alone", f"{fast['decode']:.0f}", ""),
        ("frames a second: detector alone", f"{fast['detector']:.0f}", ""),
        ("frames a second: all", f"{fast['all']:.0f}", ""),
        ("share outside the detector", f"{100 * fast['share outside the detector']:.0f} %", ""),
    ]
    return "\n".join(["| | found | ideal boxes |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--model", default="background")
    parser.add_argument("--speed", type=Path)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = untrained(Path(folder) / "model") if args.untrained else args.model
        if args.speed:
            print(json.dumps(speed(args.speed, name, float("inf")), indent=1))
            return
        got = measure(Path(folder).resolve(), args.identities, args.seconds, args.views, args.model, (480, 270))
    print(markdown(got) if args.markdown else json.dumps(got, indent=1))


if __name__ == "__main__":
    main()

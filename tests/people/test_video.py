"""Videos of synthetic people: what is said about them is what is in them, and crops are found again."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descry.cli import main
from descry.errors import UsageError
from descry_people.demo import FIRST
from descry_people.person import make_person
from descry_people.scene import cameras
from descry_people.video import RATE, Pass, draw_frames, write_videos

pytest.importorskip("av")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos") / "v", 6, 24, views=1, size=(320, 180))


def test_boxes_are_where_the_people_are():
    """What differs from the empty scene lies in a box, and every box holds something that differs."""
    one = Pass(1, 0, 0.5, True, 90.0, 160.0, 0.0, "")
    two = Pass(2, 1, 1.0, False, 110.0, 170.0, 0.0, "")
    people = {0: make_person(0, 0), 1: make_person(1, 0)}
    frames = list(draw_frames([one, two], people, cameras()[0], 5, 0, 0, (320, 180)))
    empty = frames[0][0].astype(int)
    assert not frames[0][1]
    for image, boxes in frames[10:40:5]:
        differs = np.abs(image - empty).max(axis=2) > 60
        outside = differs.copy()
        for _, (x, y, w, h), seen in boxes:
            assert 0 <= x < x + w <= 320
            assert 0 <= y < y + h <= 180
            assert 0 < seen <= 1
            assert differs[y : y + h, x : x + w].mean() > 0.1
            outside[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3] = False
        assert outside.sum() < 20
    again = list(draw_frames([one, two], people, cameras()[0], 2, 0, 0, (320, 180)))
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(frames, again, strict=False))


def test_a_folder_says_who_passed_where_and_when(folder):
    rows = [json.loads(line) for line in (folder / "passes.jsonl").read_text().splitlines()]
    (video,) = folder.glob("*.mp4")
    assert {r["video"] for r in rows} == {video.name}
    numbers = {int(line.split(",")[1]) for line in video.with_suffix(".txt").read_text().splitlines()}
    assert numbers <= {r["number"] for r in rows}
    assert all(r["text"] and 0 <= r["pid"] < 6 for r in rows)
    with pytest.raises(UsageError, match="videos already"):
        write_videos(folder)


def test_people_are_found_in_the_videos_and_each_pass_is_a_track(folder, tmp_path):
    pytest.importorskip("trackers")
    from descry.footage import BoxTable, Settings, crop

    report = crop(folder, tmp_path / "crops")
    (video,) = folder.glob("*.mp4")
    truth = BoxTable.read(str(video.with_suffix(".txt"))).frames
    passes = {int(t) for boxes in truth.values() for t in boxes.tracks}
    assert len(passes) <= report.tracks <= len(passes) + 2
    overlaps = []
    with open(tmp_path / "crops" / "crops.csv", newline="") as file:
        for row in csv.DictReader(file):
            x, y, w, h = (float(row[k]) for k in ("x", "y", "width", "height"))
            there = truth[int(row["frame"])].corners
            wide = np.minimum(x + w, there[:, 2]) - np.maximum(x, there[:, 0])
            high = np.minimum(y + h, there[:, 3]) - np.maximum(y, there[:, 1])
            shared = wide.clip(0) * high.clip(0)
            union = w * h + (there[:, 2] - there[:, 0]) * (there[:, 3] - there[:, 1]) - shared
            overlaps.append((shared / union).max())
            assert row["time"].startswith("2026-01-31T14:00:")
            assert float(row["video_time"]) == pytest.approx(int(row["frame"]) / RATE)
    assert np.mean(np.array(overlaps) > 0.5) > 0.85  # a post may hide half of somebody
    ideal = crop(folder, tmp_path / "ideal", Settings(rate=0, detector=str(folder)))
    assert ideal.tracks <= len(passes)


def test_the_command(tmp_path, capsys):
    assert main(["people", str(tmp_path / "v"), "--videos", "6", "--identities", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["videos"]) == 3
    assert main(["people", str(tmp_path / "w"), "--videos", "1"]) == 2
    assert "allowed is 5" in capsys.readouterr().err


def test_the_demo_goes_from_videos_to_a_frame(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("trackers")

    def drawn(out, identities, seconds, first, progress):
        assert (identities, seconds, first) == (12, 30.0, FIRST)
        shutil.copytree(folder, out)

    monkeypatch.setattr("descry_people.video.write_videos", drawn)
    asked = ["demo", str(tmp_path / "demo"), "--video", "--no-browser", "--threads", "1", "--k", "3"]
    for _ in range(2):  # it can be repeated
        assert main(asked) == 0
        told = capsys.readouterr()
        first, *_ = told.out.splitlines()
        assert "from entrance_" in first
        assert "the first lead in its footage: entrance_" in told.err
        assert "descry serve" in told.err
    with Image.open(tmp_path / "demo" / "frame.jpg") as image:
        assert image.size == (320, 180)

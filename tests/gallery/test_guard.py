"""What is no crop is told, with the command that makes crops of it; what is a crop is not."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import write_run
from descry.cli import main
from descry.gallery import Gallery
from descry.gallery.guard import SOMEBODY

from .plain_model import DIMENSION, PlainModel


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("model") / "run")


def folder_of(tmp_path, sizes):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate(sizes):
        Image.new("RGB", size, (7 * i % 255, 90, 120)).save(folder / f"{i}.jpg")
    return folder


def warned(folder, run, tmp_path, capsys, *more) -> str:
    assert main(["index", str(folder), "--out", str(tmp_path / "g"), "--model", str(run), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)["warning"]


@pytest.mark.parametrize("size", [(640, 360), (640, 480), (1080, 1920)])
def test_a_folder_of_full_frames_is_told_with_the_command(tmp_path, run, capsys, size):
    folder = folder_of(tmp_path, [size] * 3 + [(60, 150)])
    for more in ((), ("--dry-run",)):
        said = warned(folder, run, tmp_path / ("dry" if more else "wet"), capsys, *more)
        assert said.startswith("3 of 4 pictures have the shape of full frames")
        assert f"descry crop {folder} --out CROPS" in said
    assert main(["index", str(folder), "--out", str(tmp_path / "h"), "--model", str(run)]) == 0
    assert "note: 3 of 4" in capsys.readouterr().err


def test_crops_are_indexed_without_a_word(tmp_path, run, capsys):
    folder = folder_of(tmp_path, [(60, 150), (64, 128), (100, 110), (300, 700), (128, 100)])
    assert warned(folder, run, tmp_path, capsys) == ""


def test_a_picture_that_lies_on_its_side_is_seen_upright(tmp_path, run, capsys):
    folder = folder_of(tmp_path, [])
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (150, 60)).save(folder / "a.jpg", exif=exif)
    assert warned(folder, run, tmp_path, capsys) == ""


def test_a_folder_of_videos_is_told(tmp_path, run, capsys):
    folder = folder_of(tmp_path, [])
    (folder / "a.MP4").write_bytes(b"x")
    assert main(["index", str(folder), "--out", str(tmp_path / "g"), "--model", str(run)]) == 1
    assert f"It holds 1 video: cut the people out first, descry crop {folder} --out CROPS" in capsys.readouterr().err


class Seeing(PlainModel):
    """A model that can tell: it takes for a person what has strong contrast. Words lie where guard.py asks for them."""

    def embed_pixels(self, pixels):
        self.calls += len(pixels)
        somebody = np.ptp(pixels.reshape(len(pixels), -1), axis=1) > 110
        return np.eye(DIMENSION, dtype=np.float32)[np.where(somebody, 0, 1)]

    def embed_texts(self, texts):
        return np.eye(DIMENSION, dtype=np.float32)[[0 if "person" in t or t in SOMEBODY else 1 for t in texts]]


def test_what_shows_nobody_is_left_out_and_listed(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for name, low, high in (("a", 0, 255), ("b", 0, 200), ("wall", 120, 150), ("floor", 90, 99)):
        pixels = np.full((80, 40, 3), low, np.uint8)
        pixels[20:60, 10:30] = high
        Image.fromarray(pixels).save(folder / f"{name}.png")
    shutil.copy(folder / "wall.png", folder / "wall-2.png")
    long_ago = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    model = Seeing()
    names = lambda: sorted(Path(item.path).stem for item in gallery.listed())  # noqa: E731
    with Gallery.create(tmp_path / "g", model) as gallery:
        report = gallery.index(folder, leave_out_empty=True)
        assert (report.added, names()) == (2, ["a", "b"])
        said = {Path(path).stem: reason for path, reason in report.skipped}
        assert said == dict.fromkeys(
            ["floor", "wall", "wall-2"], "nobody: the model reads it as a scene without people"
        )
        assert {Path(path).stem for path, _ in gallery.skipped()} == {"floor", "wall", "wall-2"}
        calls = model.calls
        again = gallery.index(folder, leave_out_empty=True)
        assert (again.added, len(again.skipped), model.calls) == (0, 3, calls), "what was left out is not read again"
        # a picture that changes to show nobody goes, one that changes to show somebody comes
        shutil.copy(folder / "b.png", folder / "floor.png")
        shutil.copy(folder / "wall.png", folder / "a.png")
        gallery.index(folder, leave_out_empty=True)
        assert names() == ["b", "floor"]
        # without the option nothing stays left out
        gallery.index(folder)
        assert names() == ["a", "b", "floor", "wall", "wall-2"]
        assert not list(gallery.skipped())


def test_a_model_that_learned_from_people_alone_is_refused(tmp_path, capsys):
    folder = folder_of(tmp_path, [(60, 150)])
    asked = ["index", str(folder), "--model", "demo", "--leave-out-empty", "--out", str(tmp_path / "g")]
    assert main(asked) == 2
    told = capsys.readouterr().err
    assert "cannot tell whether somebody is in a picture" in told
    assert "of 16 plain surfaces it reads" in told
    assert not (tmp_path / "g").exists()

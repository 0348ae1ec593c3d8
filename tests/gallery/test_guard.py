"""What is no crop is told, with the command that makes crops of it; what is a crop is not."""

import json

import pytest
from PIL import Image

from conftest import write_run
from descry.cli import main


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
    assert f"It holds 1 videos: cut the people out first, descry crop {folder} --out CROPS" in capsys.readouterr().err

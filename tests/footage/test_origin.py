"""From a lead back to the footage: CLI, API, report, and what a hostile table cannot do."""

import base64
import csv
import dataclasses
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import descry
from conftest import write_run
from descry import Gallery, safe_files
from descry.cli import main
from descry.footage import FootageError, Video, crop, origin_of
from descry.footage.cropping import COLUMNS, remove
from descry.interact.store import InquiryStore
from descry.lock import WriterLock
from descry.purge import finish, plan, run
from forked import child, ended, forks

from .making import TOPS, walks, write_video

pytest.importorskip("av")
pytest.importorskip("trackers")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """lobby.mp4, its crops, and a gallery of them."""
    folder = tmp_path_factory.mktemp("origin")
    source = write_video(
        folder / "lobby.mp4",
        walks(12, 10, [(1, 4, 0), (6, 4, 1)]),
        metadata={"creation_time": "2026-01-31T14:05:00Z"},
        codec="libx264",
    )
    crop(source, folder / "crops")
    run = write_run(folder / "run")
    table = folder / "crops" / "crops.csv"
    assert (
        main(["index", str(folder / "crops"), "--table", str(table), "--out", str(folder / "g"), "--model", str(run)])
        == 0
    )
    return folder


@pytest.mark.parametrize("name", ["x", "y", "width", "height", "video_time", "score", "frame"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "9" * 5000, "-1", "²"])
def test_a_table_of_others_ends_no_search(tmp_path, name, value) -> None:
    row = dict.fromkeys(COLUMNS, "1") | {"path": "a.jpg", "source": "v.mp4"} | {name: value}
    (tmp_path / "crops.csv").write_text(f"{','.join(COLUMNS)}\n{','.join(row.values())}\n")
    origin = origin_of(str(tmp_path / "a.jpg"))
    if origin is not None:  # a box may begin left of its frame
        assert origin.told
        json.dumps(dataclasses.asdict(origin), allow_nan=False)


def first_row(place) -> dict[str, str]:
    with open(place / "crops" / "crops.csv", newline="") as file:
        return next(csv.DictReader(file))


def red_around(image, box) -> float:
    """Share of the pixels just outside a box that are the red of the frame."""
    x, y, w, _ = map(int, box)
    edge = np.asarray(image).astype(int)[max(0, y - 1), x : x + w]
    return float((np.abs(edge - (255, 40, 40)).max(axis=1) < 60).mean())


def test_a_crop_knows_where_it_was_cut(place):
    row = first_row(place)
    origin = origin_of(str(place / "crops" / row["path"]))
    assert origin.source == str(place / "lobby.mp4")
    assert origin.frame == int(row["frame"])
    assert origin.told == f"lobby.mp4, 0:00:{origin.seconds:04.1f} (frame {origin.frame})"
    still = origin.still()
    assert still.size == (320, 240)
    assert red_around(still, origin.box) > 0.8
    x, y, w, h = map(int, origin.box)
    inside = np.asarray(still)[y + h * 2 // 5, x + w // 2].astype(int)
    assert np.abs(inside - TOPS[0]).max() < 60
    plain = next(f for f in Video(origin.source).frames() if f.number == origin.frame).pixels()
    assert np.abs(np.asarray(still).astype(int) - plain)[:, :20].max() == 0 or x < 25


def test_other_pictures_have_no_footage(tmp_path):
    Image.new("RGB", (40, 80)).save(tmp_path / "a.jpg")
    assert origin_of(str(tmp_path / "a.jpg")) is None
    (tmp_path / "crops.csv").write_text("path,camera\na.jpg,7\n")
    assert origin_of(str(tmp_path / "a.jpg")) is None
    (tmp_path / "crops.csv").write_bytes(b"\xff\xfe\x00")
    assert origin_of(str(tmp_path / "a.jpg")) is None


def test_the_command_shows_source_time_and_frame(place, tmp_path, capsys):
    assert main(["gallery", "frame", str(place / "g"), "1", "--out", str(tmp_path / "still.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["source"] == str(place / "lobby.mp4")
    assert told["time"].startswith("2026-01-31T14:05:0")
    assert "may be" in told["clock"]
    with Image.open(tmp_path / "still.png") as image:
        assert red_around(image, told["box"]) > 0.8
    assert main(["gallery", "frame", str(place / "g"), "999"]) == 2
    assert "no item 999" in capsys.readouterr().err
    assert main(["search", str(place / "g"), "--text", "a red top", "--json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)["results"]
    assert first["footage"].startswith("lobby.mp4, 0:00:0")


@pytest.fixture
def reported(place):
    """Frames of a report of an inquiry with one finding, by options."""
    from descry.client import Client

    def report(**options) -> list[bytes]:
        with Client(place / "g", descry.load(str(place / "run")), name=f"case {len(options)} {options}") as client:
            client.ask(descry.Query(wanted="a red top"))
            client.find(1, "worth following", number=1)
            page = client.report("html", **options).decode()
        figures = re.findall(r"<figure>.*?</figure>", page, re.S)
        return [base64.b64decode(re.search(r"base64,([^\"]+)", f)[1]) for f in figures if "was cut from" in f]

    return report


def test_a_finding_of_a_report_shows_its_frame(reported, place):
    pytest.importorskip("fastapi")
    with Gallery.open(place / "g") as gallery:
        origin = origin_of(gallery.items([1])[0].path)
    (plain,) = reported()
    with Image.open(io.BytesIO(plain)) as image:
        assert image.size == (320, 240)
        edge = np.asarray(image).astype(int)[int(origin.box[1]) - 2, int(origin.box[0]) : int(origin.box[0]) + 36]
        assert (edge[:, 0] - edge[:, 1:].max(axis=1)).mean() > 80, "a red box is drawn"
        whole = np.asarray(image.convert("L"), float)
    (blurred,) = reported(blur_others=True)
    with Image.open(io.BytesIO(blurred)) as image:
        soft = np.asarray(image.convert("L"), float)
    x, y, w, h = map(int, origin.box)
    inside, board = np.s_[y + 4 : y + h - 4, x + 4 : x + w - 4], np.s_[15:65, 25:115]
    assert np.abs(soft[inside] - whole[inside]).mean() < 6, "the person of the finding is as before"
    assert np.abs(np.diff(soft[board], axis=1)).max() < 0.3 * np.abs(np.diff(whole[board], axis=1)).max()
    assert reported(redact_paths=True) == [], "nor where the camera hangs"


def test_footage_that_went_is_said(place, tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(7, 10, [(1, 4, 0)]))
    crop(source, tmp_path / "crops")
    source.rename(tmp_path / "b.mp4")
    origin = origin_of(str(next((tmp_path / "crops" / "a").iterdir())))
    assert origin.media_type == ""
    with pytest.raises(FootageError, match="no such file"):
        origin.still()


def test_footage_that_this_user_never_named_is_not_opened(place, tmp_path, monkeypatch):
    """A table of crops that was received may name any file: no frame of it is shown."""
    origin = origin_of(str(place / "crops" / first_row(place)["path"]))
    assert origin.media_type == "video/mp4"
    monkeypatch.setenv("DESCRY_ROOTS", str(tmp_path / "roots"))
    monkeypatch.setattr(safe_files, "_allowed", set())
    assert origin.media_type == ""
    with pytest.raises(FootageError, match="descry gallery allow FOLDER"):
        origin.still()
    safe_files.allow(place)
    assert origin.still().size == (320, 240)


@pytest.fixture
def copy(place, tmp_path):
    """A copy of the crops of two people, and a gallery of it."""
    shutil.copytree(place / "crops", tmp_path / "crops")
    table, out = str(tmp_path / "crops" / "crops.csv"), str(tmp_path / "g")
    assert main(["index", str(tmp_path / "crops"), "--table", table, "--out", out, "--model", str(place / "run")]) == 0
    return tmp_path


def test_a_purge_deletes_the_crops_and_their_rows(place, copy, capsys):
    gallery, crops = str(copy / "g"), copy / "crops"
    with open(crops / "crops.csv", newline="") as file:
        before = {row["path"]: row for row in csv.DictReader(file)}
    with Gallery.open(copy / "g") as opened:
        gone = {item.id: item.path for item in opened.items(range(1, len(before) + 1)) if item.track == "lobby/1"}
    named = [option for number in gone for option in ("--item", str(number))]
    assert main(["purge", gallery, *named, "--dry-run"]) == 0
    assert f"{len(gone)} crop files" in capsys.readouterr().out
    assert all(Path(path).exists() for path in gone.values())
    lock = WriterLock(crops / ".crop")
    assert main(["purge", gallery, *named]) != 0
    lock.release()
    assert f"{crops} is being written" in capsys.readouterr().err
    assert all(Path(path).exists() for path in gone.values())
    assert main(["purge", gallery, *named]) == 0
    told = capsys.readouterr()
    assert f"{len(gone)} crop files" in told.out
    assert "still lie" not in told.err
    left = sorted(path for path, row in before.items() if row["track"] == "lobby/2")
    assert sorted(str(p.relative_to(crops)) for p in crops.rglob("*.jpg")) == left
    for table in (crops / "crops.csv", crops / ".crop" / "lobby.csv"):
        assert not [path for path in gone.values() if Path(path).name in table.read_text()]
    # neither indexing nor cropping again brings them back
    report = crop(place / "lobby.mp4", crops)
    assert (report.crops, report.sources[0].before) == (len(left), True)
    assert main(["index", str(crops), "--table", str(crops / "crops.csv"), "--out", gallery]) == 0
    with Gallery.open(copy / "g") as opened:
        assert len(opened) == len(left)


def test_a_purge_leaves_crops_on_request_and_pictures_that_are_none(copy, capsys):
    gallery, crops = str(copy / "g"), copy / "crops"
    count = len(list(crops.rglob("*.jpg")))
    assert main(["purge", gallery, "--item", "1", "--keep-crops"]) == 0
    assert "1 of their picture files still lie" in capsys.readouterr().err
    (crops / ".crop").rename(copy / "elsewhere")  # a table alone makes no folder of ours
    assert main(["purge", gallery, "--item", "2"]) == 0
    assert "1 of their picture files still lie" in capsys.readouterr().err
    assert main(["gallery", "delete", gallery, "--item", "3"]) == 0
    assert len(list(crops.rglob("*.jpg"))) == count


def test_a_removal_that_was_killed_loses_no_row(place, copy):
    """Between the rows and the note of how many there are: the next run of `crop` goes by the rows."""
    crops = copy / "crops"
    state, rows = crops / ".crop" / "lobby.json", crops / ".crop" / "lobby.csv"
    old = state.read_text()
    with open(rows, newline="") as file:
        first, *rest = (row[0] for row in csv.reader(file))
    assert remove(crops, [first]) == 1
    state.write_text(old)
    crop(place / "lobby.mp4", crops)
    with open(crops / "crops.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == rest


@forks
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)])
def test_a_purge_that_is_killed_at_any_file_is_finished_by_the_next(place, copy, step):
    """Killed before each file that it opens, renames or deletes: crops, their rows and their items go together at the
    latest with the same command again, and what is not purged stays whole."""
    crops, sound = copy / "crops", copy / "sound"
    with Gallery.open(copy / "g") as opened:
        gone = {item.id: Path(item.path).name for item in opened.listed() if item.track == "lobby/1"}
        left = {item.id: Path(item.path).name for item in opened.listed() if item.id not in gone}
    part = crops / f"crops.csv.{os.getpid()}.part"
    part.write_text("".join(gone.values()))  # of a run of `crop` that was killed
    for name in ("crops", "g"):
        shutil.copytree(copy / name, sound / name)

    def purge() -> None:
        with Gallery.open(copy / "g") as opened:
            store = InquiryStore(opened.store.database)
            there = [number for number in gone if opened.items([number])]
            if there:
                run(opened, store, plan(opened, store, items=there))
            else:
                finish(opened, store)

    def killed(at: int) -> bool:
        """Whether a purge in a forked process was killed at this event."""
        events = iter(range(at + 1))

        def hook(event: str, args: tuple) -> None:
            if event in ("os.remove", "os.rename", "open") and str(copy) in str(args[0]) and next(events) == at:
                os._exit(9)

        def work() -> None:
            sys.addaudithook(hook)
            purge()

        status = ended(child(work))
        assert status in (0, 9)
        return status == 9

    at, half = 0, 0
    while True:
        for name in ("crops", "g"):
            shutil.rmtree(copy / name)
            shutil.copytree(sound / name, copy / name)
        if not killed(at):
            break
        at += step
        half += not all((crops / "lobby" / name).exists() for name in gone.values())
        with Gallery.open(copy / "g") as opened:
            if not opened.items(list(gone)):  # nothing is said to be purged whose crops are there
                assert not [p for p in crops.rglob("*") if p.name in gone.values()]
                assert not any(name in (crops / "crops.csv").read_text() for name in gone.values())
        purge()
        held = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file() and sound not in p.parents}
        for name in gone.values():
            assert not [p for p, data in held.items() if name in p.name or name.encode() in data], at
        assert sorted(p.name for p in crops.rglob("*.jpg")) == sorted(left.values())
        with Gallery.open(copy / "g") as opened:
            assert [item.id for item in opened.listed()] == sorted(left)
            assert opened.verify() == []
        report = crop(place / "lobby.mp4", crops)
        assert (report.crops, report.sources[0].before) == (len(left), True)
    assert at > 10
    assert half


@pytest.mark.parametrize("name", ["settings.json", "lobby.json"])
@pytest.mark.parametrize("text", ["[1]", "{", '{"bytes": 1e999}', '{"path": 7}', "[" * 100_000])
def test_a_crafted_state_of_crops_is_refused_in_one_line(place, copy, capsys, name, text):
    (copy / "crops" / ".crop" / name).write_text(text)
    capsys.readouterr()
    assert main(["crop", str(place / "lobby.mp4"), "--out", str(copy / "crops")])
    err = capsys.readouterr().err
    assert name in err or "were made with" in err  # other settings are told one by one
    assert "unexpected" not in err
    assert len(err.strip().splitlines()) == 1


def test_a_camera_that_no_gallery_would_be_read_with_is_refused(place, copy, capsys):
    table = copy / "crops" / "crops.csv"
    with open(table, newline="") as file:
        rows = list(csv.reader(file))
    rows[1][1] = "x" * 100_000
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    out = str(copy / "new")
    capsys.readouterr()
    named = ["--table", str(table), "--out", out, "--model", str(place / "run")]
    assert main(["index", str(copy / "crops"), *named]) == 2
    assert "100,000 characters" in capsys.readouterr().err


def test_a_play_list_opens_no_address(tmp_path):
    (tmp_path / "list.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(FootageError, match=r"list\.mp4"):
        list(Video(str(tmp_path / "list.mp4")).frames())


def test_the_server_gives_frame_and_video_by_ranges(place, tmp_path, monkeypatch):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    import descry
    from descry.web.app import create_app
    from descry.web.desk import Desk
    from descry.web.limits import LIMITS
    from descry.web.safety import Tokens

    host = "127.0.0.1:8642"
    tokens = Tokens(b"s" * 32)
    with descry.Gallery.open(place / "g", descry.load(str(place / "run"))) as gallery:
        app = create_app(Desk(gallery, LIMITS, ()), tokens, lambda: frozenset({host}))
        headers = {"Authorization": f"Bearer {tokens.make()}"}
        with TestClient(app, base_url=f"http://{host}", headers=headers) as client:
            name = client.get("/api/v1/galleries").json()["galleries"][0]["id"]
            items = f"/api/v1/galleries/{name}/items/1"
            about = client.get(items).json()["footage"]
            assert (about["source"], about["playable"]) == ("lobby.mp4", True)
            assert str(place) not in json.dumps(about)
            still = client.get(f"{items}/still")
            assert still.headers["content-type"] == "image/jpeg"
            data = (place / "lobby.mp4").read_bytes()
            part = client.get(f"{items}/video", headers={"Range": "bytes=100-199"})
            assert part.status_code == 206
            assert part.content == data[100:200]
            assert part.headers["content-type"] == "video/mp4"
            assert client.get(f"{items}/video").content == data
            # a table that points elsewhere gives nothing out but videos
            table = place / "crops" / "crops.csv"
            before = table.read_text()
            (tmp_path / "secret.mp4").write_text("secret")
            monkeypatch.setenv("DESCRY_ROOTS", str(tmp_path / "roots"))
            monkeypatch.setattr(safe_files, "_allowed", {os.path.realpath(place)})
            try:
                table.write_text(before.replace(str(place / "lobby.mp4"), str(tmp_path / "secret.mp4")))
                assert client.get(f"{items}/video").status_code == 404
                safe_files.allow(tmp_path)
                answer = client.get(f"{items}/video")
                assert answer.status_code == 410
                assert b"secret" not in answer.content
            finally:
                table.write_text(before)
            assert client.get(f"/api/v1/galleries/{name}/items/99/still").status_code == 404

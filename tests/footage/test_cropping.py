"""From footage to crops and back: tracks, the best crops, the table, resuming, and bad input among good."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import descry
from conftest import SHARED
from descry.cli import main
from descry.errors import DataError, UsageError
from descry.footage import Boxes, Settings, crop
from descry.footage.tracking import Crop, Passes, Track

from .making import SIZE, TALL, TOPS, WIDE, bad_files, room, walks, write_video
from .test_detecting import frames_of, overlap

pytest.importorskip("av")
pytest.importorskip("cv2")
pytest.importorskip("trackers")
SAMPLE = SHARED / "data" / "video"


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "crops.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files_of(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.suffix in (".jpg", ".csv")}


def test_a_pass_is_one_track_with_its_best_crops(tmp_path):
    source = write_video(
        tmp_path / "lobby.mp4",
        walks(12, 10, [(1, 4, 0), (6, 4, 1)]),
        metadata={"creation_time": "2026-01-31T14:05:00Z"},
    )
    report = descry.crop(source, tmp_path / "crops")
    assert (report.tracks, len(report.sources)) == (2, 1)
    rows = rows_of(tmp_path / "crops")
    assert len(rows) == report.crops
    assert {r["track"] for r in rows} == {"lobby/1", "lobby/2"}
    for row in rows:
        assert (row["camera"], row["source"]) == ("lobby", str(source))
        seconds = int(row["frame"]) / 10
        assert float(row["video_time"]) == pytest.approx(seconds)
        assert row["time"] == f"2026-01-31T14:05:{seconds:06.3f}"
        assert "may be" in row["clock"]
        who = 0 if row["track"] == "lobby/1" else 1
        x = -WIDE + (seconds - (1, 6)[who]) / 4 * (SIZE[0] + WIDE)
        left, top, wide, high = (float(row[k]) for k in ("x", "y", "width", "height"))
        assert overlap((left, top, left + wide, top + high), (x, 110, x + WIDE, 110 + TALL)) > 0.7
        with Image.open(tmp_path / "crops" / row["path"]) as image:
            assert abs(image.height - 1.1 * high) < 3
            colour = np.asarray(image)[image.height * 2 // 5, image.width // 2].astype(int)
        assert np.abs(colour - TOPS[who]).max() < 60


def test_two_who_cross_keep_their_tracks():
    """Boxes that a detector gives: motion keeps two people apart who pass each other."""
    images = [room() for _ in range(40)]
    passes, ended = Passes(10, sure=0.5), []
    for i, frame in enumerate(frames_of(images)):
        a, b = 5.0 * i, 250 - 5.0 * i
        corners = np.array([[a, 100, a + 30, 190], [b, 120, b + 30, 210]], np.float32)
        ended += passes.add(frame, Boxes(corners, np.array([0.9, 0.8], np.float32)))
    ended += passes.close()
    assert len(ended) == 2
    assert all(t.seen >= 38 for t in ended)
    for track in ended:
        xs = [c.box[0] for c in sorted(track.crops, key=lambda c: c.time)]
        assert xs in (sorted(xs), sorted(xs, reverse=True))  # each goes one way only


def test_somebody_hidden_for_a_moment_keeps_the_track_and_for_long_does_not():
    for hidden, tracks in ((10, 1), (40, 2)):
        passes, ended = Passes(10, lost=2.0), []
        for i, frame in enumerate(frames_of([room()] * 60)):
            x = 20.0 + 2 * i
            seen = not 10 <= i < 10 + hidden
            boxes = Boxes(
                np.array([[x, 100, x + 36, 200]] * seen, np.float32).reshape(-1, 4), np.full(int(seen), 0.9, np.float32)
            )
            ended += passes.add(frame, boxes)
        ended += passes.close()
        assert len(ended) == tracks


def test_what_never_moves_is_left_out_where_only_motion_tells():
    passes = Passes(10, moves=True)
    boxes = Boxes(np.array([[100, 100, 136, 200]], np.float32), np.array([0.9], np.float32))
    for frame in frames_of([room()] * 30):
        assert not list(passes.add(frame, boxes))
    assert not list(passes.close())
    assert passes.left_out["still"] == 1


def test_the_best_crops_are_good_and_unlike():
    poses = np.eye(128, dtype=np.float32)
    track = Track(1, 0, 9)
    for i, (quality, pose) in enumerate([(0.9, 0), (0.88, 0), (0.6, 1), (0.5, 2), (0.05, 3)]):
        track.crops.append(Crop(i, i, (0, 0, 1, 1), 1.0, quality, np.zeros((2, 2, 3), np.uint8), poses[pose]))
    assert [c.frame for c in track.best(3)] == [0, 2, 3]
    assert [c.frame for c in track.best(9)] == [0, 1, 2, 3]  # the last is too bad


def test_every_box_on_request(tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(6, 10, [(1, 4, 0)]))
    few, all_ = crop(source, tmp_path / "few"), crop(source, tmp_path / "all", Settings(keep=0))
    assert few.crops <= 4 < 25 < all_.crops
    assert len(list((tmp_path / "all" / "a").iterdir())) == all_.crops


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(tmp_path):
    frames = walks(80, 5, [(s, 4, s % 3) for s in range(2, 75, 12)])
    source = write_video(tmp_path / "a.mkv", frames, rate=5)
    whole = crop(source, tmp_path / "whole", Settings(rate=5))
    assert whole.tracks == 7
    asked = 0
    for limit in (130, 150, 10**9):
        asked = 0

        def stop(limit=limit):
            nonlocal asked
            asked += 1
            return asked > limit

        report = crop(source, tmp_path / "parts", Settings(rate=5), stop=stop)
        assert report.interrupted == (limit < 1000)
    assert asked < 300  # it went on, it did not begin again
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    assert report.sources[0].tracks == 7
    again = crop(source, tmp_path / "parts", Settings(rate=5), stop=lambda: pytest.fail("it was done"))
    assert again.sources[0].before
    assert again.crops == whole.crops


def test_a_folder_made_with_other_settings_is_not_mixed(tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(3, 10, [(0, 3, 0)]))
    crop(source, tmp_path / "out")
    with pytest.raises(UsageError, match=r"rate 10.0, now 5.*--again"):
        crop(source, tmp_path / "out", Settings(rate=5))
    assert crop(source, tmp_path / "out", Settings(rate=5), again=True).sources[0].frames == 15
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="something else"):
        crop(source, tmp_path / "mine")


def test_a_source_that_was_cropped_with_other_settings_is_cropped_anew(tmp_path):
    sources = [write_video(tmp_path / f"{name}.mp4", walks(4, 10, [(0.5, 3, 0)])) for name in "ab"]
    crop(sources, tmp_path / "out", Settings(rate=5))
    crop(sources[:1], tmp_path / "out", Settings(rate=10), again=True)
    report = crop(sources, tmp_path / "out", Settings(rate=10.0))
    assert [(s.before, s.frames) for s in report.sources] == [(True, 40), (False, 40)]
    assert "settings changed since it was cropped" in report.sources[1].notes[-1]
    crop(sources, tmp_path / "new", Settings(rate=10))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "new")
    assert all(s.before for s in crop(sources, tmp_path / "out", Settings(rate=10)).sources)


def test_a_source_that_changed_is_cropped_anew(tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(6, 10, [(1, 4, 0)]))
    assert crop(source, tmp_path / "out").tracks == 1
    write_video(source, walks(12, 10, [(1, 4, 0), (7, 4, 1)]))
    report = crop(source, tmp_path / "out")
    assert report.tracks == 2
    assert "changed" in report.sources[0].notes[0]
    assert len(rows_of(tmp_path / "out")) == report.crops


def test_boxes_that_changed_are_cropped_anew_and_the_same_are_not(tmp_path):
    """The table of boxes, its replacement under the same name, and the clock time of the first frame."""
    source = write_video(tmp_path / "lobby.mp4", walks(3, 10, [(0, 3, 0)]))
    boxes, out = tmp_path / "boxes", tmp_path / "out"
    boxes.mkdir()

    def table(left: int) -> None:
        lines = [f"{frame},1,{left},100,40,90,0.9" for frame in range(1, 31)]
        (boxes / "lobby.txt").write_text("\n".join(lines))

    def again(**options):
        (report,) = crop(source, out, Settings(rate=0, keep=1, detector=str(boxes), **options)).sources
        return report.before, " ".join(report.notes), {(r["x"], r["time"][:10]) for r in rows_of(out)}

    table(20)
    assert again()[::2] == (False, {("20.0", "")})
    assert again()[0]
    table(90)
    before, notes, rows = again()
    assert (before, rows) == (False, {("90.0", "")})
    assert "--detector changed since it was cropped" in notes
    before, notes, rows = again(start="2026-01-31T14:05")
    assert (before, rows) == (False, {("90.0", "2026-01-31")})
    assert "--start changed" in notes
    assert again(start="2026-01-31T14:05")[0]
    (boxes / "lobby.txt").rename(boxes / "other.txt")
    (report,) = crop(source, out, Settings(rate=0, keep=1, detector=str(boxes), start="2026-01-31T14:05")).sources
    assert "holds no boxes for" in report.skipped
    assert rows_of(out), "what was cropped before is kept"


def test_bad_sources_cost_a_line_each_and_the_rest_goes_on(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "x.mp4", walks(6, 10, [(1, 4, 0)]))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "noise.avi").write_bytes(b"RIFF" + bytes(300))
    out = tmp_path / "out"
    status = main(["crop", str(tmp_path), "--out", str(out), "--strict", "--quiet"])
    told = capsys.readouterr()
    assert status == 3
    assert len([line for line in told.err.splitlines() if line.startswith("skipped")]) == 2
    assert "2 tracks" in told.out
    assert "descry index" in told.out
    assert sorted({r["track"] for r in rows_of(out)}) == ["x-2/1", "x/1"]  # same name, two folders
    assert main(["crop", str(tmp_path), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [bool(s["skipped"]) for s in told["sources"]].count(True) == 2
    assert told["tracks"] == 2


def test_every_kind_of_bad_input_costs_its_line_and_the_rest_goes_on(tmp_path, capsys):
    footage = tmp_path / "footage"
    footage.mkdir()
    bad_files(footage)
    write_video(footage / "good.mp4", walks(6, 10, [(1, 4, 0)]))
    half = write_video(footage / "half.mkv", walks(10, 10, [(1, 4, 1)]))
    half.write_bytes(half.read_bytes()[: half.stat().st_size * 6 // 10])
    times = [10.0 * i + (32400 if i >= 20 else 0) for i in range(40)]
    write_video(footage / "gap.mkv", [room((64, 48))] * 40, times=times)
    out = tmp_path / "out"
    assert main(["crop", str(footage), "--out", str(out), "--jobs", "1"]) == 0
    told = capsys.readouterr()
    lines = told.err.splitlines()
    said = {
        name: [line for line in lines if f"/{name}: " in line] for name in sorted(p.name for p in footage.iterdir())
    }
    assert {name: len(found) for name, found in said.items()} == {
        "codec.mp4": 1, "cut.mp4": 1, "empty.mp4": 1, "gap.mkv": 1, "good.mp4": 0, "half.mkv": 1, "noise.mp4": 1,
        "sound.mp4": 1,
    }  # fmt: skip
    assert len(lines) == 7, "and nothing else, such as FFmpeg's own lines"
    for name, words in {
        "codec.mp4": "codec is unknown", "cut.mp4": "repair it", "empty.mp4": "0 bytes", "noise.mp4": "not readable",
        "sound.mp4": "no video stream (only audio)", "gap.mkv": "gap of 32410 s", "half.mkv": "ends at",
    }.items():  # fmt: skip
        assert words in said[name][0]
    assert "5 sources skipped" in told.out
    assert {row["camera"] for row in rows_of(out)} == {"good", "half"}


def test_a_wrong_rotation_is_overruled(tmp_path):
    """A file that says it lies on its side and does not: nobody is found until --rotate says so."""
    source = write_video(tmp_path / "a.mp4", [np.rot90(f).copy() for f in walks(6, 10, [(1, 4, 0)])])
    assert crop(source, tmp_path / "wrong").tracks == 0
    report = crop(source, tmp_path / "right", Settings(rotate=270))
    assert report.tracks == 1
    (row, *_) = rows_of(tmp_path / "right")
    assert float(row["height"]) > 2 * float(row["width"])


def test_boxes_from_elsewhere_and_their_tracks(tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(6, 10, [(1, 4, 0)]))
    lines = [f"{i + 1},9,{max(0, -36 + (i / 10 - 1) * 89):.0f},110,36,100,1" for i in range(12, 48)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    report = crop(source, tmp_path / "out", Settings(rate=0, detector=str(tmp_path / "a.txt")))
    assert (report.tracks, report.sources[0].notes) == (1, [])
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "other.txt").write_text("1,1,1,1,5,5,1")
    (skipped,) = crop(source, tmp_path / "out2", Settings(detector=str(tmp_path / "boxes"))).sources
    assert "a.txt" in skipped.skipped


def test_frames_clock_and_camera_from_names(tmp_path):
    folder = tmp_path / "cam7" / "20260131_140509"
    folder.mkdir(parents=True)
    for i, image in enumerate(walks(6, 10, [(1, 4, 0)])):
        Image.fromarray(image).save(folder / f"{i}.png")
    settings = Settings(time_from=r"(\d{8}_\d{6})", camera_from=r"cam(\d)")
    crop(folder, tmp_path / "out", settings)
    row = rows_of(tmp_path / "out")[0]
    assert row["camera"] == "7"
    assert row["time"].startswith("2026-01-31T14:05:1")
    assert "file name" in row["clock"]
    crop(folder, tmp_path / "out2", Settings(start="2020-01-01T00:00:00", camera_from="dirname"))
    row = rows_of(tmp_path / "out2")[0]
    assert (row["camera"], row["clock"]) == ("cam7", "given by --start")
    assert row["time"].startswith("2020-01-01T00:00:0")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": -1}, "rate"), ({"keep": -1}, "keep"), ({"start": "noon"}, "2026-01-31T14:05:09"),
        ({"time_from": "("}, "regular expression"), ({"camera_from": "cam"}, "group"),
        ({"frame_rate": 0.0}, "frame rate"), ({"rotate": 45}, "allowed"),
        ({"detector": "nowhere"}, "there is no folder nowhere"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(tmp_path, options, said):
    source = write_video(tmp_path / "a.mp4", walks(1, 10, []))
    with pytest.raises(descry.DescryError, match=said):
        crop(source, tmp_path / "out", Settings(**options))


def test_two_runs_in_one_folder_do_not_mix(tmp_path):
    source = write_video(tmp_path / "a.mp4", walks(3, 10, [(0, 3, 0)]))
    seen = []

    def second(step):
        with pytest.raises(descry.DescryError, match="is being written by process") as caught:
            crop(source, tmp_path / "out")
        seen.append(caught.value.exit_status)

    crop(source, tmp_path / "out", progress=second)
    assert set(seen) == {6}


def test_single_frames_are_told_to_need_a_model(tmp_path, capsys):
    for i in range(3):
        Image.fromarray(room()).save(tmp_path / f"{i}.png")
    assert main(["crop", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "3 frames are too few" in said
    assert "nobody was found" in said
    Image.fromarray(room()).resize((200, 150)).save(tmp_path / "3.png")
    for i in range(4, 9):
        Image.fromarray(room()).save(tmp_path / f"{i}.png")
    (source,) = crop(tmp_path, tmp_path.parent / "other").sources
    assert "1 frames of another size" in source.notes[0]


def test_memory_is_bounded_however_long_a_track_is():
    passes = Passes(10)
    for i, frame in enumerate(frames_of([room()] * 200)):
        x = 20.0 + i
        list(passes.add(frame, Boxes(np.array([[x, 100, x + 36, 200]], np.float32), np.array([0.9], np.float32))))
    assert max(len(t.crops) for t in passes.open.values()) == 12


def test_the_crops_are_indexed_with_their_table(tmp_path, capsys):
    from conftest import write_run

    source = write_video(tmp_path / "lobby.mp4", walks(12, 10, [(1, 4, 0), (6, 4, 1)]))
    crop(source, tmp_path / "crops", Settings(start="2026-01-31T14:05:00"))
    run = write_run(tmp_path / "run")
    table = tmp_path / "crops" / "crops.csv"
    assert (
        main(
            ["index", str(tmp_path / "crops"), "--table", str(table), "--out", str(tmp_path / "g"), "--model", str(run)]
        )
        == 0
    )
    with descry.Gallery.open(tmp_path / "g") as gallery:
        items = gallery.items(range(1, 1 + len(gallery)))
    assert {i.track for i in items} == {"lobby/1", "lobby/2"}
    assert all(i.camera == "lobby" and i.time is not None for i in items)
    capsys.readouterr()


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample videos are not here")
def test_six_people_of_the_sample_get_one_to_three_tracks_each(tmp_path):
    report = crop(SAMPLE, tmp_path / "out", Settings(rate=4))
    stays = [(3, 23), (23, 47), (48, 72), (73, 90), (91, 121), (122, 139)]  # seconds at which each is seen
    tracks: dict[str, list[float]] = {}
    for row in rows_of(tmp_path / "out"):
        if row["source"].endswith(".mp4"):
            tracks.setdefault(row["track"], []).append(float(row["video_time"]))
    who = [[i for i, (a, b) in enumerate(stays) if a <= min(t) and max(t) <= b] for t in tracks.values()]
    assert all(len(w) == 1 for w in who)  # every track is of one of the six; none is of the table alone
    counts = [sum(w == [i] for w in who) for i in range(6)]
    assert all(1 <= c <= 3 for c in counts), counts
    assert [s.skipped for s in report.sources] == [""] * 3


@pytest.mark.parametrize(
    ("stamp", "says"),
    [
        (lambda now: now[""], ""),  # a text, as until 0.1
        (lambda now: now | {"--lens": "wide"}, "--lens changed"),
        (lambda now: now | {"--start": "2020-01-01"}, "--start changed"),
        (lambda now: now | {"": "another"}, "the footage changed"),
    ],
)
def test_what_another_version_noted_of_its_crops_is_compared_by_name(tmp_path, stamp, says):
    source, out = write_video(tmp_path / "a.mp4", walks(3, 10, [(0, 3, 0)])), tmp_path / "out"
    crop(source, out)
    state = out / ".crop" / "a.json"
    known = json.loads(state.read_text())
    state.write_text(json.dumps(known | {"stamp": stamp(known["stamp"])}))
    (report,) = crop(source, out).sources
    assert report.before is not bool(says)
    assert says in " ".join(report.notes)
    assert len(rows_of(out)) == report.crops


def test_the_advice_about_a_damaged_note_of_a_source_can_be_followed(tmp_path):
    source, out = write_video(tmp_path / "a.mp4", walks(3, 10, [(0, 3, 0)])), tmp_path / "out"
    before = crop(source, out).crops
    state = out / ".crop" / "a.json"
    state.write_text("{")
    with pytest.raises(DataError, match=r"a\.json is damaged .*remove it: descry crop --out .*out then makes"):
        crop(source, out)
    state.unlink()
    assert crop(source, out).crops == before == len(rows_of(out))
    (out / ".crop" / "settings.json").write_text("{")
    with pytest.raises(DataError, match=r"settings\.json is damaged .*name another folder"):
        crop(source, out)

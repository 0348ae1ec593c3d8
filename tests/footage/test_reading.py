"""Reading videos and folders of frames: what is damaged costs one line, and nothing else."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from descry.errors import UsageError
from descry.footage import FootageError, Frames, Video, sources_of

from .making import bad_files, room, walks, write_video

av = pytest.importorskip("av")


def numbered(count: int) -> list[np.ndarray]:
    """Frames whose grey says their number."""
    return [np.full((64, 96, 3), 8 * i, np.uint8) for i in range(count)]


def greys(frames) -> list[int]:
    return [round(float(f.pixels().mean()) / 8) for f in frames]


KINDS = [("a.mp4", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "mpeg2video"), ("a.webm", "libvpx")]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_every_frame_has_its_number_and_time(tmp_path, name, codec):
    video = Video(str(write_video(tmp_path / name, numbered(30), rate=25, codec=codec)))
    frames = list(video.frames())
    assert [f.number for f in frames] == list(range(30))
    assert np.allclose([f.time for f in frames], np.arange(30) / 25, atol=0.002)
    assert greys(frames) == list(range(30))
    assert not video.notes


def test_fewer_frames_a_second_are_spread_evenly(tmp_path):
    video = Video(str(write_video(tmp_path / "a.mp4", numbered(30), rate=30)))
    assert [f.number for f in video.frames(rate=10)] == list(range(0, 30, 3))
    assert [f.number for f in video.frames(rate=100)] == list(range(30))


def test_a_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0, 0.1, 0.15, 0.6, 0.65, 1.4]
    frames = list(Video(str(write_video(tmp_path / "a.mkv", numbered(6), times=times))).frames())
    assert [f.time for f in frames] == pytest.approx(times, abs=0.002)


def test_reading_goes_on_in_the_middle_with_the_same_numbers(tmp_path):
    video = Video(str(write_video(tmp_path / "a.mp4", numbered(30), rate=10, keys=7)))
    later = list(video.frames(start=1.5, number=15))
    assert [f.number for f in later] == list(range(15, 30))
    assert greys(later) == list(range(15, 30))


@pytest.mark.parametrize("stop", [4.0, 300.0])
def test_samples_are_spread_over_what_is_there(tmp_path, stop):
    video = Video(str(write_video(tmp_path / "a.mp4", numbered(30), rate=5, keys=30)))
    seen = [round(float(s.mean()) / 8) for s in video.samples(0, stop, 12, 64)]
    assert 6 <= len(seen) <= 12
    assert seen == sorted(set(seen))
    assert max(seen) >= (29 if stop > 6 else 20) - 4
    assert max(np.diff(seen)) <= 2 * min(np.diff(seen))  # at nearly even distances


def test_a_gif_is_a_video(tmp_path):
    pictures = [Image.fromarray(f) for f in walks(1, 10, [(0, 1, 0)])]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    (video,) = sources_of([tmp_path / "a.gif"])
    assert [round(f.time, 2) for f in video.frames()] == [i / 10 for i in range(10)]


def turned_by_file(path, degrees: int) -> None:
    """Write a rotation into the header of an mp4's track, as a telephone does (degrees clockwise)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = {90: (0, one, 0, -one, 0, 0), 180: (-one, 0, 0, 0, -one, 0), 270: (0, -one, 0, one, 0, 0)}[degrees]
    data[at : at + 24] = struct.pack(">6i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_of_the_file_is_followed_and_can_be_overruled(tmp_path, degrees):
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:20] = 250  # bright above
    path = write_video(tmp_path / "a.mp4", [upright] * 3)
    turned_by_file(path, degrees)
    frame = next(Video(str(path)).frames())
    shown = np.rot90(upright, -degrees // 90)
    assert frame.pixels().shape == shown.shape == (frame.height, frame.width, 3)
    assert np.abs(frame.pixels().astype(int) - shown).mean() < 6
    assert next(Video(str(path), rotate=0).frames()).pixels().shape == upright.shape
    small = frame.pixels(32)
    assert small.shape[0] == 32
    assert small.shape[1] / 32 == pytest.approx(frame.width / frame.height, abs=0.05)


def test_a_rotation_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="allowed: 0, 90, 180, 270"):
        sources_of([tmp_path], rotate=45)


def test_interlaced_frames_have_no_comb(tmp_path):
    still = np.zeros((64, 96, 3), np.uint8)
    still[:, 40:50] = 255
    moved = np.roll(still, 12, axis=1)
    comb = still.copy()
    comb[1::2] = moved[1::2]
    path = write_video(
        tmp_path / "a.mpg", [comb] * 6, 25, codec="mpeg2video", options={"flags": "+ilme+ildct", "top": "1"}
    )
    frame = list(Video(str(path)).frames())[2].pixels()[8:-8].astype(int)
    plain = comb[8:-8].astype(int)
    assert np.abs(np.diff(frame, axis=0)).mean() < 0.6 * np.abs(np.diff(plain, axis=0)).mean()


# --------------------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_read_is_one_line_each(tmp_path):
    bad_files(tmp_path)
    write_video(tmp_path / "good.mp4", walks(2, 10, []))
    said = {}
    for source in sources_of([tmp_path]):
        if isinstance(source, FootageError):
            path, _, reason = str(source).partition(": ")
            said[path.rsplit("/", 1)[-1]] = reason
            assert "\n" not in str(source)
    assert sorted(said) == ["codec.mp4", "cut.mp4", "empty.mp4", "noise.mp4", "sound.mp4"]
    assert said["empty.mp4"] == "the file is empty (0 bytes)"
    assert said["sound.mp4"] == "no video stream (only audio)"
    assert "codec" in said["codec.mp4"]
    assert "not readable" in said["noise.mp4"]
    assert "repair" in said["cut.mp4"]
    (gone,) = sources_of([tmp_path / "gone.mp4"])
    assert "no such file" in str(gone)
    (tmp_path / "none").mkdir()
    (nothing,) = sources_of([tmp_path / "none"])
    assert "no pictures" in str(nothing)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi"])
def test_a_video_that_was_cut_off_gives_what_is_there_and_says_where_it_ended(tmp_path, name):
    path = write_video(tmp_path / name, walks(10, 10, [(1, 4, 0)]), container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    video = Video(str(path))
    count = len(list(video.frames()))
    assert 30 < count < 90
    assert any("ends at" in n and "10.0 s" in n for n in video.notes)


def test_bytes_that_are_damaged_cost_a_few_frames(tmp_path):
    path = write_video(tmp_path / "a.ts", walks(6, 10, [(1, 4, 0)]), codec="mpeg2video")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(1).bytes(4000)
    path.write_bytes(data)
    assert len(list(Video(str(path)).frames())) > 40


def test_ten_hours_with_a_gap_in_the_time_stamps(tmp_path):
    times = [*(10.0 * i for i in range(180)), *(36000 - 1800 + 10.0 * i for i in range(180))]
    video = Video(str(write_video(tmp_path / "long.mkv", [room((64, 48))] * 360, times=times)))
    frames = list(video.frames())
    assert len(frames) == 360
    assert frames[-1].time == pytest.approx(times[-1])
    assert [n for n in video.notes if "gap" in n] == ["gap of 32410 s in the time stamps at 1790.0 s"]
    assert video.samples(5000, 5300, 16, 48) == []


def test_time_stamps_that_jump_back_are_told_and_never_followed(tmp_path):
    (tmp_path / "a.ts").write_bytes(
        b"".join(write_video(tmp_path / f"{k}.ts", numbered(20), codec="mpeg2video").read_bytes() for k in range(2))
    )
    video = Video(str(tmp_path / "a.ts"))
    times = [f.time for f in video.frames()]
    assert len(times) > 30
    assert min(np.diff(times)) > 0
    assert any("jump back" in n for n in video.notes)


# --------------------------------------------------------------------------------------------------- frames, time


def test_a_folder_of_frames_is_read_in_the_order_of_its_numbers(tmp_path):
    for i in (10, 9, 1, 2):
        Image.fromarray(np.full((40, 60, 3), 8 * i, np.uint8)).save(tmp_path / f"frame_{i}.png")
    (tmp_path / "frame_3.png").write_bytes(b"no picture")
    (source,) = sources_of([tmp_path], rate=5)
    assert isinstance(source, Frames)
    frames = list(source.frames())
    assert greys(frames) == [1, 2, 9, 10]
    assert [f.time for f in frames] == [0.0, 0.2, 0.6, 0.8]
    assert len(source.notes) == 1
    assert "frame_3.png" in source.notes[0]


def test_a_folder_holds_videos_and_folders_of_frames(tmp_path):
    write_video(tmp_path / "b.mp4", numbered(3))
    (tmp_path / "cam1").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "cam1" / "0.jpg")
    (tmp_path / ".hidden").mkdir()
    write_video(tmp_path / ".hidden" / "c.mp4", numbered(3))
    assert [type(s).__name__ for s in sources_of([tmp_path])] == ["Video", "Frames"]


def test_the_clock_of_the_file_is_told_with_its_doubt(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(3), metadata={"creation_time": "2026-01-31T14:05:09Z"})
    video = Video(str(path))
    assert str(video.begins) == "2026-01-31 14:05:09"
    assert "may be" in video.clock
    path = write_video(tmp_path / "b.mp4", numbered(3), metadata={"creation_time": "1970-01-01T00:00:00Z"})
    assert (Video(str(path)).begins, Video(str(path)).clock) == (None, "")


def test_every_file_of_a_folder_of_footage_is_read_or_listed(tmp_path, refusing):
    folder = tmp_path / "recordings"
    for name in (
        "day/a.mp4",
        "day/b.part",
        "day/boxes.txt",
        "frames/0.png",
        "frames/1.xyz",
        "locked/c.mp4",
        ".x/d.mp4",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    refusing[str(folder / "locked")] = PermissionError(13, "Permission denied")
    told = [str(s) for s in sources_of([folder]) if isinstance(s, FootageError)]
    reasons = {t.partition(": ")[0].rpartition("/")[2]: t.partition(": ")[2] for t in told}
    assert set(reasons) == {"a.mp4", "b.part", "1.xyz", "locked", "linked"}
    assert reasons["b.part"] == "no video or picture by its name (.part)"
    assert reasons["1.xyz"] == "no video or picture by its name (.xyz)"
    assert reasons["locked"] == "the folder cannot be listed: Permission denied"
    assert "linked folder" in reasons["linked"]


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n../mine.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "ffconcat version 1.0\nfile ../mine.ts\n",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_a_play_list_leads_to_no_other_file(tmp_path, name, text):
    """Footage that somebody gave must not make crops of what is elsewhere on this machine."""
    write_video(tmp_path / "mine.ts", walks(1, 10, [(0, 1, 0)]), codec="mpeg2video", rate=25)
    assert Video(str(tmp_path / "mine.ts")).duration > 0
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / name).write_text(text.format(tmp_path / "mine.ts"))
    with pytest.raises(FootageError, match="not readable as a video"):
        Video(str(tmp_path / "given" / name))


def test_frames_of_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    from descry import images

    write_video(tmp_path / "a.mp4", walks(1, 10, [(0, 1, 0)]))
    monkeypatch.setattr(images, "LARGEST", replace(images.LARGEST, pixels=320 * 240 - 1))
    with pytest.raises(FootageError, match="320×240 pixels; at most 76,799 are read"):
        Video(str(tmp_path / "a.mp4"))

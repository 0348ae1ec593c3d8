"""Pictures that take hours are refused by their structure, or decoded where they can be ended; the rest goes on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import descry
from descry import decoding, images
from descry.errors import ImageRejected
from descry.images import GALLERY, decodes, header, kept, load, read
from slow_pictures import encoded, png, progressive, slow_pictures

PRODUCT = Path(descry.__file__).parent


@pytest.fixture(scope="module")
def slow() -> dict[str, tuple[bytes, bool]]:
    return {name: (data, refused) for name, data, refused in slow_pictures()}


def test_every_slow_picture_is_refused_or_leaves_this_process(slow, monkeypatch) -> None:
    """No decoder of this process sees one."""
    for work in ("_decoded", "_headed", "_opened"):
        monkeypatch.setattr(images, work, lambda *a: pytest.fail("it was opened here"))
    sent = []
    monkeypatch.setattr(decoding, "in_process", lambda module, request, data: (sent.append(data), _ended())[1])
    for name, (data, refused) in slow.items():
        assert len(data) <= GALLERY.bytes, name
        sent.clear()
        with pytest.raises(ImageRejected) as caught:
            load(data, (16, 8))
        assert (name, caught.value.reason, bool(sent)) == (name, "too_complex" if refused else "too_slow", not refused)
        with pytest.raises(ImageRejected) as caught:
            header(data)
        assert caught.value.reason in ("too_complex", "too_slow"), name
        if name.endswith(".png") and images.structure(data).width == 64:  # what a gallery keeps may be large, no more
            with pytest.raises(ImageRejected) as caught:
                kept(data)
            assert caught.value.reason == "too_complex", name
    assert len(slow) >= 25


def _ended():
    raise decoding.TooSlow


@pytest.mark.parametrize("name", ["exif-values.png", "photoshop.jpg", "palette.png", "run-lengths.bmp"])
def test_what_leaves_this_process_comes_back_or_is_named(slow, name) -> None:
    data, _ = slow[name]
    try:
        assert load(data, (16, 8)).shape == (3, 16, 8)
    except ImageRejected as error:
        assert error.reason in ("too_slow", "corrupt", "too_complex")  # noqa: PT017
    assert load(encoded(Image.new("RGB", (20, 20), "red"), "PNG"), (2, 2))[:, 0, 0].tolist() == [255, 0, 0]


def test_a_process_decodes_as_this_one_does(monkeypatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    here, small = np.asarray(read(picture)), load(picture, (16, 8))
    monkeypatch.setattr(images.Structure, "ordinary", False)
    assert np.array_equal(np.asarray(read(picture)), here)
    assert np.array_equal(load(picture, (16, 8)), small)
    with pytest.raises(ImageRejected) as caught:
        read(b"nothing")
    assert caught.value.reason == "format"


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """A folder whose modules the other process finds."""
    real = decoding.child_environment
    monkeypatch.setattr(
        decoding, "child_environment", lambda: real() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PRODUCT.parent}"}
    )
    decoding.close()
    yield tmp_path
    decoding.close()


def test_one_that_never_ends_is_ended_and_the_next_is_read(programs) -> None:
    (programs / "endless.py").write_text(
        "from descry import decoding\n"
        "def work(request, data):\n"
        "    while request['endless']: pass\n"
        "    return request, data\n"
        "decoding.answer(work)\n"
    )
    with pytest.raises(decoding.TooSlow):
        decoding.in_process("endless", {"endless": True}, b"x")
    assert decoding.in_process("endless", {"endless": False}, b"abc") == ({"endless": False}, b"abc")


def test_a_process_answers_for_the_module_that_it_runs(programs) -> None:
    """One that waits for MATLAB files, say, is given no picture."""
    (programs / "another.py").write_text(
        "from descry import decoding\ndecoding.answer(lambda request, data: ({'from': 'another'}, b''))\n"
    )
    reply, _ = decoding.in_process("another", {}, b"")
    assert reply == {"from": "another"}
    found = header(encoded(Image.new("RGB", (40, 80)), "TIFF"))
    assert (found.width, found.height) == (40, 80)
    assert decoding.in_process("another", {}, b"")[0] == reply


def test_an_interruption_ends_what_is_decoded_and_says_nothing_of_the_picture(monkeypatch, programs) -> None:
    """Threads that wait for a process would hold up Ctrl-C; a picture that was given up is not one that is too slow."""
    (programs / "busy.py").write_text(
        "import time\nfrom descry import decoding\ndecoding.answer(lambda request, data: time.sleep(600))\n"
    )
    ended: list[type] = []

    def wait() -> None:
        try:
            decoding.in_process("busy", {}, b"x")
        except BaseException as error:  # noqa: BLE001 - what it is, is looked at
            ended.append(type(error))

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + 60
        while len(decoding._working) < decoding.PROCESSES:
            assert time.monotonic() < until, "no process began"
            time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            decoding.interrupt()
        for thread in threads:
            thread.join(60)
        assert ended == [KeyboardInterrupt] * 5
        monkeypatch.setattr(images.Structure, "ordinary", False)
        with pytest.raises(KeyboardInterrupt):
            read(png(20, 20))
    finally:
        decoding.stopped.clear()
    assert read(png(20, 20)).size == (20, 20)


def test_a_folder_of_nothing_but_refused_pictures_can_be_stopped(slow, tmp_path, monkeypatch) -> None:
    """They fill no batch, and whether to stop was asked between batches."""
    from descry.gallery import Gallery
    from gallery.plain_model import PlainModel

    for i in range(50):
        (tmp_path / f"{i}.jpg").write_bytes(slow["scans.jpg"][0][:100_000])
    asked = iter([False, True])
    with Gallery.create(tmp_path / "g", PlainModel()) as gallery:
        report = gallery.index(tmp_path, batch_size=32, stop=lambda: next(asked, True))
    assert report.interrupted
    assert len(report.skipped) < 10


def test_processes_are_few_and_are_used_again(monkeypatch) -> None:
    monkeypatch.setattr(images.Structure, "ordinary", False)
    decoding.close()
    picture, before = png(20, 20), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    threads = [threading.Thread(target=lambda: [read(picture) for _ in range(5)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(started) <= decoding.PROCESSES
    decoding.close()
    assert all(process.poll() is not None for process in started)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_ordinary_pictures_are_decoded_here(quality, options) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (384, 128, 3), np.uint8))
    found = images.structure(encoded(picture, "JPEG", quality=quality, **options))
    assert found.ordinary
    assert not found.refused
    assert (found.width, found.height) == (128, 384)
    for kind in ("PNG", "WEBP", "BMP"):
        found = images.structure(encoded(picture, kind))
        assert (found.kind, found.width, found.height, found.ordinary) == (kind, 128, 384, True)


def test_a_photograph_with_usual_metadata_and_scans_is_not_refused() -> None:
    assert not images.structure(progressive(2000, 8)).refused
    assert images.structure(progressive(2000, 8)).ordinary


def test_what_follows_the_end_of_a_picture_counts_for_nothing() -> None:
    for data in (png(20, 20), progressive(20, 1), encoded(Image.new("RGB", (20, 20)), "WEBP")):
        assert images.structure(data + bytes(1_000_000)).ordinary
        assert not images.structure(data + b"\xff\xda\0\0" * 100_000).refused
        assert read(data + bytes(1_000_000)).size == (20, 20)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_structure_is_read_of_whatever_is_left_of_a_file(cut) -> None:
    for data in (progressive(16, 1), png(16, 16), encoded(Image.new("RGB", (16, 16)), "WEBP")):
        images.structure(data[:cut])
        images.structure(data[:20] + bytes([cut % 256]) * cut + data[20:])


def test_metadata_that_is_work_is_not_read_for_a_time(slow) -> None:
    with pytest.raises(ImageRejected):
        header(slow["exif-values.png"][0])


def test_a_process_reads_what_a_picture_says_as_this_one_does(monkeypatch) -> None:
    exif = Image.Exif()
    exif[images.EXIF_MODEL], exif[images.EXIF_TURN] = "north gate\0 ", 6
    exif.get_ifd(images.EXIF_SUB)[images.EXIF_TIME] = "2026:01:31 14:05:09"
    tiff = header(encoded(Image.new("RGB", (20, 40)), "TIFF", exif=exif))
    assert (tiff.width, tiff.height, tiff.camera) == (40, 20, "north gate")
    for kind in ("JPEG", "PNG", "WEBP"):
        found = header(encoded(Image.new("RGB", (20, 40)), kind, exif=exif))
        assert found == images.Header(40, 20, "north gate", "2026:01:31 14:05:09"), kind
    monkeypatch.setattr(images.Structure, "ordinary", False)
    assert header(encoded(Image.new("RGB", (20, 40)), "JPEG", exif=exif)) == found
    with pytest.raises(ImageRejected, match="in no format"):
        header(b"nothing")


def test_the_whole_check_of_a_data_set_refuses_them_too(slow, tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(slow["scans.jpg"][0])
    assert decodes(tmp_path / "a.jpg") == "too_complex"


def test_pictures_are_opened_in_one_place() -> None:
    """Every call of `Image.open` in the product; only images.py may hold one."""
    calls = [
        path.relative_to(PRODUCT).as_posix()
        for path in PRODUCT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "open" and getattr(node.value, "id", "") == "Image"
    ]
    assert calls == ["images.py"]


def test_every_process_that_is_started_gets_an_environment_without_proxies(monkeypatch) -> None:
    starts = [
        node
        for path in PRODUCT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(getattr(node.func, "value", None), "id", "") == "subprocess"
    ]
    assert len(starts) >= 2
    for call in starts:
        env = next(k.value for k in call.keywords if k.arg == "env")
        assert isinstance(env, ast.Call)
        assert env.func.id == "child_environment"
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    kept = decoding.child_environment()
    assert not [k for k in kept if k.lower().endswith("_proxy") or k == "PYTHONSTARTUP"]
    assert sys.executable


def test_indexing_names_them_and_goes_on(slow, tmp_path) -> None:
    from descry.gallery.reading import Reader
    from descry.gallery.sources import Sources
    from descry.gallery.walk import Found

    names = ("scans.jpg", "exif-pieces.jpg", "chunks.png", "pieces.webp")
    for name in names:
        (tmp_path / name).write_bytes(slow[name][0])
    (tmp_path / "z.png").write_bytes(png(20, 20))
    files = [Found(str(tmp_path / n), (tmp_path / n).stat().st_size, 0, 0) for n in (*names, "z.png")]
    reader = Reader((16, 8), GALLERY, Sources(camera="exif", time="exif"), {})
    rows = list(reader.ahead(files, 2))
    assert [row.reason for row in rows] == ["too_complex"] * 4 + [""]
    assert [row.found.path for row in rows] == [file.path for file in files]

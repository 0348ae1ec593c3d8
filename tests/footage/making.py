"""Small videos with known answers: figures of two colours that cross a room with a fixed pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (320, 240)  # width, height
TALL, WIDE = 100, 36  # of a figure
TOPS = ((200, 30, 30), (30, 30, 200), (30, 170, 30), (230, 200, 40))


def room(size: tuple[int, int] = SIZE) -> np.ndarray:
    """An empty scene: wall, floor, and a board on the wall."""
    wide, high = size
    image = np.zeros((high, wide, 3), np.uint8)
    image[: high // 2], image[high // 2 :] = (190, 195, 200), (120, 90, 60)
    image[20:60, 30:110] = (60, 70, 60)
    image[:, ::16] = (image[:, ::16] * 0.9).astype(np.uint8)
    return image


def put(image: np.ndarray, x: int, y: int, colour: Sequence[int]) -> None:
    """Draw a figure with its top left corner at (x, y); what lies outside is cut."""
    high, wide = image.shape[:2]
    for top, bottom, left, right, fill in (
        (0, 20, 10, 26, (210, 160, 130)), (20, 60, 0, WIDE, colour), (60, TALL, 6, 30, (30, 30, 40)),
    ):  # fmt: skip
        y0, y1 = max(0, y + top), min(high, max(0, y + bottom))
        x0, x1 = max(0, x + left), min(wide, max(0, x + right))
        image[y0:y1, x0:x1] = fill


def walks(seconds: float, rate: float, passes: Sequence[tuple[float, float, int]], y: int = 110) -> list[np.ndarray]:
    """Frames of people who cross from left to right. passes: (enters at second, crosses in seconds, index in TOPS)."""
    out = []
    for i in range(round(seconds * rate)):
        image = room()
        for enters, takes, who in passes:
            share = (i / rate - enters) / takes
            if 0 <= share <= 1:
                put(image, round(-WIDE + share * (SIZE[0] + WIDE)), y, TOPS[who])
        out.append(image)
    return out


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: int = 10,
    times: Sequence[float] | None = None,
    codec: str = "mpeg4",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    keys: int = 12,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames; times: of showing, in seconds, where they are not even."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream = None
        for i, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.bit_rate = 2_000_000
                stream.codec_context.gop_size = keys
                stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, rate)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.time_base = stream.codec_context.time_base
            picture.pts = round(times[i] * 1000) if times else i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def bad_files(folder: Path) -> None:
    """Files of which nothing can be read: empty.mp4, noise.mp4, cut.mp4 (without its index), sound.mp4, codec.mp4."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    good = write_video(folder / "cut.mp4", walks(2, 10, []))
    good.write_bytes(good.read_bytes()[:2000])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate, sound.pts = 16000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    known = write_video(folder / "codec.mp4", walks(1, 10, []), codec="libx264")
    known.write_bytes(known.read_bytes().replace(b"avc1", b"zz9q"))

"""Videos of synthetic people who walk through drawn scenes under fixed cameras, with everything known about them.

One video per camera of a world. Next to NAME.mp4 stands NAME.txt with the boxes in the MOT format (frame from 1, number
of the pass, left, top, width, height, 1, 1, visible share), so that `descry crop --detector FOLDER` reads them; and
passes.jsonl says who passed where and when, with sentences about them. A function of the parameters, frame by frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from descry.drawing.figure import Pose
from descry.drawing.layers import figure
from descry.drawing.person import Person
from descry.errors import UsageError, install_hint

from .paint import paint, shade
from .person import make_person, make_pose
from .photo import _OVER, _Canvas, _grain, _pattern
from .places import background
from .plan import KIND
from .scene import Camera, cameras
from .sentences import describe

RATE, SIZE = 10, (480, 270)  # frames a second; width, height in pixels
BEGIN = datetime(2026, 1, 31, 14, 0, 0)
SPEED, CYCLE, PHASES = 0.75, 0.85, 10  # heights a second, heights per two steps, pictures of two steps
EVENTS = ("one", "stop", "cross", "nobody", "group")


@dataclass(frozen=True)
class Pass:
    """Somebody who crosses the picture once.

    Attributes:
        number: from 1, within the video.
        pid: number of the person in the population.
        begins: seconds.
        right: whether towards the right.
        tall: height of the person in pixels.
        floor: y of the soles in pixels.
        stands: seconds in the middle.
        text: a sentence about the person.
    """

    number: int
    pid: int
    begins: float
    right: bool
    tall: float
    floor: float
    stands: float
    text: str

    def place(self, time: float, wide: int) -> tuple[float, float] | None:
        """x of the middle, and the way that was walked, in pixels; None when not in the picture."""
        speed, margin = SPEED * self.tall, self.tall * 0.3
        way, half = (time - self.begins) * speed, wide / 2 + margin
        if way > half:
            way = max(half, way - self.stands * speed)
        if not 0 <= way <= 2 * half:
            return None
        return (way - margin if self.right else wide + margin - way), way


def write_videos(
    out: str | Path,
    identities: int = 12,
    seconds: float = 60.0,
    views: int = 3,
    seed: int = 0,
    world: int = 0,
    first: int = 0,
    size: tuple[int, int] = SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the videos of the first cameras of a world; gives the folder. Raises UsageError for what cannot be drawn.

    identities: people, who pass again and again under every camera. seconds: of each video. views: cameras. first:
    number of the first person. size: width and height in pixels, even numbers.
    """
    eyes = cameras(world)
    for name, value, low, high in (
        ("identities", identities, 1, 100_000), ("seconds", seconds, 5, 36_000), ("views", views, 1, len(eyes)),
        ("width", size[0], 160, 3840), ("height", size[1], 90, 2160),
    ):  # fmt: skip
        if not low <= value <= high:
            raise UsageError(f"{name} {value} was given; allowed is {low} to {high}")
    _av()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "passes.jsonl").exists():
        raise UsageError(f"{folder} holds videos already; name a new folder")
    people = {first + i: make_person(first + i, seed) for i in range(identities)}
    total, done, rows = round(seconds * RATE) * views, 0, []
    for k in range(views):
        begins = BEGIN + timedelta(minutes=k)
        name = f"{eyes[k].name}_{begins:%Y%m%d_%H%M%S}"
        passes = plan_passes(people, seconds, Random(f"video {seed} {world} {k} {first} {identities}"), size)
        truth = []
        frames = draw_frames(passes, people, eyes[k], seconds, world, seed, size)
        with _writing(folder / f"{name}.mp4", begins, size) as write:
            for i, (image, boxes) in enumerate(frames):
                write(image)
                truth += [f"{i + 1},{n},{x},{y},{w},{h},1,1,{seen:.2f}" for n, (x, y, w, h), seen in boxes]
                done += 1
                if progress:
                    progress(done, total)
        (folder / f"{name}.txt").write_text("\n".join(truth) + "\n", "utf-8")
        video = {"video": f"{name}.mp4", "camera": eyes[k].name, "start": begins.isoformat()}
        rows += [video | asdict(one) for one in passes]
    about = {"kind": KIND, "rate": RATE, "seed": seed, "world": world, "first": first, "identities": identities}
    (folder / "descry-videos.json").write_text(json.dumps(about, indent=1), "utf-8")
    (folder / "passes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def plan_passes(people: dict[int, Person], seconds: float, rng: Random, size: tuple[int, int]) -> list[Pass]:
    """Who crosses when: one at a time, one who stops, two who cross, nobody for a while, and up to six at once."""
    out: list[Pass] = []
    queue: list[int] = []
    wide, high = size

    def add(begins: float, right: bool, near: float, stands: float = 0.0) -> float:
        if not queue:
            queue.extend(rng.sample(sorted(people), len(people)))
        pid = queue.pop()
        tall = high * (0.46 + 0.22 * near)
        text = describe(people[pid], rng.getrandbits(48), "partial", 0.0).text
        one = Pass(len(out) + 1, pid, begins, right, tall, high * (0.80 + 0.16 * near), stands, text)
        out.append(one)
        return begins + (wide + 0.6 * tall) / (SPEED * tall) + stands

    time, k = 3.0, 0
    while time < seconds - 6:
        event, right = EVENTS[k % len(EVENTS)], rng.random() < 0.5
        if event == "nobody":
            time += 8.0
        elif event == "cross":
            time = max(add(time, right, 0.1), add(time + rng.uniform(0, 1), not right, 0.9)) + 1.0
        elif event == "group":
            ends = [add(time + 1.1 * i + rng.uniform(0, 0.4), right, rng.random()) for i in range(rng.randint(3, 6))]
            time = max(ends) + 1.0
        else:
            time = add(time, right, rng.random(), rng.uniform(3, 5) if event == "stop" else 0.0) + 1.0
        k += 1
    return out


def draw_frames(
    passes: Sequence[Pass], people: dict[int, Person], eye: Camera, seconds: float, world: int, seed: int,
    size: tuple[int, int],
) -> Iterator[tuple[np.ndarray, list[tuple[int, tuple[int, int, int, int], float]]]]:  # fmt: skip
    """Frames, (H, W, 3) uint8, each with (number of the pass, (left, top, width, height), visible share)."""
    rng, (wide, high) = Random(f"scene {seed} {world} {eye.name}"), size
    place = background(rng, rng.choice(eye.places), size)
    post = rng.uniform(0.25, 0.7) * wide if rng.random() < 0.6 else None
    colour = shade((120, 116, 110), rng.uniform(0.4, 1.3))
    light, levels = rng.choice((-1, 1)) * rng.uniform(0.3, 1.0), _levels(eye)
    sprites: dict[tuple[int, int], Image.Image] = {}
    for i in range(round(seconds * RATE)):
        image, owner = place.copy(), np.zeros((high, wide), np.int32)
        drawn: list[tuple[Pass, tuple[int, int, int, int], int]] = []
        for one in sorted(passes, key=lambda p: p.floor):
            at = one.place(i / RATE, wide)
            if at is None:
                continue
            x, way = at
            phase = int(way / (CYCLE * one.tall) * PHASES) % PHASES
            if (one.number, phase) not in sprites:
                pose = _walking(one, people, eye, phase, seed)
                sprites[one.number, phase] = draw_figure(people[one.pid], pose, one.tall, light, world)
            sprite = sprites[one.number, phase]
            left, top = round(x - sprite.width / 2), round(one.floor - one.tall * 1.03)
            image.paste(sprite, (left, top), sprite)
            mask = np.asarray(sprite)[:, :, 3] > 127
            y0, y1, x0, x1 = max(0, top), min(high, top + mask.shape[0]), max(0, left), min(wide, left + mask.shape[1])
            if y0 >= y1 or x0 >= x1:
                continue
            part = mask[y0 - top : y1 - top, x0 - left : x1 - left]
            owner[y0:y1, x0:x1][part] = one.number
            ys, xs = np.nonzero(part)
            if len(ys):
                box = (x0 + int(xs.min()), y0 + int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1)
                drawn.append((one, box, int(mask.sum())))
        if post is not None:
            a, b = int(post), int(post + 0.045 * wide)
            image.paste(colour, (a, 0, b, high))
            owner[:, a:b] = -1
        boxes = [(one.number, box, round(float((owner == one.number).sum()) / area, 3)) for one, box, area in drawn]
        yield _developed(image, eye, levels, Random(f"frame {seed} {eye.name} {i}")), [b for b in boxes if b[2] > 0]


def _walking(one: Pass, people: dict[int, Person], eye: Camera, phase: int, seed: int) -> Pose:
    """The pose of a person in a phase of two steps; hands that hold something keep still."""
    rng, person = Random(f"walk {seed} {one.pid}"), people[one.pid]
    base = make_pose(rng, person, "right" if one.right else "left", eye.tilt)
    stride = math.sin(2 * math.pi * phase / PHASES)
    arms = [list(arm) for arm in base.arms]
    for side, sign in ((0, -1), (1, 1)):
        if arms[side][1] < 1.0:
            arms[side][0] = sign * stride * 0.45
    return replace(base, stride=stride * 0.95, arms=(tuple(arms[0]), tuple(arms[1])))  # type: ignore[arg-type]


def draw_figure(person: Person, pose: Pose, tall: float, light: float, world: int) -> Image.Image:
    """A person alone: RGBA, 1.1 by 0.9 heights; drawn on black and on white, which gives what covers."""
    size = (round(tall * 0.9), round(tall * 1.1))
    drawn = []
    for ground in ((0, 0, 0), (255, 255, 255)):
        canvas = _Canvas(Image.new("RGB", size, ground), (size[0] / 2, tall * 0.03), tall, light, world)
        colours = paint(person, world)
        for layer in figure(person, pose):
            pattern = _pattern(person, layer.role)
            second = (
                shade(colours["lower"], 1.7) if pattern == "denim"
                else colours[f"{layer.role}_trim"] if layer.role == "lower" else colours["upper_mark"]
            )  # fmt: skip
            canvas.add(layer, colours[layer.role], pattern, second)
        drawn.append(np.asarray(canvas.image.reduce(_OVER)).astype(np.int32))
    cover = 255 - (drawn[1] - drawn[0]).mean(axis=2).clip(0, 255)
    shine = np.asarray(canvas.light_image.filter(ImageFilter.GaussianBlur(tall / 150))).astype(np.int32)
    colour = (drawn[0] * 255 / np.maximum(cover, 1)[:, :, None]).clip(0, 255) * shine[:, :, None] / 128
    return Image.fromarray(np.dstack([colour.clip(0, 255), cover]).astype(np.uint8), "RGBA")


def _levels(eye: Camera) -> list[int]:
    out = []
    for cast in eye.cast:
        for v in range(256):
            curve = (v / 255) ** eye.gamma * 255
            out.append(max(0, min(255, round((128 + (curve - 128) * eye.contrast) * cast))))
    return out


def _developed(image: Image.Image, eye: Camera, levels: list[int], rng: Random) -> np.ndarray:
    """What the camera does: blur, colour cast, contrast and gamma, the same for every frame; and fresh noise."""
    if eye.blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(eye.blur * image.height / 300))
    sheet, (w, h) = _grain(), image.size
    y, x = rng.randrange(sheet.shape[0]), rng.randrange(sheet.shape[1])
    grain = np.take(np.take(sheet, range(y, y + h), axis=0, mode="wrap"), range(x, x + w), axis=1, mode="wrap")
    pixels = np.asarray(image.point(levels)).astype(np.int32) + ((grain * round(eye.noise * 16) + 128) >> 8)[:, :, None]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError:
        raise UsageError(f"videos need the extra video: {install_hint('video')}") from None


class _writing:
    """`with _writing(path, begins, size) as write: write(frame)`: H.264 in MP4, playable by browsers."""

    def __init__(self, path: Path, begins: datetime, size: tuple[int, int]):
        self.av, self.count = _av(), 0
        self.container = self.av.open(str(path), "w", options={"movflags": "faststart"})
        self.container.metadata["creation_time"] = f"{begins.isoformat()}Z"
        options = {"crf": "23", "preset": "veryfast", "threads": "1"}
        self.stream = self.container.add_stream("libx264", rate=RATE, options=options)
        self.stream.width, self.stream.height, self.stream.pix_fmt = *size, "yuv420p"
        self.stream.codec_context.gop_size = 2 * RATE

    def __enter__(self) -> Callable[[np.ndarray], None]:
        return self.write

    def write(self, frame: np.ndarray) -> None:
        picture = self.av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.count, Fraction(1, RATE)
        self.count += 1
        self.container.mux(self.stream.encode(picture))

    def __exit__(self, *error: object) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()

"""Detectors: frames → boxes and scores. One small contract, so that any detector can stand here.

`Background` needs no weights and is made for fixed cameras; `TransformersDetector` runs any object detection model of
the transformers library; `BoxTable` gives boxes that were found elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import DataError, ModelMissing, ModelRefused, UsageError
from ..safe_files import json_of, read_regular
from ..tabular import TABLE_BYTES, read_text
from .reading import Frame, Source, library


class Boxes(NamedTuple):
    """What a detector finds in a frame. corners: (N, 4) float32, left, top, right, bottom in pixels of the frame.

    scores: (N,) float32, higher is surer; comparable within one detector only. tracks: (N,) numbers of tracks where the
    detector knows them; None leaves tracking to descry.
    """

    corners: np.ndarray
    scores: np.ndarray
    tracks: np.ndarray | None = None


def no_boxes() -> Boxes:
    return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class Detector(Protocol):
    """Frames → boxes. An instance serves one source from its first frame to its last.

    Attributes:
        batch: frames that it takes at a time.
        sure: a score from which a box may begin a track; those below only continue one.
        moves: whether only what moves can be trusted to be a person; tracks that never do are then left out.
        stretch: seconds of footage after which `learn` is called again; 0 for a detector that learns nothing.
        samples: frames that `learn` wants.
        height: that these frames are reduced to, in pixels.
    """

    batch: int = 1
    sure: float = 0.5
    moves: bool = False
    stretch: float = 0.0
    samples: int = 0
    height: int = 0

    def learn(self, samples: Sequence[np.ndarray]) -> None:
        """Look at frames spread over the stretch that comes: (H, W, 3) uint8, H at most `height`."""
        return

    def detect(self, frames: Sequence[Frame]) -> list[Boxes]:
        """The boxes of each frame."""

    def notes(self) -> list[str]:
        """What must be said about this source, one line each."""
        return []


FEW = 5  # samples below which there is no telling what is scene and what is person
_MODEL = "give a model with --detector FOLDER"


@dataclass
class Background:
    """People as what differs from an empty scene: for a fixed camera, without weights.

    It cannot separate people who overlap, sees nobody when the camera moves, and takes for a person whatever moves and
    is of a person's shape. The empty scene is found for each stretch of footage from frames spread over it.

    Attributes:
        least: smallest height of a person, in pixels of the frame.
        height: the height that frames are reduced to, in pixels.
        difference: least difference from the empty scene, in levels of 255, in the channel that differs most.
        fill: least share of a box that must differ.
        shapes: least and greatest ratio of height to width of a box.
        samples: frames that the empty scene is found from.
    """

    least: int = 64
    height: int = 240
    difference: float = 20.0
    fill: float = 0.35
    shapes: tuple[float, float] = (1.0, 5.5)
    samples: int = 64
    batch: int = 1
    sure: float = 0.4
    moves: bool = True
    stretch: float = 300.0
    crowded: int = 0
    seen: int = 0
    unlike: int = 0
    few: int = 0
    _scene: np.ndarray | None = field(default=None, repr=False)
    _limit: np.ndarray | None = field(default=None, repr=False)
    _steady: bool = True

    def learn(self, samples: Sequence[np.ndarray]) -> None:
        """Find the empty scene: the median, mended where the edges around a difference show that the median holds the
        object and the frame does not."""
        samples = [sample for sample in samples if sample.shape == samples[0].shape]
        if len(samples) < FEW:
            self.few = max(self.few, len(samples))
            self._scene = None
            return
        stack = np.stack([_soft(sample) for sample in samples])
        scene = _median(stack).astype(np.uint8)
        for _ in range(3):
            if not self._mend(scene, stack):
                break
        self._scene = scene
        if len(stack) > 1:  # noise: how much a pixel differs from one sample to the next, as a rule
            noise = _median(np.abs(np.diff(stack.astype(np.int16), axis=0)).astype(np.uint8)).max(axis=2)
        else:
            noise = np.zeros(scene.shape[:2])
        self._limit = np.clip(self.difference + 4 * noise, 0, 120).astype(np.uint8)
        self._steady = float((noise > 20).mean()) < 0.3

    def _mend(self, scene: np.ndarray, stack: np.ndarray) -> bool:
        cv2 = library("cv2")
        changed = False
        for frame in stack:
            mask = self._mask(frame, scene, self.difference)
            if mask.mean() > 255 * 0.6:
                continue
            before, now = _edges(scene), _edges(frame)
            count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
            for i in range(1, count):
                if stats[i, cv2.CC_STAT_AREA] < 0.002 * mask.size:
                    continue
                part = (labels == i).astype(np.uint8)
                rim = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
                if before[rim].mean() > 1.15 * now[rim].mean():
                    whole = cv2.dilate(part, np.ones((5, 5), np.uint8)) > 0
                    scene[whole] = frame[whole]
                    changed = True
                    before = _edges(scene)
        return changed

    def _mask(self, frame: np.ndarray, scene: np.ndarray, limit: Any) -> np.ndarray:
        """255 where a frame differs from the scene by more than a change of light or a soft shadow."""
        cv2 = library("cv2")
        red, green, blue = cv2.split(cv2.absdiff(frame, scene))
        mask = cv2.compare(cv2.max(cv2.max(red, green), blue), limit, cv2.CMP_GT)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        value: np.ndarray = cv2.morphologyEx(
            mask, cv2.MORPH_CLOSE, np.ones((max(3, frame.shape[0] // 30), 3), np.uint8)
        )
        return value

    def detect(self, frames: Sequence[Frame]) -> list[Boxes]:
        """See `Detector.detect`."""
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> Boxes:
        pixels = frame.pixels(self.height)
        if self._scene is None or self._scene.shape != pixels.shape:
            self.unlike += self._scene is not None
            return no_boxes()
        lit = _lit(_soft(pixels), self._scene)
        mask = self._mask(lit, self._scene, self._limit)
        self.seen += 1
        if not self._steady or mask.mean() > 255 * 0.5:
            self.crowded += 1
            return no_boxes()
        scale = frame.height / pixels.shape[0]
        found = _blobs(mask, self.least / scale, self.fill, self.shapes)
        found = [(box, share) for box, share in found if not _shadow(box, mask, lit, self._scene)]
        if not found:
            return no_boxes()
        across = frame.width / pixels.shape[1]
        corners = np.array([box for box, _ in found], np.float32) * (across, scale, across, scale)
        return Boxes(corners.astype(np.float32), np.array([min(1.0, 0.25 + share) for _, share in found], np.float32))

    def notes(self) -> list[str]:
        """See `Detector.notes`."""
        if self.unlike:
            return [f"{self.unlike} frames of another size than the rest were left out; {_MODEL}"]
        if self.few:
            return [f"{self.few} frames are too few to find the empty scene in (at least {FEW}); {_MODEL}"]
        if self.seen and self.crowded > 0.2 * self.seen:
            return [
                f"in {self.crowded} of {self.seen} frames most of the picture changed: background subtraction needs a "
                f"fixed camera; {_MODEL}"
            ]
        return []


def _soft(image: np.ndarray) -> np.ndarray:
    """Without the noise of single pixels."""
    value: np.ndarray = library("cv2").GaussianBlur(image, (3, 3), 0)
    return value


def _median(stack: np.ndarray) -> np.ndarray:
    """(N, H, ...) of 8 bits → (H, ...): `np.median` over N, several times as fast. Neighbours in N are put in order at
    all places at once, in bands that fit a processor's cache, until the upper half is sorted.
    """
    half, out = len(stack) // 2, np.empty(stack.shape[1:])
    band = max(1, 2**16 // stack[0, 0].size)
    for y in range(0, stack.shape[1], band):
        rows = stack[:, y : y + band].copy()
        for end in range(len(rows) - 1, (len(rows) - 1) // 2 - 1, -1):
            for i in range(end):
                larger = np.maximum(rows[i], rows[i + 1])
                np.minimum(rows[i], rows[i + 1], out=rows[i])
                rows[i + 1] = larger
        out[y : y + band] = rows[half] if len(rows) % 2 else (rows[half - 1] + rows[half].astype(float)) / 2
    return out


def _edges(image: np.ndarray) -> np.ndarray:
    cv2 = library("cv2")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    value: np.ndarray = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return value


def _lit(frame: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """A frame in the light of the scene: each channel multiplied by the median ratio of the two."""
    small, base = frame[::8, ::8].astype(np.float32) + 1, scene[::8, ::8].astype(np.float32) + 1
    gain = np.median(base / small, axis=(0, 1)).clip(0.6, 1.6)
    if np.abs(gain - 1).max() < 0.02:
        return frame
    value: np.ndarray = library("cv2").multiply(frame, (*map(float, gain), 0.0))
    return value


def _blobs(
    mask: np.ndarray, least: float, fill: float, shapes: tuple[float, float]
) -> list[tuple[tuple[float, float, float, float], float]]:
    """Boxes of a person's shape in a mask, and the share of each that is filled; pieces above each other are joined."""
    cv2 = library("cv2")
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    pieces = [tuple(map(int, s)) for s in stats[1:count] if s[cv2.CC_STAT_AREA] >= max(12, 0.01 * least * least)]
    boxes = [[x, y, x + w, y + h, area] for x, y, w, h, area in pieces]
    joined = True
    while joined:
        joined = False
        for i in range(len(boxes)):
            for j in range(i + 1, len(boxes)):
                a, b = boxes[i], boxes[j]
                both = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]), a[4] + b[4]]
                filled = both[4] >= fill * (both[2] - both[0]) * (both[3] - both[1])
                if filled and (_one_above_other(a, b) or _cut_by_post(a, b)):
                    boxes[i], joined = both, True
                    boxes.pop(j)
                    break
            if joined:
                break
    out = []
    for left, top, right, bottom, area in boxes:
        wide, high = right - left, bottom - top
        share = area / (wide * high)
        if high >= least and share >= fill and shapes[0] <= high / wide <= shapes[1]:
            out.append(((float(left), float(top), float(right), float(bottom)), share))
    return out


def _shadow(box: Sequence[float], mask: np.ndarray, frame: np.ndarray, scene: np.ndarray) -> bool:
    """Whether what differs in a box is the scene itself, darker or lighter: its pattern is still there."""
    cv2 = library("cv2")
    left, top, right, bottom = map(int, box)
    part = np.s_[top:bottom, left:right]
    inside = mask[part] > 0
    now, before = (cv2.cvtColor(np.ascontiguousarray(i[part]), cv2.COLOR_RGB2GRAY)[inside] for i in (frame, scene))
    if min(now.std(), before.std()) < 2:
        return False
    return float(np.corrcoef(now, before)[0, 1]) > 0.8


def _one_above_other(a: Sequence[int], b: Sequence[int]) -> bool:
    shared = min(a[2], b[2]) - max(a[0], b[0])
    if shared < 0.5 * min(a[2] - a[0], b[2] - b[0]):
        return False
    gap = max(a[1], b[1]) - min(a[3], b[3])
    return gap < 0.15 * (max(a[3], b[3]) - min(a[1], b[1]))


def _cut_by_post(a: Sequence[int], b: Sequence[int]) -> bool:
    """Two pieces of one height beside each other, one of them too thin for a person."""
    high = max(a[3], b[3]) - min(a[1], b[1])
    if min(a[3], b[3]) - max(a[1], b[1]) < 0.7 * high or max(a[2], b[2]) - min(a[0], b[0]) > 0.6 * high:
        return False
    thin = any(c[3] - c[1] > 4.5 * (c[2] - c[0]) for c in (a, b))
    return thin and max(a[0], b[0]) - min(a[2], b[2]) < 0.15 * high


class TransformersDetector(Detector):
    """Any object detection model of the transformers library (RT-DETR, D-FINE, DETR, YOLOS …), its person class only.

    folder: a local folder with config.json, model.safetensors and preprocessor_config.json, or a name on the hub with
    allow_download. device: auto, cpu or cuda. precision: fp32, bf16 or fp16. sure: least score that begins a track.
    batch: frames at a time. Raises ModelMissing, ModelRefused, or UsageError for a model without a class for people.
    """

    PERSON = ("person", "people", "pedestrian", "human")
    LOW = 0.1  # least score of a box that may continue a track

    def __init__(
        self,
        folder: str,
        device: str = "auto",
        precision: str = "fp32",
        sure: float = 0.5,
        batch: int = 8,
        allow_download: bool = False,
    ):
        import torch
        from transformers import AutoImageProcessor, AutoModelForObjectDetection
        from transformers.utils import logging

        if not os.path.isdir(folder) and not allow_download:
            raise ModelMissing(
                f"there is no folder {folder}; give a folder with an object detection model of the transformers "
                "library, or its name on the hub with --allow-download"
            )
        self.sure, self.batch, self.lock = sure, batch, threading.Lock()
        self.device = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        )
        self.type = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        level = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            local = not allow_download
            self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=local)
            model = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=local, use_safetensors=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelRefused(
                f"{folder} is not an object detection model that can be loaded: {_line(error)}"
            ) from None
        finally:
            logging.set_verbosity(level)
        self.model = model.to(self.device, self.type).eval()
        names = {int(i): str(name) for i, name in model.config.id2label.items()}
        self.people = sorted(i for i, name in names.items() if name.lower() in self.PERSON)
        if not self.people:
            raise UsageError(f"{folder} has no class for people; its classes: {', '.join(list(names.values())[:20])}")

    def detect(self, frames: Sequence[Frame]) -> list[Boxes]:
        """See `Detector.detect`."""
        import torch

        sizes = [(frame.height, frame.width) for frame in frames]
        inputs = self.processor(images=[frame.pixels() for frame in frames], return_tensors="pt")
        given = {k: v.to(self.device, self.type if v.is_floating_point() else None) for k, v in inputs.items()}
        with self.lock, torch.inference_mode():
            found = self.model(**given)
        found.logits, found.pred_boxes = found.logits.float().cpu(), found.pred_boxes.float().cpu()
        found = self.processor.post_process_object_detection(found, self.LOW, torch.tensor(sizes))
        out = []
        for boxes, (high, wide) in zip(found, sizes, strict=True):
            keep = torch.isin(boxes["labels"], torch.tensor(self.people))
            corners = boxes["boxes"][keep].numpy().astype(np.float32).reshape(-1, 4)
            corners[:, 0::2], corners[:, 1::2] = corners[:, 0::2].clip(0, wide), corners[:, 1::2].clip(0, high)
            real = (corners[:, 2] - corners[:, 0] >= 1) & (corners[:, 3] - corners[:, 1] >= 1)
            out.append(Boxes(corners[real], boxes["scores"][keep].numpy().astype(np.float32)[real]))
        return out


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@dataclass
class BoxTable(Detector):
    """Boxes that were found elsewhere. frames: number of a frame → its boxes."""

    frames: dict[int, Boxes]
    sure: float = 0.5
    used: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, path: str, names: Sequence[str] = (), sure: float = 0.5) -> BoxTable:
        """A MOT file (frame from 1, id, left, top, width, height, score, …) or a COCO JSON file.

        names: the file names of a folder of frames, by which COCO's images are found; for a video the last number in
        a COCO file name is the frame's number from 0. Raises DataError.
        """
        rows = _coco(path, names) if path.lower().endswith(".json") else _mot(path)
        if not rows:
            raise DataError(f"{path} holds no boxes of people")
        grouped: dict[int, list[Sequence[float]]] = {}
        for frame, *values in rows:
            grouped.setdefault(int(frame), []).append(values)
        known = all(values[5] >= 0 for group in grouped.values() for values in group)
        frames = {}
        for frame, group in grouped.items():
            table = np.array(group, np.float64)
            corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1).astype(np.float32)
            frames[frame] = Boxes(
                corners, table[:, 4].astype(np.float32), table[:, 5].astype(np.int64) if known else None
            )
        return cls(frames, sure)

    def detect(self, frames: Sequence[Frame]) -> list[Boxes]:
        """See `Detector.detect`."""
        self.used |= {frame.number for frame in frames if frame.number in self.frames}
        return [self.frames.get(frame.number, no_boxes()) for frame in frames]

    def notes(self) -> list[str]:
        """How many frames with boxes were not looked at."""
        left = len(self.frames) - len(self.used)
        return [f"{left} of {len(self.frames)} frames with boxes were not looked at; --rate 0 takes every frame"] * (
            left > 0
        )


def _mot(path: str) -> list[list[float]]:
    """frame from 0, left, top, width, height, score, track (-1 for none) of each line."""
    out = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            for i, line in enumerate(file, 1):
                values = [v.strip() for v in line.replace(";", ",").split(",")]
                if values == [""] or (i == 1 and not _is_number(values[0])):
                    continue
                numbers = [float(v) for v in values[:7]]
                if len(numbers) < 6 or numbers[0] < 1 or min(numbers[4:6]) <= 0 or not np.isfinite(numbers).all():
                    raise ValueError
                score = numbers[6] if len(numbers) > 6 and numbers[6] >= 0 else 1.0
                out.append([numbers[0] - 1, *numbers[2:6], score, numbers[1]])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except ValueError:
        raise DataError(
            f"{path}, line {i}: {line.strip()[:60]!r} is not a box; each line is frame (from 1), id (-1 for none), "
            "left, top, width, height, score"
        ) from None
    return out


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _coco(path: str, names: Sequence[str]) -> list[list[float]]:
    """As `_mot`, from a COCO file of images, annotations and categories."""
    try:
        data = json_of(read_text(Path(path)))
        people = {c["id"] for c in data.get("categories", []) if str(c["name"]).lower() in TransformersDetector.PERSON}
        if data.get("categories") and not people:
            raise DataError(f"{path}: no category of it is called {' or '.join(TransformersDetector.PERSON)}")
        order = {os.path.basename(name): i for i, name in enumerate(names)}
        numbers = {}
        for image in data["images"]:
            name = os.path.basename(str(image["file_name"]))
            digits = re.findall(r"\d+", name)
            found = order.get(name) if order else int(digits[-1]) if digits else None
            if found is not None:
                numbers[image["id"]] = found
        images = {image["id"] for image in data["images"]}
        lost = [a["image_id"] for a in data["annotations"] if a["image_id"] not in images]
        if lost:
            raise DataError(f"{path}: {len(lost)} boxes are of images that it does not list, first image {lost[0]!r}")
        return [
            [numbers[a["image_id"]], *map(float, a["bbox"]), float(a.get("score", 1.0)), int(a.get("track_id", -1))]
            for a in data["annotations"]
            if a["image_id"] in numbers and (a["category_id"] in people or not data.get("categories"))
        ]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a COCO file of boxes ({type(error).__name__}: {error}); it needs images, "
            "annotations (image_id, bbox, category_id) and categories"
        ) from None


def detector_of(
    name: str,
    least: int = 64,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 0,
    sure: float = 0.0,
    allow_download: bool = False,
) -> Callable[[Source], Detector]:
    """What makes a detector for each source: "background", a model's folder or hub name, or boxes from elsewhere (a MOT
    or COCO file; for several sources a folder of them, named as the sources are)."""
    if name == "background":
        return lambda source: Background(least, sure=sure or Background.sure)
    if _holds_boxes(Path(name)):
        return lambda source: BoxTable.read(
            str(_table_for(Path(name), source)),
            [os.path.basename(f) for f in getattr(source, "files", [])],
            sure or 0.5,
        )
    model = TransformersDetector(name, device, precision, sure or 0.5, batch or 8, allow_download)
    return lambda source: model


TABLES = (".txt", ".csv", ".json")


def content_of(name: str, source: Source) -> str:
    """What a detector's name stands for now, so that another content under it is noticed: a hash of a table of boxes,
    or of the names, sizes and times of a model's files; "" for the background and for a name on the hub. Raises
    DataError where there are no boxes for this source.
    """
    given = Path(name)
    if name == "background" or not given.exists():
        return ""
    if _holds_boxes(given):
        path = _table_for(given, source)
        try:
            return hashlib.sha256(read_regular(path, TABLE_BYTES)).hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
    files = sorted(p for p in given.iterdir() if p.is_file()) if given.is_dir() else [given]
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _holds_boxes(given: Path) -> bool:
    """Whether a path is a table of boxes, or a folder of them."""
    if given.suffix.lower() in TABLES:
        return True
    tables = given.is_dir() and any(p.suffix.lower() in TABLES for p in given.iterdir())
    return tables and not (given / "config.json").exists()


def _table_for(folder: Path, source: Source) -> Path:
    """The table of a source's boxes: the one that was named, or that of its name in the folder that was."""
    if not folder.is_dir():
        return folder
    for suffix in TABLES:
        path = folder / f"{Path(source.path).stem}{suffix}"
        if path.exists():
            return path
    raise DataError(f"{folder} holds no boxes for {source.path}: {Path(source.path).stem}.txt, .csv or .json")

"""From boxes to passes: one track per person and pass, and the best few crops of each.

Tracks are made by ByteTrack (Zhang et al., ECCV 2022) in the package `trackers`: motion and overlap only, no second
network, boxes of low score continue a track and begin none. Boxes are compared by distance IoU (Zheng et al., AAAI
2020), which still tells near from far where two boxes do not overlap: somebody who comes out behind a post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .detecting import Boxes
from .reading import Frame, library

POOL = 12  # crops of an open track that are held in memory
APART = 0.2  # seconds between two crops of a track that are considered
MARGIN = 0.05  # of the box's width and height, on each side
LEAST = 3  # boxes that make a track
WORSE = 0.25  # of the best crop's quality, below which a crop is not kept
MOVED = 0.25  # of its height, by which a track must move where only what moves can be trusted


@dataclass
class Crop:
    """One crop of a track.

    Attributes:
        frame: number of the frame.
        time: seconds from the beginning of the source.
        box: left, top, right, bottom in pixels of the frame, without the margin.
        score: of the detector.
        quality: 0 to 1: sharp, large, whole, apart from others.
        pixels: (H, W, 3) uint8, with the margin.
        pose: (128,) float32, unit length: a tiny grey picture, by which two crops are compared.
    """

    frame: int
    time: float
    box: tuple[float, float, float, float]
    score: float
    quality: float
    pixels: np.ndarray = field(repr=False)
    pose: np.ndarray = field(repr=False)


@dataclass
class Track:
    """What is known of a pass. number: from 1, within the source. crops: the pool. seen: boxes so far.

    first, last: seconds. places: (centre x, centre y, height) of the first box and the extremes since.
    """

    number: int
    first: float
    last: float
    seen: int = 0
    considered: float = -1.0
    crops: list[Crop] = field(default_factory=list)
    low: np.ndarray = field(default_factory=lambda: np.full(3, np.inf))
    high: np.ndarray = field(default_factory=lambda: np.full(3, -np.inf))

    @property
    def moved(self) -> float:
        """How far it went or grew, in its own heights."""
        return float((self.high - self.low).max() / max(1.0, self.high[2]))

    def best(self, count: int) -> list[Crop]:
        """The best few crops in the order of time: the best one, then those that are good and unlike the chosen."""
        left, chosen = sorted(self.crops, key=lambda c: -c.quality), list[Crop]()
        while left and len(chosen) < count:
            unlike = [min((1 - float(c.pose @ d.pose) for d in chosen), default=0.9) for c in left]
            worth = [c.quality * (0.1 + min(1.0, max(0.0, u))) for c, u in zip(left, unlike, strict=True)]
            chosen.append(left.pop(int(np.argmax(worth))))
            left = [c for c in left if c.quality > WORSE * chosen[0].quality]
        return sorted(chosen, key=lambda c: c.frame)


class Passes:
    """Boxes of one frame after the other → tracks, each given out when it is over.

    lost: seconds for which somebody may be hidden. sure, moves: see `Detector`. least: least height of a crop in pixels
    of the frame. whole: called with (track, crop) for every crop, and every box is then one; None keeps a pool.
    """

    def __init__(
        self,
        rate: float,
        lost: float = 2.0,
        sure: float = 0.5,
        moves: bool = False,
        least: int = 64,
        every: Callable[[Track, Crop], None] | None = None,
    ):
        self.lost, self.sure, self.moves, self.least, self.every = lost, sure, moves, least, every
        self.rate = rate
        self.open: dict[int, Track] = {}
        self.count = 0
        self.left_out: dict[str, int] = {"short": 0, "still": 0}
        self.reset()

    def reset(self) -> None:
        """Forget everybody; only where nobody is open. The numbers go on."""
        trackers = library("trackers")
        self.tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(30 * self.lost),
            frame_rate=self.rate,
            track_activation_threshold=self.sure,
            high_conf_det_threshold=self.sure,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=-0.3,
            iou=trackers.DIoU(),
        )
        self.numbers: dict[int, int] = {}

    @property
    def quiet(self) -> bool:
        """Whether nobody is being followed."""
        return not self.open and not self.tracker.tracks

    def add(self, frame: Frame, boxes: Boxes) -> Iterator[Track]:
        """Take a frame's boxes; gives the tracks that have ended."""
        numbers = self.follow(frame, boxes)
        for i, number in enumerate(numbers):
            if number < 0:
                continue
            track = self.open.get(number)
            if track is None:
                track = self.open[number] = Track(number, frame.time, frame.time)
            self._take(track, frame, boxes, i)
        yield from self.close(frame.time - self.lost)

    def close(self, before: float = np.inf) -> Iterator[Track]:
        """Tracks that were last seen before a time; all of them when none is given."""
        for number in [n for n, t in self.open.items() if t.last < before]:
            track = self.open.pop(number)
            if track.seen < LEAST or (not track.crops and self.every is None):
                self.left_out["short"] += 1
            elif self.moves and track.moved < MOVED:
                self.left_out["still"] += 1
            else:
                yield track

    def follow(self, frame: Frame, boxes: Boxes) -> list[int]:
        """The number of each box's track; -1 for none."""
        if boxes.tracks is not None:
            return [self._number(int(t)) for t in boxes.tracks]
        supervision = library("supervision")
        found = supervision.Detections(
            xyxy=boxes.corners.astype(np.float64).reshape(-1, 4),
            confidence=boxes.scores.astype(np.float64),
            data={"at": np.arange(len(boxes.scores))},
        )
        out = [-1] * len(boxes.scores)
        told = self.tracker.update(found, timestamp=frame.time)
        if len(told):
            for at, number in zip(told.data["at"], told.tracker_id, strict=True):
                out[int(at)] = self._number(int(number)) if number >= 0 else -1
        return out

    def _number(self, given: int) -> int:
        if given not in self.numbers:
            self.count += 1
            self.numbers[given] = self.count
        return self.numbers[given]

    def _take(self, track: Track, frame: Frame, boxes: Boxes, i: int) -> None:
        box = boxes.corners[i]
        place = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[3] - box[1]])
        track.low, track.high = np.minimum(track.low, place), np.maximum(track.high, place)
        track.seen, track.last = track.seen + 1, frame.time
        if place[2] < self.least or (not self.every and frame.time - track.considered < APART - 1e-6):
            return
        track.considered = frame.time
        crop = _crop(frame, boxes, i)
        if self.every:
            self.every(track, crop)
            return
        track.crops.append(crop)
        if len(track.crops) > POOL:
            _drop(track.crops)


def _drop(pool: list[Crop]) -> None:
    """Remove the worse of the two crops that are most alike."""
    poses = np.stack([c.pose for c in pool])
    alike = poses @ poses.T
    np.fill_diagonal(alike, -2)
    i, j = divmod(int(alike.argmax()), len(pool))
    pool.pop(i if pool[i].quality < pool[j].quality else j)


def _crop(frame: Frame, boxes: Boxes, i: int) -> Crop:
    cv2 = library("cv2")
    left, top, right, bottom = map(float, boxes.corners[i])
    dx, dy = MARGIN * (right - left), MARGIN * (bottom - top)
    x0, y0 = max(0, int(left - dx)), max(0, int(top - dy))
    x1, y1 = min(frame.width, int(np.ceil(right + dx))), min(frame.height, int(np.ceil(bottom + dy)))
    pixels = frame.pixels()[y0:y1, x0:x1].copy()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = 128 / max(1, grey.shape[0])
    small = cv2.resize(grey, (max(1, round(grey.shape[1] * scale)), 128), interpolation=cv2.INTER_AREA)
    sharp = float(cv2.Laplacian(small, cv2.CV_32F).var())
    pose = cv2.resize(grey, (8, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    pose -= pose.mean()
    pose /= max(1e-6, float(np.linalg.norm(pose)))
    cut = left <= 2 or top <= 2 or right >= frame.width - 2 or bottom >= frame.height - 2
    covered = _covered(boxes.corners, i)
    quality = sharp / (sharp + 200) * min(1.0, (bottom - top) / 256) ** 0.5 * (0.2 if cut else 1.0) * (1 - covered)
    return Crop(
        frame.number, frame.time, (left, top, right, bottom), float(boxes.scores[i]), quality, pixels, pose
    )  # fmt: skip


def _covered(corners: np.ndarray, i: int) -> float:
    """The largest share of a box that another one covers."""
    box, others = corners[i], np.delete(corners, i, axis=0)
    if not len(others):
        return 0.0
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    high = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = wide.clip(0) * high.clip(0)
    return float(shared.max() / max(1e-6, (box[2] - box[0]) * (box[3] - box[1])))

"""From recorded footage to crops: reading, detecting, tracking, cutting. See docs/video.md."""

from .cropping import CropReport, Progress, Settings, SourceReport, crop
from .detecting import Background, Boxes, BoxTable, Detector, TransformersDetector
from .origin import Origin, origin_of
from .reading import FootageError, Frame, Frames, Source, Video, sources_of

__all__ = [
    "Background", "BoxTable", "Boxes", "CropReport", "Detector", "FootageError", "Frame", "Frames", "Origin",
    "Progress", "Settings", "Source", "SourceReport", "TransformersDetector", "Video", "crop", "origin_of",
    "sources_of",
]  # fmt: skip

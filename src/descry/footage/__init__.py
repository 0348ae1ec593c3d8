"""From recorded footage to crops: reading, detecting, tracking, cutting. See docs/video.md."""

from .cropping import CropReport, Progress, Settings, SourceReport, crop
from .detecting import Background, Boxes, BoxTable, Detector, TransformersDetector
from .reading import FootageError, Frame, Frames, Source, Video, sources_of

__all__ = [
    "Background", "BoxTable", "Boxes", "CropReport", "Detector", "FootageError", "Frame", "Frames", "Progress",
    "Settings", "Source", "SourceReport", "TransformersDetector", "Video", "crop", "sources_of",
]  # fmt: skip

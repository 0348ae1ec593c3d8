"""An optional cache of decoded, resized crops, keyed by their content, for training on the same pictures many times.

Worth its disk space where decoding starves the accelerator: benchmarks/decode.py measures both ways. A changed
picture gets another key; deleting the folder is always safe.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from ..images import load

VERSION = 1


class CropCache:
    """`CropCache("crops", (384, 128))(path)` → (3, H, W) uint8, the same pixels as `images.load`."""

    def __init__(self, folder: str | Path, size: tuple[int, int]):
        self.folder = Path(folder)
        self.size = size

    def __call__(self, path: str | Path) -> np.ndarray:
        """The crop of a picture, from the cache or else decoded and kept. Raises as `images.load`."""
        try:
            content = Path(path).read_bytes()
        except OSError:
            return load(path, self.size)
        file = self._file(content)
        try:
            held = np.load(file, allow_pickle=False)
            if held.shape == (3, *self.size) and held.dtype == np.uint8:
                return np.asarray(held)
        except (OSError, ValueError, EOFError):
            pass
        pixels = load(path, self.size)
        self._keep(file, pixels)
        return pixels

    def _file(self, content: bytes) -> Path:
        key = hashlib.sha256(f"{VERSION} {self.size[0]}x{self.size[1]} ".encode() + content).hexdigest()
        return self.folder / key[:2] / f"{key}.npy"

    def _keep(self, file: Path, pixels: np.ndarray) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, pixels, allow_pickle=False)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        partial.write_bytes(buffer.getvalue())
        partial.replace(file)

"""The one path from a picture or a text to a vector: indexing, search and evaluation all take it.

A Model is a method with its weights, ready for use: it reads pictures safely, runs them in batches on a device, and
returns NumPy float32 rows of unit length.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import images
from .checkpoint import PRECISIONS, SKETCHES, load_any, sketch_reader
from .errors import UsageError, nearest
from .library import DEVICES
from .ranking import Ranking, note_of
from .sketching import Fitted, fit_to_ink
from .text import clean_caption


def load(
    name: str | Path = "demo",
    device: str = "auto",
    precision: str = "fp32",
    image_size: tuple[int, int] | None = None,
    allow_download: bool = False,
) -> Model:
    """A model from "demo", a run folder, a CLIP folder of the transformers library, or a hub name in the local cache.

    device: "auto" (a GPU when there is one), "cpu", "cuda" (NVIDIA) or "mps" (Apple). precision: "fp32", "bf16", or
    "fp16" on a GPU. image_size: (H, W) for a plain CLIP; a run has its own. allow_download: may fetch a hub name from
    the network.
    """
    method, config, folder = load_any(name, image_size, allow_download)
    reader = sketch_reader(method, folder) if (folder / SKETCHES).is_file() else method
    return Model(method, config, str(name), folder, device, precision, reader)


def choose_device(device: str, precision: str = "fp32") -> torch.device:
    """ "auto", "cpu", "cuda" or "mps" → a device; UsageError for one that is not here or cannot compute in that
    precision.
    """
    if device not in DEVICES:
        raise UsageError(f"there is no device {device!r}; {nearest(device, list(DEVICES))}")
    if precision not in ("auto", *PRECISIONS):
        raise UsageError(f"there is no precision {precision!r}; {nearest(precision, ['auto', *PRECISIONS])}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no NVIDIA GPU is usable here; use --device cpu")
    apple = torch.backends.mps.is_available()
    if device == "mps" and not apple:
        raise UsageError("no Apple GPU is usable here; use --device cpu")
    chosen = device
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "mps" if apple else "cpu"
    if chosen == "cpu" and precision == "fp16":
        raise UsageError("fp16 is very slow on a processor; use --precision bf16 or fp32")
    return torch.device(chosen)


class Model:
    """A method with its weights, ready for use. Not for training; weights do not change.

    Attributes:
        answers: the kinds of query it can embed; with "text" and "sketch", "sketch+text" is also answered by late
            fusion.
        dimension: of its vectors.
        fingerprint: SHA-256 (hex) of the weights and of what else changes a vector.
        fits_sketches: whether sketches are fitted to their ink before they are read (`fit_sketch`).
        image_size: (H, W) in pixels.
        note: what must be said beside its results; "" for nothing.
        preprocessing: how pixels reach the encoder; bound to every gallery.
        prompt_tokens: tokens of the prompt in which words complete a picture; they take room from the words.
        pretrained: whether it is based on a CLIP that was pretrained on large data.
        ranking: how it ranks.
        sketch_method: what embeds sketches: the method itself, or a copy that learned to read them and leaves vectors
            of photographs and words as they are.
        search_fingerprint: SHA-256 (hex) of everything that changes an answer: `fingerprint`, vocabulary and `ranking`.
    """

    def __init__(
        self,
        method: Any,
        config: Mapping[str, Any],
        name: str,
        folder: Path | None = None,
        device: str = "auto",
        precision: str = "fp32",
        sketch_method: Any = None,
    ):
        self.device = choose_device(device, precision)
        self.method = method.to(self.device).eval()
        self.sketch_method = self.method if sketch_method in (None, method) else sketch_method.to(self.device)
        self.clip, self.words = method.clip, method.words
        recipe = method.config.recipe
        self.cleans: bool = recipe.clean_queries  # whether texts are cleaned before they are read (`clean_caption`)
        if getattr(recipe, "long_queries", "cut") == "windows":
            self.words = self.words.in_windows()
        self.config = MappingProxyType(dict(config))
        self.ranking = Ranking.from_config(config)
        self.name, self.folder = name, folder
        self.precision = "fp32" if precision == "auto" else precision
        self.fingerprint: str = config.get("fingerprint", "")
        self.search_fingerprint: str = config.get("search_fingerprint", "")
        self.dimension: int = method.dimension
        self.image_size: tuple[int, int] = self.clip.image_size
        self.about: dict[str, Any] = config.get("about", {})
        self.answers: frozenset[str] = method.answers
        self.pretrained, self.note = bool(self.about.get("pretrained", False)), note_of(self.about)
        spec = self.clip.spec
        self.preprocessing: dict[str, Any] = {
            "size": list(self.image_size), "resize": "bicubic", "mean": list(spec.mean), "std": list(spec.std)
        }  # fmt: skip
        composes = hasattr(method.config, "join")
        self.prompt_tokens = self.words.count(method.config.prompt + method.config.join) if composes else 0
        self.encoder: Callable[[np.ndarray], np.ndarray] | None = None
        self.inexact = ""  # the route that it takes, where that is not exact (`encoders.INEXACT`)
        self.fits_sketches = bool(getattr(recipe, "fit_sketches", True))

    def with_ranking(self, ranking: Ranking) -> Model:
        """The same model, weights shared, that ranks in another way."""
        other = copy.copy(self)
        other.ranking = ranking
        made = json.dumps([self.search_fingerprint, ranking.to_json()], sort_keys=True)
        other.search_fingerprint = hashlib.sha256(made.encode()).hexdigest()
        return other

    # ------------------------------------------------------------------ pictures and words

    def fit_sketch(self, picture: Any) -> Fitted:
        """A sketch as the model reads it: fitted to its ink if its recipe says so. Raises ImageRejected."""
        if self.fits_sketches:
            return fit_to_ink(picture)
        return Fitted(images.read(picture), "the model reads sketches as they are drawn")

    def embed_images(
        self, pictures: Sequence[Any], batch_size: int = 64, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Paths, PIL images or arrays → (N, D) float32 unit rows. progress: called with the number done. Raises
        ImageRejected.
        """
        rows, done = [np.zeros((0, self.dimension), np.float32)], 0
        for pixels in self._decoded(pictures, batch_size):
            rows.append(self.embed_pixels(pixels))
            done += len(pixels)
            if progress:
                progress(done)
        return np.concatenate(rows)

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) uint8, as `images.load` gives → (B, D) float32 unit rows."""
        if self.encoder is not None:
            return self.encoder(pixels)
        return self._computed(self.method.encode_image, pixels)

    def embed_sketches(self, sketches: Sequence[Any], batch_size: int = 64) -> np.ndarray:
        """Sketches, as `fit_sketch` gives them → (N, D) float32 unit rows. Where the model does not read sketches apart
        they are those of `embed_images`.
        """
        if self.sketch_method is self.method:
            return self.embed_images(sketches, batch_size)
        rows, read = [np.zeros((0, self.dimension), np.float32)], self.sketch_method.encode_image
        rows += [self._computed(read, pixels) for pixels in self._decoded(sketches, batch_size)]
        return np.concatenate(rows)

    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Texts → (N, D) float32 unit rows. Of a text beyond the encoder's limit the end is not read (`words.cut`), or
        it is read in windows, as the model's recipe says (`long_queries`).
        """
        if self.words.reads_whole:
            texts, whose, weights = self._windows(texts)
        rows = [np.zeros((0, self.dimension), np.float32)]
        for i in range(0, len(texts), batch_size):
            ids = self.words.ids(self._read(texts[i : i + batch_size]))
            rows.append(self._computed(self.method.encode_text, ids))
        vectors = np.concatenate(rows)
        return _means(vectors, whose, weights) if self.words.reads_whole else vectors

    def encode_image(self, picture: Any) -> np.ndarray:
        """One picture (path, PIL image or array) → (D,) float32 of unit length; several in a list → (N, D)."""
        return self.embed_images(picture) if isinstance(picture, (list, tuple)) else self.embed_images([picture])[0]

    def encode_text(self, text: str | Sequence[str]) -> np.ndarray:
        """One text → (D,) float32 of unit length; several in a list → (N, D)."""
        return self.embed_texts([text])[0] if isinstance(text, str) else self.embed_texts(list(text))

    def __repr__(self) -> str:
        answers = ", ".join(sorted(self.answers))
        return f"Model({self.name!r}, {self.dimension} dimensions, answers {answers}, on {self.device})"

    def compose(
        self, pictures: Sequence[Any], texts: Sequence[str], batch_size: int = 64, sketches: bool = False
    ) -> np.ndarray:
        """Early fusion (InteractReID §III-D): pictures become pseudo-words in prompts that go on with the texts →
        (N, D). sketches: whether the pictures are sketches, not photographs.
        """
        return self.compose_words(self.pseudo_words(pictures, batch_size, sketches), texts)

    def pseudo_words(self, pictures: Sequence[Any], batch_size: int = 64, sketches: bool = False) -> np.ndarray:
        """Pictures → (N, width of the text encoder) float32: the words that stand for them; if you keep them, the
        next round need not embed the pictures again. sketches: whether the pictures are sketches, not photographs.
        """
        method = self.sketch_method if sketches else self.method
        rows = [self._computed(method.pseudo_words, pixels) for pixels in self._decoded(pictures, batch_size)]
        return np.concatenate(rows) if rows else np.zeros((0, self.clip.text_width), np.float32)

    def compose_words(self, words: np.ndarray, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """`compose` from the pseudo-words of pictures: (N, width) and N texts → (N, D) float32 unit rows."""
        if self.words.reads_whole:
            texts, whose, weights = self._windows(texts, self.prompt_tokens)
            words = words[whose]
        rows = [np.zeros((0, self.dimension), np.float32)]
        for i in range(0, len(texts), batch_size):
            part = slice(i, i + batch_size)
            rows.append(self._computed(self.method.compose_words, words[part], self._read(texts[part])))
        vectors = np.concatenate(rows)
        return _means(vectors, whose, weights) if self.words.reads_whole else vectors

    # ------------------------------------------------------------------ machinery

    def _windows(self, texts: Sequence[str], taken: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The windows (P) in which texts are read, whose each is (P,), and how many tokens it has (P,)."""
        split = [self.words.windows(text, taken) for text in texts]
        parts = [part for windows in split for part in windows]
        whose = np.repeat(np.arange(len(texts)), [len(windows) for windows in split])
        return parts, whose, np.array([max(1, self.words.count(part)) for part in parts], np.float32)

    def _read(self, texts: Sequence[str]) -> list[str]:
        """The texts as the method reads them: cleaned where its recipe says so."""
        return [clean_caption(t, self.words.length) for t in texts] if self.cleans else list(texts)

    def _decoded(self, pictures: Sequence[Any], batch_size: int) -> Iterator[np.ndarray]:
        if isinstance(pictures, (str, bytes, Path, Image.Image)):
            raise UsageError(
                f"one picture was given ({str(pictures)[:80]!r}) where a list of pictures belongs; put it in a list"
            )
        with ThreadPoolExecutor(min(8, max(1, torch.get_num_threads()))) as pool:
            for i in range(0, len(pictures), batch_size):
                part = pictures[i : i + batch_size]
                yield np.stack(list(pool.map(images.load, part, repeat(self.image_size))))

    def _computed(self, function: Callable[..., Tensor], given: np.ndarray | Tensor, *more: Any) -> np.ndarray:
        """What a function of the method makes of a batch on the device; float32. Pixels, uint8, become 0 to 1."""
        batch = torch.from_numpy(np.ascontiguousarray(given)) if isinstance(given, np.ndarray) else given
        batch = batch.to(self.device, non_blocking=True)
        if batch.dtype == torch.uint8:
            batch = batch.float().div_(255)
        half = torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "fp32")
        with torch.inference_mode(), half:
            return function(batch, *more).float().cpu().numpy()


def _means(vectors: np.ndarray, whose: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(P, D) unit rows → the weighted mean of each owner's, scaled to unit length again."""
    if not len(vectors) or len(vectors) == whose[-1] + 1:
        return vectors
    out = np.zeros((whose[-1] + 1, vectors.shape[1]), np.float32)
    np.add.at(out, whose, vectors * weights[:, None])
    scaled: np.ndarray = out / np.linalg.norm(out, axis=1, keepdims=True)
    return scaled

"""What a training starts from: a data set, a CLIP or an earlier run, and a config.

The second half of the file is the initialisation of an image encoder that has no weights yet. Random weights see in
neighbouring pixels little but their common brightness, and in a position almost nothing; a small vision transformer
then spends hundreds of steps on a plateau. Two known remedies leave the architecture as it is: the patch projection
starts as a whitening of real patches (its mean moves into the positions, as CLIP's projection has no bias), and
positions start as sines and cosines of row and column. With Muon this pays at once; under AdamW it did not within a few
hundred steps (docs/demo-model.md has both).
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import SKETCHES, load_any, read_config
from ..clip import IMAGENET_MEAN, IMAGENET_STD, Clip, longer, random_clip, respecified
from ..clip_files import clip_and_words, resampled, unsaid
from ..errors import ModelMissing, UsageError
from ..escape import counted, plain
from ..images import load
from ..methods import check_backbone, method_class, preset
from ..ranking import SYNTHETIC, is_synthetic, note_of
from ..records import Dataset, Example, validate
from ..text import Words, word_level

PICTURES = 1000
"""Photographs, and sketches, that the whitening of patches is measured on."""
LONGEST = 50.0
"""Slowest wave of a position, in patches over 2π; a person fills far fewer."""
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def read_data(names: tuple[str, ...]) -> Dataset:
    """From `--data FOLDER` or `--data NAME --data FOLDER` to a checked data set; its notes are said on stderr."""
    from ..data import read

    if not 1 <= len(names) <= 2:
        raise UsageError("give --data FOLDER for a folder that describes itself, or --data NAME --data FOLDER")
    data = validate(read(*names))
    for note in data.notes:
        print(f"note: {plain(note)}", file=sys.stderr)
    return data


def tell_unknown(words: Any, texts: Iterable[str]) -> None:
    """Say on stderr which words of a data set's texts a vocabulary does not know; nothing where it knows all."""
    texts = list(dict.fromkeys(t for t in texts if t))[:5000]
    counts = Counter(word for text in texts for word in words.unknown(text))
    if counts:
        share = sum(bool(words.unknown(text)) for text in texts) / len(texts)
        most = ", ".join(repr(word) for word, _ in counts.most_common(8))
        print(
            f"note: this model does not know {counted(len(counts), 'word')} of these texts ({100 * share:.0f} % "
            f"of the texts hold one), most often {most}",
            file=sys.stderr,
        )


def start(
    name: str,
    which: str,
    stage: int,
    origin: str,
    data: Dataset,
    out: Path,
    image_size: tuple[int, int] | None,
    resume: bool,
    allow_download: bool,
    seed: int,
    change: Callable[[Any], Any],
) -> tuple[Any, dict[str, Any]]:
    """The method to train, and what is known of where its weights come from. Raises UsageError, ModelMissing,
    ModelRefused.
    """
    if not resume and (out / "training.safetensors").exists():
        raise UsageError(f"{out} already holds a training; add --resume to go on with it, or choose another --out")
    config = change(preset(name, which, data.name.partition(":")[0]).with_stage(stage))
    config.check()
    clip, words, about, beside = _weights(name, origin, image_size, data, config, out, allow_download, seed)
    check_backbone(name, clip)
    lent = {} if origin == "random" else {"weights": digest_of(clip)}
    clip = longer(clip, config.recipe.text_length)
    words = words.of_length(clip.length)
    config = replace(config, image_size=clip.image_size)
    method = method_class(name)(clip, words, config, data.identities)
    if beside and _shapes(_beside(method)) == _shapes(beside):
        method.load_state_dict(beside, strict=False)
    step = {"method": name, "preset": which, "stage": stage, "from": Path(origin).name, "data": data.name}
    history = [*about.get("history", []), step]
    start, only = {"from": Path(origin).name, "note": note_of(about)} | lent, is_synthetic(data.source)
    unseen = not about.get("history") and not about.get("pretrained")  # nothing but these people was ever seen
    own = {"note": SYNTHETIC} if only and (unseen or is_synthetic(start["note"])) else {"note": ""}
    return method, about | {"history": history, "start": start} | own


def digest_of(clip: Clip) -> str:
    """SHA-256 (hex, 16 digits) of a CLIP's weights but its positions, which are resized for each image size."""
    made = hashlib.sha256()
    for key, value in sorted(clip.model.state_dict().items()):
        if "position" not in key:
            made.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


def _weights(
    name: str,
    origin: str,
    image_size: tuple[int, int] | None,
    data: Dataset,
    config: Any,
    out: Path,
    allow_download: bool,
    seed: int,
) -> tuple[Clip, Words, dict[str, Any], dict[str, Any]]:
    """A CLIP, its vocabulary, what is known of it, and what a run of the same method searches with beside it."""
    if origin == "random":
        words = word_level([*(e.caption for e in data.train), "a photo of * , and"])
        height, width = image_size or config.image_size
        clip = random_clip(
            (height, width), max(height // 8, 1), 128, 192, 6, 128, 4, len(words), 77, words.end, words.placeholder,
            seed, activation="gelu",
        )  # fmt: skip
        initialise_image_encoder(clip, data.train, seed)
        return clip, words, {"weights": "random", "pretrained": False}, {}
    folder = _converted(Path(origin), out) if Path(origin).suffix in (".pt", ".pth", ".bin") else Path(origin)
    pixels = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if config.pixels == "imagenet" else {}
    if origin == "demo" or (folder.is_dir() and "method" in read_config(folder)):
        method: Any
        method, saved, found = load_any(origin if origin == "demo" else folder)
        if "clip" not in dict(method.named_children()):
            raise UsageError(
                f"{origin} is a run of {saved['method']}, which has no CLIP to begin with; give a CLIP, a run of "
                "another method, demo or random"
            )
        if (found / SKETCHES).is_file():
            print(
                f"note: {origin} reads sketches with an image encoder of their own ({SKETCHES}), which is not trained "
                "on; the new model reads sketches with the one for photographs",
                file=sys.stderr,
            )
        method.clip.thaw()  # weights alone are taken over; what is frozen and dropped is the new method's to say
        beside = _beside(method) if saved["method"] == name else {}
        if saved["method"] == "zero_shot":  # CLIP as it was published: the method decides about its pixels
            clip = respecified(method.clip, image_size=image_size or config.image_size, **pixels)
        else:
            clip = respecified(method.clip, image_size=image_size or method.clip.image_size)
        return clip, method.words, dict(saved["about"]), beside
    clip, words, found = clip_and_words(origin, image_size or config.image_size, allow_download)
    for text in (*(unsaid(found) if not pixels else ()), *resampled(found)):
        print(f"note: {text}", file=sys.stderr)
    return respecified(clip, **pixels), words, {"weights": f"CLIP {folder.name}", "pretrained": True}, {}


def _converted(file: Path, out: Path) -> Path:
    """OpenAI's ViT-B-16.pt as the released README places it, turned into a run folder inside `out` (once)."""
    from ..convert import convert, digest_of_files

    vocabulary = file.with_name(VOCABULARY)
    if not file.is_file() or not vocabulary.is_file():
        missing = vocabulary if file.is_file() else file
        raise ModelMissing(f"{missing} does not exist; put {VOCABULARY} beside the checkpoint, or use descry convert")
    made = out / "start"
    if not (made / "config.json").is_file():
        convert(file, made, vocabulary)
    elif read_config(made)["about"].get("sha256") != digest_of_files(file):
        raise UsageError(
            f"{made} was made of other weights than {file}; remove it, or choose another --out to begin with these"
        )
    return made


def _beside(method: Any) -> dict[str, Any]:
    """What a method searches with beside its CLIP: InteractReID's mapping, RDE's selections, a baseline's probes."""
    keys = tuple(k for k in method.inference_keys if k != "clip.")
    return {k: v for k, v in method.state_dict().items() if k.startswith(keys)}


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v.shape) for k, v in state.items()}


def initialise_image_encoder(clip: Clip, rows: Sequence[Example], seed: int = 0) -> None:
    """Whiten the patch projection on about 1,000 photographs and as many sketches of `rows`, and set the positions."""
    paths = [path for chosen in (_some([r.images for r in rows]), _some([r.sketches for r in rows])) for path in chosen]
    if not paths:
        return
    pixels = torch.stack([torch.from_numpy(load(path, clip.image_size)) for path in paths])
    pixels = (pixels.float() / 255 - clip.mean) / clip.std
    embeddings = clip.model.vision_model.embeddings
    with torch.no_grad():
        places: Tensor = embeddings.position_embedding.weight
        places.zero_()
        places[1:] = waves(*clip.grid, places.shape[1])
        places[1:] -= whiten(embeddings.patch_embedding, pixels, seed)


def _some(lists: Sequence[Sequence[str]]) -> list[str]:
    first = [paths[0] for paths in lists if paths]
    return first[:: max(1, len(first) // PICTURES)][:PICTURES]


def waves(rows: int, columns: int, width: int) -> Tensor:
    """(rows · columns, width), variance 1: sines and cosines of the row, then of the column, in falling frequencies."""
    quarter = max(1, width // 4)
    speed = LONGEST ** -(torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    table = torch.cat([wave(a.flatten()[:, None] * speed) for a in (y, x) for wave in (torch.sin, torch.cos)], dim=1)
    table = nn.functional.pad(table / table.std(), (0, max(0, width - table.shape[1])))
    return table[:, :width]


def whiten(conv: nn.Conv2d, pixels: Tensor, seed: int = 0, floor: float = 1e-2) -> Tensor:
    """Set a patch projection so that the patches of `pixels` come out uncorrelated and with variance 1.

    pixels: (N, 3, H, W), as the network gets them. floor: variance below which a direction counts as noise and is not
    blown up. Returns the mean of the output, (width,), for the caller to take away.
    """
    size = int(conv.kernel_size[0])
    patches = nn.functional.unfold(pixels, size, stride=size).transpose(1, 2).reshape(-1, 3 * size * size)
    mean = patches.mean(dim=0)
    centred = (patches - mean).double()
    values, axes = torch.linalg.eigh(centred.T @ centred / len(patches))
    width = min(conv.out_channels, len(values))
    weight = (axes[:, -width:] / (values[-width:].clamp(min=0) + floor).sqrt()).T.float()
    generator = torch.Generator().manual_seed(seed)
    mixing, _ = torch.linalg.qr(torch.randn(conv.out_channels, conv.out_channels, generator=generator))
    weight = mixing[:, :width] @ weight  # every channel carries something of every direction
    weight /= ((patches - mean) @ weight.T).std()
    with torch.no_grad():
        conv.weight.copy_(weight.view_as(conv.weight))
    value: Tensor = weight @ mean
    return value

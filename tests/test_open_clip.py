"""Checkpoints of open_clip's own classes, at their real widths, give open_clip's own vectors after `descry convert`.

Runs where the package open_clip_torch can be found. Its module of models is loaded by itself: the package as a whole
needs torchvision, which is not installed here, for a class of ResNets.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from descry.convert import convert
from descry.embed import load
from descry.text import word_level

SPEC = find_spec("open_clip")
PLACE = Path(SPEC.origin).parent if SPEC and SPEC.origin else None
pytestmark = pytest.mark.skipif(
    PLACE is None, reason="the package open_clip_torch is not here; no extra brings it, as it needs torchvision"
)
WORDS = word_level(["a red top and blue trousers", "a photo of * ,", *(f"word{i}" for i in range(40))])
LEAST = 0.9999


@pytest.fixture(scope="module")
def model():
    """open_clip's module of models."""
    for name in ("AutoTokenizer", "AutoModel", "AutoConfig", "PretrainedConfig"):
        getattr(transformers, name)  # loaded before the stand-in below, which it would take for the real package
    held = dict(sys.modules)
    for name in ("open_clip", "torchvision", "torchvision.ops", "torchvision.ops.misc"):
        sys.modules[name] = ModuleType(name)
    sys.modules["open_clip"].__path__ = [str(PLACE)]
    sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = nn.Identity  # type: ignore[attr-defined]
    try:
        yield import_module("open_clip.model")
    finally:
        for name in set(sys.modules) - set(held):
            if name.startswith(("open_clip", "torchvision")):
                del sys.modules[name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14", "ViT-H-14-quickgelu"])
@torch.no_grad()
def test_a_checkpoint_of_open_clip_gives_its_vectors(model, name, tmp_path) -> None:
    config = json.loads(Path(PLACE, "model_configs", f"{name}.json").read_text())
    for side in ("vision_cfg", "text_cfg"):
        config[side]["layers"] = 2
    config["vision_cfg"]["image_size"] = 4 * config["vision_cfg"]["patch_size"]
    config["text_cfg"]["vocab_size"] = len(WORDS)
    torch.manual_seed(0)
    theirs = model.CLIP(**config).eval()
    for key, value in theirs.state_dict().items():
        if key.endswith("attn.in_proj_weight"):  # sharp attention: another number of heads gives another answer
            value[: 2 * value.shape[1]] *= 8
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    torch.save(theirs.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": mean, "std": std}})
    )
    WORDS.save(tmp_path)
    convert(tmp_path / "open_clip_pytorch_model.bin", tmp_path / "run", tmp_path)
    ours = load(tmp_path / "run", "cpu")
    side = config["vision_cfg"]["image_size"]
    pixels = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    prepared = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    image = theirs.encode_image(prepared)
    assert F.cosine_similarity(torch.from_numpy(ours.embed_pixels(pixels.numpy())), image).min() >= LEAST
    texts = ["a red top", "blue trousers and a red top word7"]
    ids = WORDS.padded(WORDS.ids(texts))
    ids[ids == WORDS.pad] = 0
    assert F.cosine_similarity(torch.from_numpy(ours.embed_texts(texts)), theirs.encode_text(ids)).min() >= LEAST

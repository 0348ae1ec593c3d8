"""Tiny checkpoints with random weights in the folders of the transformers library, one of each kind that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

from conftest import toy_words
from descry.text import Words

KINDS = ("clip", "siglip", "siglip2")
WORDS = toy_words()
SIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def vocabulary(folder: Path) -> None:
    """The toy's words as a tokenizer.json with the special names of a SigLIP."""
    raw = json.loads(WORDS.tokenizer.to_str())
    names = raw["model"]["vocab"]
    for old, new in (("<|endoftext|>", "</s>"), ("<|pad|>", "<pad>"), ("<|unknown|>", "<unk>")):
        names[new] = names.pop(old)
    raw["model"]["unk_token"] = "<unk>"
    (folder / "tokenizer.json").write_text(json.dumps(raw))


def write_backbone(folder: Path, kind: str, std: float = 0.3) -> Any:
    """Write a checkpoint of a kind for pictures of 32 × 32; the library's own model. Its words: `words_of`."""
    torch.manual_seed(0)
    text = SIDE | {"vocab_size": len(WORDS), "max_position_embeddings": 16 if kind != "clip" else 77}
    text |= {"eos_token_id": WORDS.end, "pad_token_id": 0, "bos_token_id": 1}
    square = SIDE | {"image_size": 32, "patch_size": 8}
    model: Any
    if kind == "clip":
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=square, projection_dim=32))
    elif kind == "siglip":
        model = SiglipModel(SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=square))
    else:
        vision = SIDE | {"num_patches": 16, "patch_size": 8}
        model = Siglip2Model(Siglip2Config(text_config=text | {"projection_size": 32}, vision_config=vision))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=std)
    model.save_pretrained(folder)
    pixels = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    if kind == "clip":
        WORDS.save(folder)
    else:
        vocabulary(folder)
    return model.eval()


def words_of(folder: Path, length: int) -> Words:
    """The vocabulary of such a folder for an encoder that reads so many tokens."""
    return Words.load(folder).of_length(length)

"""The single-modality baseline of VFE-TPS (Tables 1-3, "baseline (ours)"): a ViT and a BERT of the transformers
library, each trained on its own modality only, brought together as VFE-TPS brings CLIP's together: by eq. (6)-(9) with
both auxiliary tasks, "the same architecture" but for the encoders.

The given Clip serves for its image size and preprocessing alone; its weights are neither used nor saved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from ..clip import Clip, resize_positions
from ..errors import ModelMissing, ModelRefused
from ..losses import sdm
from ..safe_files import read_regular
from ..text import Specials, Words
from . import Batch, Method, MethodConfig, Progress, Recipe, gather, optimiser_groups, same_everywhere, vfe_tps


@dataclass(frozen=True)
class Config(MethodConfig):
    """Two encoders that never met.

    Attributes:
        recipe: how it is trained; VFE-TPS's.
        image_size: (H, W).
        image_encoder: folder (transformers format, safetensors) of the ViT to begin with; "" begins with random
            weights.
        text_encoder: the same of the BERT.
        temperature: τ of SDM and of IS-GVFC.
        auxiliary: also TG-MIM and IS-GVFC, as the preset "paper" of VFE-TPS has them; hidden squares are one patch.
        width: of both encoders, 768 in ViT-B/16 and BERT-base; 0 takes those of the given Clip.
        layers: of both, 12; 0 takes those of the given Clip.
        heads: of both, 12; 0 takes those of the given Clip.
        new_rate: learning rate of all that begins with random weights (projections, TG-MIM), relative to the recipe's.
            Paper: one rate.
    """

    recipe: Recipe
    image_size: tuple[int, int] = (384, 128)
    image_encoder: str = ""
    text_encoder: str = ""
    temperature: float = 0.02
    auxiliary: bool = True
    width: int = 0
    layers: int = 0
    heads: int = 0
    new_rate: float = 5.0


_TASKS = vfe_tps.PRESETS["paper"]
_IRRA = Recipe(
    epochs=60, batch_size=100, lr=1e-5, optimiser="adam", eps=1e-3, weight_decay=4e-5, schedule="epoch",
    warmup_epochs=5, warmup_from=1e-6, augment="flip-crop", clean_captions=False, drop_last=False,
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "paper": Config(_TASKS.recipe, width=768, layers=12, heads=12, new_rate=1.0),
    "recommended": Config(_IRRA),
}


def bert_words(folder: str | Path) -> Words:
    """The WordPiece vocabulary of a BERT folder (tokenizer.json). Raises ModelMissing, ModelRefused."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ModelMissing(
            f"{folder} holds no tokenizer.json; give a BERT in the transformers format with its fast tokenizer"
        )
    tokenizer = Tokenizer.from_str(read_regular(path, 64 << 20).decode("utf-8"))
    names = {"start": "[CLS]", "end": "[SEP]", "pad": "[PAD]", "mask": "[MASK]", "placeholder": "*", "unknown": "[UNK]"}
    ids = {key: tokenizer.token_to_id(token) for key, token in names.items()}
    lacking = [names[key] for key, value in ids.items() if value is None]
    if lacking:
        raise ModelRefused(f"{path} is not a vocabulary of a BERT: it lacks {', '.join(lacking)}")
    return Words(tokenizer, Specials(**{key: int(value or 0) for key, value in ids.items()}))


def _size(config: Config, clip: Clip, side: str) -> dict[str, Any]:
    """The size of one encoder, in the transformers library's words."""
    own = clip.spec.config[side]
    width = config.width or own["hidden_size"]
    return {
        "hidden_size": width,
        "num_hidden_layers": config.layers or own["num_hidden_layers"],
        "num_attention_heads": config.heads or own["num_attention_heads"],
        "intermediate_size": 4 * width,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


class VitBert(Method):
    """ViT and BERT with a projection each, into the (B, D) of the given Clip. identities: 0 makes the model for
    inference."""

    inference_keys = ("vit.", "bert.", "image_projection.", "text_projection.", "mean", "std")
    needs = frozenset({"text"})
    encoders = ("image_tokens", "_text_tokens")
    small = {"width": 32, "layers": 1, "heads": 2}
    forms = {"": {}, "alone": {"auxiliary": False}}
    mean: Tensor
    std: Tensor

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        words = bert_words(config.text_encoder) if identities and config.text_encoder else words
        super().__init__(clip, words, config, identities)
        del self.clip  # geometry only: not a part whose weights are trained or saved
        object.__setattr__(self, "clip", clip)
        vision, text = _size(config, clip, "vision_config"), _size(config, clip, "text_config")
        vision |= {"image_size": clip.image_size, "patch_size": clip.patch}
        text |= {"vocab_size": len(self.words), "pad_token_id": self.words.pad, "max_position_embeddings": 512}
        self.vit = ViTModel(ViTConfig(**vision), add_pooling_layer=False)
        self.bert = BertModel(BertConfig(**text), add_pooling_layer=False)
        self.image_projection = nn.Linear(vision["hidden_size"], clip.dim, bias=False)
        self.text_projection = nn.Linear(text["hidden_size"], clip.dim, bias=False)
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))  # the ViT's own pixel statistics
        self.register_buffer("std", torch.full((1, 3, 1, 1), 0.5))
        if identities and config.auxiliary:
            heads, layers = (min(a, b) for a, b in ((_TASKS.heads, vision["num_attention_heads"]),
                                                    (_TASKS.layers, vision["num_hidden_layers"])))  # fmt: skip
            self.mim = vfe_tps.MaskedImageModelling(clip, replace(_TASKS, heads=heads, layers=layers))

    def prepare(self, batches: Any = None) -> None:
        """Load the encoders' own pre-trained weights, where the config names them, before the first step."""
        for name, model in (("image_encoder", self.vit), ("text_encoder", self.bert)):
            folder = getattr(self.config, name)
            if folder:
                self._load(folder, model)

    def _load(self, folder: str, model: Any) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ModelMissing(f"{folder} holds no config.json; give a folder in the transformers format")
        try:
            found = type(model).from_pretrained(
                folder, add_pooling_layer=False, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelRefused(f"{folder} cannot be read as {type(model).__name__}: {error}") from None
        state = found.state_dict()
        table = "embeddings.position_embeddings"
        if table in state:
            state[table] = resize_positions(state[table][0], self.clip.grid)[None]
        wanted = model.state_dict()
        wrong = [k for k in wanted if k not in state or state[k].shape != wanted[k].shape]
        if wrong:
            raise ModelRefused(
                f"{folder} does not fit width={self.config.width}, layers={self.config.layers}: {', '.join(wrong[:5])}"
            )
        model.load_state_dict(state)

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """L_CMPM (eq. 6-9) and, with `auxiliary`, L_TG-MIM (eq. 3) and L_IS-GVFC (eq. 4-5)."""
        c, images, text = self.config, batch["image"], self._text_tokens(batch["text"])
        v, t, pids = gather(self.image_tokens(images)[:, 0]), gather(text[:, 0]), gather(batch["pid"])
        out = {"cmpm": sdm(v, t, pids, c.temperature)}
        if not c.auxiliary:
            return out
        mask = batch.get("patch_mask")
        if mask is None:
            grid, share = self.clip.grid, _TASKS.mask_ratio
            mask = vfe_tps.random_mask(len(images), grid, 1, share, at.generator).to(images.device)
        out["tg-mim"] = _TASKS.mim_weight * self.mim(self, images, mask, text, ~self._read(batch["text"]))
        rows = vfe_tps.sample_images(pids, _TASKS.pairs, same_everywhere(at.generator, pids.device), False)
        out["is-gvfc"] = vfe_tps.calibration(v[rows], pids[rows], c.temperature)
        return out

    def param_groups(self) -> list[dict[str, Any]]:
        """Encoders at the recipe's rate, what is new at new_rate times it."""
        c = self.config

        def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
            return 1.0 if name.startswith(("vit.", "bert.")) else c.new_rate, c.recipe.weight_decay

        return optimiser_groups(self.named_parameters(), rule)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → the values that the ViT reads and TG-MIM predicts."""
        return (images - self.mean) / self.std

    def image_tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, 1 + P, D), the photograph's feature first."""
        value: Tensor = self.image_projection(self.vit(pixel_values=self.normalise(images)).last_hidden_state)
        return value

    def _read(self, ids: Tensor) -> Tensor:
        """(B, L) bool: which tokens are read, up to the end of the text."""
        ends = (ids == self.words.end).int().argmax(dim=1)
        return torch.arange(ids.shape[1], device=ids.device) <= ends[:, None]

    def _text_tokens(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, L, D), the text's feature first."""
        value: Tensor = self.text_projection(
            self.bert(input_ids=ids, attention_mask=self._read(ids).long()).last_hidden_state
        )
        return value

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), unit length."""
        return F.normalize(self.image_tokens(images)[:, 0], dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D), unit length."""
        return F.normalize(self._text_tokens(ids)[:, 0], dim=-1)

"""The transformers library's own CLIP with the weights of ours, to compare with."""

from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from descry.clip import Clip


def library_clip(clip: Clip, attention: str = "eager") -> CLIPModel:
    """It takes normalised images of the same size, square or not, with interpolate_pos_encoding=True."""
    config: Any = CLIPConfig.from_dict(clip.spec.config)
    theirs = CLIPModel(config).to(clip.logit_scale.dtype)
    embeddings: Any = theirs.vision_model.embeddings
    embeddings.position_embedding = nn.Embedding(1 + clip.grid[0] * clip.grid[1], clip.image_width)
    embeddings.position_ids = None
    embeddings.interpolate_pos_encoding = MethodType(
        lambda self, embedded, height, width: self.position_embedding.weight[None], embeddings
    )
    theirs.load_state_dict(clip.model.state_dict())
    theirs.set_attn_implementation(attention)
    return theirs.to(clip.logit_scale.dtype).train(clip.training)


def image_features(theirs: CLIPModel, normalised: torch.Tensor) -> torch.Tensor:
    """(B, D) of normalised images."""
    states = theirs.vision_model(pixel_values=normalised, interpolate_pos_encoding=True)
    return theirs.visual_projection(states.pooler_output)

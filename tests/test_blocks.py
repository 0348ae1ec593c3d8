"""Blocks against PyTorch's own attention, CLIP's block in the transformers library, and gradient caching against the
plain pass."""

import pytest
import torch
from transformers.models.clip.modeling_clip import CLIPEncoderLayer, CLIPVisionConfig

from conftest import toy_clip
from descry.blocks import Attention, Block, CrossFormer, cache_gradients
from descry.errors import UsageError
from descry.losses import info_nce


def test_attention_is_pytorchs():
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(
        {"in_proj_weight": ours.in_proj.weight, "in_proj_bias": ours.in_proj.bias}
        | {f"out_proj.{k}": v for k, v in ours.out_proj.state_dict().items()}
    )
    q, k = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    hidden = torch.tensor([[False, False, True, True, False], [False] * 5])
    expected = theirs(q, k, k, key_padding_mask=hidden, need_weights=False)[0]
    assert torch.allclose(ours(q, k, hidden), expected, atol=1e-6)
    assert not torch.allclose(ours(q, k), expected, atol=1e-3)


def test_a_block_is_clips():
    torch.manual_seed(0)
    ours = Block(16, 4)
    config = CLIPVisionConfig(hidden_size=16, intermediate_size=64, num_attention_heads=4, attn_implementation="eager")
    theirs = CLIPEncoderLayer(config)
    pairs = {"layer_norm1": ours.norm1, "layer_norm2": ours.norm2, "mlp.fc1": ours.fc, "mlp.fc2": ours.proj}
    state = {f"{name}.{k}": v for name, module in pairs.items() for k, v in module.state_dict().items()}
    for kind in ("weight", "bias"):
        for name, third in zip("qkv", getattr(ours.attention.in_proj, kind).chunk(3), strict=True):
            state[f"self_attn.{name}_proj.{kind}"] = third
        state[f"self_attn.out_proj.{kind}"] = getattr(ours.attention.out_proj, kind)
    theirs.load_state_dict(state)
    x = torch.randn(2, 3, 16)
    expected = theirs(x, attention_mask=None)
    assert torch.allclose(ours(x), expected[0] if isinstance(expected, tuple) else expected, atol=1e-6)
    assert sum(p.numel() for p in ours.parameters()) == 12 * 16**2 + 13 * 16


def test_a_silent_block_is_the_identity():
    x = torch.randn(2, 3, 16)
    assert torch.equal(Block(16, 4).start_silent()(x, torch.randn(2, 5, 16)), x)


def test_cross_former_has_no_residual_at_its_first_layer():
    torch.manual_seed(0)
    cross = CrossFormer(16, 4, layers=1)
    cross.attention.out_proj.weight.data.zero_()
    a, b = (cross(torch.randn(1, 3, 16), torch.randn(1, 2, 16)) for _ in range(2))
    assert torch.allclose(a, b)


def test_width_and_heads_must_fit():
    with pytest.raises(UsageError, match="divisor"):
        Attention(10, 4)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
def test_cached_gradients_are_the_plain_ones(words, rows):
    images = torch.rand(5, 3, 32, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids = words.ids(["a red top", "a photo of a person", "blue trousers", "a white top and red trousers", "a person"])
    prompt = words.ids(["a photo of *"]).expand(5, -1)
    mask = torch.rand(5, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    found = []
    for cached in (False, True):
        clip = toy_clip(words).double()
        token = torch.full((64,), 0.1, dtype=torch.float64, requires_grad=True)
        if cached:
            assert cache_gradients(clip, rows) is clip
        word = clip.image_features(images)
        hidden = clip.image_tokens(images, mask=mask, mask_token=token).mean(dim=1)
        text = clip.text_tokens(ids).mean(dim=1) + clip.text_features(ids)
        loss = info_nce(hidden, text, 0.1) + info_nce(clip.text_features(prompt, word), hidden, 0.1)
        loss.backward()
        found.append(
            (loss.item(), {n: p.grad for n, p in clip.named_parameters() if p.grad is not None} | {"token": token.grad})
        )
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-12)
    assert found[0][1].keys() == found[1][1].keys()
    for name, grad in found[0][1].items():
        assert torch.allclose(grad, found[1][1][name], rtol=0, atol=1e-10), name


def test_inference_is_not_taken_apart(words):
    clip = cache_gradients(toy_clip(words), 2)
    seen = []
    clip.model.vision_model.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    with torch.no_grad():
        clip.image_features(torch.rand(5, 3, 32, 16))
    assert seen == [5]
    with pytest.raises(UsageError, match="1 or more"):
        cache_gradients(clip, 0)

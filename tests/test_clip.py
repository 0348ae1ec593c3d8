"""Clip against the library it stands on, and against what it must refuse."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from descry.clip import (
    Clip,
    ClipSpec,
    build,
    check_fit,
    clip_config,
    empty,
    random_clip,
    resize_positions,
    respecified,
)
from descry.clip_files import from_openai, load_clip
from descry.errors import ModelMissing, ModelRefused, UsageError
from library import image_features, library_clip

SQUARE = {"image_size": (32, 32), "patch": 8, "vocabulary": 40, "placeholder": 5}


@pytest.fixture
def square():
    return random_clip(**SQUARE).eval()


def save_as_library_folder(clip: Clip, folder, **changes):
    folder.mkdir(exist_ok=True)
    config = CLIPConfig.from_dict(clip.spec.config).to_dict()
    config["vision_config"]["image_size"] = clip.image_size[0]
    (folder / "config.json").write_text(json.dumps(config))
    state = {k: v.contiguous() for k, v in clip.model.state_dict().items()} | changes
    save_file({k: v for k, v in state.items() if v is not None}, folder / "model.safetensors")
    return folder


def test_equals_the_library_on_a_square_image(square, tmp_path):
    folder = save_as_library_folder(square, tmp_path / "clip")
    library = CLIPModel.from_pretrained(folder).eval()
    ours = load_clip(folder).eval()
    pixels = torch.rand(2, 3, 32, 32)
    ids = torch.tensor([[0, 7, 8, 39, 0], [0, 9, 39, 0, 0]])
    with torch.no_grad():
        expected = library.get_image_features(ours.normalise(pixels))
        assert torch.allclose(ours.image_features(pixels), expected.pooler_output, atol=1e-5)
        assert torch.allclose(ours.image_features(pixels), expected.pooler_output, atol=1e-5)
        assert torch.allclose(ours.text_features(ids), library.get_text_features(ids).pooler_output, atol=1e-5)
        assert torch.allclose(
            ours.text_tokens(ids)[torch.arange(2), torch.tensor([3, 2])], ours.text_features(ids), atol=1e-6
        )
        assert torch.allclose(ours.image_tokens(pixels)[:, 0], ours.image_features(pixels), atol=1e-6)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("size", [(32, 16), (96, 48)])  # plain attention, and the fused kernel
def test_equals_the_library_in_values_and_gradients(size, activation):
    ours = random_clip(image_size=size, vocabulary=40, activation=activation, image_width=128, seed=1).double().eval()
    theirs = library_clip(ours)
    pixels = torch.rand(2, 3, *size, dtype=torch.float64)
    ids = torch.tensor([[0, 7, 8, 39, 0], [0, 9, 39, 0, 0]])
    mine = ours.image_features(pixels), ours.text_features(ids)
    wanted = (
        image_features(theirs, ours.normalise(pixels)),
        theirs.text_projection(theirs.text_model(input_ids=ids).last_hidden_state)[torch.arange(2), [3, 2]],
    )
    for a, b in zip(mine, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-7)
    sum(x.square().sum() for x in mine).backward()
    sum(x.square().sum() for x in wanted).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(parameter.grad, gradients[name], atol=1e-5), name


def test_a_seed_means_the_weights_that_the_library_draws():
    ours = random_clip(image_size=(32, 16), image_width=128, text_width=64, vocabulary=500, seed=7)
    torch.manual_seed(7)
    theirs = CLIPModel(CLIPConfig.from_dict(ours.spec.config)).state_dict()
    for name, weight in ours.model.state_dict().items():
        if "vision_model.embeddings.position" not in name:
            assert torch.equal(weight, theirs[name]), name


def test_checkpointed_gradients_are_the_same(square):
    pixels = torch.rand(2, 3, 32, 32)
    found = []
    for _ in range(2):
        square.zero_grad()
        square.train().image_features(pixels).sum().backward()
        found.append({n: p.grad.clone() for n, p in square.named_parameters() if p.grad is not None})
        square.checkpoint_gradients()
    assert found[0]
    assert all(torch.allclose(g, found[1][n], atol=1e-6) for n, g in found[0].items())


def test_what_a_configuration_leaves_out_is_as_in_the_library():
    library = CLIPConfig()
    shape = clip_config({"text_config": {"hidden_size": 768}, "text_config_dict": {"hidden_size": 640}})
    assert shape["text_config"].pop("hidden_size") == 640
    for side in ("vision_config", "text_config"):
        theirs = getattr(library, side).to_dict()
        assert shape[side] == {key: theirs[key] for key in shape[side]}
    assert (shape["projection_dim"], shape["logit_scale_init_value"]) == (512, 2.6592)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"vision_config": {"hidden_act": "gelo"}}, "gelu"),
        ({"vision_config": {"hidden_size": 0}}, "hidden_size = 0"),
        ({"text_config": {"num_hidden_layers": "12"}}, "num_hidden_layers = '12'"),
        ({"text_config": {"num_attention_heads": 7}}, "7 attention heads do not divide"),
        ({"text_config": 5}, "tables of values"),
        ([], "tables of values"),
    ],
)
def test_an_impossible_configuration_is_refused(config, words):
    with pytest.raises(ModelRefused, match=words):
        clip_config(config)


def test_padding_and_cutting_change_nothing(square):
    short, long = torch.tensor([[0, 7, 8, 39]]), torch.tensor([[0, 7, 8, 39, 0, 0, 0, 3]])
    with torch.no_grad():
        assert torch.allclose(square.text_features(short), square.text_features(long), atol=1e-5)


def test_numpy_is_accepted(square):
    pixels, ids = np.random.default_rng(0).random((1, 3, 32, 32), np.float32), np.array([[0, 4, 39]])
    assert square.image_features(pixels).shape == square.text_features(ids).shape == (1, 32)


def test_pseudo_word_takes_the_place_of_one_embedding(square):
    ids = torch.tensor([[0, 7, 5, 8, 39], [0, 7, 9, 5, 39]])
    table = square.model.text_model.embeddings.token_embedding.weight
    with torch.no_grad():
        same = square.text_features(ids, table[5].expand(2, -1))
        assert torch.allclose(same, square.text_features(ids), atol=1e-6)
        other = square.text_features(ids, table[11][None])
        assert torch.allclose(other, square.text_features(torch.where(ids == 5, 11, ids)), atol=1e-6)
    word = torch.rand(2, 32, requires_grad=True)
    square.text_features(ids, word).sum().backward()
    assert (word.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("ids", [[[0, 7, 8, 39]], [[0, 5, 5, 39]]])
def test_a_prompt_needs_exactly_one_placeholder(square, ids):
    with pytest.raises(UsageError, match="exactly once"):
        square.text_features(torch.tensor(ids), torch.rand(1, 32))


def test_shapes_and_missing_ends_are_refused(square):
    with pytest.raises(UsageError, match=r"\(B, 3, 32, 32\)"):
        square.image_features(torch.rand(1, 3, 32, 16))
    with pytest.raises(UsageError, match="end-of-text"):
        square.text_features(torch.tensor([[0, 1, 2]]))
    with pytest.raises(UsageError, match="up to 77"):
        square.text_features(torch.zeros(1, 78, dtype=torch.long))
    with pytest.raises(UsageError, match="pseudo-words must be"):
        square.text_features(torch.tensor([[0, 5, 39]]), torch.rand(1, 31))
    with pytest.raises(UsageError, match="does not divide"):
        random_clip(image_size=(33, 16))


def test_masked_patches(square):
    pixels = torch.rand(1, 3, 32, 32)
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 3] = True
    changed = pixels.clone()
    changed[:, :, :8, 24:] = torch.rand(3, 8, 8)  # the fourth patch of the first row
    token = torch.rand(64)
    with torch.no_grad():
        assert torch.allclose(
            square.image_tokens(pixels, mask=mask), square.image_tokens(changed, mask=mask), atol=1e-6
        )
        assert not torch.allclose(square.image_tokens(pixels), square.image_tokens(changed), atol=1e-3)
        assert not torch.allclose(
            square.image_tokens(pixels, mask=mask), square.image_tokens(pixels, mask=mask, mask_token=token)
        )
        assert torch.allclose(square.image_tokens(pixels, mask=~mask & mask), square.image_tokens(pixels), atol=1e-6)


def test_positions_are_resized_once_bilinear_without_antialias():
    table = torch.arange(1 + 16, dtype=torch.float32)[:, None]
    out = resize_positions(table, (8, 2), (4, 4))
    assert out.shape == (17, 1)
    assert out[0] == table[0]
    assert resize_positions(table, (4, 4)) is table
    image = table[1:].reshape(1, 1, 4, 4)
    expected = torch.nn.functional.interpolate(image, size=(8, 2), mode="bilinear", align_corners=False)
    assert torch.equal(out[1:], expected.reshape(16, 1))
    with pytest.raises(ModelRefused, match="square"):
        resize_positions(table[:-1], (3, 3))


def test_a_folder_can_be_loaded_for_another_shape(square, tmp_path):
    tall = load_clip(save_as_library_folder(square, tmp_path / "clip"), image_size=(48, 16))
    assert tall.grid == (6, 2)
    assert tall.image_features(torch.rand(1, 3, 48, 16)).shape == (1, 32)
    assert respecified(tall, image_size=(16, 16)).grid == (2, 2)


def test_wrong_checkpoints_are_refused_by_name(square, tmp_path):
    logit = "logit_scale"
    cases = {
        "missing: logit_scale": {logit: None},
        "unexpected: extra": {"extra": torch.zeros(1)},
        "shape of visual_projection.weight": {"visual_projection.weight": torch.zeros(3, 3)},
        "not finite: text_projection.weight": {"text_projection.weight": torch.full((32, 32), float("nan"))},
    }
    for i, (text, changes) in enumerate(cases.items()):
        folder = save_as_library_folder(square, tmp_path / str(i), **changes)
        with pytest.raises(ModelRefused, match=text):
            load_clip(folder)
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelRefused, match="safetensors"):
        load_clip(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelMissing, match="pickle"):
        load_clip(folder)


def test_names_that_are_nowhere(tmp_path):
    with pytest.raises(ModelMissing, match="allow-download"):
        load_clip("nobody/has-this-one")
    with pytest.raises(ModelMissing, match="no folder"):
        load_clip(tmp_path / "absent")
    with pytest.raises(ModelMissing, match=r"config\.json"):
        load_clip(tmp_path)


def openai_names(clip: Clip) -> dict[str, torch.Tensor]:
    """The weights of a Clip under OpenAI's names, written the other way round than descry reads them."""
    state, out = clip.model.state_dict(), {}
    for side, prefix in (("vision_model", "visual.transformer."), ("text_model", "transformer.")):
        for n in range(2):
            a, b = f"{side}.encoder.layers.{n}.", f"{prefix}resblocks.{n}."
            for kind in ("weight", "bias"):
                out[f"{b}attn.in_proj_{kind}"] = torch.cat([state[f"{a}self_attn.{x}_proj.{kind}"] for x in "qkv"])
                out[f"{b}attn.out_proj.{kind}"] = state[f"{a}self_attn.out_proj.{kind}"]
                for old, new in (
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    out[f"{b}{new}.{kind}"] = state[f"{a}{old}.{kind}"]
    for kind in ("weight", "bias"):
        out[f"visual.ln_pre.{kind}"] = state[f"vision_model.pre_layrnorm.{kind}"]
        out[f"visual.ln_post.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        out[f"ln_final.{kind}"] = state[f"text_model.final_layer_norm.{kind}"]
    out |= {
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": state["logit_scale"],
    }
    return out


def test_openai_names(square):
    other = from_openai({k: v.half() for k, v in openai_names(square).items()} | {"input_resolution": torch.tensor(32)})
    pixels, ids = torch.rand(1, 3, 32, 32), torch.tensor([[0, 7, 39]])
    with torch.no_grad():
        assert torch.allclose(other.image_features(pixels), square.image_features(pixels), atol=2e-2)
        assert torch.allclose(other.text_features(ids), square.text_features(ids), atol=2e-2)
    assert other.logit_scale.dtype == torch.float32
    exact = from_openai(openai_names(square))
    with torch.no_grad():
        assert torch.allclose(exact.image_features(pixels), square.image_features(pixels), atol=1e-6)
    with pytest.raises(ModelRefused, match="OpenAI"):
        from_openai({"a": torch.zeros(1)})


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    a = random_clip(seed=3)
    torch.manual_seed(2)
    b = random_clip(seed=3)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert not torch.equal(a.model.visual_projection.weight, random_clip(seed=4).model.visual_projection.weight)


def test_frozen_patches_dropout_and_gradient_checkpointing(square):
    square.freeze_patches()
    assert not square.model.vision_model.embeddings.patch_embedding.weight.requires_grad
    ids = torch.tensor([[0, 7, 8, 9, 39]])
    square.set_text_dropout(0.5)
    square.train()
    assert not torch.equal(square.text_features(ids), square.text_features(ids))
    square.eval()
    assert torch.equal(square.text_features(ids), square.text_features(ids))
    plain = square.image_features(torch.ones(1, 3, 32, 32))
    square.train().checkpoint_gradients()
    again = square.image_features(torch.ones(1, 3, 32, 32))
    again.sum().backward()
    assert torch.allclose(plain, again, atol=1e-6)
    assert square.model.visual_projection.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_temperature_is_bounded_and_moves_at_its_bound(square, dtype):
    square.to(dtype)
    for given, held, value in ((4.0, 4.0, math.exp(-4)), (math.log(100), math.log(100), 0.01), (9.0, 4.60517, 0.01)):
        square.logit_scale.data.fill_(given)
        assert square.temperature.item() == pytest.approx(value)
        square.hold_temperature()
        assert square.logit_scale.item() == pytest.approx(held)
        gradient = torch.autograd.grad(square.temperature, square.logit_scale)[0]
        assert gradient.item() == pytest.approx(-value)
    square.logit_scale.requires_grad_(False).fill_(9.0)
    square.hold_temperature()  # a temperature that is not trained is left alone, and read as the lowest
    assert square.logit_scale.item() == 9.0
    assert square.temperature.item() == pytest.approx(0.01)


def test_thawing_undoes_what_methods_freeze_and_drop(square):
    square.freeze_patches()
    square.logit_scale.requires_grad_(False)
    square.set_text_dropout(0.5)
    square.thaw()
    assert all(p.requires_grad for p in square.parameters())
    assert {layer.self_attn.dropout for layer in square.model.text_model.encoder.layers} == {0.0}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(square, dtype):
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        full = square.image_features(pixels)
        with torch.autocast("cpu", dtype):
            half = square.image_features(pixels).float()
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.999


def test_spec_survives_json(square):
    spec = ClipSpec.from_json(json.loads(json.dumps(square.spec.to_json())))
    assert build(spec).image_size == (32, 32)
    with pytest.raises(ModelRefused, match="does not fit"):
        ClipSpec.from_json({"nonsense": 1})
    assert clip_config(spec.config) == spec.config
    with pytest.raises(ModelRefused, match="2 weights"):
        check_fit(square.model.visual_projection, {"wrong": torch.zeros(1)}, "x")


def test_a_clip_that_is_filled_from_a_file_draws_nothing(square):
    before = torch.random.get_rng_state()
    spec = square.spec
    filled = empty(spec, drawn=False)
    filled.model.load_state_dict(square.model.state_dict(), assign=True)
    assert torch.equal(filled.mean, square.mean)
    assert torch.equal(torch.random.get_rng_state(), before)
    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(filled.eval().image_features(pixels), square.image_features(pixels))


@pytest.mark.parametrize("size", [(32, 16), (128, 64)])  # plain and fused attention
def test_a_feature_is_its_token_though_the_last_layer_computes_no_other(size):
    clip = random_clip(size, 8, 16, 32, 2, 16, 2, 40).train()
    images, ids = torch.rand(3, 3, *size), torch.tensor([[1, 5, 6, 39, 0], [1, 39, 0, 0, 0], [1, 5, 6, 7, 39]])
    rows = torch.arange(3)
    for one, all_tokens in (
        (lambda: clip.image_features(images), lambda: clip.image_tokens(images)[:, 0]),
        (lambda: clip.text_features(ids), lambda: clip.text_tokens(ids)[rows, clip.text_end(ids)]),
    ):
        gradients = []
        for encode in (one, all_tokens):
            clip.zero_grad(set_to_none=True)
            found = encode()
            found.pow(2).sum().backward()
            gradients.append((found, *(torch.zeros(1) if p.grad is None else p.grad for p in clip.parameters())))
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)

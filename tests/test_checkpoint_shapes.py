"""Public checkpoints as they are: heads, positions, pixels and files are read from the checkpoint, never guessed."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from conftest import toy_words
from descry.clip import random_clip
from descry.clip_files import load_clip
from descry.convert import convert, from_state, read_state
from descry.embed import load
from descry.errors import DescryError, ModelMissing, ModelRefused
from descry.text import Words, word_level

# name: width, patch, heads of the image encoder; width, heads of the text encoder; shared dimension (open_clip's table)
SHAPES = {
    "ViT-B-32": (768, 32, 12, 512, 8, 512),
    "ViT-B-16": (768, 16, 12, 512, 8, 512),
    "ViT-L-14": (1024, 14, 16, 768, 12, 768),
    "ViT-H-14": (1280, 14, 16, 1024, 16, 1024),
}
WORDS = 60


def state_of(width, patch, text, dim, length=77, side=112):
    g = torch.Generator().manual_seed(5)

    def tensor(*shape, std=0.03):
        return torch.randn(*shape, generator=g) * std

    state = {
        "visual.class_embedding": tensor(width),
        "visual.positional_embedding": tensor(1 + (side // patch) ** 2, width),
        "visual.proj": tensor(width, dim),
        "visual.conv1.weight": tensor(width, 3, patch, patch),
        "token_embedding.weight": tensor(WORDS, text),
        "positional_embedding": tensor(length, text),
        "text_projection": tensor(text, dim),
        "logit_scale": torch.tensor(4.6),
    }
    for name, size in (("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", text)):
        state |= {f"{name}.weight": 1 + tensor(size), f"{name}.bias": tensor(size)}
    for tower, size in (("visual.", width), ("", text)):
        for k in range(2):
            base = f"{tower}transformer.resblocks.{k}."
            joint = tensor(3 * size, size)
            joint[: 2 * size] *= 8  # sharp attention: another number of heads gives another answer
            state |= {f"{base}attn.in_proj_weight": joint, f"{base}attn.in_proj_bias": tensor(3 * size)}
            for name, a, b in (
                ("attn.out_proj", size, size),
                ("mlp.c_fc", 4 * size, size),
                ("mlp.c_proj", size, 4 * size),
            ):
                state |= {f"{base}{name}.weight": tensor(a, b), f"{base}{name}.bias": tensor(a)}
            for name in ("ln_1", "ln_2"):
                state |= {f"{base}{name}.weight": 1 + tensor(size), f"{base}{name}.bias": tensor(size)}
    return state


def tower(state, prefix, x, heads, causal):
    """Two residual blocks by torch's own multi-head attention, as open_clip has them."""
    mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1) if causal else None
    for k in range(2):
        base = f"{prefix}transformer.resblocks.{k}."
        part = {name.removeprefix(base): value for name, value in state.items() if name.startswith(base)}
        attention = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True).eval()
        attention.load_state_dict({n.removeprefix("attn."): v for n, v in part.items() if n.startswith("attn.")})
        y = F.layer_norm(x, x.shape[-1:], part["ln_1.weight"], part["ln_1.bias"])
        x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
        y = F.layer_norm(x, x.shape[-1:], part["ln_2.weight"], part["ln_2.bias"])
        y = F.linear(y, part["mlp.c_fc.weight"], part["mlp.c_fc.bias"])
        x = x + F.linear(y * torch.sigmoid(1.702 * y), part["mlp.c_proj.weight"], part["mlp.c_proj.bias"])
    return x


def reference(state, pixels, ids, end, heads, text_heads):
    """(B, D) of normalised pixels and (B, D) of texts."""
    conv = state["visual.conv1.weight"]
    x = F.conv2d(pixels, conv, stride=conv.shape[-1]).flatten(2).mT
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]
    x = F.layer_norm(x, x.shape[-1:], state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
    x = tower(state, "visual.", x, heads, False)[:, 0]
    image = (
        F.layer_norm(x, x.shape[-1:], state["visual.ln_post.weight"], state["visual.ln_post.bias"])
        @ state["visual.proj"]
    )
    y = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    y = tower(state, "", y, text_heads, True)
    y = F.layer_norm(y, y.shape[-1:], state["ln_final.weight"], state["ln_final.bias"]) @ state["text_projection"]
    return image, y[torch.arange(len(ids)), (ids == end).int().argmax(1)]


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_open_clip_shapes_give_the_vectors_of_the_reference(name):
    width, patch, heads, text, text_heads, dim = SHAPES[name]
    state = state_of(width, patch, text, dim, side=4 * patch)
    clip = from_state(dict(state), None, name)[0].eval()
    pixels = torch.randn(2, 3, *clip.image_size, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[58, 4, 9, 30, 59], [58, 17, 2, 59, 0]])
    image, words = reference(state, pixels, ids, 59, heads, text_heads)
    assert F.cosine_similarity(clip.image_features(pixels * clip.std + clip.mean), image).min() >= 0.9999
    assert F.cosine_similarity(clip.text_features(ids), words).min() >= 0.9999


@pytest.mark.parametrize(
    ("width", "mlp", "says"), [(1408, 4.36, "ViT-g"), (1664, 4.92, "bigG"), (96, 4, "96"), (80, 4, "80")]
)
def test_shapes_whose_heads_are_not_known_are_refused(width, mlp, says):
    state = state_of(width, 16, 128, 64, side=32)
    for key in [k for k in state if k.startswith("visual.") and "mlp.c_" in k]:
        inner = int(mlp * width)
        shape = {
            "c_fc.weight": (inner, width),
            "c_fc.bias": (inner,),
            "c_proj.weight": (width, inner),
            "c_proj.bias": (width,),
        }
        state[key] = torch.zeros(shape[key.split("mlp.")[1]])
    with pytest.raises(ModelRefused):
        from_state(state, None, says)


@torch.no_grad()
def test_long_clip_is_read_whole():
    state = state_of(128, 16, 128, 64, length=248, side=32)
    rest = torch.randn(248, 128, generator=torch.Generator().manual_seed(8))
    joined = state | {"positional_embedding": torch.cat([state["positional_embedding"][:20], rest[20:]])}
    clip = from_state(state | {"positional_embedding_res": rest}, None, "long")[0].eval()
    assert clip.length == 248
    ids = torch.randint(1, 50, (2, 200), generator=torch.Generator().manual_seed(2))
    ids[:, -1] = 59
    expected = reference(joined, torch.zeros(2, 3, 32, 32), ids, 59, 2, 2)[1]
    assert F.cosine_similarity(clip.text_features(ids), expected).min() >= 0.9999


@pytest.mark.parametrize("length", [32, 248])
def test_words_are_cut_where_the_encoder_ends(length, tmp_path):
    words = toy_words()
    words.save(tmp_path)
    state = state_of(128, 16, 128, 64, length=length, side=32)
    state["token_embedding.weight"] = torch.randn(len(words), 128) * 0.03
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "w.safetensors")
    convert(tmp_path / "w.safetensors", tmp_path / "run", tmp_path)
    from descry.embed import load

    model = load(tmp_path / "run", "cpu")
    text = "red top " * 300
    assert model.words.length == length
    assert len(model.words.cut(text).split()) == 600 - (length - 2)
    assert model.embed_texts([text]).shape == (1, 64)


# ---------------------------------------------------------------------- folders of the transformers library


@pytest.fixture
def clip():
    return random_clip(image_size=(16, 16), patch=8, vocabulary=60, end=59, placeholder=4)


@pytest.fixture
def folder(tmp_path, clip):
    place = tmp_path / "clip"
    place.mkdir()
    vision = clip.spec.config["vision_config"] | {"image_size": 16}
    (place / "config.json").write_text(json.dumps(clip.spec.config | {"model_type": "clip", "vision_config": vision}))
    state = {k.removeprefix("model."): v.clone() for k, v in clip.state_dict().items() if k.startswith("model.")}
    save_file(state, place / "model.safetensors")
    return place


def size(clip):
    return clip.spec.image_size


def test_a_second_file_beside_the_weights_is_not_read(folder, clip):
    before = load_clip(folder, size(clip)).state_dict()
    other = {k: torch.zeros_like(v) for k, v in load_file(folder / "model.safetensors").items()}
    for name in ("model_backup.safetensors", "model-old.safetensors", "adapter.safetensors"):
        save_file(other, folder / name)
    after = load_clip(folder, size(clip)).state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_an_index_names_the_files(folder, clip):
    before = load_clip(folder, size(clip)).state_dict()
    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({k: whole[k] for k in keys}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {k: file for file, keys in parts.items() for k in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({k: torch.zeros_like(v) for k, v in whole.items()}, folder / "model_backup.safetensors")
    after = load_clip(folder, size(clip)).state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    (folder / "b.safetensors").unlink()
    with pytest.raises(ModelMissing, match=r"b\.safetensors"):
        load_clip(folder, size(clip))
    for bad in ("[]", "{", '{"weight_map": {"x": "../up.safetensors"}}', '{"weight_map": {}}'):
        (folder / "model.safetensors.index.json").write_text(bad)
        with pytest.raises(ModelRefused, match="not an index of weights"):
            load_clip(folder, size(clip))


@pytest.mark.parametrize("file", ["processor_config.json", "preprocessor_config.json"])
def test_pixels_are_made_ready_as_the_folder_says(folder, clip, file):
    said = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5]}
    (folder / file).write_text(json.dumps({"image_processor": said} if file.startswith("processor") else said))
    spec = load_clip(folder, size(clip)).spec
    assert spec.mean == pytest.approx((0.5, 0.4, 0.3))
    assert spec.std == pytest.approx((0.2, 0.25, 0.5))


def test_pixels_stand_in_the_file_that_says_them(folder, clip):
    """A processor's file of transformers before version 5 is of the vocabulary alone; the pixels stand beside it."""
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    spec = load_clip(folder, size(clip)).spec
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.25,) * 3)
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": {"image_mean": [0.1] * 3, "image_std": [0.25] * 3}})
    )
    assert load_clip(folder, size(clip)).spec.mean == (0.1,) * 3


def test_what_two_files_say_of_the_pixels_and_what_neither_says_is_told(folder, clip, tmp_path):
    names = [a + b for a in "abcdefgh" for b in "ijklmnop"]
    word_level([" ".join(names[: WORDS - len(word_level([]))])]).save(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": None, "rescale_factor": 1 / 255}))
    assert "CLIP's mean and deviation were taken" in convert(folder, tmp_path / "a", image_size=size(clip)).assumed[0]
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": {"image_mean": [0.1] * 3, "image_std": [0.5] * 3}})
    )
    (said,) = convert(folder, tmp_path / "b", image_size=size(clip)).assumed
    assert said.startswith("processor_config.json and preprocessor_config.json differ")
    assert load(tmp_path / "b", device="cpu").clip.spec.mean == pytest.approx((0.1,) * 3)
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": {"image_mean": [], "image_std": [0.5] * 3}})
    )
    with pytest.raises(ModelRefused, match="three numbers each"):
        convert(folder, tmp_path / "c", image_size=size(clip))


@pytest.mark.parametrize("eps", ["x", None, -1, True, 2])
def test_a_config_whose_norm_is_no_number_is_refused(folder, clip, eps):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"vision_config": config["vision_config"] | {"layer_norm_eps": eps}})
    )
    with pytest.raises(ModelRefused, match="layer_norm_eps"):
        load_clip(folder, size(clip))


def test_what_is_asked_for_goes_before_what_a_folder_says(folder, clip, tmp_path):
    names = [a + b for a in "abcdefgh" for b in "ijklmnop"]
    word_level([" ".join(names[: WORDS - len(word_level([]))])]).save(folder)
    bare = convert(folder, tmp_path / "bare", image_size=size(clip))
    assert "CLIP's mean and deviation were taken" in bare.assumed[0]
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    assert convert(folder, tmp_path / "own", image_size=size(clip)).assumed == ()
    convert(folder, tmp_path / "asked", image_size=size(clip), pixels="clip", activation="gelu")
    specs = [load(tmp_path / name, device="cpu").clip.spec for name in ("own", "asked")]
    assert [spec.mean[0] for spec in specs] == pytest.approx([0.5, 0.48145466])
    assert specs[1].config["vision_config"]["hidden_act"] == "gelu"


def test_scale_and_normalisation_are_read(folder, clip):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({"do_normalize": False}))
    spec = load_clip(folder, size(clip)).spec
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))
    file.write_text(json.dumps({"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}))
    spec = load_clip(folder, size(clip)).spec
    assert spec.mean == pytest.approx((0.5,) * 3)
    assert spec.std == pytest.approx((0.5,) * 3)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "[]"),
        ("config.json", "{"),
        ("config.json", '"clip"'),
        ("preprocessor_config.json", "{"),
        ("preprocessor_config.json", "[]"),
        ("preprocessor_config.json", '{"image_mean": 0.5}'),
        ("preprocessor_config.json", '{"image_mean": [0.5]}'),
        ("preprocessor_config.json", '{"image_std": [0, 0, 0]}'),
        ("preprocessor_config.json", '{"image_mean": ["a", "b", "c"]}'),
        ("model.safetensors.index.json", "not read where model.safetensors is"),
    ],
)
def test_damaged_files_of_a_folder_are_refused_in_one_line(folder, clip, file, text):
    (folder / file).write_text(text)
    if file.startswith("model."):
        load_clip(folder, size(clip))
        return
    with pytest.raises(DescryError, match=file) as refused:
        load_clip(folder, size(clip))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("end", [None, [2, 3], "2"])
def test_an_end_of_text_that_is_no_number_is_refused(folder, clip, end):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = end
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelRefused, match="eos_token_id"):
        load_clip(folder, size(clip))


# ---------------------------------------------------------------------- vocabularies


def small_vocabulary():
    names = [*"abc*", "a</w>", "b</w>", "c</w>", "*</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    return {name: i for i, name in enumerate(names)}, [["a", "b</w>"]]


@pytest.mark.parametrize("joined", [True, False])
def test_a_tokenizer_json_alone_is_a_vocabulary(tmp_path, joined):
    vocabulary, merges = small_vocabulary()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    two = Words.load(tmp_path)
    model = {"type": "BPE", "vocab": vocabulary, "end_of_word_suffix": "</w>"}
    model["merges"] = [" ".join(m) for m in merges] if joined else merges
    one = tmp_path / "one"
    one.mkdir()
    (one / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert Words.load(one).ids(["ab c a"]).tolist() == two.ids(["ab c a"]).tolist() == [[9, 8, 6, 4, 10]]


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_damaged_vocabulary_is_refused(tmp_path, name):
    vocabulary, _ = small_vocabulary()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("a b</w>\n")
    (tmp_path / name).write_text("[" if name == "vocab.json" else "nothing such as this\n")
    with pytest.raises(ModelRefused):
        Words.load(tmp_path)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.module.", "model.", "clip.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_taken_away(tmp_path, prefix):
    state = state_of(128, 16, 128, 64, side=32)
    file = tmp_path / "w.pt"
    torch.save({prefix + k: v for k, v in state.items()}, file)
    clip = from_state(read_state(file), None, "wrapped")[0]
    plain = from_state(dict(state), None, "plain")[0]
    assert all(torch.equal(a, b) for a, b in zip(clip.state_dict().values(), plain.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_two_models_in_one_list_of_weights_are_refused(tmp_path, kind):
    state = state_of(128, 16, 128, 64, side=32)
    both = {f"model.{k}": v for k, v in state.items()} | {f"clip.{k}": v * 2 for k, v in state.items()}
    file = tmp_path / f"w.{kind}"
    save_file(both, file) if kind == "safetensors" else torch.save(both, file)
    with pytest.raises(ModelRefused, match=r"two models: (model|clip)\.\S+ and (model|clip)\.\S+ are the same weight"):
        from_state(read_state(file), None, "w")


def test_which_of_several_models_in_a_file_was_taken_is_said(tmp_path):
    words = toy_words()
    words.save(tmp_path)
    state = state_of(128, 16, 128, 64, side=32)
    state["token_embedding.weight"] = torch.randn(len(words), 128) * 0.03
    average = {k: v + 1 for k, v in state.items()}
    torch.save(
        {"epoch": 3, "model": state, "model_ema": average, "optimizer": {"m": state["visual.proj"]}}, tmp_path / "w.pt"
    )
    done = convert(tmp_path / "w.pt", tmp_path / "run", tmp_path)
    assert done.assumed[0] == "w.pt holds 2 models; 'model' was taken, not 'model_ema'"
    clip = load(tmp_path / "run", "cpu").clip
    plain = from_state(dict(state), None, "plain")[0]
    assert torch.equal(
        clip.state_dict()["model.visual_projection.weight"], plain.state_dict()["model.visual_projection.weight"]
    )
    torch.save({"state_dict": state}, tmp_path / "one.pt")
    assert not any("holds" in said for said in convert(tmp_path / "one.pt", tmp_path / "other", tmp_path).assumed)


def test_the_digest_of_a_folder_is_of_the_weights_that_were_read(folder, clip, tmp_path):
    names = [a + b for a in "abcdefgh" for b in "ijklmnop"]
    word_level([" ".join(names[: WORDS - len(word_level([]))])]).save(folder)
    about = []
    for i in range(2):
        convert(folder, tmp_path / f"run{i}", image_size=size(clip))
        about.append(json.loads((tmp_path / f"run{i}" / "config.json").read_text())["about"]["sha256"])
        save_file({"x": torch.zeros(2)}, folder / "another.safetensors")
        (folder / "training_args.bin").write_bytes(b"x")
    assert about[0] == about[1]


def test_two_vocabularies_that_differ_are_refused(tmp_path):
    vocabulary, merges = small_vocabulary()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(m) for m in merges))
    model = {"type": "BPE", "vocab": vocabulary, "end_of_word_suffix": "</w>", "merges": merges}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert len(Words.load(tmp_path)) == len(vocabulary)
    swapped = vocabulary | {"a</w>": vocabulary["b</w>"], "b</w>": vocabulary["a</w>"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model | {"vocab": swapped}}))
    with pytest.raises(ModelRefused, match="two vocabularies that differ"):
        Words.load(tmp_path)


def test_what_was_found_instead_is_named(tmp_path):
    torch.save({"encoder.weight": torch.zeros(2), "head.bias": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(ModelRefused, match=r"it holds encoder\.weight, head\.bias"):
        read_state(tmp_path / "w.pt")

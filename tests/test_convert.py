"""Checkpoints in every published layout against plain arithmetic, and pickles that mean harm."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from conftest import SHARED, toy_words
from descry import pickles
from descry.clip import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from descry.clip_files import clip_and_words
from descry.convert import convert, read_state
from descry.embed import load
from descry.errors import ModelMissing, ModelRefused, UsageError
from descry.text import Words, _byte_pair, word_level

WIDTH, LAYERS, PATCH, DIM, GRID = 64, 2, 8, 32, (4, 2)
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)


def random_state(words, grid=GRID, dtype=torch.float32, seed=0):
    """Weights under OpenAI's names; text as wide as the shared space, as in ViT-B."""
    g = torch.Generator().manual_seed(seed)

    def tensor(*shape, std=0.08, mean=0.0):
        return (torch.randn(*shape, generator=g) * std + mean).to(dtype)

    state = {
        "visual.class_embedding": tensor(WIDTH),
        "visual.positional_embedding": tensor(1 + grid[0] * grid[1], WIDTH),
        "visual.proj": tensor(WIDTH, DIM),
        "visual.conv1.weight": tensor(WIDTH, 3, PATCH, PATCH),
        "token_embedding.weight": tensor(len(words), DIM),
        "positional_embedding": tensor(77, DIM),
        "text_projection": tensor(DIM, DIM),
        "logit_scale": torch.tensor(4.6).to(dtype),
    }
    for name, width in (("visual.ln_pre", WIDTH), ("visual.ln_post", WIDTH), ("ln_final", DIM)):
        state |= {f"{name}.weight": tensor(width, mean=1.0), f"{name}.bias": tensor(width)}
    for side, width in (("visual.", WIDTH), ("", DIM)):
        for k in range(LAYERS):
            base = f"{side}transformer.resblocks.{k}."
            state |= {
                f"{base}attn.in_proj_weight": tensor(3 * width, width),
                f"{base}attn.in_proj_bias": tensor(3 * width),
            }
            for name, a, b in (
                ("attn.out_proj", width, width),
                ("mlp.c_fc", 4 * width, width),
                ("mlp.c_proj", width, 4 * width),
            ):
                state |= {f"{base}{name}.weight": tensor(a, b), f"{base}{name}.bias": tensor(a)}
            for name in ("ln_1", "ln_2"):
                state |= {f"{base}{name}.weight": tensor(width, mean=1.0), f"{base}{name}.bias": tensor(width)}
    return state


def random_mapping(hidden=48, seed=1):
    g = torch.Generator().manual_seed(seed)
    return {
        "layers.0.0.weight": torch.randn(hidden, DIM, generator=g) * 0.1,
        "layers.0.0.bias": torch.randn(hidden, generator=g) * 0.1,
        "fc_out.weight": torch.randn(DIM, hidden, generator=g) * 0.1,
        "fc_out.bias": torch.randn(DIM, generator=g) * 0.1,
    }


# ---------------------------------------------------------------------- the reference arithmetic


def blocks(s, base, x, heads, causal=False, gelu=False):
    mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1) if causal else 0
    for k in range(LAYERS):
        p = f"{base}transformer.resblocks.{k}."
        y = F.layer_norm(x, x.shape[-1:], s[p + "ln_1.weight"], s[p + "ln_1.bias"])
        q, key, v = (
            t.unflatten(-1, (heads, -1)).transpose(1, 2)
            for t in (y @ s[p + "attn.in_proj_weight"].T + s[p + "attn.in_proj_bias"]).chunk(3, dim=-1)
        )
        y = ((q @ key.mT * q.shape[-1] ** -0.5 + mask).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + y @ s[p + "attn.out_proj.weight"].T + s[p + "attn.out_proj.bias"]
        y = F.layer_norm(x, x.shape[-1:], s[p + "ln_2.weight"], s[p + "ln_2.bias"])
        y = y @ s[p + "mlp.c_fc.weight"].T + s[p + "mlp.c_fc.bias"]
        y = F.gelu(y) if gelu else y * torch.sigmoid(1.702 * y)
        x = x + y @ s[p + "mlp.c_proj.weight"].T + s[p + "mlp.c_proj.bias"]
    return x


def image_reference(s, images, mean=CLIP_MEAN, std=CLIP_STD, gelu=False):
    """(B, 1 + P, D) projected tokens."""
    images = (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    x = F.conv2d(images, s["visual.conv1.weight"], stride=PATCH).flatten(2).mT
    x = torch.cat([s["visual.class_embedding"].expand(len(x), 1, -1), x], dim=1) + s["visual.positional_embedding"]
    x = F.layer_norm(x, (WIDTH,), s["visual.ln_pre.weight"], s["visual.ln_pre.bias"])
    x = blocks(s, "visual.", x, 1, gelu=gelu)
    return F.layer_norm(x, (WIDTH,), s["visual.ln_post.weight"], s["visual.ln_post.bias"]) @ s["visual.proj"]


def text_reference(s, ids, end, word=None, place=None, gelu=False):
    """(B, L, D) projected tokens and (B, D) at the end of each text."""
    x = s["token_embedding.weight"][ids]
    if word is not None:
        x = torch.where((ids == place)[..., None], word[:, None], x)
    x = blocks(s, "", x + s["positional_embedding"][: ids.shape[1]], 1, causal=True, gelu=gelu)
    x = F.layer_norm(x, (DIM,), s["ln_final.weight"], s["ln_final.bias"]) @ s["text_projection"]
    return x, x[torch.arange(len(ids)), (ids == end).int().argmax(dim=1)]


# ---------------------------------------------------------------------- writing the layouts


class Holder(nn.Module):
    """A module of this name tree, for TorchScript archives."""

    def __init__(self, state):
        super().__init__()
        inner = {}
        for key, value in state.items():
            head, _, rest = key.partition(".")
            if rest:
                inner.setdefault(head, {})[rest] = value
            else:
                self.register_parameter(head, nn.Parameter(value, requires_grad=False))
        for head, part in inner.items():
            self.add_module(head, Holder(part))


def script(state, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Holder(state)
        module.register_buffer("input_resolution", torch.tensor(32))
        module.register_buffer("context_length", torch.tensor(77))
        module.register_buffer("vocab_size", torch.tensor(50))
        torch.jit.script(module).save(path)


def two_towers(state):
    """TBPS-CLIP's and InteractReID's names."""
    return {k if k.startswith("visual.") or k == "logit_scale" else f"encode_text.{k}": v for k, v in state.items()}


def write(layout, state, path):
    if layout == "torchscript":
        script({k: v.half() for k, v in state.items()}, path)
    elif layout == "openai":
        torch.save(state, path)
    elif layout == "irra":
        heads = {
            "classifier.weight": torch.zeros(9, DIM),
            "cross_attn.in_proj_weight": torch.zeros(96, DIM),
            "mask_token": torch.zeros(WIDTH),
        }
        model = {f"base_model.{k}": v for k, v in state.items()} | heads
        torch.save(
            {"model": model, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]}},
            path,
        )
    elif layout == "tbps":
        torch.save(
            {"model": two_towers(state) | {"classifier.bias": torch.zeros(9), "ln_post.weight": torch.ones(DIM)}}, path
        )
    elif layout == "interactreid-1":
        torch.save({"model": two_towers(state), "epoch": 4}, path)
    elif layout == "interactreid-2":
        wrapped = {f"tbps_clip.{k}": v for k, v in two_towers(state).items()}
        torch.save({"model": wrapped | {f"mapping.{k}": v for k, v in random_mapping().items()}}, path)
    elif layout == "open_clip":
        towers = {k if k.startswith("visual.") or k == "logit_scale" else f"text.{k}": v for k, v in state.items()}
        torch.save(
            {
                "epoch": 1,
                "state_dict": {f"module.{k}": v for k, v in towers.items()}
                | {"module.text.attn_mask": torch.zeros(77, 77)},
            },
            path,
        )
    elif layout == "safetensors":
        save_file({k: v.clone().contiguous() for k, v in state.items()}, path)


LAYOUTS = {
    "torchscript": "OpenAI",
    "openai": "OpenAI",
    "irra": "IRRA",
    "tbps": "TBPS-CLIP",
    "interactreid-1": "TBPS-CLIP",
    "interactreid-2": "InteractReID",
    "open_clip": "open_clip",
    "safetensors": "OpenAI",
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    toy_words().save(folder)
    return folder


def run(path, out, vocabulary, **options):
    return convert(path, out, vocabulary, **({"image_size": SIZE} | options))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_vectors_of_the_reference(layout, words, vocabulary, tmp_path):
    state = random_state(words)
    path = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pt")
    write(layout, state, path)
    if layout == "torchscript":
        state = {k: v.half().float() for k, v in state.items()}
    done = run(path, tmp_path / "run", vocabulary)
    assert done.layout == LAYOUTS[layout]
    assert done.method == ("interactreid" if layout == "interactreid-2" else "zero_shot")
    assert bool(done.left_out) == (layout in ("irra", "tbps", "open_clip"))
    imagenet = layout in ("tbps", "interactreid-1", "interactreid-2")
    model = load(tmp_path / "run", "cpu")
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    ids = words.ids(["a red top and blue trousers", "a person"])
    reference = image_reference(state, images, *((IMAGENET_MEAN, IMAGENET_STD) if imagenet else ()))
    tokens, ends = text_reference(state, ids, words.end)
    with torch.no_grad():
        assert torch.allclose(model.clip.image_tokens(images), reference, atol=1e-5)
        assert torch.allclose(model.clip.image_features(images), reference[:, 0], atol=1e-5)
        assert torch.allclose(model.clip.text_tokens(ids), tokens, atol=1e-5)
        assert torch.allclose(model.method.encode_text(ids), F.normalize(ends, dim=1), atol=1e-5)
    assert model.pretrained
    assert model.fingerprint == done.fingerprint
    if layout == "interactreid-2":
        m, v = random_mapping(), reference[:, 0]
        word = F.relu(v @ m["layers.0.0.weight"].T + m["layers.0.0.bias"]) @ m["fc_out.weight"].T + m["fc_out.bias"]
        prompts = words.ids(["a photo of * , and red trousers", "a photo of * , and a person"])
        composed = text_reference(state, prompts, words.end, word, words.placeholder)[1]
        with torch.no_grad():
            found = model.method.compose(images, ["red trousers", "a person"])
        assert torch.allclose(found, F.normalize(composed, dim=1), atol=1e-5)
        assert "sketch+text" in model.answers


def test_a_linear_mapping(words, vocabulary, tmp_path):
    wrapped = {f"tbps_clip.{k}": v for k, v in two_towers(random_state(words)).items()}
    torch.save(
        {"model": wrapped | {"mapping.weight": torch.eye(DIM), "mapping.bias": torch.ones(DIM)}}, tmp_path / "w.pt"
    )
    run(tmp_path / "w.pt", tmp_path / "run", vocabulary)
    mapping = load(tmp_path / "run", "cpu").method.mapping
    assert torch.equal(mapping(torch.zeros(1, DIM)).detach(), torch.ones(1, DIM))


def test_gelu_is_said_by_hand(words, vocabulary, tmp_path):
    state = random_state(words)
    write("open_clip", state, tmp_path / "w.pt")
    run(tmp_path / "w.pt", tmp_path / "run", vocabulary, activation="gelu")
    images = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        found = load(tmp_path / "run", "cpu").clip.image_tokens(images)
    assert torch.allclose(found, image_reference(state, images, gelu=True), atol=1e-5)
    assert not torch.allclose(found, image_reference(state, images), atol=1e-5)
    with pytest.raises(UsageError, match="did you mean 'gelu'"):
        run(tmp_path / "w.pt", tmp_path / "again", vocabulary, activation="gelu_")


def test_a_square_grid_needs_no_size_and_is_resized_for_another(words, vocabulary, tmp_path):
    write("openai", random_state(words, grid=(4, 4)), tmp_path / "w.pt")
    convert(tmp_path / "w.pt", tmp_path / "square", vocabulary)
    convert(tmp_path / "w.pt", tmp_path / "tall", vocabulary, image_size=(48, 16))
    assert load(tmp_path / "square", "cpu").image_size == (32, 32)
    assert load(tmp_path / "tall", "cpu").image_size == (48, 16)


def test_a_grid_that_is_not_square_asks_for_the_size(words, vocabulary, tmp_path):
    write("irra", random_state(words, grid=(6, 2)), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"12 patches of 8×8 .* --image-size, for people often 48 16"):
        convert(tmp_path / "w.pt", tmp_path / "run", vocabulary)


def test_transformers_folders_with_safetensors_or_a_pickle(words, vocabulary, clip, tmp_path):
    images = torch.rand(2, 3, 32, 16)
    for kind in ("safetensors", "bin"):
        folder = tmp_path / kind
        folder.mkdir()
        spec = json.loads(json.dumps(clip.spec.config)) | {"model_type": "clip"}
        spec["vision_config"]["image_size"] = 32
        (folder / "config.json").write_text(json.dumps(spec))
        state = clip.model.state_dict() | {"vision_model.embeddings.position_embedding.weight": torch.randn(17, 64)}
        if kind == "bin":
            torch.save(state, folder / "pytorch_model.bin")
        else:
            save_file({k: v.clone() for k, v in state.items()}, folder / "model.safetensors")
        done = convert(folder, tmp_path / f"run-{kind}", vocabulary, image_size=(32, 16))
        assert done.layout == "transformers"
        with torch.no_grad():
            assert load(tmp_path / f"run-{kind}", "cpu").clip.image_features(images).shape == (2, 32)
    assert (tmp_path / "run-bin" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda s: s.pop("visual.proj"), "missing: visual_projection.weight"),
        (lambda s: s.pop("ln_final.bias"), "missing: text_model.final_layer_norm.bias"),
        (lambda s: s.update({"visual.extra": torch.zeros(3)}), "unexpected: visual.extra"),
        (lambda s: s.update({"visual.proj": torch.zeros(WIDTH, DIM + 1)}), "shape of visual_projection.weight"),
        (
            lambda s: s["positional_embedding"].fill_(torch.nan),
            "not finite: text_model.embeddings.position_embedding.weight",
        ),
        (lambda s: s.update({"token_embedding.weight": torch.zeros(4)}), "shapes"),
        (lambda s: s.pop("token_embedding.weight"), "token_embedding.weight"),
    ],
)
def test_faulty_weights_are_named(harm, says, words, vocabulary, tmp_path):
    state = random_state(words)
    harm(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelRefused, match=says):
        run(tmp_path / "w.pt", tmp_path / "run", vocabulary)
    assert not (tmp_path / "run").exists()


def test_a_mapping_of_another_shape_is_refused(words, vocabulary, tmp_path):
    wrapped = {f"tbps_clip.{k}": v for k, v in two_towers(random_state(words)).items()}
    torch.save(
        {"model": wrapped | {f"mapping.{k}": v[..., :5] for k, v in random_mapping().items()}}, tmp_path / "w.pt"
    )
    with pytest.raises(ModelRefused, match="mapping"):
        run(tmp_path / "w.pt", tmp_path / "run", vocabulary)


def test_what_is_missing_is_said(words, vocabulary, tmp_path):
    write("openai", random_state(words), tmp_path / "w.pt")
    with pytest.raises(UsageError, match="--tokenizer"):
        convert(tmp_path / "w.pt", tmp_path / "run")
    with pytest.raises(ModelMissing, match="no file"):
        run(tmp_path / "nothing.pt", tmp_path / "run", vocabulary)
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ModelRefused, match="none of its 1 tensors"):
        run(tmp_path / "other.pt", tmp_path / "run", vocabulary)
    larger = random_state(words) | {"token_embedding.weight": torch.zeros(len(words) + 1, DIM)}
    torch.save(larger, tmp_path / "larger.pt")
    with pytest.raises(ModelRefused, match="vocabulary"):
        run(tmp_path / "larger.pt", tmp_path / "run", vocabulary)
    run(tmp_path / "w.pt", tmp_path / "run", vocabulary)
    with pytest.raises(UsageError, match="already holds a run"):
        run(tmp_path / "w.pt", tmp_path / "run", vocabulary)


def test_settings_beside_the_weights_are_passed_over(words, tmp_path):
    import argparse

    state = random_state(words)
    extra = {
        "args": argparse.Namespace(lr=1.0),
        "scalar": np.float32(3),
        "array": np.zeros(3),
        "device": torch.device("cpu"),
    }
    torch.save({"model": state, "epoch": 3, "seen": {1, 2}} | extra, tmp_path / "w.pt")
    found = read_state(tmp_path / "w.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], state[k]) for k in state)


def test_views_and_kinds_of_numbers_are_read_exactly(words, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    odd = {"visual.conv1.weight": torch.zeros(1), "t": base.T, "row": base[1:3, ::2], "empty": torch.zeros(0, 3)}
    odd |= {
        str(d): torch.tensor([1, 0, 1]).to(d)
        for d in (torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool, torch.uint8)
    }
    torch.save(odd, tmp_path / "w.pt")
    found = read_state(tmp_path / "w.pt")
    assert found.keys() == odd.keys()
    for key, value in odd.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


MERGES = SHARED / "data" / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"


@pytest.mark.skipif(not MERGES.is_file(), reason="the byte-pair vocabulary of OpenAI's CLIP is not on this machine")
def test_openais_vocabulary_is_accepted_as_a_file(tmp_path):
    from descry.convert import _words

    (tmp_path / "w.pt").touch()
    assert len(_words(tmp_path / "w.pt", MERGES)) == 49408


# ---------------------------------------------------------------------- hostile files

PROOF = "descry-was-here"


class Runs:
    """On unpickling, calls function(*args)."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def gadgets(path):
    """name → the bytes of a hostile data.pkl."""
    touch = f"touch {path / PROOF}"
    code = f"open({str(path / PROOF)!r}, 'w')"
    raw = {
        "os.system": pickle.dumps(Runs(os.system, touch)),
        "eval": pickle.dumps(Runs(eval, code)),
        "exec": pickle.dumps(Runs(exec, code)),
        "import": pickle.dumps(Runs(__import__, "this")),
        "open": pickle.dumps(Runs(open, str(path / PROOF), "w")),
        "subprocess": b"csubprocess\nPopen\n(]X\x05\x00\x00\x00touch" + b"a" + _text(str(path / PROOF)) + b"atR.",
        "getattr": b"cbuiltins\ngetattr\n(cos\nenviron\nX\x04\x00\x00\x00keystR.",
        "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x19OrderedDict.__class__.mro\x93)R.",
        "hidden in a nested dict": pickle.dumps({"model": {"x": [1, {"y": Runs(os.system, touch)}]}}),
        "as a dict's key": pickle.dumps({(1, Runs(os.system, touch)): 2}),
        "build on a class": b"ccollections\nOrderedDict\n}X\x07\x00\x00\x00__new__cos\nsystem\nsb.",
        "torch.load inside": b"ctorch.serialization\nload\n(X\x04\x00\x00\x00/etctR.",
        "torch.jit source": b"ctorch.jit._pickle\nexecute_source\n(X\x01\x00\x00\x001tR.",
        "numpy's file reader": b"cnumpy\nfromfile\n(X\x0b\x00\x00\x00/etc/passwdtR.",
        "pickle in a pickle": b"c_pickle\nloads\n(C\x02N.tR.",
        "extension registry": b"\x80\x02\x82\x01.",
        "other persistent id": b"\x80\x02X\x04\x00\x00\x00evilQ.",
        "10 GB of text": b"\x80\x04\x8d" + struct.pack("<Q", 10 << 30) + b"x.",
        "10 GB of bytes": b"\x80\x05\x96" + struct.pack("<Q", 10 << 30) + b"x.",
        "a memo of 4 billion": b"\x80\x02Nr\xff\xff\xff\xff.",
        "deep nesting": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "laughing lists": b"\x80\x02]q\x00"
        + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
        + b".",
        "a 10 GB tensor": _claims((50_000, 50_000), 0),
        "a tensor beyond its storage": _claims((2,), 3),
        "a tensor of negative size": _claims((-1,), 0),
        "a tensor repeated by a stride of nought": _claims((1 << 20,), 0, (0,)),
        "a tensor without numbers": _claims((1,), 0, entry="77"),
        "no end": b"\x80\x02" + b"]" * 50,
        "noise": bytes(range(256)) * 8,
    }
    return raw


def _text(text):
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _claims(shape, offset, stride=None, entry="0"):
    """A pickle whose tensor claims this shape in a storage of four numbers."""
    stride = stride or tuple(1 for _ in shape)

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    storage = (
        b"("
        + _text("storage")
        + b"ctorch\nFloatStorage\n"
        + _text(entry)
        + _text("cpu")
        + b"J"
        + struct.pack("<i", 4)
        + b"tQ"
    )
    return (
        b"\x80\x02}" + _text("visual.conv1.weight") + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage + b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(stride)
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )  # fmt: skip


def archive(path, data, extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/data/0", np.zeros(4, np.float32).tobytes())
        for name, content in extra:
            file.writestr(name, content)
    return path


def refused(path):
    with pytest.raises(ModelRefused) as caught:
        read_state(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "refused" in message
    return message


@pytest.mark.parametrize("name", sorted(gadgets(Path("/nowhere"))))
def test_hostile_pickles_do_nothing_and_are_refused_in_one_line(name, tmp_path):
    message = refused(archive(tmp_path / "evil.pt", gadgets(tmp_path)[name]))
    assert not (tmp_path / PROOF).exists()
    if name in ("os.system", "eval", "exec"):
        assert "neither a tensor nor a plain container" in message


def test_bare_pickles_are_not_even_read(tmp_path):
    (tmp_path / "evil.pt").write_bytes(gadgets(tmp_path)["os.system"])
    assert "bare pickle" in refused(tmp_path / "evil.pt")
    assert not (tmp_path / PROOF).exists()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("../../etc/cron.d/evil", "not safe"),
        ("/etc/passwd", "not safe"),
        ("archive\\..\\evil", "not safe"),
        ("other/data.pkl", "one data.pkl"),
    ],
)
def test_zip_tricks(entry, says, tmp_path):
    assert says in refused(archive(tmp_path / "evil.pt", pickle.dumps({}), [(entry, b"x")]))


def test_zip_bombs_and_liars(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02]" + b"N" * 50_000_000)
    assert "compressed" in refused(tmp_path / "bomb.pt")
    good = archive(tmp_path / "liar.pt", pickle.dumps({})).read_bytes()
    (tmp_path / "liar.pt").write_bytes(good.replace(struct.pack("<II", 16, 16), struct.pack("<II", 1 << 31, 1 << 31)))
    assert "claims" in refused(tmp_path / "liar.pt") or "damaged" in refused(tmp_path / "liar.pt")
    (tmp_path / "cut.pt").write_bytes(good[:60])
    refused(tmp_path / "cut.pt")


def test_big_endian_archives_are_refused(tmp_path):
    assert "little-endian" in refused(archive(tmp_path / "w.pt", pickle.dumps({}), [("archive/byteorder", b"big")]))


def test_even_a_name_that_slips_through_cannot_act(tmp_path, monkeypatch):
    """The second wall: were os.system on the list, the caged process would still not run it."""
    source = (
        Path(pickles.__file__)
        .read_text("utf-8")
        .replace(
            'ALLOWED |= {("torch", name)',
            'import os\nALLOWED[("posix", "system")] = os.system\nALLOWED |= {("torch", name)',
        )
    )
    (tmp_path / "open_cage.py").write_text(source)
    monkeypatch.setattr(pickles, "__file__", str(tmp_path / "open_cage.py"))
    message = refused(archive(tmp_path / "evil.pt", gadgets(tmp_path)["os.system"]))
    assert "tried to do something (os.system)" in message
    assert not (tmp_path / PROOF).exists()


def test_a_pickle_that_never_ends_is_stopped(tmp_path, monkeypatch):
    source = (
        Path(pickles.__file__)
        .read_text("utf-8")
        .replace("SECONDS = 60", "SECONDS = 1")
        .replace("LARGEST_PICKLE = 128", "LARGEST_PICKLE = 999")
    )
    source = source.replace("MEMORY = 2 << 30", "MEMORY = 300 << 20")
    (tmp_path / "short_cage.py").write_text(source)
    monkeypatch.setattr(pickles, "__file__", str(tmp_path / "short_cage.py"))
    refused(archive(tmp_path / "evil.pt", b"\x80\x02" + b"N0" * 60_000_000 + b"."))


def test_reading_is_the_same_from_memory_order(words, tmp_path):
    """The bytes of a large and a small tensor are found where the archive says, whatever its padding."""
    state = {"visual.conv1.weight": torch.randn(7), "b": torch.randn(100_003)}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    (tmp_path / "w.pt").write_bytes(buffer.getvalue())
    found = read_state(tmp_path / "w.pt")
    assert all(torch.equal(found[k], state[k]) for k in state)


# ---------------------------------------------------------------------- command line


def test_convert_and_model_info(words, vocabulary, tmp_path, capsys):
    from descry.cli import main

    write("irra", random_state(words), tmp_path / "best.pth")
    out = str(tmp_path / "run")
    size = ["--image-size", *map(str, SIZE)]
    assert main(["convert", str(tmp_path / "best.pth"), "--out", out, "--tokenizer", str(vocabulary), *size]) == 0
    assert "IRRA checkpoint as zero_shot; 3 weights left out that search does not need" in capsys.readouterr().out
    assert main(["model", "info", out, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "parameters, inference" in shown
    assert "multiply-adds" in shown
    assert main(["model", "info", out, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "zero_shot"
    assert main(["convert", str(tmp_path / "best.pth"), "--out", out, "--tokenizer", str(vocabulary), *size]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_hostile_file_ends_the_command_with_one_line(vocabulary, tmp_path, capsys):
    from descry.cli import main

    file = archive(tmp_path / "evil.pt", gadgets(tmp_path)["os.system"])
    assert main(["convert", str(file), "--out", str(tmp_path / "run"), "--tokenizer", str(vocabulary)]) == 4
    shown = capsys.readouterr().err.strip()
    assert "posix.system" in shown
    assert len(shown.splitlines()) == 1


OPEN_CLIP = {
    "model_cfg": {"vision_cfg": {"width": 32}, "text_cfg": {}, "quick_gelu": False},
    "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.5]},
}


def test_what_a_checkpoints_own_configuration_says_is_taken(words, vocabulary, tmp_path):
    state = random_state(words)
    write("open_clip", state, tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    done = run(tmp_path / "open_clip_pytorch_model.bin", tmp_path / "run", vocabulary)
    assert done.assumed == ()
    images, model = torch.rand(2, 3, *SIZE), load(tmp_path / "run", "cpu")
    statistics = tuple(OPEN_CLIP["preprocess_cfg"]["mean"]), tuple(OPEN_CLIP["preprocess_cfg"]["std"])
    assert (model.clip.spec.mean, model.clip.spec.std) == statistics
    with torch.no_grad():
        assert torch.allclose(
            model.clip.image_tokens(images), image_reference(state, images, *statistics, gelu=True), atol=1e-5
        )
    toy_words().save(tmp_path)  # the folder as a hub serves it: configuration, weights and vocabulary
    assert convert(tmp_path, tmp_path / "folder", image_size=SIZE).fingerprint == done.fingerprint
    asked = run(
        tmp_path / "open_clip_pytorch_model.bin", tmp_path / "asked", vocabulary, pixels="clip", activation="gelu"
    )
    assert load(tmp_path / "asked", "cpu").clip.spec.mean != statistics[0], "what is asked for goes first"
    assert asked.assumed == ()


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"model_cfg": {}}', '{"model_cfg": {"vision_cfg": {"width": 32, "head_width": 0}}}'),
        '{"model_cfg": {"vision_cfg": {"width": 32, "head_width": 16}}}',
        *(
            '{{"model_cfg": {{"vision_cfg": {{"width": 64, {}}}, "text_cfg": {{{}}}}}}}'.format(*sides)
            for sides in (
                ('"pool_type": "avg"', ""),
                ('"act_kwargs": {"approximate": "tanh"}', ""),
                ('"norm_kwargs": {"eps": 0.001}', ""),
                ('"layers": 2', '"heads": 2'),
                ('"layers": 2', '"pool_type": "last"'),
                ('"layers": 2', '"no_causal_mask": true'),
                ('"layers": 2', '"tokenizer_kwargs": {"clean": "canonicalize"}'),
            )
        ),
        '{"model_cfg": {"vision_cfg": {}}, "preprocess_cfg": {"mean": [0.5], "std": [0.5]}}',
        '{"model_cfg": {"vision_cfg": {}}, "preprocess_cfg": {"mean": [NaN, 0, 0], "std": [1, 1, 1]}}',
        '{"model_cfg": {"vision_cfg": {}}, "preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 0, 1]}}',
    ],
)
def test_a_configuration_that_cannot_be_is_refused(words, vocabulary, tmp_path, text):
    write("open_clip", random_state(words), tmp_path / "w.pt")
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(ModelRefused, match=r"open_clip_config\.json"):
        run(tmp_path / "w.pt", tmp_path / "run", vocabulary)
    assert not (tmp_path / "run").exists()


def folder_of_transformers(folder, clip, words, **config):
    """A CLIP as the transformers library keeps it, with its vocabulary; config: changes of the text's side."""
    folder.mkdir()
    spec = json.loads(json.dumps(clip.spec.config)) | {"model_type": "clip"}
    spec["vision_config"]["image_size"] = 32
    spec["text_config"] |= {"eos_token_id": words.end} | config
    (folder / "config.json").write_text(json.dumps(spec))
    state = clip.model.state_dict() | {"vision_model.embeddings.position_embedding.weight": torch.randn(17, 64)}
    save_file({k: v.clone() for k, v in state.items()}, folder / "model.safetensors")
    words.save(folder)
    return folder


def everywhere(folder, out, says):
    """Every way from a folder of the transformers library to a model refuses it with the same words."""
    from descry.checkpoint import load_any

    for way in (
        lambda: convert(folder, out, image_size=SIZE),
        lambda: load_any(folder),
        lambda: clip_and_words(folder),
    ):
        with pytest.raises(ModelRefused, match=says):
            way()


def test_a_vocabulary_that_is_another_models_is_refused_everywhere(clip, words, tmp_path):
    more = word_level([*words.tokenizer.get_vocab(), "another"])
    everywhere(folder_of_transformers(tmp_path / "more", clip, more), tmp_path / "out", "words and the vocabulary")
    other = folder_of_transformers(tmp_path / "end", clip, words, eos_token_id=5)
    everywhere(other, tmp_path / "out", f"at its token 5, and in the vocabulary a text ends with {words.end}")


@pytest.mark.parametrize(
    ("says", "refused"),
    [
        ({"image_mean": [0.5] * 3}, "lacks image_std"),
        ({"image_mean": ["0.5"] * 3, "image_std": [0.5] * 3}, "is no number"),
        ({"image_mean": [True] * 3, "image_std": [0.5] * 3}, "is no number"),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": "false"}, "true or false"),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 0}, "above 0"),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "offset": True}, "offset"),
    ],
)
@pytest.mark.parametrize("file", ["processor_config.json", "preprocessor_config.json"])
def test_pixels_that_are_made_ready_in_a_way_of_their_own_are_refused(clip, words, tmp_path, file, says, refused):
    folder = folder_of_transformers(tmp_path / "clip", clip, words)
    (folder / file).write_text(json.dumps({"image_processor": says} if file == "processor_config.json" else says))
    everywhere(folder, tmp_path / "out", refused)


def test_another_interpolation_and_unknown_pixels_are_said_by_a_model_that_was_not_converted(clip, words, tmp_path):
    folder = folder_of_transformers(tmp_path / "clip", clip, words)
    assert "CLIP's mean and deviation were taken" in load(folder, "cpu").note
    plain = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(plain | {"resample": 3}))
    assert load(folder, "cpu").note == ""
    assert convert(folder, tmp_path / "a", image_size=SIZE).assumed == ()
    (folder / "preprocessor_config.json").write_text(json.dumps(plain | {"resample": 2}))
    assert "resample = 2; here bicubic" in load(folder, "cpu").note
    assert "resample = 2; here bicubic" in convert(folder, tmp_path / "b", image_size=SIZE).assumed[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(normalizer={"type": "NFC"}),
        lambda t: t.update(pre_tokenizer={"type": "WhitespaceSplit"}),
    ],
    ids=["letters in capitals", "signs within words"],
)
def test_a_vocabulary_that_reads_texts_otherwise_than_clip_is_refused(tmp_path, change):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    names = [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    words = _byte_pair({name: i for i, name in enumerate(names)}, [])
    held = json.loads(words.tokenizer.to_str())
    (tmp_path / "tokenizer.json").write_text(json.dumps(held))
    assert Words.load(tmp_path).ids(["A Red top"]).tolist() == words.ids(["a red top"]).tolist()
    change(held)
    (tmp_path / "tokenizer.json").write_text(json.dumps(held))
    with pytest.raises(ModelRefused, match="reads texts otherwise than CLIP"):
        Words.load(tmp_path)


@pytest.mark.parametrize("layout", ["openai", "open_clip", "irra", "tbps"])
def test_what_nothing_says_is_said(words, vocabulary, tmp_path, capsys, layout):
    from descry.cli import main

    write(layout, random_state(words), tmp_path / "w.pt")
    size = ["--image-size", *map(str, SIZE)]
    command = ["convert", str(tmp_path / "w.pt"), "--tokenizer", str(vocabulary), *size, "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    told = capsys.readouterr().err
    assert ("quick_gelu was taken" in told) == ("CLIP's mean and deviation were taken" in told) == ("open" in layout)
    assert main([*command, str(tmp_path / "b"), "--activation", "gelu", "--pixels", "0.5,0.5,0.5,0.25,0.25,0.5"]) == 0
    assert "note" not in capsys.readouterr().err
    spec = load(tmp_path / "b", "cpu").clip.spec
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.5))


@pytest.mark.parametrize(
    "text", ["0.5", "0.5,0.5,0.5", "1,1,1,1,1,0", "1,1,1,1,1,nan", "inf,1,1,1,1,1", "imagnet", "1,1,1,1,1,-1", ",,,,,"]
)
def test_statistics_that_cannot_be_are_refused(words, vocabulary, tmp_path, text):
    write("openai", random_state(words), tmp_path / "w.pt")
    with pytest.raises(UsageError, match="six numbers"):
        run(tmp_path / "w.pt", tmp_path / "run", vocabulary, pixels=text)

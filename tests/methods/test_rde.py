"""RDE: losses and counts against an independent reference, division of the pairs, gradients, training, checkpoints."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from conftest import quick, toy_clip, write_toy
from descry.checkpoint import load_method
from descry.clip import random_clip
from descry.convert import convert
from descry.data import read, with_wrong_pairs
from descry.embed import load
from descry.errors import UsageError
from descry.methods import Progress
from descry.methods.rde import (
    PRESETS,
    BatchNorm,
    Rde,
    TokenSelection,
    alignment,
    clean_probability,
    consensus,
    hardest,
    noisy_words,
)
from descry.training.batches import Batches
from descry.training.loop import Settings, train
from descry_people.miniature import write_miniature
from library import library_clip

AT = Progress(0, 0, 10, torch.Generator().manual_seed(0))


def make(words, **changes):
    torch.manual_seed(0)
    return Rde(toy_clip(words), words, replace(PRESETS["recommended"], width=24, **changes), 4)


def some(rows=7, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, dim)), rng.normal(size=(rows, dim)), rng.integers(0, 4, rows)


def by_hand(v, t, pids, tau, margin, hard=False):
    """Each pair's loss in plain loops over the paper's sums."""
    v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, t))
    out = []
    for i in range(len(v)):
        total = 0.0
        for one, others in ((t[i], v), (v[i], t)):
            s = [float(one @ other) for other in others]
            mine = [j for j in range(len(v)) if pids[j] == pids[i]]
            rest = [j for j in range(len(v)) if pids[j] != pids[i]]
            weights = [math.exp(s[j] / tau) for j in mine]
            positive = sum(w * s[j] for w, j in zip(weights, mine, strict=True)) / sum(weights)
            if hard:
                negative = max([s[j] for j in rest] + [0.0])
            else:
                negative = tau * math.log(sum(math.exp(s[j] / tau) for j in rest))
            total += max(0.0, margin - positive + negative)
        out.append(total)
    return np.array(out)


@pytest.mark.parametrize(("tau", "margin"), [(0.015, 0.1), (0.1, 0.2)])
@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_the_paper(tau, margin, seed):
    v, t, pids = some(seed=seed)
    for loss, hard in ((alignment, False), (hardest, True)):
        ours = loss(torch.tensor(v), torch.tensor(t), torch.tensor(pids), tau, margin)
        assert np.allclose(ours.numpy(), by_hand(v, t, pids, tau, margin, hard), atol=1e-10)


def test_alignment_bounds_the_triplet_loss_from_above():
    v, t, pids = (torch.tensor(x) for x in some(40, 3, 5))
    fewer = hardest(v, t, pids, 0.1)
    assert (alignment(v, t, pids, 0.1) >= fewer - 1e-9).all()
    assert (alignment(v, t, pids, 1e-4) - hardest(v, t, pids, 1e-4)).abs().max() < 1e-3  # sharp: the same loss


def test_gradient_of_alignment_is_that_of_differences():
    v, t, pids = some(5, 4)
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    a, b = torch.tensor(v, requires_grad=True), torch.tensor(t, requires_grad=True)
    # α is held constant: compare with a loss whose α are those of the starting point
    (alignment(a, b, torch.tensor(pids), 0.3, 0.5) * weights).sum().backward()
    same = pids[:, None] == pids[None, :]

    def fixed(v, t):
        v, t = (x / x.norm(dim=1, keepdim=True) for x in (v, t))
        total = 0.0
        for s, alpha in ((t @ v.T, alphas[0]), (v @ t.T, alphas[1])):
            negative = 0.3 * torch.logsumexp((s / 0.3).masked_fill(torch.tensor(same), -torch.inf), 1)
            total = total + torch.relu(0.5 - (alpha * s).sum(1) + negative)
        return (total * weights).sum()

    with torch.no_grad():
        x, y = (z / z.norm(dim=1, keepdim=True) for z in (a, b))
        alphas = [(s / 0.3).masked_fill(~torch.tensor(same), -torch.inf).softmax(1) for s in (y @ x.T, x @ y.T)]
        step = 1e-6
        for tensor in (a, b):
            for i in range(5):
                for j in range(4):
                    tensor[i, j] += step
                    up = fixed(a, b)
                    tensor[i, j] -= 2 * step
                    down = fixed(a, b)
                    tensor[i, j] += step
                    assert float(tensor.grad[i, j]) == pytest.approx(float(up - down) / (2 * step), abs=1e-6)


def test_a_batch_of_one_person_costs_nothing_and_has_a_gradient():
    v, t = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    loss = alignment(v, t, torch.zeros(3))
    loss.sum().backward()
    assert loss.abs().sum() == 0
    assert torch.isfinite(v.grad).all()


def test_parameters_are_those_of_the_released_code():
    """The released layers hold, beside ours, one map and two batch norms that they never compute with."""
    with torch.device("meta"):
        clip = random_clip((384, 128), 16, 512, 768, 12, 512, 12, 49408, 77)
        model = Rde(clip, None, PRESETS["released"], 0)
    side = 512 * 1024 + 1024 + 512 * 512 + 512 + 2 * 512 + 512 * 1024 + 1024
    released = {"visul_emb_layer": side + 512 * 1024 + 1024 + 2 * 1024, "texual_emb_layer": side + 2 * 1024}
    ours = sum(p.numel() for n, p in model.named_parameters() if "selection" in n)
    assert side == 1_314_304
    assert ours == 2 * side == sum(released.values()) - (512 * 1024 + 1024) - 2 * 2 * 1024
    assert sum(released.values()) == 3_158_016
    assert (model.dimension, model._words_read, int(192 * 0.3)) == (1536, 22, 57)


def reference_selection(layer, tokens, attention, k, lengths, training):
    """Select, scale, map and pool row by row; the batch norm by its definition."""
    picked = []
    for row, weights in zip(tokens, attention, strict=True):
        best = weights.topk(k).indices.tolist()  # which of the pads, all 0, come in is not defined otherwise
        picked.append(torch.stack([row[i] / row[i].norm() for i in best]))
    x = torch.stack(picked)
    hidden = x @ layer.fc1.weight.T + layer.fc1.bias
    flat = hidden.reshape(-1, hidden.shape[-1])
    mean, var = (
        (flat.mean(0), flat.var(0, unbiased=False)) if training else (layer.norm.running_mean, layer.norm.running_var)
    )
    hidden = (hidden - mean) / (var + 1e-5).sqrt() * layer.norm.weight + layer.norm.bias
    out = hidden.clamp(min=0) @ layer.fc2.weight.T + layer.fc2.bias + x @ layer.map.weight.T + layer.map.bias
    return torch.stack([out[i, :n].max(dim=0).values for i, n in enumerate(lengths)])


@pytest.mark.parametrize("training", [False, True])
def test_embeddings_follow_the_released_arithmetic(words, training):
    """Attention from the transformers library's own output, selection and pooling in loops."""
    model = make(words, count_pads=True, word_noise=0.0).double().train(training)
    with torch.no_grad():
        for norm in (model.image_selection.norm, model.text_selection.norm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.normal_()
    images = torch.rand(3, 3, 32, 16, dtype=torch.float64)
    ids = words.ids(["a red top and blue trousers", "a person", "white"])
    clip = model.clip
    library = library_clip(clip)
    full = words.padded(ids)
    with torch.no_grad():
        seen = (
            library.vision_model(
                pixel_values=clip.normalise(images), interpolate_pos_encoding=True, output_attentions=True
            )
            .attentions[-1]
            .mean(1)[:, 0]
        )
        read = library.text_model(input_ids=full, output_attentions=True).attentions[-1].mean(1)
        image_tokens, text_tokens, ends = clip.image_tokens(images), clip.text_tokens(full), clip.text_end(full)
        read = read[torch.arange(3), ends]
        seen[:, 0] = -1
        read[:, 0] = -1
        read[torch.arange(3), ends] = -1
        read = read * (torch.arange(77) <= ends[:, None])
        v, t, v_s, t_s = model._embeddings(images, ids)
        lengths = [min(int(e) - 1, 22) for e in ends]
        assert torch.allclose(v, image_tokens[:, 0])
        assert torch.allclose(t, text_tokens[torch.arange(3), ends])
        for norm in (model.image_selection.norm, model.text_selection.norm):
            norm.num_batches_tracked.zero_()
        wanted_v = reference_selection(model.image_selection, image_tokens, seen, int(8 * 0.3), [2] * 3, training)
        wanted_t = reference_selection(model.text_selection, text_tokens, read, 22, lengths, training)
    assert torch.allclose(v_s, wanted_v, atol=1e-10)
    assert torch.allclose(t_s, wanted_t, atol=1e-10)


def test_the_batch_norm_is_the_librarys():
    ours, theirs = BatchNorm(4).double(), nn.BatchNorm1d(4).double()
    for seed in range(3):
        x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        one, two = ours(a), theirs(b)
        (one**3).sum().backward()
        (two**3).sum().backward()
        assert torch.allclose(one, two)
        assert torch.allclose(a.grad, b.grad)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(getattr(ours, name), getattr(theirs, name)), name


def test_gradient_of_the_selection():
    torch.manual_seed(0)
    layer = TokenSelection(3, 4).double()
    tokens = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda x: layer(x, valid, valid), tokens)


def test_an_inner_product_is_the_mean_of_two_cosines(words):
    model = make(words).eval()
    images, ids = torch.rand(3, 3, 32, 16), words.ids(["a red top", "a person", "white trousers and a red top"])
    with torch.no_grad():
        v, t, v_s, t_s = model._embeddings(images, ids)
        joined = model.encode_text(ids) @ model.encode_image(images).T
    cosine = nn.functional.cosine_similarity
    mean = (cosine(t[:, None], v[None], dim=-1) + cosine(t_s[:, None], v_s[None], dim=-1)) / 2
    assert torch.allclose(joined, mean, atol=1e-6)
    assert model.encode_image(images).shape[1] == model.dimension


def test_a_mixture_finds_its_two_components():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0.2, 0.05, 700), rng.normal(1.5, 0.2, 300)])
    found = clean_probability(losses)
    assert ((found > 0.5) == (np.arange(1000) < 700)).mean() > 0.995
    assert (clean_probability(np.ones(5)) == 1).all()
    assert (clean_probability(losses) == found).all()


def test_a_mixture_is_a_fixed_point_of_its_equations():
    rng = np.random.default_rng(1)
    losses = np.concatenate([rng.normal(0.3, 0.1, 200), rng.normal(0.9, 0.3, 100)])
    p = clean_probability(losses, 5000, 0.0, 0.0)
    x = (losses - losses.min()) / (losses.max() - losses.min())
    density = []
    for r in (p, 1 - p):
        mean = (r * x).sum() / r.sum()
        sd = math.sqrt((r * (x - mean) ** 2).sum() / r.sum())
        density.append(r.mean() * np.exp(-((x - mean) ** 2) / (2 * sd**2)) / sd)
    assert np.allclose(p, density[0] / (density[0] + density[1]), atol=1e-6)


def test_consensus():
    generator = np.random.default_rng(0)
    first, second = np.array([0.9, 0.9, 0.1, 0.1] * 200), np.array([0.9, 0.1, 0.9, 0.1] * 200)
    trusted = consensus(first, second, generator).view(200, 4)
    assert trusted[:, 0].all()
    assert not trusted[:, 3].any()
    assert 0.4 < float(trusted[:, 1:3].mean()) < 0.6
    sure = np.linspace(0.6, 1, 100)
    assert consensus(sure, sure, generator).sum() == 100
    assert consensus(sure, sure, generator, least=0.01).sum() == 98  # the lowest and the one at the bound


def test_words_are_masked_replaced_and_removed(words):
    ids = words.ids(["a red top and blue trousers"] * 2000)
    before = ids.clone()
    noisy = noisy_words(ids, words, torch.Generator().manual_seed(0))
    assert torch.equal(ids, before)
    assert (noisy[:, 0] == words.start).all()
    assert ((noisy == words.end).sum(dim=1) == 1).all()
    length = (noisy == words.end).int().argmax(dim=1)
    position = torch.arange(noisy.shape[1])
    assert (noisy[position > length[:, None]] == words.pad).all()
    removed = 1 - (length.float() - 1).sum().item() / (6 * 2000)
    assert removed == pytest.approx(0.04, abs=0.006)
    assert (noisy == words.mask).sum().item() / (6 * 2000) == pytest.approx(0.12, abs=0.01)


def test_untrusted_pairs_do_not_count(words, tmp_path):
    model = make(words, word_noise=0.0)
    rows = write_toy(tmp_path, 8).train
    batches = Batches(rows, words, (32, 16), quick(model.config, augment="none").recipe, model.needs, 0, threads=1)
    batch = next(iter(batches.epoch(0)))
    model.memory.trusted = torch.zeros(len(batches.rows))
    assert sum(float(x.detach()) for x in model.losses(batch, AT).values()) == 0.0
    model.memory.trusted[batch["row"][0]] = 1.0
    model.eval()
    with torch.no_grad():
        v, t, v_s, t_s = model._embeddings(batch["image"], batch["text"])
        found = {k: float(x) for k, x in model.losses(batch, AT).items()}
    assert found["global"] == pytest.approx(float(alignment(v, t, batch["pid"])[0]), rel=1e-5)
    assert found["selection"] == pytest.approx(float(alignment(v_s, t_s, batch["pid"])[0]), rel=1e-5)


def test_training_divides_before_each_epoch_and_resumes_inside_one(words, tmp_path):
    data = write_toy(tmp_path, 8)

    def run(out, stop=lambda: False, resume=False):
        model = make(words)
        model.config = quick(model.config, batch_size=8, augment="none")
        train(model, "rde", "recommended", data, out, Settings(device="cpu", threads=1, resume=resume), stop=stop)
        return model

    whole = run(tmp_path / "whole")
    calls = iter(range(100))
    run(tmp_path / "cut", stop=lambda: next(calls) == 2)  # in the middle of the second epoch
    resumed = run(tmp_path / "cut", resume=True)
    assert torch.equal(whole.memory.trusted, resumed.memory.trusted)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    loaded, _ = load_method(tmp_path / "whole")
    images = torch.rand(2, 3, 32, 16)
    assert loaded.encode_image(images).shape == (2, whole.dimension)
    assert load(tmp_path / "whole", "cpu").dimension == whole.dimension


def test_wrong_pairs(tmp_path):
    data = write_toy(tmp_path, 16)
    noisy = with_wrong_pairs(data, 0.5, 3)
    assert with_wrong_pairs(data, 0.5, 3).fingerprint() == noisy.fingerprint() != data.fingerprint()
    changed = sum(a.caption != b.caption for a, b in zip(data.train, noisy.train, strict=True))
    assert 10 <= changed <= 16
    assert sorted(r.caption for r in noisy.train) == sorted(r.caption for r in data.train)
    assert [r.images for r in noisy.train] == [r.images for r in data.train]
    assert (noisy.val, noisy.test) == (data.val, data.test)
    assert "wrong_pairs=0.5" in noisy.source
    for rate in (-0.1, 1.5):
        with pytest.raises(UsageError, match="from 0 to 1"):
            with_wrong_pairs(data, rate)


def test_wrong_pairs_are_an_option_of_every_reader(tmp_path):
    root = write_miniature("rstpreid", tmp_path / "mini")
    clean, noisy = read("rstpreid", root), read("rstpreid:wrong_pairs=0.5", root)
    assert clean.fingerprint() != noisy.fingerprint() == read("rstpreid", root, wrong_pairs=0.5).fingerprint()
    with pytest.raises(UsageError, match="wrong_pairs"):
        read("rstpreid:wrong_pair=0.5", root)


def released_layout(model):
    """The names and the unused parts of the released code."""
    from test_convert import random_state

    state = {f"base_model.{k}": v for k, v in random_state(model.words).items() if k != "logit_scale"}
    dim = model.clip.dim
    for ours, theirs, given in (
        (model.image_selection, "visul_emb_layer", "fc"),
        (model.text_selection, "texual_emb_layer", "linear"),
    ):
        layers = {given: ours.map, "mlp.layers.0": ours.fc1, "mlp.layers.1": ours.fc2, "mlp.bns.0": ours.norm}
        layers["mlp.bns.1"] = nn.BatchNorm1d(ours.map.out_features)
        if given == "fc":
            layers["linear"] = nn.Linear(dim, ours.map.out_features)
        for part, layer in layers.items():
            state |= {f"{theirs}.{part}.{k}": v.clone() for k, v in layer.state_dict().items()}
    return state


def test_checkpoints_of_the_released_code_load_whole(words, tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    from descry.clip_files import from_openai
    from test_convert import DIM, SIZE, random_state

    torch.manual_seed(3)
    clip = from_openai(random_state(words), SIZE)
    model = Rde(clip, words, replace(PRESETS["released"], width=24), 0)
    for layer in (model.image_selection, model.text_selection):
        layer.norm.running_mean.normal_()
    assert clip.dim == DIM
    torch.save({"model": released_layout(model)}, tmp_path / "best.pth")
    words.save(tmp_path)
    done = convert(tmp_path / "best.pth", tmp_path / "run", tmp_path, SIZE)
    assert (done.layout, done.method) == ("RDE", "rde")
    assert {n.rsplit(".", 1)[0] for n in done.left_out} == {
        "visul_emb_layer.linear", "visul_emb_layer.mlp.bns.1", "texual_emb_layer.mlp.bns.1",
    }  # fmt: skip
    loaded = load(tmp_path / "run", "cpu").method
    images, ids = torch.rand(2, 3, *SIZE), words.ids(["a red top", "a person and blue trousers"])
    model.eval()
    with torch.no_grad():
        assert torch.allclose(loaded.encode_image(images), model.encode_image(images), atol=1e-6)
        assert torch.allclose(loaded.encode_text(ids), model.encode_text(ids), atol=1e-6)


def test_rates(words):
    model = make(words)
    names = {id(p): n for n, p in model.named_parameters()}
    rate = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in model.param_groups() for p in g["params"]}
    assert rate["image_selection.map.weight"] == (100.0, 4e-5)
    assert rate["text_selection.norm.bias"] == (100.0, 0.0)
    assert rate["clip.model.visual_projection.weight"] == (1.0, 4e-5)
    assert rate["clip.model.vision_model.post_layernorm.bias"] == (2.0, 0.0)


@pytest.mark.parametrize("bad", [{"loss": "tall"}, {"reduction": "max"}, {"ratio": 0.0}])
def test_refusals(words, bad):
    with pytest.raises(UsageError, match="allowed"):
        make(words, **bad)

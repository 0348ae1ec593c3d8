"""The preset `paper` of each method beside its paper: the values that the text states, and whole losses in NumPy.

Nothing here uses descry.losses: features are taken from the encoders, and the printed equations are written out again,
with loops where they have sums.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import toy_clip
from descry.methods import Progress, interactreid, preset, propot, vfe_tps

PID = np.array([0, 0, 2, 3, 3, 5])
ROWS = range(len(PID))
RECIPES = {
    # InteractReID §IV-A2, both data sets; AdamW, flip
    ("interactreid", 1): {"epochs": 5, "batch_size": 240, "lr": 1e-4, "optimiser": "adamw", "augment": "flip"},
    ("interactreid", 2): {"epochs": 20, "lr": 1e-5, "optimiser": "adamw", "augment": "flip"},
    # Propot §4.1: 1e-5 for CLIP, warm-up over a tenth from a tenth, cosine
    ("propot", 1): {
        "epochs": 60, "batch_size": 64, "lr": 1e-5, "optimiser": "adam", "weight_decay": 4e-5, "schedule": "epoch",
        "warmup_epochs": 6, "warmup_from": 1e-6, "augment": "flip-crop-erase", "mask_text": 0.15,
    },
    # VFE-TPS §4.3
    ("vfe_tps", 1): {"epochs": 60, "batch_size": 100, "lr": 1e-5, "optimiser": "adam", "augment": "flip-crop"},
}  # fmt: skip
FIELDS = {
    ("interactreid", 1): {"image_size": (224, 224), "temperature": 0.07, "learn_temperature": False, "alpha": 0.0},
    ("interactreid", 2): {"mapping_layers": 1, "mapping_hidden": 768, "mapping_rate": 10.0, "image_rate": 1.0},
    ("propot", 1): {
        "image_size": (384, 128), "prompts": 4, "sae_blocks": 1, "cad_blocks": 3, "heads": 8, "temperature": 0.02,
        "p2i_weight": 0.2, "mlm_weight": 1.0, "new_rate": 10.0,
    },
    ("vfe_tps", 1): {"image_size": (384, 128), "heads": 8, "pairs": 20, "mask_ratio": 0.6, "cross_rate": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(("name", "stage"), RECIPES)
def test_the_preset_holds_what_the_paper_states(name, stage):
    for data in ("", "pku-sketch"):
        config = preset(name, "paper", data).with_stage(stage)
        held = {k: getattr(config.recipe, k) for k in RECIPES[name, stage]}
        assert held == RECIPES[name, stage]
        assert {k: getattr(config, k) for k in FIELDS[name, stage]} == FIELDS[name, stage]


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def shares(scores):
    """(n, B) → each row's softmax."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def true_shares(pids):
    same = (pids[:, None] == pids[None]).astype(float)
    return same / same.sum(axis=1, keepdims=True)


def divergence(p, q, epsilon=1e-8):
    """Σ_j p_ij log(p_ij / (q_ij + ε)), mean over i."""
    return float(np.mean([sum(p[i, j] * np.log(p[i, j] / (q[i, j] + epsilon)) for j in ROWS) for i in ROWS]))


def batch(words):
    texts = ["a red top and blue trousers", "a white top", "a green top", "a blue top", "a person", "white trousers"]
    ids = words.ids(texts)
    labels = torch.zeros_like(ids)
    labels[:, 2] = ids[:, 2]
    g = torch.Generator().manual_seed(3)
    pictures = {k: torch.rand(len(PID), 3, 32, 16, generator=g, dtype=torch.float64) for k in ("image", "sketch")}
    masked = torch.where(labels > 0, words.mask, ids)
    return pictures | {
        "pid": torch.from_numpy(PID), "image_id": torch.arange(len(PID)), "text": ids, "masked_text": masked,
        "token_labels": labels,
    }  # fmt: skip


def at(seed=0):
    return Progress(3, 1, 10, torch.Generator().manual_seed(seed))


def arrays(*tensors):
    return [x.detach().numpy() for x in tensors]


def given(losses):
    return {name: float(value.detach()) for name, value in losses.items()}


def test_interactreid_eq_1_to_8(words):
    read = batch(words)
    config = preset("interactreid", "paper")
    one = interactreid.InteractReID(toy_clip(words), words, replace(config, stage=1), 6).double().eval()
    v, s = arrays(one.clip.image_features(read["image"]), one.clip.image_features(read["sketch"]))
    (t,) = arrays(one.clip.text_features(read["text"]))

    def both_ways(a, b, target):
        ways = (shares(cosines(x, y) / 0.07) for x, y in ((a, b), (b, a)))
        return sum(-np.mean([sum(target[i, j] * np.log(p[i, j]) for j in ROWS) for i in ROWS]) for p in ways)

    people, own = true_shares(PID), np.eye(len(PID))
    assert given(one.losses(read, at())) == pytest.approx(
        {"image-text": both_ways(v, t, people), "image-sketch": both_ways(v, s, people)}, rel=1e-5
    )
    two = interactreid.InteractReID(toy_clip(words), words, replace(config, stage=2), 6).double().eval()
    v, s = arrays(two.clip.image_features(read["image"]), two.clip.image_features(read["sketch"]))
    (told,) = arrays(two.pseudo_text(torch.from_numpy(s)))
    assert given(two.losses(read, at())) == pytest.approx(
        {"scc": both_ways(s, told, own), "align": both_ways(told, v, own)}, rel=1e-5
    )


def matched(v, t):
    """L_sdm, which VFE-TPS calls L_CMPM, τ = 0.02."""
    q = true_shares(PID)
    return divergence(shares(cosines(v, t) / 0.02), q) + divergence(shares(cosines(t, v) / 0.02), q)


def test_propot_eq_1_to_12(words):
    read, people = batch(words), sorted(set(PID.tolist()))
    torch.manual_seed(0)
    config = replace(preset("propot", "paper"), heads=4)
    model = propot.Propot(toy_clip(words), words, config, 6).double()
    others = read | {"pid": torch.tensor([1, 1, 4, 4, 1, 4]), "image_id": torch.arange(10, 16)}
    model.prepare(lambda: [read, others])
    tokens = model.clip.text_tokens(read["masked_text"])
    v = model.clip.image_features(read["image"])
    t = tokens[torch.arange(len(PID)), model.clip.text_end(read["masked_text"])]
    plain = model.clip.text_features(read["text"])  # eq. 1 reads whole captions
    losses = given(model.losses(read, at()))
    total = 0.0
    for modality, (own, other, first) in enumerate(((v, t, v), (t, v, plain))):
        for pid in people:
            rows = np.flatnonzero(pid == PID)
            initial = first[rows].sum(dim=0, keepdim=True)
            prompted = [model.dpp(modality, torch.tensor([pid]), initial)]
            prompted += [model.ipp(initial, own), model.ipp(initial, other)]
            p0, *parts = (x[0] for x in arrays(initial, *prompted))
            raised = [np.exp(p0 @ p - max(p0 @ k for k in parts)) for p in parts]
            prototype = p0 + sum(e / sum(raised) * p for e, p in zip(raised, parts, strict=True))
            (p,) = shares(cosines(prototype[None], arrays(own)[0]) / 0.02)
            total -= sum(p[j] for j in rows) / len(rows)
    assert losses["p2i"] == pytest.approx(0.2 * total, rel=1e-5)
    assert losses["sdm"] == pytest.approx(matched(*arrays(v, t)), rel=1e-5)
    assert set(losses) == {"sdm", "id", "p2i", "mlm"}


def test_vfe_tps_eq_3_to_9(words):
    read = batch(words)
    torch.manual_seed(0)
    config = replace(preset("vfe_tps", "paper"), heads=4, mask_unit=8)
    model = vfe_tps.VfeTps(toy_clip(words), words, config, 6).double()
    mask = torch.arange(8).repeat(len(PID), 1) % 3 > 0
    losses = given(model.losses(read | {"patch_mask": mask}, at()))
    v, t = arrays(model.clip.image_features(read["image"]), model.clip.text_features(read["text"]))
    p, q = shares(cosines(v, v) / 0.02), true_shares(PID)  # fewer than C = 20 images: all of them
    assert losses["cmpm"] == pytest.approx(matched(v, t), rel=1e-5)
    assert losses["is-gvfc"] == pytest.approx(divergence(p, q), rel=1e-5)
    hidden = mask.view(-1, 4, 1, 2, 1).expand(-1, -1, 8, -1, 8).reshape(-1, 32, 16).numpy()
    dark = read["image"] * torch.from_numpy(~hidden)[:, None]
    drawn = model.mim.predict(model.clip, dark, mask, model.clip.text_tokens(words.padded(read["text"])), None)
    gap = np.abs(np.subtract(*arrays(drawn, model.clip.normalise(read["image"])))).sum(axis=1)  # over three channels
    assert losses["tg-mim"] == pytest.approx(gap[hidden].sum() / hidden.sum(), rel=1e-5)

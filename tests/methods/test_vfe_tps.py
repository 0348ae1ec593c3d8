"""VFE-TPS: released counts and values, masks, calibration three ways, and the measures of its figures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import quick, toy_clip
from descry.clip import random_clip
from descry.errors import UsageError
from descry.methods import Progress
from descry.methods.vfe_tps import (
    CHOICES,
    PRESETS,
    ROWS,
    MaskedImageModelling,
    Memory,
    VfeTps,
    average_distance,
    calibration,
    masked_l1,
    random_mask,
    sample_images,
    silhouette,
)

K = torch.arange(48, dtype=torch.float32).reshape(6, 8)
I, T = torch.sin(1 + K), torch.cos(0.5 + 1.3 * K)  # noqa: E741
PID = torch.tensor([0, 0, 1, 2, 2, 3])
SMALL = {"heads": 4, "mask_unit": 8, "pairs": 4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def at(epoch=0):
    return Progress(epoch * 10, epoch, 10, generator())


def make(words, seed=0, preset="recommended", **changes):
    torch.manual_seed(seed)
    return VfeTps(toy_clip(words), words, replace(PRESETS[preset], **(SMALL | changes)), 5)


def make_batch(words):
    ids = words.ids(
        ["a red top and blue trousers", "a white top", "a green top", "a blue top", "a person", "white trousers"]
    )
    masked = ids.clone()
    masked[:, 1] = words.mask
    images = torch.rand(6, 3, 32, 16, generator=generator(3))
    return {"image": images, "pid": torch.tensor([0, 0, 1, 2, 2, 3]), "text": ids, "masked_text": masked}


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 169_320_187), ({"gvfc": "memory"}, 163_675_648), ({"mim": "off", "gvfc": "off"}, 149_617_664)],
)
def test_parameters_of_the_released_code(changes, count):
    with torch.device("meta"):
        clip = random_clip((384, 128), 16, 512, 768, 12, 512, 12, 49408, 77)
        model = VfeTps(clip, None, replace(PRESETS["released"], **changes), 11003)
    assert sum(p.numel() for name, p in model.named_parameters() if not name.endswith("logit_scale")) == count


def test_released_mask_has_116_of_192_patches():
    mask = random_mask(5, (24, 8), 2, 0.6, generator())
    assert mask.sum(dim=1).tolist() == [116] * 5
    squares = mask.view(5, 12, 2, 4, 2)
    assert torch.equal(squares.any(dim=4).any(dim=2), squares.all(dim=4).all(dim=2))
    assert len({tuple(m.tolist()) for m in mask}) == 5
    assert torch.equal(mask, random_mask(5, (24, 8), 2, 0.6, generator()))


@pytest.mark.parametrize(
    ("grid", "unit", "ratio"), [((24, 8), 5, 0.6), ((24, 8), 2, 1.0), ((2, 2), 1, 0.9), ((2, 2), 1, 0.0)]
)
def test_masks_that_cannot_be(grid, unit, ratio):
    with pytest.raises(UsageError):
        random_mask(1, grid, unit, ratio, generator())


def test_calibration_reference():
    assert float(calibration(I, PID, 1 / 50)) == pytest.approx(0.468403, rel=1e-4)
    memory = Memory()
    memory.epoch, memory.kept = 0, {0: [T[0]], 2: [T[3], T[4]]}
    assert float(calibration(*memory.extend(I, PID, 0), 1 / 50)) == pytest.approx(2.374250, rel=1e-4)


def test_calibration_slow_loop():
    x = I.double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    total = 0.0
    for i in range(6):
        e = [math.exp(x[i] @ x[k] / 0.1) for k in range(6)]
        same = [float(PID[i] == PID[j]) for j in range(6)]
        for j in range(6):
            p = e[j] / sum(e)
            total += p * (math.log(p) - math.log(same[j] / sum(same) + 1e-8)) / 6
    assert float(calibration(I, PID, 0.1)) == pytest.approx(total, rel=1e-5)


def test_calibration_closed_form():
    assert float(calibration(torch.ones(4, 3), torch.zeros(4), 0.02)) == pytest.approx(0.0, abs=1e-6)
    expected = math.log(0.5) - 0.5 * math.log(1e-8)  # equal features of two people: p = ½, q = (1, 0)
    assert float(calibration(torch.ones(2, 3), torch.arange(2), 0.02)) == pytest.approx(expected, rel=1e-5)


def test_memory_forgets_each_epoch_and_keeps_no_gradient():
    memory, features = Memory(), I.clone().requires_grad_()
    assert len(memory.extend(features, PID, 0)[1]) == 6
    _rows, pids = memory.extend(features, PID, 0)
    assert pids[6:].tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 2, 3]  # each of two rows brings both earlier ones
    assert not any(x.requires_grad for kept in memory.kept.values() for x in kept)
    assert len(memory.extend(features, PID, 1)[1]) == 6


def test_sampled_images_have_partners_where_there_are_any():
    pids = torch.cat([torch.arange(10).repeat_interleave(2), torch.arange(100, 180)])
    for seed in range(20):
        rows = sample_images(pids, 20, generator(seed))
        assert len(rows.unique()) == len(rows) == 20
        counts = pids[rows].unique(return_counts=True)[1]
        assert int(counts[counts > 1].sum()) >= 10
    singles = sample_images(torch.arange(50), 20, generator())
    assert len(singles.unique()) == 20
    assert len(sample_images(PID, 20, generator())) == 6


def test_masked_l1_closed_form_and_slow_loop():
    images = torch.rand(2, 3, 4, 4, generator=generator())
    predicted = torch.rand(2, 3, 4, 4, generator=generator(1))
    mask = torch.tensor([[True, False, False, False], [False, True, True, False]])
    total, count = 0.0, 0
    for b in range(2):
        for y in range(4):
            for x in range(4):
                if mask[b, (y // 2) * 2 + x // 2]:
                    total += float((predicted[b, :, y, x] - images[b, :, y, x]).abs().sum())
                    count += 3
    assert float(masked_l1(predicted, images, mask, 2)) == pytest.approx(total / count, rel=1e-4)
    assert float(masked_l1(images + 0.5, images, mask, 2)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mim", CHOICES["mim"])
def test_every_masked_image_modelling_reaches_the_image_encoder(words, preset, mim):
    model = make(words, preset=preset, mim=mim, gvfc="off")
    losses = model.losses(make_batch(words), at())
    assert set(losses) == {"cmpm"} | ({"off": set(), "text": {"tg-mim"}}.get(mim, {"mim"}))
    if mim != "off":
        losses["tg-mim" if mim == "text" else "mim"].backward()
        assert model.clip.model.visual_projection.weight.grad.abs().sum() > 0
        text = model.clip.model.text_projection.weight.grad
        assert (text is not None and bool(text.abs().sum() > 0)) == (mim == "text")


@pytest.mark.parametrize("masking", ["token", "pixels"])
def test_hidden_pixels_never_reach_the_prediction(words, masking):
    batch, model = make_batch(words), make(words, masking=masking).eval()
    mask = random_mask(6, model.clip.grid, 1, 0.5, generator())
    hidden = mask.view(6, 1, 4, 1, 2, 1).expand(-1, 3, -1, 8, -1, 8).reshape(6, 3, 32, 16)
    text = model.clip.text_tokens(batch["text"])
    with torch.no_grad():
        a, b = (
            model.mim.predict(model.clip, torch.where(hidden, fill, batch["image"]), mask, text, None)
            for fill in (0.1, 0.9)
        )
        c = model.mim.predict(model.clip, torch.where(hidden, batch["image"], 0.3), mask, text, None)
    assert torch.allclose(a, b, atol=1e-6)
    assert not torch.allclose(a, c, atol=1e-4)


def test_mae_sees_only_visible_patches_and_keeps_their_places(words):
    batch, model = make_batch(words), make(words, mim="mae")
    mask = random_mask(6, model.clip.grid, 1, 0.5, generator())
    hidden = mask.view(6, 1, 4, 1, 2, 1).expand(-1, 3, -1, 8, -1, 8).reshape(6, 3, 32, 16)
    with torch.no_grad():
        a, b = (
            model.mim.predict(model.clip, torch.where(hidden, f, batch["image"]), mask, None, None) for f in (0.1, 0.9)
        )
        seen = model.clip.image_tokens(batch["image"])
    assert torch.allclose(a, b, atol=1e-6)
    assert seen.shape[1] == 9, "the hook that drops patches must be gone"
    uneven = mask.clone()
    uneven[0] = False
    with pytest.raises(UsageError, match="equally many"):
        model.mim.predict(model.clip, batch["image"], uneven, None, None)


def test_padding_of_captions_is_read_or_not(words):
    batch, found = make_batch(words), []
    longer = {k: F.pad(v, (0, 6), value=words.pad) if "text" in k else v for k, v in batch.items()}
    for pads in (True, False):
        model = make(words, mask_pads=pads).eval()
        a, b = (model.losses(x, at())["tg-mim"].item() for x in (batch, longer))
        assert a == pytest.approx(b, rel=1e-5)
        found.append(a)
    assert found[0] != pytest.approx(found[1], rel=1e-4)


def test_attention_by_the_whole_width(words):
    texts = make_batch(words)["text"]
    model = make(words, attention_scale="width")
    assert model.mim.cross.attention.scale == pytest.approx(32**-0.5)
    assert make(words).mim.cross.attention.scale is None
    z, t = torch.randn(1, 3, 32, generator=generator()), model.clip.text_tokens(texts)[:1].detach()
    attention = model.mim.cross.attention
    w_q, w_k, w_v = attention.in_proj.weight.chunk(3)
    q, k, v = (x.unflatten(-1, (4, 8)).transpose(1, 2) for x in (z @ w_q.T, t @ w_k.T, t @ w_v.T))
    by_hand = ((q @ k.mT / 32**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    assert torch.allclose(attention(z, t), by_hand @ attention.out_proj.weight.T, atol=1e-5)


@pytest.mark.parametrize("gvfc", CHOICES["gvfc"])
def test_every_calibration(words, gvfc):
    model = make(words, mim="off", gvfc=gvfc)
    losses = model.losses(make_batch(words), at())
    name = {"off": None, "id": "id", "triplet": "triplet"}.get(gvfc, "is-gvfc")
    assert set(losses) == {"cmpm", name} - {None}
    if name:
        losses[name].backward()
        assert model.clip.model.visual_projection.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("row", ROWS)
def test_rows_of_table_6(words, row):
    losses = make(words, **ROWS[row]).losses(make_batch(words), at())
    assert ("tg-mim" in losses, "is-gvfc" in losses) == ("MIM" in row or row == "both", "GVFC" in row or row == "both")


def test_released_rates_follow_the_released_order_of_rules(words):
    model = make(words, preset="released", seed=1)
    names = {id(p): n for n, p in model.named_parameters()}
    rate = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in model.param_groups() for p in g["params"]}
    assert rate["mim.cross.attention.in_proj.weight"] == (5.0, 4e-5)
    assert rate["mim.cross.attention.in_proj.bias"] == (2.0, 0.0)
    assert rate["mim.cross.blocks.0.norm1.weight"] == (5.0, 4e-5)
    for norm in ("norm_queries", "norm_keys", "norm_out"):  # these three do not have "cross" in their released names
        assert rate[f"mim.cross.{norm}.weight"] == (1.0, 4e-5)
        assert rate[f"mim.cross.{norm}.bias"] == (2.0, 0.0)
    assert rate["id_head.classifier.bias"] == (5.0, 0.0)
    assert rate["mim.mask_token"] == rate["mim.head.conv.weight"] == (1.0, 4e-5)
    assert rate["mim.head.conv.bias"] == (2.0, 0.0)
    assert "clip.model.logit_scale" not in rate


def test_average_distance_slow_loop():
    images, predicted = (torch.rand(2, 3, 6, 4, generator=generator(s)) for s in (0, 1))
    mask = torch.tensor([[True, True, False, True, True, False], [False, True, True, True, True, True]])
    values = []
    for b in range(2):
        lost = [(y, x) for y in range(6) for x in range(4) if mask[b, y // 2 * 2 + x // 2]]
        seen = [(y, x) for y in range(6) for x in range(4) if (y, x) not in lost]
        for y, x in lost:
            near = min(math.dist((y, x), s) for s in seen)
            first = min((s for s in seen if math.dist((y, x), s) == near), key=lambda s: s[0] // 2 * 2 + s[1] // 2)
            values += (predicted[b, :, y, x] - images[b, :, first[0], first[1]]).abs().tolist()
    assert average_distance(predicted, images, mask, 2) == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_silhouette_slow_loop():
    x = F.normalize(I.double(), dim=1)
    scores = []
    for i in range(6):
        own = [float((x[i] - x[j]).norm()) for j in range(6) if j != i and PID[j] == PID[i]]
        if not own:
            scores.append(0.0)
            continue
        others = [
            np.mean([float((x[i] - x[j]).norm()) for j in range(6) if PID[j] == p]) for p in range(4) if p != PID[i]
        ]
        a, b = np.mean(own), min(others)
        scores.append((b - a) / max(a, b))
    assert silhouette(I, PID) == pytest.approx(np.mean(scores), rel=1e-9)
    assert silhouette([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 0, 1, 1]) == 1.0
    with pytest.raises(UsageError):
        silhouette(I, torch.zeros(6))


def test_masks_follow_the_generator_of_the_step(words):
    model = make(words).eval()
    batch = make_batch(words)
    a, b = (model.losses(batch, Progress(0, 0, 10, generator(s)))["tg-mim"].item() for s in (0, 0))
    c = model.losses(batch, Progress(0, 0, 10, generator(1)))["tg-mim"].item()
    assert a == b != c


def test_unknown_choice_and_unfitting_unit(words):
    with pytest.raises(UsageError, match="did you mean 'text'"):
        make(words, mim="texts")
    with pytest.raises(UsageError, match="not a multiple"):
        make(words, mask_unit=12).losses(make_batch(words), at())


@pytest.mark.parametrize("mim", ["text", "simmim", "mae"])
def test_masked_image_modelling_learns_to_predict(words, mim):
    torch.manual_seed(0)
    clip = toy_clip(words)
    config = replace(PRESETS["recommended"], **SMALL, mim=mim)
    model = MaskedImageModelling(clip, config)
    images = torch.rand(4, 3, 1, 1, generator=generator()).expand(-1, -1, 32, 16)  # one colour each: predictable
    text = torch.randn(4, 8, clip.dim, generator=generator())
    optimiser = torch.optim.Adam([*clip.parameters(), *model.parameters()], lr=2e-3)
    errors = []
    for step in range(60):
        mask = random_mask(4, clip.grid, 1, 0.5, generator(step))
        loss = model(clip, images, mask, text, None)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert np.mean(errors[-5:]) < 0.4 * errors[0]


def test_it_learns_the_toy(toy, words, tmp_path):
    from descry.training.loop import Settings, train

    torch.manual_seed(0)
    config = quick(replace(PRESETS["recommended"], **SMALL), epochs=12, batch_size=16, eps=1e-8, augment="none")
    model = VfeTps(toy_clip(words), words, config, toy.identities)
    metrics = train(model, "vfe_tps", "recommended", toy, tmp_path / "run", Settings(threads=1))
    assert max(metrics["selection_scores"]) > 3 * 100 / 16


def one_pair(cosine, others=0.45, count=20):
    """(count, D) unit rows: the first two are one person at this cosine, all other pairs lie at `others`."""
    gram = torch.full((count, count), others, dtype=torch.float64).fill_diagonal_(1.0)
    gram[0, 1] = gram[1, 0] = cosine
    return torch.linalg.cholesky(gram), torch.tensor([0, 0, *range(1, count - 1)])


def pull(cosine, **changes):
    """Of one step against the gradient of the recommended calibration: its share of the pair's similarity, > 0 where
    the two photographs come closer."""
    config = replace(PRESETS["recommended"], **changes)
    features, pids = one_pair(cosine)
    features.requires_grad_()
    temperature = config.gvfc_temperature or config.temperature
    calibration(features, pids, temperature, config.epsilon, config.self_pairs).backward()
    a, b = features.detach()[:2]
    return float(-(features.grad[0] @ b + features.grad[1] @ a))


@pytest.mark.parametrize("cosine", [0.5, 0.6, 0.7, 0.8])
def test_photographs_of_one_person_are_drawn_together(cosine):
    """As printed (self-pairs) with τ = 0.02, there is nearly no gradient; with pairs of two photographs there is."""
    assert pull(cosine) > 0.1
    assert abs(pull(cosine, self_pairs=True, gvfc_temperature=0.0)) < 0.01


def test_a_row_without_a_partner_counts_only_where_pairs_are_with_itself():
    features, pids = one_pair(0.6)
    alone = torch.arange(len(pids))
    assert float(calibration(features, alone, 0.1, self_pairs=False)) == 0.0
    x, total = (features / features.norm(dim=1, keepdim=True)).numpy(), 0.0
    for i in (0, 1):
        e = {k: math.exp(x[i] @ x[k] / 0.1) for k in range(len(pids)) if k != i}
        for j in e:
            p = e[j] / sum(e.values())
            total += p * (math.log(p) - math.log(float(pids[i] == pids[j]) + 1e-8)) / 2
    assert float(calibration(features, pids, 0.1, self_pairs=False)) == pytest.approx(total, rel=1e-6)


def test_the_paper_samples_at_random():
    rows = sample_images(torch.arange(10).repeat_interleave(2), 4, generator(1), partners_first=False)
    assert torch.equal(rows, torch.randperm(20, generator=generator(1))[:4])
    assert (PRESETS["paper"].gvfc, PRESETS["paper"].self_pairs, PRESETS["paper"].recipe.sampler) == (
        "sampled", True, "random",
    )  # fmt: skip
    assert (PRESETS["recommended"].self_pairs, PRESETS["recommended"].recipe.sampler) == (False, "pairs")


def test_squares_fit_the_pictures_size():
    """mask_unit 0: two patches where they fill the grid, else one."""
    for size, patch, hidden in (((384, 128), 16, 116), ((96, 48), 16, 11)):  # 24 × 8 patches; 6 × 3
        with torch.device("meta"):
            clip = random_clip(size, patch, 32, 32, 1, 32, 1, 40, 20, 39, 3)
            model = VfeTps(clip, None, PRESETS["recommended"], 0)
        assert model._mask(2, generator()).sum(dim=1).tolist() == [hidden] * 2

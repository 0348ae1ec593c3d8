"""A row's losses do not depend on its neighbours: not on how long their captions are, so not on the padding."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from conftest import toy_clip
from descry.methods import Progress, baselines, method_class, preset

CASES = {
    "propot": ("propot", "recommended", {"prototypes": False, "dpp": False, "ipp_intra": False, "ipp_inter": False}),
    "IRRA": ("baseline", "released", baselines.ROWS["IRRA (SDM + ID + MLM)"]),
    "vfe_tps": ("vfe_tps", "recommended", {"mask_unit": 8}),
    "vfe_tps, padding read": ("vfe_tps", "paper", {"mask_unit": 8}),
}
SHORT, OTHER, LONG = "a red top", "a blue top", "a white top and green trousers and a hat jacket backpack"


def made(words, case):
    name, which, changes = CASES[case]
    torch.manual_seed(0)
    clip = toy_clip(words)
    return method_class(name)(clip, words, replace(preset(name, which), heads=4, **changes), 2).eval()


def loss(model, words, *captions, pads=0):
    """The loss of the first row alone that reads captions and photographs together: only it lost words and patches."""
    ids = F.pad(words.ids(captions), (0, pads), value=words.pad)
    masked, labels = ids.clone(), torch.zeros_like(ids)
    masked[0, 2], labels[0, 2] = words.mask, ids[0, 2]
    patches = torch.zeros(len(ids), 8, dtype=torch.bool)
    patches[0, :4] = True
    images = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(3)).expand(len(ids), -1, -1, -1)
    batch = {"image": images, "pid": torch.arange(len(ids)), "text": ids, "masked_text": masked}
    batch |= {"token_labels": labels, "patch_mask": patches}
    with torch.no_grad():
        found = model.losses(batch, Progress(0, 0, 10, torch.Generator().manual_seed(0)))
    return float(found["tg-mim" if "tg-mim" in found else "mlm"])


@pytest.mark.parametrize("case", CASES)
def test_padding_and_longer_neighbours_leave_a_rows_loss_as_it_is(case, words):
    model = made(words, case)
    alone = loss(model, words, SHORT)
    assert loss(model, words, SHORT, pads=10) == pytest.approx(alone, rel=1e-5)
    assert loss(model, words, SHORT, OTHER) == pytest.approx(alone, rel=1e-5)
    assert loss(model, words, SHORT, LONG) == pytest.approx(alone, rel=1e-5)
    assert loss(model, words, LONG) != pytest.approx(alone, rel=1e-4)


def test_where_padding_is_read_it_is_that_of_the_whole_length(words):
    """VFE-TPS as printed: captions are zero-padded to 77 tokens and nothing hides the padding."""
    read, hidden = made(words, "vfe_tps, padding read"), made(words, "vfe_tps, padding read")
    hidden.config = replace(hidden.config, mask_pads=True)
    assert loss(read, words, SHORT) != pytest.approx(loss(hidden, words, SHORT), rel=1e-4)
    seen = []
    read.mim.cross.attention.register_forward_pre_hook(lambda module, args: seen.append(args[1].shape[1]))
    loss(read, words, SHORT)
    assert seen == [words.length]

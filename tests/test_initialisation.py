"""What random weights begin with: whitened patches and waves for positions."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from descry.clip import random_clip
from descry.records import Example
from descry.training.start import initialise_image_encoder, waves, whiten


def _smooth(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    small = torch.randn(count, 3, 4, 2, generator=generator)
    return nn.functional.interpolate(small, size=(32, 16), mode="bilinear") + 1.5


def test_patches_come_out_uncorrelated_with_variance_one_and_the_mean_is_returned():
    conv = nn.Conv2d(3, 12, 8, 8, bias=False)
    pixels = _smooth(400)
    mean = whiten(conv, pixels, floor=0.0)
    out = conv(pixels).flatten(2).transpose(1, 2).reshape(-1, 12) - mean
    covariance = out.T @ out / len(out)
    assert torch.allclose(out.mean(0), torch.zeros(12), atol=1e-3)
    assert torch.allclose(covariance, torch.eye(12), atol=2e-2)


def test_a_wider_network_than_the_patch_has_directions_is_filled():
    conv = nn.Conv2d(3, 20, 2, 2, bias=False)
    mean = whiten(conv, _smooth(50))
    assert conv.weight.flatten(1).norm(dim=1).min() > 0
    assert mean.shape == (20,)


def test_positions_differ_by_row_and_by_column():
    table = waves(8, 4, 64)
    assert table.shape == (32, 64)
    assert abs(float(table.std()) - 1) < 0.05
    distance = torch.cdist(table, table) + 10 * torch.eye(32)
    assert distance.min() > 0.1
    assert waves(8, 4, 66).shape == (32, 66)


def test_an_encoder_tells_pictures_apart_from_the_first_step(tmp_path):
    rows = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        Image.fromarray((_smooth(12)[number].clamp(-1, 2).add(1).mul(80)).byte().permute(1, 2, 0).numpy()).save(path)
        rows.append(Example((str(path),), number, number))
    plain, begun = random_clip(), random_clip()
    initialise_image_encoder(begun, rows)
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(r.images[0]))).permute(2, 0, 1) for r in rows]) / 255

    def spread(clip):
        with torch.no_grad():
            features = nn.functional.normalize(clip.image_features(pixels), dim=-1)
        return float(1 - (features @ features.T).mean())

    assert spread(begun) > 2 * spread(plain)


def test_without_a_picture_nothing_changes():
    clip = random_clip()
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    initialise_image_encoder(clip, [])
    assert all(torch.equal(v, before[k]) for k, v in clip.state_dict().items())

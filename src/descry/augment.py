"""Image augmentation of the three papers: small functions on a batch of images in [0, 1], each with its own draw per
image.

All take (B, 3, H, W) and a generator, and return a new batch; none writes into its input. Values are the papers' and
the released codes'. Where erasing after normalisation fills with the mean's value, the same fill before it is mean ·
(1 + std).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from .clip import CLIP_MEAN, CLIP_STD
from .errors import UsageError, nearest

Augmentation = Callable[[Tensor, Generator], Tensor]
ERASED = tuple(m * (1 + s) for m, s in zip(CLIP_MEAN, CLIP_STD, strict=True))  # 0.6108, 0.5775, 0.5208


def _draw(images: Tensor, g: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    return (torch.rand(len(images), generator=g, device=g.device) * (high - low) + low).to(images)


def flip(images: Tensor, g: Generator, share: float = 0.5) -> Tensor:
    """Mirror left and right with this probability."""
    return torch.where((_draw(images, g) < share).view(-1, 1, 1, 1), images.flip(3), images)


def pad_crop(images: Tensor, g: Generator, pad: int = 10) -> Tensor:
    """Pad with black on all sides, then cut the old size out at a random place (whole pixels)."""
    _, _, height, width = images.shape
    padded = F.pad(images, (pad, pad, pad, pad))
    tops = torch.randint(0, 2 * pad + 1, (len(images), 1), generator=g, device=g.device).to(images.device)
    lefts = torch.randint(0, 2 * pad + 1, (len(images), 1), generator=g, device=g.device).to(images.device)
    rows = (tops + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (lefts + torch.arange(width, device=images.device))[:, None, None, :]
    picture = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
    return padded[picture, torch.arange(3, device=images.device).view(1, -1, 1, 1), rows, columns]


def erase(
    images: Tensor,
    g: Generator,
    share: float = 0.5,
    scale: tuple[float, float] = (0.02, 0.4),
    fill: Sequence[float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Fill a random rectangle of this share of the area (sides' ratio 0.3 to 3.3), with this probability.

    A rectangle that does not fit into the picture is drawn again, up to ten times; then nothing is erased. This is the
    rule of torchvision's RandomErasing, which the released codes use.
    """
    top, left, tall, wide = _rectangles(images.shape[2], images.shape[3], len(images), g, scale)
    chosen = torch.rand(len(images), generator=g, device=g.device) < share
    tall = torch.where(chosen, tall, 0)
    top, left, tall, wide = (x.to(images.device).view(-1, 1, 1) for x in (top, left, tall, wide))
    rows = torch.arange(images.shape[2], device=images.device).view(1, -1, 1)
    columns = torch.arange(images.shape[3], device=images.device).view(1, 1, -1)
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    return torch.where(inside[:, None], images.new_tensor(fill).view(1, 3, 1, 1), images)


def _rectangles(
    height: int, width: int, count: int, g: Generator, scale: tuple[float, float], tries: int = 10
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(count,) top, left, height and width of rectangles; height 0 where no draw fitted."""
    area, ratio, down, right = (torch.rand(tries, count, generator=g, device=g.device) for _ in range(4))
    area = (scale[0] + (scale[1] - scale[0]) * area) * height * width
    ratio = torch.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * ratio)
    tall, wide = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=0, keepdim=True)
    tall, wide, down, right, fits = (x.gather(0, first)[0] for x in (tall, wide, down, right, fits))
    top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
    return top, left, torch.where(fits, tall, 0), wide


def jitter(images: Tensor, g: Generator, amount: float = 0.1) -> Tensor:
    """Brightness, contrast and saturation, each by a factor of 1 ± amount."""
    brightness, contrast, saturation = (_draw(images, g, 1 - amount, 1 + amount).view(-1, 1, 1, 1) for _ in range(3))
    images = (images * brightness).clamp(0, 1)
    middle = grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = torch.lerp(middle.expand_as(images), images, contrast).clamp(0, 1)
    return torch.lerp(grey(images).expand_as(images), images, saturation).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, 1, H, W) luma (ITU-R 601)."""
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def grayscale(images: Tensor, g: Generator, share: float = 0.1) -> Tensor:
    """Without colour, with this probability."""
    return torch.where((_draw(images, g) < share).view(-1, 1, 1, 1), grey(images).expand_as(images), images)


def rotate(images: Tensor, g: Generator, degrees: float = 15.0) -> Tensor:
    """Turn about the centre by up to ± degrees; corners become black."""
    angle = _draw(images, g, -degrees, degrees) * math.pi / 180
    height, width = images.shape[2:]
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [torch.stack([c, -s * height / width, zero], 1), torch.stack([s * width / height, c, zero], 1)]
    return _sample(images, torch.stack(rows, 1))


def resized_crop(images: Tensor, g: Generator, scale: tuple[float, float] = (0.9, 1.0)) -> Tensor:
    """A part of this share of the area (sides' ratio changed by 3/4 to 4/3 as far as it fits), brought back to the
    full size.
    """
    area = _draw(images, g, *scale)
    ratio = torch.exp(_draw(images, g, math.log(3 / 4), math.log(4 / 3)))
    wide = torch.sqrt(area * ratio).clamp(max=1)
    tall = torch.sqrt(area / ratio).clamp(max=1)
    x, y = (1 - wide) * _draw(images, g, -1, 1), (1 - tall) * _draw(images, g, -1, 1)
    zero = torch.zeros_like(x)
    return _sample(images, torch.stack([torch.stack([wide, zero, x], 1), torch.stack([zero, tall, y], 1)], 1), "border")


def two_of_six(images: Tensor, g: Generator) -> Tensor:
    """The released InteractReID's choice: two draws, with replacement, from six augmentations, for each image by
    itself.
    """
    six: list[Augmentation] = [
        jitter,
        rotate,
        resized_crop,
        grayscale,
        flip,
        lambda x, g: erase(x, g, scale=(0.10, 0.20)),
    ]
    images = images.clone()
    for _ in range(2):
        choice = torch.randint(0, 6, (len(images),), generator=g, device=g.device)
        for k, change in enumerate(six):
            rows = (choice == k).nonzero()[:, 0].to(images.device)  # found on the generator's device: no waiting
            if len(rows):
                images[rows] = change(images[rows], g)
    return images


def irra(images: Tensor, g: Generator, erasing: bool = True) -> Tensor:
    """Flip, random crop with padding of 10, erasing with CLIP's mean · (1 + std): IRRA's, VFE-TPS's and Propot's."""
    images = pad_crop(flip(images, g), g, pad=10)
    return erase(images, g, fill=ERASED) if erasing else images


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": lambda images, g: images,
    "flip": flip,
    "two-of-six": two_of_six,
    "flip-crop": lambda images, g: irra(images, g, erasing=False),
    "flip-crop-erase": irra,
}


def augmentation(name: str) -> Augmentation:
    """An augmentation by name; UsageError with the nearest known name."""
    if name not in AUGMENTATIONS:
        raise UsageError(f"there is no augmentation {name!r}; {nearest(name, list(AUGMENTATIONS))}")
    return AUGMENTATIONS[name]


def _sample(images: Tensor, matrices: Tensor, outside: str = "zeros") -> Tensor:
    field = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, field, mode="bilinear", padding_mode=outside, align_corners=False)

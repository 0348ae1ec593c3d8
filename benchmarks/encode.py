"""The image encoder by every route of this machine, against the transformers library's eager float32, in one run.

    pip install -e '.[fast]' && python benchmarks/encode.py [--size 384 128] [--routes bf16 openvino] [--markdown]

ViT-B/16 with random weights: speed does not depend on them; agreement on random weights and noise is no evidence about
real ones. The hardware bound is the best rate of a large matrix product in the same precision, measured here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry import encoders
from descry.clip import random_clip
from descry.embed import Model
from descry.errors import DescryError
from descry.methods import method_class, preset
from descry.text import word_level


def vit_b16(size: tuple[int, int]) -> Model:
    """ViT-B/16 of CLIP's shape with random weights and a small text side."""
    words = word_level(["a person with a red jacket * , and"])
    clip = random_clip(size, 16, 512, 768, 12, 64, 1, len(words), 77, words.end, words.placeholder, seed=0)
    method = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0).eval()
    return Model(method, {"fingerprint": "0" * 64}, "ViT-B/16, random", device="cpu")


def operations(model: Model) -> float:
    """Multiplications and additions for one picture, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.method.encode_image(torch.rand(1, 3, *model.image_size))
    return float(counter.get_total_flops())


def bound(kind: torch.dtype) -> float:
    """Operations per second of a large matrix product: what a perfect encoder could reach.

    In float32 the best of PyTorch's, NumPy's and, where it is there, ONNX Runtime's product: on some processors they
    differ by a factor of three.
    """
    a, b = torch.randn(4096, 768).to(kind), torch.randn(768, 3072).to(kind)
    products: list[Callable[[], object]] = [lambda: torch.mm(a, b)]
    if kind == torch.float32:
        products.append(lambda: a.numpy() @ b.numpy())
        if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
            products.append(by_onnx(a.numpy(), b.numpy()))
    times = []
    for product in [p for p in products for _ in range(12)]:
        begin = time.perf_counter()
        product()
        times.append(time.perf_counter() - begin)
    return 2 * 4096 * 768 * 3072 / min(times)


def by_onnx(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    """The product of two matrices by ONNX Runtime; the second is a weight, as in an encoder."""
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime import InferenceSession

    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("a", "c")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        sides[:1],
        sides[1:],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})


def rate(encoder: encoders.Encoder, pixels: np.ndarray, repeat: int) -> dict[str, float]:
    """Pictures per second: median, best and worst of repeated batches."""
    encoder(pixels)
    found = []
    for _ in range(repeat):
        begin = time.perf_counter()
        encoder(pixels)
        found.append(len(pixels) / (time.perf_counter() - begin))
    return {"median": float(np.median(found)), "best": max(found), "worst": min(found)}


def ranking_agreement(rows: np.ndarray, reference: np.ndarray, k: int = 10) -> float:
    """Share of each picture's k nearest (of the batch) that are the same with both encoders."""
    k = min(k, len(rows) - 1)
    mine, theirs = (np.argsort(-(r @ r.T), axis=1)[:, 1 : k + 1] for r in (rows, reference))
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(mine, theirs, strict=True)]))


def eager(model: Model) -> encoders.Encoder:
    """What a script with the transformers library does: float32, no more."""
    from transformers import CLIPConfig, CLIPModel

    clip = model.clip
    theirs: Any = CLIPModel(CLIPConfig.from_dict(clip.spec.config)).eval()
    embeddings = theirs.vision_model.embeddings
    embeddings.position_embedding = torch.nn.Embedding(1 + clip.grid[0] * clip.grid[1], clip.image_width)
    embeddings.position_ids = None
    embeddings.interpolate_pos_encoding = lambda embedded, height, width: embeddings.position_embedding.weight[None]
    theirs.load_state_dict(clip.model.state_dict())
    theirs.set_attn_implementation("eager")
    vision, projection = theirs.vision_model, theirs.visual_projection

    def encode(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            states = vision(model.clip.normalise(torch.from_numpy(pixels).float() / 255), interpolate_pos_encoding=True)
            return torch.nn.functional.normalize(projection(states.pooler_output), dim=1).numpy()

    return encode


def measure(size: tuple[int, int], names: list[str], repeat: int, batch: int) -> dict[str, Any]:
    """All routes at one size."""
    model = vit_b16(size)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch, 3, *size), dtype=np.uint8)
    flops = operations(model)
    limits = {"fp32": bound(torch.float32), "bf16": bound(torch.bfloat16)}
    base = rate(eager(model), pixels, repeat)
    reference = eager(model)(pixels)
    out: dict[str, Any] = {
        "size": size,
        "batch": batch,
        "operations": flops,
        "limits": limits,
        "eager": base,
        "routes": {},
    }
    for name in names:
        try:
            begin = time.perf_counter()
            encoder = encoders.build(model, name)
            rows = encoder(pixels)
            ready = time.perf_counter() - begin
        except DescryError as error:
            print(f"{name}: {error}")
            continue
        found = rate(encoder, pixels, repeat)
        limit = limits["fp32" if name in ("torch", "onnx") else "bf16"]
        out["routes"][name] = {
            "rate": found,
            "over_eager": found["median"] / base["median"],
            "share_of_bound": found["median"] * flops / limit,
            "least_cosine": float((rows * reference).sum(axis=1).min()),
            "ranking_agreement": ranking_agreement(rows, reference),
            "ready_s": ready,
        }
    return out


def table(results: list[dict[str, Any]]) -> str:
    """The same numbers for people."""
    lines = []
    for r in results:
        rates, limits = r["eager"], r["limits"]
        spread = "({worst:.1f}–{best:.1f})".format(**rates)
        share = rates["median"] * r["operations"] / limits["fp32"]
        names = f"{'pictures/s':>11}{'(worst–best)':>16}{'× eager':>9}{'of bound':>10}"
        names += f"{'cosine':>10}{'ranking':>9}{'ready':>8}"
        lines += [
            f"\n{r['size'][0]}×{r['size'][1]}, batch {r['batch']}: {r['operations'] / 1e9:.1f} G operations a picture; "
            f"matrix products reach {limits['fp32'] / 1e9:.0f} G/s in fp32, {limits['bf16'] / 1e9:.0f} in bf16",
            f"{'':<24}{names}",
            f"{'transformers eager fp32':<24}{rates['median']:>11.1f}{spread:>16}{1:>9.2f}{share:>10.0%}",
        ]
        for name, row in r["routes"].items():
            spread = "({worst:.1f}–{best:.1f})".format(**row["rate"])
            lines.append(
                f"{name:<24}{row['rate']['median']:>11.1f}{spread:>16}{row['over_eager']:>9.2f}{row['share_of_bound']:>10.0%}"
                f"{row['least_cosine']:>10.5f}{row['ranking_agreement']:>9.2f}{row['ready_s']:>7.1f}s"
            )
    return "\n".join(lines)


def markdown(results: list[dict[str, Any]]) -> str:
    """The table of docs/gallery.md."""
    lines = []
    for r in results:
        height, width = r["size"]
        lines += [
            f"\nViT-B/16, {height}×{width}, batches of {r['batch']}:\n",
            "| route | pictures/s | × eager fp32 | of the bound | least cosine to fp32 | ranking agreement |",
            "|---|---|---|---|---|---|",
            f"| transformers eager fp32 | {r['eager']['median']:.1f} | 1.00 | "
            f"{r['eager']['median'] * r['operations'] / r['limits']['fp32']:.0%} | – | – |",
        ]
        for name, row in r["routes"].items():
            lines.append(
                f"| {name} | {row['rate']['median']:.1f} | {row['over_eager']:.2f} | {row['share_of_bound']:.0%} | "
                f"{row['least_cosine']:.5f} | {row['ranking_agreement']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, action="append")
    parser.add_argument("--routes", nargs="+", default=list(encoders.ROUTES))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [tuple(s) for s in args.size or [(224, 224), (384, 128)]]
    results = [measure(size, args.routes, args.repeat, args.batch) for size in sizes]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print(markdown(results) if args.markdown else table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

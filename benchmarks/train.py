"""Our training step beside a plain PyTorch step of each paper's released structure: same weights, batch and precision.

The plain steps are written here, in the released codes' order: photographs and sketches pass the encoder one after the
other, its last layer computes every token, texts have their full 77 tokens, "stopped" features and masked words take
passes of their own, losses are read each step, and the optimiser is torch's default. Both sides use the same encoder
modules and the same released presets without dropout, so the first losses must be equal and the ratio is that of the
step's structure alone; against the released repositories themselves nothing is measured here.

    python benchmarks/train.py                          a small CLIP on a processor, seconds
    python benchmarks/train.py --full --batch 64 --precision bf16 --device cuda --steps 20 --out train.json

Printed for each method: seconds a step of both (median), their ratio, the largest difference of a first loss, and where
the time of ours goes: loading, encoding, the rest of the losses, backward, optimiser.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from descry.clip import random_clip
from descry.methods import Progress, method_class, preset
from descry.text import word_level
from descry.training.batches import Batches
from descry.training.optimisers import optimiser_of
from descry_people.folder import write_people
from descry_people.read import read_people

Losses = dict[str, Tensor]


def kl(p_logits: Tensor, q: Tensor, epsilon: float) -> Tensor:
    """KL(softmax(p) ‖ q + ε), as the released codes write it."""
    p = F.softmax(p_logits, dim=1)
    return (p * (F.log_softmax(p_logits, dim=1) - torch.log(q + epsilon))).sum(dim=1).mean()


def shared(pids: Tensor) -> Tensor:
    """(B, B) labels of identity, each row divided by its sum."""
    same = (pids[:, None] == pids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """(B, B) cosine similarities in 32 bits."""
    with torch.autocast(a.device.type, enabled=False):
        return F.normalize(a.float(), dim=1) @ F.normalize(b.float(), dim=1).t()


def matching(v: Tensor, t: Tensor, pids: Tensor, tau: float) -> Tensor:
    """SDM, both directions."""
    q, logits = shared(pids), cosines(v, t) / tau
    return kl(logits, q, 1e-8) + kl(logits.t(), q, 1e-8)


def at_end(model: Any, tokens: Tensor, ids: Tensor) -> Tensor:
    """The tokens at the end of each text, where the highest id stands."""
    return tokens[torch.arange(len(ids), device=ids.device), (ids == model.words.end).int().argmax(dim=1)]


def image_feature(clip: Any, images: Tensor) -> Tensor:
    """The class token behind all layers, as released: the last layer computes every token."""
    value: Tensor = clip.model.visual_projection(
        clip.model.vision_model.post_layernorm(clip.model.vision_model(clip.normalise(images))[:, 0])
    )
    return value


def text_feature(clip: Any, ids: Tensor, word: Tensor | None = None) -> Tensor:
    """The end of a text behind all layers, as released."""
    states = clip._text_states(ids, word)
    value: Tensor = clip.model.text_projection(states[torch.arange(len(ids), device=ids.device), clip.text_end(ids)])
    return value


def irra(model: Any, batch: dict[str, Tensor], at: Progress) -> Losses:
    """IRRA: one pass of photographs, one of captions, one of captions with masked words."""
    clip, c = model.clip, model.config
    ids, masked = model.words.padded(batch["masked_text"]), model.words.padded(batch["masked_text"])
    image = clip.image_tokens(batch["image"])
    v, t = image[:, 0], at_end(model, clip.text_tokens(ids), ids)
    out = {"sdm": matching(v, t, batch["pid"], c.temperature)}
    out["id"] = model.id_head(batch["pid"], v, t)
    labels = F.pad(batch["token_labels"], (0, ids.shape[1] - batch["token_labels"].shape[1]))
    out["mlm"] = model.word_head(clip.text_tokens(masked), image, labels, clip.text_pads(masked))
    return out


def adaptation(model: Any, batch: dict[str, Tensor], at: Progress) -> Losses:
    """InteractReID, stage 1: photographs, sketches and captions one after the other, then "stopped" ones again."""
    clip, c, pids = model.clip, model.config, batch["pid"]
    clip.hold_temperature()
    tau, ids = model.temperature(), model.words.padded(batch["text"])
    i, s, t = image_feature(clip, batch["image"]), image_feature(clip, batch["sketch"]), text_feature(clip, ids)
    with torch.no_grad():
        i_stop, s_stop = image_feature(clip, batch["image"]), image_feature(clip, batch["sketch"])
        t_stop = text_feature(clip, ids)
    alpha = c.alpha * min(1.0, at.step / at.steps_per_epoch) if at.epoch == 0 else c.alpha
    hard = shared(pids)

    def itc(a: Tensor, b: Tensor, a_stop: Tensor, b_stop: Tensor) -> Tensor:
        logits, soft = cosines(a, b) / tau, cosines(a_stop, b_stop) / tau
        one, two = (alpha * F.softmax(x, dim=1) + (1 - alpha) * hard for x in (soft.detach(), soft.t().detach()))
        return (
            -(one * F.log_softmax(logits, 1)).sum(1).mean() - (two * F.log_softmax(logits.t(), 1)).sum(1).mean()
        ) / 2

    logits = cosines(i, t) / tau
    reverse = (kl(logits, hard, c.reverse_epsilon) + kl(logits.t(), hard, c.reverse_epsilon)) / 2
    return {"image-text": itc(i, t, i_stop, t_stop), "image-sketch": itc(i, s, i_stop, s_stop), "r-itc": reverse}


def inversion(model: Any, batch: dict[str, Tensor], at: Progress) -> Losses:
    """InteractReID, stage 2: photographs and sketches one after the other, prompts of 77 tokens."""
    clip = model.clip
    tau, many = torch.as_tensor(model.temperature()).detach(), len(batch["pid"])
    i, s = image_feature(clip, batch["image"]), image_feature(clip, batch["sketch"])
    ids = model.words.padded(model.words.ids([model.config.prompt] * many)).to(s.device)
    st, own = text_feature(clip, ids, model.mapping(s)), torch.arange(many, device=s.device)

    def nce(a: Tensor, b: Tensor) -> Tensor:
        logits = cosines(a, b) / tau
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2

    return {"scc": nce(s, st), "align": nce(i, st)}


def vfe_tps(model: Any, batch: dict[str, Tensor], at: Progress) -> Losses:
    """VFE-TPS: photographs, captions of 77 tokens, and photographs with hidden patches."""
    clip, c = model.clip, model.config
    ids = model.words.padded(batch["masked_text"])
    image, text = clip.image_tokens(batch["image"]), clip.text_tokens(ids)
    v, t = image[:, 0], at_end(model, text, ids)
    drawn = clip.image_tokens(batch["image"], mask=batch["patch_mask"], mask_token=model.mim.mask_token)
    z = model.mim.head(model.mim.cross(drawn, drawn)[:, 1:])
    side = batch["image"].shape[2:]
    high, wide = side[0] // clip.patch, side[1] // clip.patch
    hidden = batch["patch_mask"].view(-1, 1, high, wide).float()
    hidden = hidden.repeat_interleave(clip.patch, 2).repeat_interleave(clip.patch, 3)
    away = (F.l1_loss(z, clip.normalise(batch["image"]), reduction="none") * hidden).sum()
    return {
        "cmpm": matching(v, t, batch["pid"], c.temperature),
        "mim": c.mim_weight * away / (3 * hidden.sum() + 1e-5),
        "id": c.gvfc_weight * model.id_head(batch["pid"], v),
    }


@dataclass(frozen=True)
class Case:
    """A method as released, without dropout, and its plain losses."""

    method: str
    plain: Callable[[Any, dict[str, Tensor], Progress], Losses]
    stage: int = 1
    changes: dict[str, Any] = field(default_factory=dict)


STILL = {"text_dropout": 0.0, "mapping_dropout": 0.0}
CASES = {
    "IRRA (SDM + ID + MLM)": Case("baseline", irra),
    "InteractReID, stage 1": Case("interactreid", adaptation, 1, STILL),
    "InteractReID, stage 2": Case("interactreid", inversion, 2, STILL),
    "VFE-TPS": Case("vfe_tps", vfe_tps),
}


class Clock:
    """Seconds by what they were spent on; on a GPU each reading waits for the device. cpu: of the processor, which
    others who use the machine do not lengthen."""

    def __init__(self, device: torch.device, cpu: bool = False):
        self.device, self.spent, self.cpu = device, dict[str, float](), cpu
        self.at = self.now()

    def now(self) -> float:
        """The time when all that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if self.cpu else time.perf_counter()

    def note(self, what: str) -> float:
        """Book the time since the last note."""
        now = self.now()
        passed, self.at = now - self.at, now
        self.spent[what] = self.spent.get(what, 0.0) + passed
        return passed


def timed_encoders(clip: Any, clock: Clock, spent: list[float]) -> None:
    """Let the encoders of a Clip book their seconds."""
    for name in ("image_features", "image_tokens", "text_features", "text_tokens"):
        encode = getattr(clip, name)

        def timed(*given: Any, encode: Any = encode, **named: Any) -> Tensor:
            begun = clock.now()
            out: Tensor = encode(*given, **named)
            spent[-1] += clock.now() - begun
            return out

        setattr(clip, name, timed)


def measure(name: str, args: argparse.Namespace, data: Any) -> dict[str, Any]:
    """Both steps of one method on the same batches; ours first and plain first in turn."""
    case, device = CASES[name], torch.device(args.device)
    config = preset(case.method, "released")
    size = config.image_size if args.full else (96, 48)
    changes = {"image_size": size} | case.changes
    if not args.full:
        narrow = {"heads": 4, "mapping_hidden": 64, "mask_unit": 12}
        changes |= {k: v for k, v in narrow.items() if hasattr(config, k)}
    config = replace(config, **changes).with_stage(case.stage)
    config = config.with_recipe(replace(config.recipe, batch_size=args.batch, augment="none", back_translation=0.0))
    words = word_level([*(e.caption for e in data.train), "a photo of * , and"])
    net = (16, 512, 768, 12, 512, 12) if args.full else (12, 64, 96, 3, 64, 3)
    clip = random_clip(size, *net, len(words), 77, words.end, words.placeholder, seed=0)
    torch.manual_seed(0)
    ours = method_class(case.method)(clip, words, config, data.identities).to(device).train()
    plain = copy.deepcopy(ours)
    recipe, spent = config.recipe, [0.0]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    steps = {
        "ours": (ours.losses, optimiser_of(ours, recipe, fused=True)),
        "plain": (
            lambda batch, at: case.plain(plain, batch, at),
            kinds[recipe.optimiser](plain.param_groups(), lr=recipe.lr, betas=recipe.betas, eps=recipe.eps),
        ),
    }
    clock = Clock(device, args.cpu_seconds)
    timed_encoders(ours.clip, clock, spent)
    batches = Batches(data.train, words, size, recipe, ours.needs, 0, device=device, threads=args.threads)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    losses: dict[str, list[float]] = {"ours": [], "plain": []}
    gap, parts = 0.0, dict.fromkeys(("load", "encode", "losses", "backward", "optimiser"), 0.0)
    half = {"fp32": None, "bf16": torch.bfloat16}[args.precision]
    at_most = args.steps + args.warm
    number, epoch = 0, 0
    while number < at_most:
        clock.note("")
        for batch in batches.epoch(epoch):
            loading = clock.note("load")
            if case.method == "vfe_tps":
                batch["patch_mask"] = ours._mask(len(batch["pid"]), torch.Generator().manual_seed(number)).to(device)
            first: dict[str, Losses] = {}
            for side in ("ours", "plain") if number % 2 else ("plain", "ours"):
                act, optimiser = steps[side]
                at = Progress(number, epoch, batches.steps, torch.Generator().manual_seed(number))
                spent.append(0.0)
                clock.note("")
                with torch.autocast(device.type, half, enabled=half is not None):
                    found = act(batch, at)
                    total = torch.stack([x.float() for x in found.values()]).sum()
                if side == "plain":
                    losses[side].append(
                        sum(float(x.detach()) for x in found.values())
                    )  # the released loops read each at once
                forward = clock.note("")
                optimiser.zero_grad()
                total.backward()
                backward = clock.note("")
                optimiser.step()
                stepping = clock.note("")
                if side == "ours":
                    losses[side].append(float(total.detach()))
                first[side] = {k: v.detach() for k, v in found.items()}
                if number >= args.warm:
                    seconds[side].append(forward + backward + stepping)
                    if side == "ours":
                        for key, value in zip(
                            parts, (loading, spent[-1], forward - spent[-1], backward, stepping), strict=True
                        ):
                            parts[key] += value
            if not number:
                assert first["ours"].keys() == first["plain"].keys(), (name, *first["ours"], *first["plain"])
                gap = max(abs(float(first["ours"][k] - first["plain"][k])) for k in first["ours"])
            number += 1
            clock.note("")
            if number >= at_most:
                break
        epoch += 1
    middle = {side: statistics.median(s) for side, s in seconds.items()}
    whole = sum(parts.values())
    return {
        "method": name, "ours, s": middle["ours"], "plain, s": middle["plain"],
        "ratio": middle["plain"] / middle["ours"], "first losses differ by": gap,
        "last loss": {side: found[-1] for side, found in losses.items()},
        "share of ours": {k: v / whole for k, v in parts.items()},
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """What was measured as a table of Markdown."""
    names = list(rows[0]["share of ours"])
    lines = [
        f"| method | ours, s | plain, s | plain / ours | first losses differ by | {' | '.join(names)} |",
        "|---" * (5 + len(names)) + "|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * row['share of ours'][k]:.0f} %" for k in names)
        lines.append(
            f"| {row['method']} | {row['ours, s']:.3f} | {row['plain, s']:.3f} | {row['ratio']:.2f} |"
            f" {row['first losses differ by']:.1e} | {shares} |"
        )
    return "\n".join(lines)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ViT-B/16 at the papers' sizes, from random weights")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="that are timed, of each side")
    parser.add_argument("--warm", type=int, default=2, help="steps before those")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int, default=1, help="that decode")
    parser.add_argument("--cpu-seconds", action="store_true", help="of the processor, where others use the machine too")
    parser.add_argument("--only", default="", help="only methods whose name contains this")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Draw people, measure, print."""
    args = arguments(argv)
    torch.set_float32_matmul_precision("high")
    with tempfile.TemporaryDirectory() as folder:
        many = max(2, -(-args.batch * 3 // 2))
        people = write_people(Path(folder) / "people", many, 2, 1, 1, splits={"train": many, "val": 0, "test": 0})
        data = read_people(people)
        rows = [measure(name, args, data) for name in CASES if args.only in name]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    machine = torch.cuda.get_device_name() if args.device == "cuda" else machine
    print(
        f"{table(rows)}\n\nbatch {args.batch}, {args.precision}, {machine}, torch {torch.__version__}"
        + (", processor seconds" if args.cpu_seconds else "")
    )
    if args.out:
        args.out.write_text(json.dumps({"machine": machine, "arguments": vars(args) | {"out": ""}, "rows": rows}))
    return rows


if __name__ == "__main__":
    main()

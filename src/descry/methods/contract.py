"""The contract of a method: everything that training, evaluation, the gallery and the command line ask of it.

A method is one file in its paper's order, with

* a frozen dataclass `Config(MethodConfig)`, whose fields are documented one by one,
* `PRESETS`, from the names "paper", "released" (only where code was released) and "recommended" to a Config (or
  `presets` of the class, where a file holds two methods that share all but their settings),
* a subclass of `Method`, which overrides what it needs below,

and one line in METHODS. Tests of steps, gradients, processes, optimisers and cost take every method of
that table, in the forms that it names in `forms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol, Self, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from ..adapters import ADAPTERS, TARGETS
from ..augment import AUGMENTATIONS
from ..clip import Clip
from ..errors import COUNT, MOST_FIELD, NOT_NEGATIVE, PART, POSITIVE, SHARE, Bound, UsageError, nearest
from ..text import PLACEHOLDER, Words

Batch = dict[str, Tensor]
"""The rows of one step. B rows, images H × W, captions of L tokens, P patches of an image:

image         (B, 3, H, W) in [0, 1]; always
pid           (B,) identity; always
image_id      (B,) number of the photograph
text          (B, L) token ids of the caption; where `needs` has "text" or "caption"
told          (B,) 1 where the row has a caption, else 0; where `needs` has "caption"
masked_text   (B, L) the caption with masked words, token_labels (B, L) what they were, else 0; where the recipe masks
sketch        (B, 3, H, W) in [0, 1]; where `needs` has "sketch"
patch_mask    (B, P) patches to hide; only where a caller fixes what a method would draw
"""


METHODS: dict[str, str] = {
    "zero_shot": "zero_shot:ZeroShot",
    "interactreid": "interactreid:InteractReID",
    "propot": "propot:Propot",
    "vfe_tps": "vfe_tps:VfeTps",
    "baseline": "baselines:Baseline",
    "vit_bert": "vit_bert:VitBert",
    "rde": "rde:Rde",
    "pic2word": "inversion:Pic2Word",
    "word4per": "inversion:Word4Per",
    "fafa": "fafa:Fafa",
}


def method_class(name: str) -> Any:
    """The class of a method; UsageError with the nearest known name."""
    if name not in METHODS:
        raise UsageError(f"there is no method {name!r}; {nearest(name, list(METHODS))}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(f"{__package__}.{module}"), attribute)


def check_backbone(name: str, clip: Clip) -> None:
    """Refuse an image and text encoder that a method cannot work with; UsageError names those that it takes."""
    taken = method_class(name).backbones
    if clip.kind not in taken:
        others = [m for m in METHODS if clip.kind in method_class(m).backbones]
        raise UsageError(
            f"{name} takes {' or '.join(taken)} and was given {clip.kind}; methods for {clip.kind}: {', '.join(others)}"
        )


def preset(name: str, which: str, data: str = "") -> Any:
    """The config of a method's preset: "paper", "recommended", or "released" where code was released.

    data: name of the data set; a preset that differs there stands in PRESETS as "which/data".
    """
    known = presets(name)
    plain = [key for key in known if "/" not in key]
    if which not in plain:
        why = "; its authors released no code" if which == "released" else ""
        raise UsageError(f"{name} has no preset {which!r}{why}; {nearest(which, plain)}")
    return known.get(f"{which}/{data}", known[which])


def presets(name: str) -> dict[str, Any]:
    """The presets of a method by name: those of its class, or of its file."""
    cls = method_class(name)
    found: dict[str, Any] = cls.presets or import_module(cls.__module__).PRESETS
    return found


class Progress(NamedTuple):
    """Where training stands.

    Attributes:
        step: steps done in the whole run, from 0.
        epoch: number of the epoch, from 0.
        steps_per_epoch: steps of one epoch.
        generator: of this step's random numbers, on the processor; seeded by (seed, step, process).
    """

    step: int
    epoch: int
    steps_per_epoch: int
    generator: torch.Generator


SCHEDULES = ("iteration", "epoch")
OPTIMISERS = ("adamw", "adam", "muon")
SAMPLERS = ("random", "identity", "pairs")
SELECTIONS = ("val", "last")
LONG_QUERIES = ("cut", "windows")


@dataclass(frozen=True)
class Recipe:
    """How a method is trained. Every value of a preset is the paper's or the released code's.

    Attributes:
        epochs: how often all rows are seen; 1 or more (0 only for a method that is not trained).
        batch_size: rows of a step, over all processes.
        lr: base learning rate; above 0.
        optimiser: "adamw", "adam", or "muon" (Muon for the matrices inside the layers, AdamW for the rest).
        betas: decay of the first and second moments.
        eps: added to the root of the second moment.
        weight_decay: of weights that decay; 0 for none.
        schedule: "iteration" (linear warm-up, then cosine, set before each step) or "epoch" (the same, once an epoch).
        warmup_epochs: epochs of linear warm-up.
        warmup_share: warm-up as a share of the run, in [0, 1); above 0 it is taken in the place of warmup_epochs.
        warmup_from: learning rate at the start of the warm-up.
        end_lr: learning rate at the end of the cosine.
        augment: augmentation of photographs and sketches; see `descry.augment.AUGMENTATIONS`.
        back_translation: probability that a caption is replaced by its back-translation, where it has one.
        mask_text: probability that a word is masked.
        clean_captions: lower case and no punctuation, in training.
        clean_queries: the same for every text that the trained model reads: in validation, evaluation and search.
        long_queries: a text that is longer than the encoder reads, in validation, evaluation and search: "cut" leaves
            its end out and says so, "windows" reads it in parts and takes the mean of their vectors.
        text_length: most tokens that the encoder reads, start and end included; more than it has stretches its
            positions before training (`descry.clip.longer`). 0 leaves it as it is.
        fit_sketches: crop sketches to their ink and fit them (`descry.sketching.fit_to_ink`), in training and in all
            that the trained model reads.
        drop_last: leave out the last, incomplete batch of an epoch.
        sampler: "random"; "identity" (batches of people with `instances` rows each); or "pairs" (a random order in
            which a share `paired` of each batch are rows with another photograph of the same person beside them).
        instances: rows of each person in a batch of the sampler "identity".
        paired: share of a batch that the sampler "pairs" fills with pairs, in (0, 1].
        selection: "val" (the epoch with the best R@1 on the validation split) or "last".
        clip_gradient: largest norm of the gradient; 0 for no limit.
        muon_rate: Muon's learning rate as a multiple of the base rate.
        adapter: "" trains the encoders' weights themselves, "lora" low-rank changes of them (`descry.adapters`).
        adapter_rank: r, rank of such a change.
        adapter_alpha: α; a change is scaled by α / r.
        adapter_dropout: of what enters it, in training.
        adapter_targets: last names of the linear layers that are adapted: q_proj, k_proj, v_proj and out_proj of
            attention, fc1 and fc2 behind it, or the projections.
    """

    epochs: int
    batch_size: int
    lr: float
    optimiser: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: str = "iteration"
    warmup_epochs: float = 0.0
    warmup_share: float = 0.0
    warmup_from: float = 0.0
    end_lr: float = 0.0
    augment: str = "flip"
    back_translation: float = 0.0
    mask_text: float = 0.0
    clean_captions: bool = True
    clean_queries: bool = False
    long_queries: str = "cut"
    text_length: int = 0
    fit_sketches: bool = True
    drop_last: bool = True
    sampler: str = "random"
    instances: int = 1
    paired: float = 0.5
    selection: str = "val"
    clip_gradient: float = 0.0
    muon_rate: float = 20.0
    adapter: str = ""
    adapter_rank: int = 16
    adapter_alpha: float = 32.0
    adapter_dropout: float = 0.0
    adapter_targets: tuple[str, ...] = TARGETS

    @property
    def warmup(self) -> float:
        """Epochs of linear warm-up."""
        return self.warmup_share * self.epochs if self.warmup_share else self.warmup_epochs


RECIPE_BOUNDS: dict[str, Bound] = {
    "epochs": COUNT, "batch_size": COUNT, "lr": POSITIVE, "betas": PART, "eps": POSITIVE, "weight_decay": NOT_NEGATIVE,
    "warmup_epochs": NOT_NEGATIVE, "warmup_share": PART, "warmup_from": NOT_NEGATIVE, "end_lr": NOT_NEGATIVE,
    "back_translation": SHARE, "mask_text": PART, "instances": COUNT, "paired": Bound(0, 1, above=True),
    "clip_gradient": NOT_NEGATIVE, "muon_rate": POSITIVE, "adapter_rank": COUNT, "adapter_alpha": POSITIVE,
    "adapter_dropout": PART,
}  # fmt: skip
RECIPE_CHOICES: dict[str, tuple[str, ...]] = {
    "optimiser": OPTIMISERS, "schedule": SCHEDULES, "sampler": SAMPLERS, "selection": SELECTIONS,
    "adapter": ADAPTERS, "long_queries": LONG_QUERIES,
    "augment": tuple(AUGMENTATIONS),
}  # fmt: skip


def check_fields(owner: Any, bounds: Mapping[str, Bound], choices: Mapping[str, tuple[str, ...]]) -> None:
    """Check every field of a dataclass: each is of its type, numbers are finite and within their bounds, pairs are
    pairs, and names are known.

    A number without an entry in `bounds` must not be negative. Raises UsageError for the first that cannot be.
    """
    hints = get_type_hints(type(owner))
    for field in fields(owner):
        value, hint = getattr(owner, field.name), hints[field.name]
        if field.name in choices and value not in choices[field.name]:
            raise UsageError(f"{field.name}={value!r} was given; {nearest(str(value), choices[field.name])}")
        several = get_origin(hint) is tuple
        given = value if several and isinstance(value, tuple) else (value,)
        parts = get_args(hint) if several else (hint,)
        parts = parts[:1] * len(given) if ... in parts else parts
        if len(given) != len(parts):
            raise UsageError(f"{field.name}={value!r} was given; allowed: {len(parts)} numbers")
        bound = bounds.get(field.name, NOT_NEGATIVE)
        bound = bound._replace(high=min(bound.high, MOST_FIELD))
        for number, kind in zip(given, parts, strict=True):
            if kind not in (int, float):
                if isinstance(kind, type) and kind is not Any and not isinstance(number, kind):
                    raise UsageError(f"{field.name}={str(value)[:40]!r} was given; allowed: a {kind.__name__}")
                continue
            what = "whole number" if kind is int else "number"
            if isinstance(number, bool) or not isinstance(number, (int, kind)):
                raise UsageError(f"{field.name}={value!r} was given; allowed: a {what}, {bound.told}")
            if not bound.holds(number):
                raise UsageError(f"{field.name}={value!r} was given; allowed: {bound.told}")


class MethodConfig:
    """What every Config has beside its own fields. It is a frozen dataclass with at least `recipe` and `image_size`."""

    recipe: Any
    image_size: Any
    pixels: Any = "clip"
    """Whose mean and deviation normalise the pixels: "clip" or "imagenet"; a Config may make it a field."""
    bounds: ClassVar[Mapping[str, Bound]] = {}
    """Bounds of the Config's own numbers; one without an entry must be finite and not negative."""
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The allowed values of the Config's own names."""

    def check(self) -> None:
        """Check every field of the config and of its recipes, before anything is made of it. Raises UsageError."""
        check_fields(self, {"image_size": COUNT} | dict(self.bounds), self.choices)
        for recipe in vars(self).values():
            if isinstance(recipe, Recipe):
                check_fields(recipe, RECIPE_BOUNDS, RECIPE_CHOICES)

    def with_recipe(self, recipe: Recipe) -> Self:
        """A copy that is trained by this recipe."""
        return replace(self, recipe=recipe)  # type: ignore[type-var]

    def with_stage(self, stage: int) -> Self:
        """A copy for this stage of training. Raises UsageError for one that the method does not have."""
        if stage != 1:
            raise UsageError(f"stage {stage} was asked for; this method has one stage: leave --stage out")
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return value


class Memory(Protocol):
    """What a method remembers between steps beside its weights; saved and put back by --resume."""

    def state(self) -> dict[str, Tensor]:
        """Tensors by name; {} for an empty memory."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Remember what `state` returned; {} is an empty memory."""


class Method(nn.Module):
    """A method: an nn.Module over a Clip. Everything below has a default but losses, param_groups and the encoders.

    clip: the two encoders. words: the vocabulary. config: the method's Config. identities: people of the training set;
    0 makes the model for inference, without what only training needs.
    """

    inference_keys: tuple[str, ...] = ("clip.",)
    """Beginnings of the names of the weights that a search needs; only these are saved with the model. A later training
    of the same method takes them over, where their shapes are equal."""
    backbones: tuple[str, ...] = ("clip",)
    """The kinds of encoders that it works with: "clip", "siglip"; others are refused by name."""
    needs: Any = frozenset()
    """What a batch holds beside image, pid and image_id: "text", "sketch", or "caption" (text where a row has one)."""
    answers: Any = frozenset({"text", "sketch", "photo"})
    """The kinds of query that can be embedded; with `compose_words` also "sketch+text" and "photo+text"."""
    encoders: tuple[str, ...] = ()
    """Names of the method's own functions that encode rows independently; () where they are the Clip's."""
    reads_whole_batch: Any = ""
    """Why its encoder cannot encode a batch in chunks (--cache-gradients); "" where it can."""
    trained: bool = True
    """Whether there is anything to train."""
    small: ClassVar[Mapping[str, Any]] = {}
    """Changes of the config that fit a toy CLIP (4 × 2 patches of 8 pixels, width 32), without dropout; for tests."""
    forms: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    """Forms of the method to be tested: changes of the config or the recipe, by a name; "" is the recommended one."""
    presets: ClassVar[Mapping[str, Any]] = {}
    """Its presets where one file holds several methods; {} takes PRESETS of the file."""
    memory: Memory | None = None
    """What it remembers between steps; None for nothing."""

    clip: Clip
    words: Words
    config: Any
    identities: int

    def __init__(self, clip: Clip, words: Words, config: Any, identities: int = 0):
        super().__init__()
        config.check()
        self.clip, self.words, self.config, self.identities = clip, words, config, identities

    # training

    def prepare(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Once before the first step of a run, on the device; a resumed run restores its result instead.

        batches: makes batches of this process's share of the training set, without augmentation, in order.
        """

    def restored(self) -> None:
        """Before a saved state is loaded in the place of `prepare`: make the modules that `prepare` would have made."""

    def begin_epoch(self, epoch: int, batches: Any) -> None:
        """Before the first step of each epoch, in training mode; not where a run goes on inside an epoch.

        batches: the `descry.training.batches.Batches` of the run.
        """

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Losses () by the paper's names, already weighted; their sum is minimised. Features are gathered over
        processes before they are compared.
        """
        raise UsageError(f"{type(self).__name__} is not trained; it is used as it is")

    def check_training(self, batch: Batch, masked: bool) -> None:
        """UsageError for a model that was made for inference, and for a batch without the masked captions it needs."""
        if not self.identities:
            name = type(self).__name__
            raise UsageError(f"this {name} was made for inference; give the number of training identities to train it")
        if masked and "masked_text" not in batch:
            raise UsageError(
                "the batch holds no masked captions; set the recipe's mask_text to 0.15, or mask_captions to False"
            )

    def param_groups(self) -> list[dict[str, Any]]:
        """For torch.optim: params, lr_scale (times the recipe's rate), weight_decay. Frozen parameters are left out."""
        return []

    # inference

    @property
    def dimension(self) -> int:
        """D: length of the vectors that are searched."""
        return self.clip.dim

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), unit length."""
        return nn.functional.normalize(self.clip.image_features(images), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D), unit length."""
        return nn.functional.normalize(self.clip.text_features(ids), dim=-1)

    def pseudo_words(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, width of the text encoder): words that stand for pictures."""
        raise UsageError(
            f"{type(self).__name__} makes no words of pictures; only InteractReID after its stage 2 does "
            "(descry train interactreid --stage 2)"
        )

    def compose_words(self, word: Tensor, texts: list[str]) -> Tensor:
        """(B, width) words of pictures and B texts, "" for none → (B, D) of both as one query, unit length."""
        raise UsageError(f"{type(self).__name__} does not compose a picture and words; rank by both instead")


class PseudoWords(Method):
    """A method that turns a picture into a word of a prompt: T("a photo of * , and …") with Φ(V(picture)) for the star.

    It has `mapping`, Φ, and its config `prompt`, with the place of the word, and `join`, which stands before the words
    that follow.
    """

    mapping: nn.Module

    def pseudo_text(self, features: Tensor) -> Tensor:
        """T(prompt; Φ(feature)): (B, D) image features, not scaled → (B, D), not scaled."""
        ids = self._prompt_ids(len(features), self.config.prompt, features.device)
        return self.clip.text_features(ids, self.mapping(features))

    def compose(self, pictures: Tensor, texts: list[str]) -> Tensor:
        """Drawing (or photograph) and words as one query → (B, D), unit length.

        pictures: (B, 3, H, W) in [0, 1]. texts: B feedback texts, "" for none. A placeholder sign in a text is dropped.
        """
        return self.compose_words(self.pseudo_words(pictures), texts)

    def pseudo_words(self, pictures: Tensor) -> Tensor:
        """Φ(V(picture)): (B, 3, H, W) in [0, 1] → (B, text width); kept between rounds: words alone cost no V."""
        value: Tensor = self.mapping(self.clip.image_features(pictures))
        return value

    def compose_words(self, word: Tensor, texts: list[str]) -> Tensor:
        """`compose` from pseudo-words that are at hand: (B, text width) and B texts → (B, D), unit length."""
        prompts = [self.composed_prompt(text) for text in texts]
        ids = self.words.ids(prompts).to(word.device)
        return nn.functional.normalize(self.clip.text_features(ids, word), dim=-1)

    def composed_prompt(self, text: str) -> str:
        """The prompt in which `text` completes the pseudo-word."""
        text = " ".join(text.replace(PLACEHOLDER, " ").split())
        return f"{self.config.prompt}{self.config.join}{text}" if text else self.config.prompt

    def _prompt_ids(self, rows: int, prompt: str, device: torch.device) -> Tensor:
        return self.words.ids([prompt]).to(device).expand(rows, -1)


def optimiser_groups(
    named: Iterable[tuple[str, nn.Parameter]], rule: Callable[[str, nn.Parameter], tuple[float, float]]
) -> list[dict[str, Any]]:
    """Parameters by (factor of the learning rate, weight decay), as `rule` says of each; frozen ones are left out."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            groups.setdefault(rule(name, parameter), []).append(parameter)
    return [{"params": p, "lr_scale": scale, "weight_decay": decay} for (scale, decay), p in groups.items()]

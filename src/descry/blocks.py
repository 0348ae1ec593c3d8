"""Building blocks of the methods: attention, residual and cross-modal blocks, and the two heads that several methods
share.

The blocks are those of CLIP (pre-norm, QuickGELU, four times the width inside), so that parameter counts can be
compared with the papers' tables. All of this is used in training only; inference is CLIP alone.

Letters: B batch, L queries, S keys, W width, D shared dimension, N identities, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .clip import Clip
from .errors import UsageError

ENCODERS = ("image_features", "image_tokens", "text_features", "text_tokens")


class Attention(nn.Module):
    """Multi-head attention; 4W² + 4W parameters. scale: of the logits; left out, 1 / √(W / heads)."""

    def __init__(self, width: int, heads: int, scale: float | None = None):
        super().__init__()
        if width % heads:
            raise UsageError(f"a width of {width} cannot be shared by {heads} heads; choose a divisor of the width")
        self.heads, self.scale = heads, scale
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, L, W), (B, S, W) → (B, L, W); keys are the values too. hidden: (B, S) bool, True where a key is not
        read."""
        w_q, w_kv = self.in_proj.weight.split([queries.shape[-1], 2 * queries.shape[-1]])
        b_q, b_kv = self.in_proj.bias.split([len(w_q), len(w_kv)])
        k, v = F.linear(keys, w_kv, b_kv).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (F.linear(queries, w_q, b_q), k, v))
        seen = None if hidden is None else ~hidden[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=self.scale)
        value: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(-2))
        return value


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the activation of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """x ← x + attention(norm x, keys); x ← x + MLP(norm x). 12W² + 13W parameters, like a block of CLIP.

    With keys it is a cross-attention block in which only the queries are normalised (the decoder of Propot); without,
    the queries are the keys (self-attention). depth: number of blocks of the stack it belongs to, for the initial
    values.
    """

    def __init__(self, width: int, heads: int, depth: int = 1):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.fc, self.activation, self.proj = nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        out = width**-0.5 * (2 * depth) ** -0.5
        initialise(self.attention, out)
        for layer, std in ((self.fc, (2 * width) ** -0.5), (self.proj, out)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, keys: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """(B, L, W), keys (B, S, W) → (B, L, W). hidden: (B, S) bool, keys that are not read."""
        q = self.norm1(x)
        x = x + self.attention(q, q if keys is None else keys, hidden)
        value: Tensor = x + self.proj(self.activation(self.fc(self.norm2(x))))
        return value

    def start_silent(self) -> Block:
        """Let the block begin as the identity: what it adds is zero until it has learnt something."""
        for layer in (self.attention.out_proj, self.proj):
            nn.init.zeros_(layer.weight)
        return self


def initialise(attention: Attention, out: float) -> None:
    """The initial values of CLIP's attention: N(0, 1/W) inside, N(0, out²) at the end, biases 0."""
    nn.init.normal_(attention.in_proj.weight, std=attention.in_proj.in_features**-0.5)
    nn.init.normal_(attention.out_proj.weight, std=out)
    for layer in (attention.in_proj, attention.out_proj):
        nn.init.zeros_(layer.bias)


class CrossFormer(nn.Module):
    """The multimodal encoder of IRRA and VFE-TPS: one cross-attention without residual, then self-attention blocks,
    then a norm."""

    def __init__(self, width: int, heads: int = 8, layers: int = 4, scale: float | None = None):
        super().__init__()
        self.norm_queries, self.norm_keys, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads, scale)
        initialise(self.attention, width**-0.5 * (2 * layers) ** -0.5)
        self.blocks = nn.ModuleList(Block(width, heads, layers) for _ in range(layers))

    def forward(
        self, queries: Tensor, keys: Tensor, hidden: Tensor | None = None, pads: Tensor | None = None
    ) -> Tensor:
        """(B, L, D), (B, S, D) → (B, L, D). hidden: (B, S) bool, keys that are not read. pads: (B, L) bool, queries
        that the others do not read."""
        x = self.attention(self.norm_queries(queries), self.norm_keys(keys), hidden)
        for block in self.blocks:
            x = block(x, hidden=pads)
        value: Tensor = self.norm_out(x)
        return value


class IdentityHead(nn.Module):
    """One linear classifier of identities shared by photographs and captions (IRRA §3.4; Propot L_id)."""

    def __init__(self, dim: int, identities: int):
        super().__init__()
        self.classifier = nn.Linear(dim, identities)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pids: Tensor, *features: Tensor) -> Tensor:
        """Mean cross-entropy over the given (B, D) features, which are not scaled to unit length. pids: (B,)."""
        losses = [F.cross_entropy(self.classifier(x).float(), pids) for x in features]
        return torch.stack(losses).mean()


class MaskedWordHead(nn.Module):
    """Masked language modelling of IRRA: captions with masked words ask the photograph's tokens what the words were.

    Words read one another, and never the padding, so that the loss of a caption does not depend on how long the others
    of its batch are. IRRA's code reads 77 tokens of each.
    """

    def __init__(self, dim: int, vocabulary: int, heads: int = 8, layers: int = 4):
        super().__init__()
        self.cross = CrossFormer(dim, heads, layers)
        self.dense, self.activation, self.norm = nn.Linear(dim, dim), QuickGELU(), nn.LayerNorm(dim)
        self.words = nn.Linear(dim, vocabulary)
        nn.init.normal_(self.dense.weight, std=(2 * dim) ** -0.5)
        nn.init.normal_(self.words.weight, std=dim**-0.5)
        for layer in (self.dense, self.words):
            nn.init.zeros_(layer.bias)

    def forward(
        self, text_tokens: Tensor, image_tokens: Tensor, labels: Tensor, pads: Tensor, count: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy at the masked words. (B, L, D), (B, 1 + P, D), labels (B, L): 0 = not masked; pads (B, L) bool.

        count: what the sum is divided by; left out, the number of masked words. Words that are not masked never reach
        the vocabulary's matrix, which is most of the cost. 0 where none is masked.
        """
        masked = labels.nonzero(as_tuple=True)  # once: on a GPU the processor waits for how many there are
        states = self.cross(text_tokens, image_tokens, pads=pads)[masked]
        logits = self.guesses(states).float()
        total = F.cross_entropy(logits, labels[masked], reduction="sum")
        return total / (max(1, len(masked[0])) if count is None else count)

    def guesses(self, states: Tensor) -> Tensor:
        """(…, D) words that have read the photograph → (…, vocabulary) logits of what they were."""
        value: Tensor = self.words(self.norm(self.activation(self.dense(states))))
        return value


class Mapping(nn.Module):
    """Φ, from an image feature (B, D), not scaled, to a pseudo-word (B, W) (InteractReID §III-C, Table IV).

    layers −1: none; 0: linear; n ≥ 1: n × (linear, dropout, ReLU) of width `hidden`, then linear.
    """

    def __init__(self, dim: int, hidden: int, width: int, layers: int = 1, dropout: float = 0.1):
        super().__init__()
        if not -1 <= layers <= 3:
            raise UsageError(f"{layers} mapping layers were asked for; allowed: -1 (none), 0 (linear), 1, 2, 3")
        if layers == -1 and dim != width:
            raise UsageError(
                f"without a mapping the feature ({dim}) must be as wide as a word ({width}); use --set mapping_layers=0"
            )
        widths = [dim] + [hidden] * max(layers, 0)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.Dropout(dropout), nn.ReLU()) for a, b in pairwise(widths)
        )
        self.fc_out = nn.Linear(widths[-1], width) if layers >= 0 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            features = layer(features)
        value: Tensor = self.fc_out(features)
        return value


def cache_gradients(owner: Clip | nn.Module, rows: int, encoders: Sequence[str] = ENCODERS) -> Any:
    """Let a Clip (or what else has `encoders`) encode `rows` at a time in training and recompute each chunk in the
    backward pass.

    Losses still see the whole batch, so a batch that does not fit into memory keeps all its negatives; gradients are
    the same, at the price of one more forward pass (gradient caching, Gao et al. 2021). Dropout inside an encoder is
    drawn chunk by chunk. Undone by nothing, as inference is not touched. Raises UsageError for less than one row.
    """
    if rows < 1:
        raise UsageError(f"chunks of {rows} rows were asked for; allowed: 1 or more (or do not cache gradients)")
    for name in encoders:
        setattr(owner, name, partial(_in_chunks, getattr(owner, name), rows))
    return owner


def cache_gradients_of(method: Any, rows: int) -> None:
    """`cache_gradients` for whatever a method encodes with: its CLIP, or the encoders that it names itself.

    Raises UsageError for a method whose encoder reads the batch as a whole, which says so in `reads_whole_batch`.
    """
    if why := method.reads_whole_batch:
        raise UsageError(
            f"gradients in chunks of {rows} rows were asked for, but {why}; leave --cache-gradients out and use "
            "--checkpoint-gradients, which saves memory too"
        )
    own = method.encoders
    cache_gradients(method if own else method.clip, rows, own or ENCODERS)


def _in_chunks(encode: Callable[..., Tensor], rows: int, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    total = len(inputs)
    if total <= rows or not torch.is_grad_enabled():
        return encode(inputs, *args, **kwargs)

    def part(value: Any, i: int) -> Any:
        whole = isinstance(value, Tensor) and value.ndim >= 2 and len(value) == total
        return value[i : i + rows] if whole else value

    chunks = []
    for i in range(0, total, rows):
        some = {key: part(value, i) for key, value in kwargs.items()}
        chunks.append(
            checkpoint(encode, inputs[i : i + rows], *(part(a, i) for a in args), use_reentrant=False, **some)
        )
    return torch.cat(chunks)

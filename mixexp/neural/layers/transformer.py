"""`MoETransformerLM`: a small causal language model to try routing in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import RoutedLayer
from .trace import RoutingTrace


class Attention(nn.Module):
    """Causal self-attention of several heads.

    Parameters
    ----------
    dim, n_heads : int
    """

    def __init__(self, dim: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, dim = x.shape
        heads = self.qkv(x).view(batch, length, 3, self.n_heads, dim // self.n_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.out(y.transpose(1, 2).reshape(batch, length, dim))


class Block(nn.Module):
    """Attention and feed-forward or routed layer, each behind a norm and beside a residual path.

    Parameters
    ----------
    dim, n_heads : int
    layer : Module
    """

    def __init__(self, dim: int, n_heads: int, layer: nn.Module):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, n_heads)
        self.layer_norm = nn.LayerNorm(dim)
        self.layer = layer

    def forward(self, x: Tensor, mask: Tensor | None, **context) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask)
        h = self.layer_norm(x)
        routed = isinstance(self.layer, RoutedLayer)
        return x + (self.layer(h, **context) if routed else self.layer(h))


class MoETransformerLM(nn.Module):
    """A decoder-only transformer over bytes whose feed-forward layers are routed.

    Parameters
    ----------
    layer : callable
        ``layer(i) -> Module`` makes the i-th layer's map of width ``dim``: a `RoutedLayer` such as
        `MoELayer`, or any module of units such as `FeedForward`.
    dim, n_layers, n_heads : int
        ``n_heads`` divides ``dim``.
    context : int
        Largest number of tokens.
    vocab : int
        Number of tokens; bytes by default.

    Raises
    ------
    ValueError
        If heads do not divide ``dim``, or a layer's routing is not causal, in training or at
        prediction: later tokens would decide what is predicted for earlier ones.

    Examples
    --------
    >>> from mixexp.neural import MoELayer, MoETransformerLM
    >>> lm = MoETransformerLM(lambda i: MoELayer.feed_forward(16, 32, 4, 2), dim=16, n_heads=2)
    >>> lm(torch.tensor([[72, 105]])).shape
    torch.Size([1, 2, 256])
    """

    def __init__(
        self,
        layer: Callable[[int], nn.Module],
        *,
        dim: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        context: int = 64,
        vocab: int = 256,
    ):
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"n_heads must divide dim={dim}; got {n_heads}.")
        self.context = context
        self.embedding = nn.Embedding(vocab, dim)
        self.places = nn.Embedding(context, dim)
        for table in (self.embedding, self.places):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, n_heads, layer(i)) for i in range(n_layers))
        for i, block in enumerate(self.blocks):
            _check_causal(i, block.layer)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(
        self,
        tokens: Tensor,
        *,
        valid: Tensor | None = None,
        trace: RoutingTrace | None = None,
        **context: Any,
    ) -> Tensor:
        """Logits of the next token, shape (batch, length, vocab).

        Parameters
        ----------
        tokens : LongTensor of shape (batch, length)
        valid : BoolTensor of shape (batch, length), optional
            False marks padding: it is attended by no token and goes to no expert.
        trace : RoutingTrace, optional
            An empty one, where the layers' routings are recorded.
        **context
            Further fields of `RoutingInputs`, such as ``task_id``, ``clock`` and ``generator``.

        Raises
        ------
        ValueError
            If there are more tokens than the context holds, or the trace is not empty.
        """
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"the context holds {self.context} tokens; got {length}.")
        # what one router hands to the next one goes through a trace, so there always is one
        trace = RoutingTrace() if trace is None else trace
        if len(trace):
            raise ValueError(
                f"the trace holds {len(trace)} routings of another pass, whose state would enter "
                "this one: give every pass a new RoutingTrace()."
            )
        x = self.embedding(tokens) + self.places.weight[:length]
        mask = None if valid is None else _attended(valid)
        context |= {"token_id": tokens, "n_layers": len(self.blocks), "trace": trace}
        if valid is not None:
            context["valid"] = valid
        for i, block in enumerate(self.blocks):
            x = block(x, mask, layer=i, **context)
        return self.head(self.norm(x))

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        n_tokens: int,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The tokens with ``n_tokens`` more, shape (batch, length + n_tokens).

        Parameters
        ----------
        tokens : LongTensor of shape (batch, length)
            At least one a row; of longer rows the last ``context`` tokens are seen.
        n_tokens : int
        temperature : float
            0 takes the most probable token.
        generator : torch.Generator, optional
            Source of the draws.
        """
        for _ in range(n_tokens):
            logits = self(tokens[:, -self.context :], generator=generator)[:, -1]
            if temperature > 0:
                chances = torch.softmax(logits / temperature, -1)
                drawn = torch.multinomial(chances, 1, generator=generator)
            else:
                drawn = logits.argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, drawn], 1)
        return tokens


def _attended(valid: Tensor) -> Tensor:
    """Keys that each query sees, shape (batch, 1, length, length): earlier and no padding."""
    length = valid.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=valid.device).tril()
    # padding sees itself, so that no row of the softmax is empty
    itself = torch.eye(length, dtype=torch.bool, device=valid.device)
    return (earlier & valid[:, None, None, :]) | itself


def _check_causal(i: int, layer: nn.Module) -> None:
    """Refuse a routed layer whose later units decide about earlier ones."""
    if not isinstance(layer, RoutedLayer):
        return
    modes = [
        mode
        for mode, training in (("training", True), ("prediction", False))
        if not layer.flags(training).causal
    ]
    if modes:
        raise ValueError(
            f"layer {i} routes by {layer.routed_by}, which is not causal in "
            f"{' and '.join(modes)}: later tokens decide about earlier ones, and the model would "
            "learn to read ahead. Use a router whose flags(training).causal is True."
        )

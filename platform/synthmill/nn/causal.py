"""A small causal transformer over codes (arXiv 1706.03762; pre-norm, learned positions, fixed length).

The context comes before the first code and is added to every position: at the first position alone, 28x28
digits of 49 codes forgot their class.

Legend: B rows, T positions, D width, V codes, A heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

Cache = list[tuple[Tensor, Tensor]]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.drop = nn.Dropout(dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x_BTD: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows, length, width = x_BTD.shape
        q, k, v = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.attend(self.norm_1(x_BTD)).chunk(3, dim=2)
        )
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        # With a cache there is one query, the newest position, which may attend to all others.
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x_BTD = x_BTD + self.drop(self.mix(attended.transpose(1, 2).reshape(rows, length, width)))
        return x_BTD + self.drop(self.dense(self.norm_2(x_BTD))), (k, v)


class CausalTransformer(nn.Module):
    """p(code_t | codes before t, context).

    In training, `dropout` leaves out that share of the embeddings and of what each block adds.
    """

    def __init__(
        self,
        codes: int,
        length: int,
        context: int,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.length = length
        self.start = nn.Linear(context + 1, width)
        self.given = nn.Linear(context + 1, width, bias=False)
        # At zero an artifact without this weight generates what it did before the weight existed.
        nn.init.zeros_(self.given.weight)
        self.embed = nn.Embedding(codes, width)
        self.positions_TD = nn.Parameter(0.02 * torch.randn(length, width))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, codes)

    def forward(self, codes_BT: Tensor, context_BK: Tensor) -> Tensor:
        """Logits of every position, float32 (B, T, V), from the true codes before it."""
        context_B1K = self._with_one(context_BK)
        before_BTD = torch.cat([self.start(context_B1K), self.embed(codes_BT[:, :-1])], 1)
        x_BTD = self.drop(before_BTD + self.positions_TD + self.given(context_B1K))
        for block in self.blocks:
            x_BTD, _ = block(x_BTD, None)
        return self.out(self.norm(x_BTD)).float()  # type: ignore[no-any-return]

    def sample(self, context_BK: Tensor, generator: torch.Generator, *, temperature: float = 1.0) -> Tensor:
        """Codes int64 (B, T), one position after the other."""
        context_B1K = self._with_one(context_BK)
        x_B1D, given_B1D = self.start(context_B1K), self.given(context_B1K)
        cache: Cache = []
        chosen: list[Tensor] = []
        for position in range(self.length):
            x_B1D = x_B1D + self.positions_TD[position] + given_B1D
            for number, block in enumerate(self.blocks):
                x_B1D, past = block(x_B1D, cache[number] if position else None)
                cache[number : number + 1] = [past]  # Appended at the first position, replaced later.
            share_BV = torch.softmax(self.out(self.norm(x_B1D[:, 0])).float() / temperature, 1)
            chosen.append(torch.multinomial(share_BV, 1, generator=generator))
            x_B1D = self.embed(chosen[-1])
        return torch.cat(chosen, 1)

    def _with_one(self, context_BK: Tensor) -> Tensor:
        # A constant input, so that a context of width 0 (no classes) is still a valid layer input.
        return torch.cat([context_BK, context_BK.new_ones(len(context_BK), 1)], 1).unsqueeze(1)

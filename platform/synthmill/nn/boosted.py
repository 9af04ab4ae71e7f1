"""P(class | codes) by gradient boosting of oblivious trees: one question a level, the same for all its nodes
(arXiv 1706.09516, section 3; gradients and gains as in arXiv 1603.02754, equations 5 and 7).

A tree is then a few questions and a table, so all trees of many rows are one gather. Legend: N rows, F codes
a row, R rounds, D levels of a tree, Q bins of all features, K logits (one of two classes, else one a class).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SHRINK = 1.0
"""Added to the sum of second derivatives: leaves of few rows say little."""
LEAST_WEIGHT = 2.0
"""Sum of second derivatives that both sides of a question have in all, or it is not asked."""


def fit_boosted(
    codes_NF: Codes, class_N: Codes, classes: int, *, rounds: int, depth: int, rate: float, seed: int
) -> dict[str, Tensor]:
    """`base` (K,), `feature` and `threshold` (R, D) int16, `value` (R, 2 ** D, K): the tensors that `Boosted`
    holds. Each tree sees half of the rows."""
    rows = len(codes_NF)
    widths_F = codes_NF.max(0) + 1
    ends_F = np.cumsum(widths_F)
    flat_NF = codes_NF + (ends_F - widths_F)
    one_hot_NK = np.eye(classes)[class_N][:, 1:] if classes == 2 else np.eye(classes)[class_N]
    share_K = one_hot_NK.mean(0).clip(1e-6, 1 - 1e-6)
    base_K = np.log(share_K / (1 - share_K)) if classes == 2 else np.log(share_K)
    score_NK = np.tile(base_K, (rows, 1))
    draws = np.random.default_rng(seed)
    trees = []
    for _ in range(rounds):
        p_NK = _probabilities(score_NK)
        picked = draws.choice(rows, max(1, rows // 2), replace=False)
        gradient_NK, curve_NK = (one_hot_NK - p_NK)[picked], (p_NK * (1 - p_NK))[picked]
        questions = _questions(flat_NF[picked], ends_F, gradient_NK, curve_NK, depth)
        node_N = _nodes(codes_NF, questions)
        own_N, size = node_N[picked], 2 ** len(questions)
        totals = [
            np.stack([np.bincount(own_N, column, size) for column in part.T], 1)
            for part in (gradient_NK, curve_NK)
        ]
        value_2K = rate * totals[0] / (totals[1] + SHRINK)
        score_NK += value_2K[node_N]
        trees.append((questions, value_2K))
    return {
        "base": torch.tensor(base_K, dtype=torch.float32),
        "feature": torch.tensor([[f for f, _ in asked] for asked, _ in trees], dtype=torch.int16),
        "threshold": torch.tensor([[at for _, at in asked] for asked, _ in trees], dtype=torch.int16),
        "value": torch.tensor(np.stack([value for _, value in trees]), dtype=torch.float32),
    }


class Boosted(nn.Module):
    """What `fit_boosted` found."""

    base: Tensor
    feature: Tensor
    threshold: Tensor
    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("base", "value"):
            self.register_buffer(name, torch.zeros(0))
        for name in ("feature", "threshold"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int16))

    def take(self, found: dict[str, Tensor]) -> None:
        """Hold the tensors of `fit_boosted`."""
        for name, tensor in found.items():
            setattr(self, name, tensor.to(getattr(self, name).device))

    def forward(self, codes_BF: Tensor) -> Tensor:
        """Logits, float32 (B, classes)."""
        rounds, depth = self.feature.shape
        # Rows last and in 16 bits: it is the bytes of all the answers that take the time.
        codes_FB = codes_BF.T.to(torch.int16).contiguous()
        leaf_RB = torch.zeros(rounds, len(codes_BF), dtype=torch.int16, device=codes_BF.device)
        for level in reversed(range(depth)):
            asked_RB = codes_FB.index_select(0, self.feature[:, level].long())
            leaf_RB += leaf_RB
            leaf_RB += (asked_RB > self.threshold[:, level, None]).to(torch.int16)
        first_R1 = torch.arange(rounds, device=codes_BF.device).view(-1, 1) << depth
        at = (leaf_RB.long() + first_R1).flatten()
        values = self.value.flatten(0, 1).unbind(1)
        found_BK = torch.stack(
            [value.contiguous().index_select(0, at).view_as(leaf_RB).sum(0) for value in values], 1
        )
        found_BK = found_BK + self.base
        if len(self.base) > 1:
            return found_BK
        return torch.cat([torch.zeros_like(found_BK), found_BK], 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How many trees there are is known from the weights alone.
        for name, own in list(self.named_buffers()):
            if f"{prefix}{name}" in state_dict:
                setattr(self, name, own.new_zeros(state_dict[f"{prefix}{name}"].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _probabilities(score_NK: Floats) -> Floats:
    if score_NK.shape[1] == 1:
        score_NK = np.concatenate([np.zeros_like(score_NK), score_NK], 1)
        return _probabilities(score_NK)[:, 1:]
    weight_NK: Floats = np.exp(score_NK - score_NK.max(1, keepdims=True))
    weight_NK /= weight_NK.sum(1, keepdims=True)
    return weight_NK


def _questions(
    flat_NF: Codes, ends_F: Codes, gradient_NK: Floats, curve_NK: Floats, depth: int
) -> list[tuple[int, int]]:
    """(feature, largest code of the lower side) of each level, the best for all nodes together."""
    rows, bins = len(flat_NF), int(ends_F[-1])
    starts_F = np.concatenate([[0], ends_F[:-1]])
    codes_NF = flat_NF - starts_F
    node_N = np.zeros(rows, dtype=np.int64)
    questions: list[tuple[int, int]] = []
    for level in range(depth):
        size = 2**level
        at = (node_N[:, None] * bins + flat_NF).reshape(-1)
        gain_Q, weight_Q = np.zeros(bins), np.zeros(bins)
        for gradient_N, curve_N in zip(gradient_NK.T, curve_NK.T, strict=True):
            sums = []
            for column_N in (gradient_N, curve_N):
                weights = np.repeat(column_N, flat_NF.shape[1])
                whole_2Q = np.cumsum(np.bincount(at, weights, size * bins).reshape(size, bins), 1)
                # Sums run over all features in a row: those of a feature begin anew.
                before_2F = np.concatenate([np.zeros((size, 1)), whole_2Q[:, ends_F[:-1] - 1]], 1)
                low_2Q = whole_2Q - np.repeat(before_2F, np.diff(np.r_[0, ends_F]), axis=1)
                all_2 = np.bincount(node_N, column_N, size)
                sums.append((low_2Q, all_2[:, None] - low_2Q))
            (low, high), (low_curve, high_curve) = sums
            gain_Q += (low**2 / (low_curve + SHRINK) + high**2 / (high_curve + SHRINK)).sum(0)
            weight_Q += np.minimum(low_curve.sum(0), high_curve.sum(0))
        best = int(np.where(weight_Q >= LEAST_WEIGHT, gain_Q, -1.0).argmax())
        chosen = int(np.searchsorted(ends_F, best, side="right"))
        questions.append((chosen, best - int(starts_F[chosen])))
        node_N += size * (codes_NF[:, chosen] > questions[-1][1])
    return questions


def _nodes(codes_NF: Codes, questions: list[tuple[int, int]]) -> Codes:
    node_N = np.zeros(len(codes_NF), dtype=np.int64)
    for level, (chosen, at) in enumerate(questions):
        node_N += 2**level * (codes_NF[:, chosen] > at)
    return node_N

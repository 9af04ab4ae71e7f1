"""Trees whose leaves are counts of codes: grown by scikit-learn, kept as flat tensors, walked all at once.

A leaf holds how many of its rows had which code, and no row. Legend: N rows to grow on, B rows to draw, F
codes a row, M nodes of all trees, L leaves of all trees, E codes of all leaves.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Codes = npt.NDArray[np.int64]
DIRECT_CLASSES = 24
"""Up to so many codes impurity is counted exactly; of more, on random projections of their one-hots, whose
cost does not grow with the codes."""
PROJECTIONS = 6
MOST_FEATURES = 40
"""Columns that a split is sought among, chosen at random anew for each where there are more: time would grow
with the square of the columns."""
STEPS_AT_ONCE = 5
"""Levels that all rows go down before those that reached a leaf are set aside."""
_TYPES = {
    "feature": np.int16,
    "threshold": np.int16,
    "link": np.int32,
    "leaf_end": np.int32,
    "code": np.int16,
    "count": np.int32,
}


class Grower:
    """Grows trees one after the other."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Codes]] = {name: [] for name in _TYPES}
        self.roots: list[int] = []
        """The first node of each tree."""
        self._nodes = self._leaves = self._entries = 0

    def add(
        self,
        codes_NF: Codes,
        before: list[int],
        target: int,
        width: int,
        *,
        ordered: bool,
        least: int,
        seed: int,
    ) -> None:
        """One tree of the column `target` of `width` codes given the columns `before`, on these rows, with at
        least `least` of them a leaf; `ordered`: near codes are alike."""
        target_N = codes_NF[:, target]
        feature_M, threshold_M, right_M, leaf_N = _grow(
            codes_NF[:, before], target_N, width, ordered, least, seed
        )
        is_leaf_M = feature_M < 0
        number_M = np.cumsum(is_leaf_M) - 1
        # Of each leaf its codes in ascending order: where a row of training stood is lost.
        keys, counts = np.unique(number_M[leaf_N] * width + target_N, return_counts=True)
        leaves = int(is_leaf_M.sum())
        ends = np.searchsorted(keys // width, np.arange(leaves), side="right")
        self.roots.append(self._nodes)
        # Features are numbered by column, whatever came before.
        found = (
            np.where(is_leaf_M, -1, np.array([*before, -1])[feature_M]),
            threshold_M,
            np.where(is_leaf_M, number_M + self._leaves, right_M + self._nodes),
            ends + self._entries,
            keys % width,
            counts,
        )
        for part, values in zip(self.parts.values(), found, strict=True):
            part.append(values)
        self._nodes += len(feature_M)
        self._leaves += leaves
        self._entries += len(keys)

    def tensors(self) -> dict[str, Tensor]:
        """What `Trees` holds, in the smallest types."""
        none = np.zeros(0, dtype=np.int64)
        return {
            name: torch.from_numpy(np.concatenate([none, *self.parts[name]]).astype(kind))
            for name, kind in _TYPES.items()
        }


class Trees(nn.Module):
    """Grown trees: `feature` (M,), -1 at leaves; `threshold` (M,), the largest code that goes left, to the
    next node; `link` (M,), the node to the right or the leaf's number; `leaf_end` (L,), `code` and `count`
    (E,)."""

    leaf_end: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, kind in _TYPES.items():
            self.register_buffer(name, torch.from_numpy(np.zeros(0, dtype=kind)))
        self._walk: dict[str, Tensor] = {}

    def take(self, grower: Grower) -> None:
        """Hold what was grown."""
        for name, tensor in grower.tensors().items():
            setattr(self, name, tensor.to(getattr(self, name).device))
        self._walk = {}

    def draw(self, codes_BF: Tensor, root_B: Tensor, uniform_B: Tensor) -> Tensor:
        """A code for each row from the leaf that it reaches in the tree with its root; int64 (B,)."""
        walk = self._prepared(codes_BF.device)
        leaf_B = walk["leaf_at"].take(self._leaf_nodes(codes_BF, walk["place"].take(root_B), walk))
        # In double: a float has too few bits to tell the last of many rows.
        level_B = walk["base"].take(leaf_B) + (uniform_B.double() * walk["rows"].take(leaf_B)).long()
        return walk["code"].take(torch.searchsorted(walk["cumulative"], level_B, right=True))

    def _leaf_nodes(self, codes_BF: Tensor, node_B: Tensor, walk: dict[str, Tensor]) -> Tensor:
        feature_M, threshold_M, child_M = walk["feature"], walk["threshold"], walk["child"]
        flat, start_B = codes_BF.flatten(), torch.arange(len(codes_BF), device=node_B.device)
        start_B = start_B * codes_BF.shape[1]
        reached_B, active_A = node_B.clone(), torch.arange(len(node_B), device=node_B.device)
        while len(active_A):
            for _ in range(STEPS_AT_ONCE):
                # A leaf leads to itself, so that rows which have arrived need no question of their own.
                right_A = flat.take(start_B + feature_M.take(node_B)) > threshold_M.take(node_B)
                node_B = child_M.take(node_B) + right_A
            reached_B[active_A] = node_B
            on_A = walk["inner"].take(node_B).nonzero()[:, 0]
            active_A, node_B, start_B = active_A[on_A], node_B[on_A], start_B[on_A]
        return reached_B

    def _prepared(self, device: torch.device) -> dict[str, Tensor]:
        """The same trees in the types that indexing wants, and with children side by side; made at the first
        draw."""
        if not self._walk or self._walk["code"].device != device:
            wide = {name: tensor.to(device).long() for name, tensor in self.named_buffers()}
            inner_M = wide["feature"] >= 0
            parents = inner_M.nonzero()[:, 0]
            is_root_M = torch.ones_like(inner_M)
            is_root_M[parents + 1] = False
            is_root_M[wide["link"][parents]] = False
            roots = is_root_M.nonzero()[:, 0]
            pairs = torch.stack([parents + 1, wide["link"][parents]], 1).flatten()
            old_M = torch.cat([roots, pairs])
            place_M = torch.empty_like(old_M)
            place_M[old_M] = torch.arange(len(old_M), device=device)
            inner_M = inner_M[old_M]
            # No code is beyond a leaf's threshold.
            left_M = place_M[torch.minimum(old_M + 1, old_M.new_tensor(len(old_M) - 1))]
            cumulative_E = wide["count"].cumsum(0)
            top_L = cumulative_E[wide["leaf_end"] - 1]
            base_L = torch.cat([top_L.new_zeros(1), top_L[:-1]])
            self._walk = {
                "place": place_M,
                "inner": inner_M,
                "feature": wide["feature"][old_M].clamp_min(0),
                "threshold": torch.where(inner_M, wide["threshold"][old_M], 2**15),
                "child": torch.where(inner_M, left_M, place_M[old_M]),
                "leaf_at": torch.where(inner_M, 0, wide["link"][old_M]),
                "cumulative": cumulative_E,
                "base": base_L,
                "rows": (top_L - base_L).double(),
                "code": wide["code"],
            }
        return self._walk

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How many nodes there are is known from the weights alone.
        for name, own in list(self.named_buffers()):
            if f"{prefix}{name}" in state_dict:
                setattr(self, name, own.new_zeros(state_dict[f"{prefix}{name}"].shape))
        self._walk = {}
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _grow(
    features_NF: Codes, target_N: Codes, width: int, ordered: bool, least: int, seed: int
) -> tuple[Codes, Codes, Codes, Codes]:
    """(feature, -1 at a leaf; threshold; right child), (M,) each, and the node of each row's leaf (N,)."""
    # Only here: a model that is merely sampled need not import it.
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = len(target_N)
    if not features_NF.shape[1] or rows < 2 * least:
        return np.array([-1]), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(rows, np.int64)
    kind, wanted = DecisionTreeRegressor, target_N.astype(np.float64)
    if ordered:
        # Ranks: where codes are frequent, a difference of one counts for more.
        shares = np.bincount(target_N, minlength=width) / rows
        wanted = (np.cumsum(shares) - shares / 2)[target_N]
    elif width > DIRECT_CLASSES:
        wanted = np.random.default_rng(seed).standard_normal((width, PROJECTIONS))[target_N]
    else:
        kind = DecisionTreeClassifier
    features_NF = features_NF.astype(np.float32)
    most = min(features_NF.shape[1], MOST_FEATURES)
    grown = kind(min_samples_leaf=least, max_features=most, random_state=seed).fit(features_NF, wanted)
    tree = grown.tree_
    return (
        np.maximum(tree.feature.astype(np.int64), -1),
        np.floor(tree.threshold).astype(np.int64),
        tree.children_right.astype(np.int64),
        grown.apply(features_NF).astype(np.int64),
    )

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
MOST_SPREAD = 2**26
"""Up to so many rows in all leaves, each of which is then a code in memory: looked up, not searched for."""
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
        self._walk: dict[str, Any] = {}

    def take(self, grower: Grower) -> None:
        """Hold what was grown."""
        for name, tensor in grower.tensors().items():
            setattr(self, name, tensor.to(getattr(self, name).device))
        self._walk = {}

    def draw(self, codes_BF: Codes, root_B: Codes, uniform_B: npt.NDArray[np.float32]) -> Codes:
        """A code for each row from the leaf that it reaches in the tree with its root; int64 (B,). On the CPU
        whatever the device: NumPy looks a thousand numbers up in a fifth of the time that torch takes."""
        walk = self._prepared()
        leaf_B = walk["leaf_at"].take(self._leaf_nodes(codes_BF, walk["place"].take(root_B), walk))
        # In double: a float has too few bits to tell the last of many rows.
        within_B = (uniform_B.astype(np.float64) * walk["rows"].take(leaf_B)).astype(np.int64)
        level_B = walk["base"].take(leaf_B) + within_B
        if "spread" in walk:
            code_B: Codes = walk["spread"].take(level_B).astype(np.int64)
        else:
            code_B = walk["code"].take(np.searchsorted(walk["cumulative"], level_B, side="right"))
        return code_B

    def _leaf_nodes(self, codes_BF: Codes, node_B: Codes, walk: dict[str, Codes]) -> Codes:
        feature_M, threshold_M, child_M = walk["feature"], walk["threshold"], walk["child"]
        flat, start_B = codes_BF.reshape(-1), np.arange(len(codes_BF)) * codes_BF.shape[1]
        reached_B, active_A = np.empty_like(node_B), np.arange(len(node_B))
        while len(active_A):
            for _ in range(STEPS_AT_ONCE):
                # A leaf leads to itself, so that rows which have arrived need no question of their own.
                right_A = flat.take(start_B + feature_M.take(node_B)) > threshold_M.take(node_B)
                node_B = child_M.take(node_B) + right_A
            reached_B[active_A] = node_B
            on_A = np.flatnonzero(walk["inner"].take(node_B))
            active_A, node_B, start_B = active_A.take(on_A), node_B.take(on_A), start_B.take(on_A)
        return reached_B

    def _prepared(self) -> dict[str, Any]:
        """The same trees in the types that indexing wants, and with children side by side; made at the first
        draw."""
        if not self._walk:
            wide = {name: tensor.cpu().numpy().astype(np.int64) for name, tensor in self.named_buffers()}
            inner_M = wide["feature"] >= 0
            parents = np.flatnonzero(inner_M)
            is_root_M = np.ones_like(inner_M)
            is_root_M[parents + 1] = False
            is_root_M[wide["link"][parents]] = False
            pairs = np.stack([parents + 1, wide["link"][parents]], 1).reshape(-1)
            old_M = np.concatenate([np.flatnonzero(is_root_M), pairs])
            place_M = np.empty_like(old_M)
            place_M[old_M] = np.arange(len(old_M))
            inner_M = inner_M[old_M]
            left_M = place_M[np.minimum(old_M + 1, len(old_M) - 1)]
            cumulative_E = wide["count"].cumsum()
            top_L = cumulative_E[wide["leaf_end"] - 1]
            base_L = np.concatenate([top_L[:0], [0], top_L[:-1]])
            self._walk = {
                "place": place_M,
                "inner": inner_M,
                "feature": wide["feature"][old_M].clip(0),
                # No code is beyond a leaf's threshold.
                "threshold": np.where(inner_M, wide["threshold"][old_M], 2**15),
                "child": np.where(inner_M, left_M, place_M[old_M]),
                "leaf_at": np.where(inner_M, 0, wide["link"][old_M]),
                "cumulative": cumulative_E,
                "base": base_L,
                "rows": (top_L - base_L).astype(np.float64),
                "code": wide["code"],
            }
            if cumulative_E[-1] <= MOST_SPREAD:
                self._walk["spread"] = np.repeat(wide["code"].astype(np.int16), wide["count"])
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

"""Which of several scores is better: feasible ones first, then by value, or by the front they lie on."""

from collections.abc import Sequence

from synthmill.tuning.record import Score


def dominates(a: Score, b: Score) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better."""
    pairs = list(zip(a.values, b.values, strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def fronts(scores: Sequence[Score]) -> list[int]:
    """The front of each score: 0 is dominated by none, 1 only by those of 0 (non-dominated sorting)."""
    left, found, front = set(range(len(scores))), [0] * len(scores), 0
    while left:
        top = {i for i in left if not any(dominates(scores[j], scores[i]) for j in left if j != i)}
        for i in top:
            found[i] = front
        left -= top
        front += 1
    return found


def ranked(scores: Sequence[Score]) -> list[int]:
    """Indices, the best first. A broken constraint puts a score behind all that break none, by how much it is
    broken; within a front the mean decides, and ties go to the earlier."""
    front = fronts(scores)

    def key(i: int) -> tuple[float, ...]:
        broken = sum(max(0.0, value) for value in scores[i].violations.values())
        return (broken, front[i], -scores[i].mean, i)

    return sorted(range(len(scores)), key=key)


def pareto(scores: Sequence[Score]) -> list[int]:
    """Indices of the feasible scores that no feasible one dominates."""
    able = [i for i, score in enumerate(scores) if score.feasible]
    front = fronts([scores[i] for i in able])
    return [i for i, level in zip(able, front, strict=True) if level == 0]


def survives(score: Score, others: Sequence[Score], reduction: int) -> bool:
    """Whether a score is in the best 1/reduction of those of the same rung, itself included (ASHA, arXiv
    1810.05934). `others` are those seen so far; nobody waits for more."""
    order = ranked([*others, score])
    return order.index(len(others)) < max(1, -(-len(order) // reduction))

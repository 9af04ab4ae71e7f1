import torch

from synthmill.nn.mixture import GaussianMixture


def clusters(rows: int = 4000) -> torch.Tensor:
    """Two far clusters, correlated within, in the first two of three dimensions."""
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, 3, generator=draws)
    sign = torch.where(torch.rand(rows, generator=draws) < 0.3, 1.0, -1.0)
    first = 4 * sign + noise[:, 0]
    return torch.stack([first, 0.9 * noise[:, 0] + 0.3 * noise[:, 1] - 3 * sign, noise[:, 2]], 1)


def test_finds_clusters_and_the_correlation_within_them() -> None:
    points = clusters()
    mixture = GaussianMixture(4, 3)
    mixture.fit(points, torch.tensor([True, True, False]), first_iterations=30, more_iterations=1)
    rows = mixture.sample(4000, torch.Generator().manual_seed(1))
    assert abs(float((rows[:, 0] > 0).float().mean()) - 0.3) < 0.03
    for kept in (rows[:, 0] > 0, rows[:, 0] < 0):
        assert float(torch.corrcoef(rows[kept, :2].T)[0, 1]) > 0.85
    assert abs(float(torch.corrcoef(rows.T)[0, 2])) < 0.05, "an unused dimension is independent"


def test_before_the_first_fit_it_is_standard_normal_and_nothing_used_changes_nothing() -> None:
    mixture = GaussianMixture(3, 2)
    mixture.fit(clusters()[:, :2], torch.tensor([False, False]), first_iterations=5, more_iterations=1)
    rows = mixture.sample(4000, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.cov(rows.T), torch.eye(2), atol=0.08)


def test_few_points_make_few_components() -> None:
    mixture = GaussianMixture(20, 3)
    mixture.fit(clusters(120), torch.ones(3, dtype=torch.bool), first_iterations=5, more_iterations=1)
    assert int((mixture.weights_K > 0).sum()) == 2
    mixture = GaussianMixture(20, 3)
    mixture.fit(clusters(3), torch.ones(3, dtype=torch.bool), first_iterations=5, more_iterations=1)
    assert bool(mixture.sample(10, torch.Generator()).isfinite().all())


def test_samples_do_not_repeat_points() -> None:
    points = clusters(500)
    mixture = GaussianMixture(5, 3)
    mixture.fit(points, torch.ones(3, dtype=torch.bool), first_iterations=20, more_iterations=1)
    rows = mixture.sample(500, torch.Generator().manual_seed(0))
    assert float(torch.cdist(rows, points).min()) > 0


def test_a_later_fit_goes_on_from_the_one_before() -> None:
    once, twice = GaussianMixture(4, 3), GaussianMixture(4, 3)
    used = torch.tensor([True, True, False])
    once.fit(clusters(), used, first_iterations=20, more_iterations=1)
    for _ in range(6):
        twice.fit(clusters(), used, first_iterations=5, more_iterations=3)
    assert torch.allclose(once.weights_K, twice.weights_K, atol=1e-4)
    assert torch.allclose(once.means_KL, twice.means_KL, atol=1e-3)


def test_loaded_weights_give_the_same_rows_and_only_used_dimensions_are_multiplied() -> None:
    mixture = GaussianMixture(4, 3)
    mixture.fit(clusters(), torch.tensor([True, True, False]), first_iterations=5, more_iterations=1)
    assert mixture.used_U.tolist() == [0, 1]
    loaded = GaussianMixture(4, 3)
    loaded.load_state_dict(mixture.state_dict())
    assert torch.equal(
        loaded.sample(100, torch.Generator().manual_seed(2)),
        mixture.sample(100, torch.Generator().manual_seed(2)),
    )
    assert set(mixture.state_dict()) == {"weights_K", "means_KL", "factors_KLL"}, (
        "the format of saved weights stays"
    )

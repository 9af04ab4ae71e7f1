"""A Gaussian mixture with full covariances, fitted by expectation-maximisation (Dempster et al. 1977).

Its state is averages over many points, never a point: artifacts may not contain training rows.
Legend: N points, L dimensions, U of them used, K components.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Latents have a prior variance of 1. Without a floor, a component can shrink to a single point.
SMALLEST_VARIANCE = 1e-3
# With fewer, a component would describe single training rows.
POINTS_PER_COMPONENT = 50


class GaussianMixture(nn.Module):
    """`fit` it to points, then `sample`; before the first fit it is N(0, I)."""

    weights_K: Tensor
    means_KL: Tensor
    factors_KLL: Tensor
    used_U: Tensor
    means_KU: Tensor
    factors_KUU: Tensor

    def __init__(self, components: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("weights_K", torch.zeros(components).index_fill_(0, torch.tensor([0]), 1.0))
        self.register_buffer("means_KL", torch.zeros(components, dimensions))
        self.register_buffer("factors_KLL", torch.eye(dimensions).repeat(components, 1, 1))
        self.register_buffer("used_U", torch.zeros(0, dtype=torch.int64), persistent=False)
        self.register_buffer("means_KU", torch.zeros(components, 0), persistent=False)
        self.register_buffer("factors_KUU", torch.zeros(components, 0, 0), persistent=False)
        # What `narrow` derives is not saved, so that the format of the state stays as it is.
        self.register_load_state_dict_post_hook(lambda module, _: module.narrow())  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def fit(self, points_NL: Tensor, used_L: Tensor, *, first_iterations: int, more_iterations: int) -> None:
        """Fit by `more_iterations` from the last components, or `first_iterations` from evenly spaced points.

        Dimensions outside `used_L` (bool) are taken as N(0, 1), independent of all others. With few points
        there are fewer components: at least `POINTS_PER_COMPONENT` points each.
        """
        components, dimensions = self.means_KL.shape
        active = max(1, min(components, points_NL.shape[0] // POINTS_PER_COMPONENT))
        used_U = used_L.nonzero().squeeze(1)
        if len(used_U) == 0:
            return
        # Centred: covariances are computed as E[x^2] - E[x]^2, which cancels badly far from zero.
        centre_L = points_NL.mean(0)
        x_NU = (points_NL - centre_L).index_select(1, used_U)
        # The last fit is a good start for weights that have moved little since (one check to the next).
        if int((self.weights_K > 0).sum()) == active > 1:
            iterations = more_iterations
            mixture = _Components(
                self.weights_K[:active],
                (self.means_KL[:active] - centre_L)[:, used_U],
                self.factors_KLL[:active][:, used_U][:, :, used_U],
            )
        else:
            iterations = first_iterations
            mixture = _start(x_NU, active)
        for _ in range(iterations):
            mixture = _improved(x_NU, mixture)
        self.weights_K.zero_()[:active] = mixture.weights_K
        self.means_KL.zero_()[:active, used_U] = mixture.means_KU + centre_L[used_U]
        self.factors_KLL.copy_(torch.eye(dimensions))
        self.factors_KLL[:active, used_U.unsqueeze(1), used_U] = mixture.factors_KUU
        self.narrow()

    @torch.no_grad()
    def narrow(self) -> None:
        """Derive the dimensions that are not N(0, 1) everywhere: only they cost a product when sampling."""
        identity_LL = torch.eye(self.factors_KLL.shape[1], device=self.factors_KLL.device)
        moved_KLL = (self.factors_KLL != identity_LL).any(0)
        moved_L = moved_KLL.any(0) | moved_KLL.any(1) | (self.means_KL != 0).any(0)
        self.used_U = moved_L.nonzero().squeeze(1)
        self.means_KU = self.means_KL[:, self.used_U]
        self.factors_KUU = self.factors_KLL[:, self.used_U][:, :, self.used_U]

    def sample(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """float32 (num_rows, L)."""
        dimensions = self.means_KL.shape[1]
        device = self.means_KL.device
        uniform_B = torch.rand(num_rows, generator=generator, device=device)
        noise_BL = torch.randn(num_rows, dimensions, generator=generator, device=device)
        bounds_K = self.weights_K.cumsum(0)
        # Times the last bound: rounding leaves the sum of the weights a little off 1.
        component_B = torch.searchsorted(bounds_K, uniform_B * bounds_K[-1], right=True)
        component_B = component_B.clamp_max(len(bounds_K) - 1)
        counts = torch.bincount(component_B, minlength=len(bounds_K)).tolist()
        # One product for each component. Rows of noise are exchangeable: they are taken in the order of the
        # components, and only the results are put in their rows' places.
        rows_BU = noise_BL.index_select(1, self.used_U)
        parts = [
            torch.addmm(self.means_KU[k], rows, self.factors_KUU[k].T)
            for k, rows in enumerate(torch.split(rows_BU, counts))
            if rows.shape[0]
        ]
        moved_BU = torch.empty_like(rows_BU)
        moved_BU[component_B.argsort(stable=True)] = torch.cat(parts)
        return noise_BL.index_copy_(1, self.used_U, moved_BU)


@dataclass(frozen=True)
class _Components:
    weights_K: Tensor
    means_KU: Tensor
    factors_KUU: Tensor
    """Lower Cholesky factors of the covariances."""


def _start(x_NU: Tensor, components: int) -> _Components:
    """Evenly spaced points as means, the covariance of all points everywhere."""
    picked = torch.linspace(0, x_NU.shape[0] - 1, components).long().to(x_NU.device)
    covariance_UU = torch.cov(x_NU.T).reshape(x_NU.shape[1], -1)
    factors_KUU = _factors(covariance_UU).repeat(components, 1, 1)
    return _Components(torch.full((components,), 1.0 / components).to(x_NU), x_NU[picked], factors_KUU)


def _improved(x_NU: Tensor, mixture: _Components) -> _Components:
    """One iteration: densities from whitened points (E step), then weighted moments (M step)."""
    # A component at a time: one product over all x x' is thin, with 20 components as one side, and took 1.5
    # times as long (5.1 against 3.4 CPU seconds for 20 iterations of 6,852 points in 87 dimensions).
    identity_KUU = torch.eye(x_NU.shape[1]).to(x_NU).expand_as(mixture.factors_KUU)
    whiten_KUU = torch.linalg.solve_triangular(mixture.factors_KUU, identity_KUU, upper=False)
    log_volume_K = mixture.factors_KUU.diagonal(dim1=1, dim2=2).log().sum(-1)
    constant_K = mixture.weights_K.clamp_min(1e-12).log() - log_volume_K
    distance_KN = [
        (x_NU - mean_U).mm(whiten_UU.T).square().sum(1)
        for mean_U, whiten_UU in zip(mixture.means_KU, whiten_KUU, strict=True)
    ]
    share_NK = (constant_K - 0.5 * torch.stack(distance_KN, 1)).softmax(1)
    mass_K = share_NK.sum(0).clamp_min(1e-6)
    means_KU = share_NK.T.mm(x_NU) / mass_K.unsqueeze(1)
    second_KUU = torch.stack([(x_NU * share_NK[:, k : k + 1]).T.mm(x_NU) for k in range(len(mass_K))])
    second_KUU = second_KUU / mass_K.view(-1, 1, 1)
    covariance_KUU = second_KUU - means_KU.unsqueeze(2) * means_KU.unsqueeze(1)
    return _Components(mass_K / mass_K.sum(), means_KU, _factors(covariance_KUU))


def _factors(covariance_UU: Tensor) -> Tensor:
    """Cholesky factors, with a floor under the variances that also covers rounding."""
    covariance_UU.diagonal(dim1=-2, dim2=-1).add_(SMALLEST_VARIANCE)
    factors: Tensor = torch.linalg.cholesky(covariance_UU)
    return factors

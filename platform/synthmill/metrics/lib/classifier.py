"""The small classifier behind image metrics: two to four convolutions, trained in seconds, the same way every
time.

Legend: N images, C channels, H height, W width, K classes, D features.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Pixels = npt.NDArray[np.uint8]
"""(N, C, H, W)."""
Labels = npt.NDArray[np.int64]
FEATURES = 64
# 3e-3: at 2e-3, 0.92 of 1,000 MNIST digits right after 300 steps; at 5e-3 features so robust to noise that
# KID hardly sees it (docs/log.md).
STEPS, BATCH_ROWS, LEARNING_RATE = 300, 128, 3e-3
_WIDTH = 16
_BLOCK = 512


class SmallClassifier(nn.Module):
    """Convolutions with pooling down to a map of at most 7 by 7, a dense layer of features, then classes."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        wide = _WIDTH
        while True:
            # Averages, not maxima: many times faster on a CPU, and as accurate here.
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True)]
            channels, height, width, wide = wide, -(-height // 2), -(-width // 2), min(2 * wide, 64)
            # Small images get two convolutions all the same.
            if max(height, width) <= 7 and len(layers) >= 6:
                break
        self.body = nn.Sequential(*layers)
        self.dense = nn.Linear(channels * height * width, FEATURES)
        self.out = nn.Linear(FEATURES, classes)

    def features(self, x_NCHW: Tensor) -> Tensor:
        """float32 (N, D), not negative."""
        return torch.relu(self.dense(self.body(x_NCHW).flatten(1)))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.out(self.features(x_NCHW))  # type: ignore[no-any-return]


def classifier_for(pixels: Pixels, classes: int) -> SmallClassifier:
    """One for images of this shape, with fresh weights from torch's global generator."""
    _, channels, height, width = pixels.shape
    return SmallClassifier(channels, height, width, classes)


def fit_classifier(
    pixels: Pixels, labels: Labels, classes: int, *, seed: int, steps: int = STEPS
) -> SmallClassifier:
    """Adam, cosine schedule, cross-entropy; on one machine images, labels and seed decide the weights."""
    # The generator beside it must draw the same numbers whether it is evaluated or not; and the caller may be
    # in inference mode, in which nothing can be trained.
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        model = classifier_for(pixels, classes)
        x_NCHW, y_N = torch.from_numpy(pixels), torch.from_numpy(labels)
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        # Epochs by permutation: with few images, draws with replacement leave a third of them out.
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            if len(order) < min(BATCH_ROWS, len(y_N)):
                order = torch.randperm(len(y_N))
            picked, order = order[:BATCH_ROWS], order[BATCH_ROWS:]
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(to_unit(x_NCHW[picked])), y_N[picked]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def in_blocks(pixels: Pixels, function: Any) -> npt.NDArray[np.float32]:
    """`function` of unit tensors, a block of images at a time, as one array."""
    with torch.inference_mode():
        # In blocks: activations of 10,000 images at once would be gigabytes.
        parts = [
            function(to_unit(torch.from_numpy(pixels[at : at + _BLOCK]))).float().numpy()
            for at in range(0, max(1, len(pixels)), _BLOCK)
        ]
    return np.concatenate(parts)


def predict(model: SmallClassifier, pixels: Pixels) -> Labels:
    """The most probable class of each image."""
    return np.asarray(in_blocks(pixels, model).argmax(1), dtype=np.int64)


def accuracy(model: SmallClassifier, pixels: Pixels, labels: Labels) -> tuple[int, int]:
    """Images classified as labelled, and images."""
    return int((predict(model, pixels) == labels).sum()), len(labels)


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]."""
    return pixels.float() * (2.0 / 255.0) - 1.0

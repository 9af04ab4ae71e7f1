"""What turns images into the features that distances are measured in; its name and hash are part of every
such figure's name.

Figures with different extractors can't be compared, so the name says which: `classifier-3f2a9c01` was trained
on these training images, `random-...` is an untrained network for images without labels, `torchscript-...` is
a file that the user named.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthmill.errors import RecipeError
from synthmill.metrics.lib.classifier import Labels, Pixels, classifier_for, fit_classifier, in_blocks

Features = npt.NDArray[np.float32]
FIELD = "extractor"
RANDOM_SEED = 20_260


class Extractor:
    """Images to features, scaled so that the training images have total variance 1."""

    def __init__(self, kind: str, sha256: str, function: Callable[[Tensor], Tensor], train: Pixels) -> None:
        self.name = f"{kind}-{sha256[:8]}"
        self._function = function
        # Distances in features of variance 1 can be read, whatever the network scales them to.
        spread = in_blocks(train, function).astype(np.float64).var(0).sum()
        self._scale = 1.0 / np.sqrt(spread) if spread > 0 else 1.0

    def __call__(self, pixels: Pixels) -> Features:
        """uint8 (N, C, H, W) to float32 (N, D)."""
        return (in_blocks(pixels, self._function) * self._scale).astype(np.float32)


class ClassifierExtractor(Extractor):
    """The layer before the last of a classifier of the training images, which metrics use as well."""

    def __init__(self, train: Pixels, labels: Labels, classes: int, *, seed: int) -> None:
        self.classifier = fit_classifier(train, labels, classes, seed=seed)
        super().__init__("classifier", weights_sha256(self.classifier), self.classifier.features, train)


def make_extractor(spec: str, train: Pixels, labels: Labels | None, classes: int, *, seed: int) -> Extractor:
    """`auto` (a classifier where there are at least two classes, else `random`), `classifier`, `random`, or
    `torchscript:PATH`.

    Raises:
        RecipeError: none of these, a classifier without classes, or a file that is no TorchScript model of
        images.
    """
    labelled = labels is not None and classes >= 2
    if spec == "auto":
        spec = "classifier" if labelled else "random"
    if spec == "classifier":
        if labels is None or not labelled:
            raise RecipeError("a classifier needs images of at least two classes; use random", field=FIELD)
        return ClassifierExtractor(train, labels, classes, seed=seed)
    if spec == "random":
        with torch.random.fork_rng(devices=[]):
            # A seed of its own, whatever the evaluation's: figures of two reports can be compared.
            torch.manual_seed(RANDOM_SEED)
            model = classifier_for(train, 1).eval().requires_grad_(False)
        return Extractor("random", weights_sha256(model), model.features, train)
    # Pretrained networks can't be fetched offline, so the user brings the file.
    kind, _, path = spec.partition(":")
    if kind != "torchscript" or not path:
        raise RecipeError(f"{spec!r} must be auto, classifier, random or torchscript:PATH", field=FIELD)
    return _torchscript(Path(path), train)


def weights_sha256(model: nn.Module) -> str:
    """Of names, shapes and values."""
    digest = hashlib.sha256()
    # Not the file: two files of the same weights must give one name.
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _torchscript(path: Path, train: Pixels) -> Extractor:
    """A TorchScript file: float32 (N, C, H, W) in [-1, 1] to (N, D). It is code that the user names."""
    if not path.is_file():
        raise RecipeError(f"no file at {path}", field=FIELD)
    try:
        model = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        features = in_blocks(train[:2], model)
    except (RuntimeError, ValueError) as fault:
        # PyTorch's message is a traceback of the script, whose last line is the error.
        why = str(fault).splitlines()[-1][:100]
        raise RecipeError(
            f"{path.name} does not turn these images into features ({why})", field=FIELD
        ) from None
    if features.ndim != 2:
        why = f"gives features of shape {features.shape}; (images, features) is needed"
        raise RecipeError(f"{path.name} {why}", field=FIELD)
    return Extractor("torchscript", hashlib.sha256(path.read_bytes()).hexdigest(), model, train)

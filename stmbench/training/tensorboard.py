"""Curves for TensorBoard, which is an extra."""

from __future__ import annotations

from pathlib import Path

from stmbench.errors import MissingPackageError
from stmbench.training.progress import Epoch


class Board:
    """Writes one point for each epoch. Raises MissingPackageError where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        require_board()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: Epoch) -> None:
        """The epoch's numbers at its step."""
        numbers = {
            "train/loss": epoch.loss,
            "train/learning_rate": epoch.learning_rate,
            "train/images_per_second": epoch.images / max(epoch.seconds, 1e-9),
            "test/accuracy": epoch.accuracy,
            "test/loss": epoch.test_loss,
        }
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch.step)
        self._writer.flush()


def require_board() -> None:
    """Raise MissingPackageError unless TensorBoard can be imported."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("TensorBoard", "--tensorboard", "tensorboard") from error

"""torchmetrics replaced by this package in programs that do not know it."""

from fastmetrics.acceleration.switching import accelerate, is_accelerated, restore

__all__ = ["accelerate", "is_accelerated", "restore"]

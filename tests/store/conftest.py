"""Fixtures of this floor: a small card, and a small disk."""

from tests.runs.conftest import card, small_disk

__all__ = ["card", "small_disk"]

"""Randomness by address: every draw has one place in a counter, whoever asks for it and when."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for; part of its address, so the numbers stand for ever."""

    CATALOGUE = 1
    TASTES = 2
    CUSTOMERS = 3
    CATEGORIES = 4
    PRODUCTS = 5
    STORE = 6
    PRICES = 7
    FEATURES = 8
    MARKETING = 9
    NOISE = 10
    DECISIONS = 11


def stream(key: tuple[int, int], purpose: Purpose, step: int = 0) -> np.random.Generator:
    """The generator of one purpose in one step: Philox 4×64 with ``key``, counting from (0, purpose, step, 0).

    Two addresses never share a number (each has 2^64 blocks of its own), so what is drawn depends neither on how many
    environments are simulated side by side nor on the order in which they are.
    Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    counter = np.array([0, int(purpose), step, 0], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=counter))

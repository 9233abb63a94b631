"""Stable hashes: fixed for ever, uniform, and the same for a unit wherever it appears."""

import numpy as np

from understudy.core.hashing import buckets, canonical, content_id, fractions, mix, text_hash, text_hashes


def test_hashes_never_change() -> None:
    """Values from this release must hold in every later one: slices and blocks depend on them."""
    assert text_hash("unit-1") == 13645229301554084550
    assert mix(np.array([1], np.uint64))[0] == 10451216379200822465


def test_mixing_is_splitmix64() -> None:
    """mix(0) is the first output of SplitMix64 seeded with 0 (Steele, Lea & Flood 2014): 0xE220A8397B1DCDAF."""
    assert mix(np.zeros(1, np.uint64))[0] == 0xE220A8397B1DCDAF


def test_buckets_and_fractions_are_uniform() -> None:
    """10,000 consecutive units spread evenly.

    χ² with 63 degrees of freedom exceeds 115 with probability 7e-5; inputs are fixed, so this cannot flicker.
    """
    units = np.arange(10_000, dtype=np.uint64)
    counts = np.bincount(buckets(units, 64), minlength=64)
    assert ((counts - 156.25) ** 2 / 156.25).sum() < 115
    f = fractions(units)
    assert 0 <= f.min() < f.max() < 1 and abs(f.mean() - 0.5) < 0.01


def test_a_salt_cuts_afresh() -> None:
    """Another salt is another, independent cut."""
    units = np.arange(10_000, dtype=np.uint64)
    both = (fractions(units) < 0.5) & (fractions(units, salt=1) < 0.5)
    assert abs(both.mean() - 0.25) < 0.02


def test_canonical_json_ignores_the_order_of_keys() -> None:
    """Equal values, equal bytes, equal ids; parts are length-prefixed, so moving a boundary changes the id."""
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
    assert content_id(b"ab", b"c") != content_id(b"a", b"bc")
    assert text_hashes(["a", "b"]).dtype == np.uint64


def test_many_texts_hash_as_each_alone() -> None:
    """With what they all begin with, and without; umlauts, nothing, and a text longer than a block."""
    texts = ["", "a", "ü", "x" * 300]
    assert text_hashes(texts).tolist() == [text_hash(text) for text in texts]
    assert text_hashes(texts, "app\0").tolist() == [text_hash(f"app\0{text}") for text in texts]
    assert text_hashes([]).shape == (0,)

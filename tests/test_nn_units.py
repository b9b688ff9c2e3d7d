"""Threshold units: truth tables, what one unit can and cannot do, the perceptron rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planararm.errors import InvalidInputError
from planararm.nn.units import AND, NAND, NOT, OR, XOR, ThresholdNetwork, ThresholdUnit, perceptron_rule, truth_table

TWO = truth_table(2)


def test_truth_tables() -> None:
    assert TWO.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert AND(TWO).tolist() == [0, 0, 0, 1]
    assert OR(TWO).tolist() == [0, 1, 1, 1]
    assert NAND(TWO).tolist() == [1, 1, 1, 0]
    assert NOT(truth_table(1)).tolist() == [1, 0]
    assert XOR(TWO).tolist() == [0, 1, 1, 0]
    assert truth_table(3).tolist() == [list(row) for row in itertools.product((0, 1), repeat=3)]


def test_batches_have_any_shape() -> None:
    x = np.random.default_rng(0).integers(0, 2, (3, 4, 2))
    assert np.array_equal(XOR(x), x[..., 0] ^ x[..., 1])
    assert XOR([1, 0]).shape == ()


def test_one_unit_computes_fourteen_of_sixteen_functions() -> None:
    weights = [-1.0, 0.0, 1.0]
    thresholds = [-1.5, -0.5, 0.5, 1.5]
    units = [ThresholdUnit([a, b], c) for a in weights for b in weights for c in thresholds]
    computed = {tuple(unit(TWO)) for unit in units}
    assert set(itertools.product((0, 1), repeat=4)) - computed == {(0, 1, 1, 0), (1, 0, 0, 1)}


def test_the_perceptron_rule_learns_what_one_unit_can() -> None:
    for labels in itertools.product((0, 1), repeat=4):
        learned = perceptron_rule(TWO, labels, max_passes=100)
        separable = labels not in ((0, 1, 1, 0), (1, 0, 0, 1))
        assert (learned.mistakes[-1] == 0) == separable
        assert (tuple(learned.unit(TWO)) == labels) == separable


def test_the_perceptron_rule_separates_points() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5))
    y = (x @ rng.normal(size=5) > 0.3).astype(int)
    assert np.array_equal(perceptron_rule(x, y).unit(x), y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ThresholdUnit([[1.0]], 0.0), r"one number per input, got shape \(1, 1\)"),
        (lambda: ThresholdUnit([], 0.0), r"got shape \(0,\)"),
        (lambda: ThresholdUnit([np.nan], 0.0), "weights must be finite"),
        (lambda: ThresholdUnit([1.0], [1.0]), r"threshold must be one number, got shape \(1,\)"),
        (lambda: AND([1, 0, 1]), r"x must have shape \(\*batch, 2\), got \(3,\)"),
        (lambda: ThresholdNetwork([]), r"at least one unit, got \[\]"),
        (lambda: ThresholdNetwork([[OR], []]), r"at least one unit, got \[1, 0\]"),
        (lambda: ThresholdNetwork([[OR, OR]]), "one unit, got 2"),
        (lambda: ThresholdNetwork([[OR], [AND]]), "layer 1 has 2 weights; it is given 1 inputs"),
        (lambda: truth_table(0), r"num_inputs must be a whole number in \[1, 16\], got 0"),
        (lambda: perceptron_rule([[0.0]], [0, 1]), r"got \(1, 1\) and \(2,\)"),
        (lambda: perceptron_rule([[0.0]], [2]), "y must be 0 or 1, got 2.0"),
        (lambda: perceptron_rule([[0.0]], [1], max_passes=0), "max_passes"),
    ],
)
def test_it_says_what_is_wrong(call: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()

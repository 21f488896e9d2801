"""Amounts as text."""

from __future__ import annotations

import pytest

from experiments.charts.drawing.amounts import amount, share, signed


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (-1e-17, "0"),
        (0.04, "< 0.1"),
        (0.06, "0.1"),
        (1234.56, "1,234.6"),
        (3.0, "3.0"),
        (3, "3"),
        (-2.04, "−2.0"),
        (-0.04, "−< 0.1"),
    ],
)
def test_an_amount_is_neither_a_negative_zero_nor_a_hidden_one(number, text):
    assert amount(number) == text


def test_whole_amounts():
    assert [amount(number, 0) for number in (0.0, 0.4, 1.6)] == ["0", "< 1", "2"]


@pytest.mark.parametrize(
    ("difference", "size", "text"),
    [
        (0.3, "0.3000", "+0.3000"),
        (-2.0, "2", "−2"),
        (-0.04, "0.0", "±0"),
        (0.0, "0", "±0"),
        (0.0, "0%", "±0%"),
        (1e-9, "0.0000", "±0"),
        (100.0, "100%", "+100%"),
        (-0.04, "< 0.1", "< 0.1"),
    ],
)
def test_a_difference_has_a_sign_only_if_its_size_is_shown(difference, size, text):
    assert signed(difference, size) == text


def test_a_share_is_none_or_all_only_if_it_is():
    shares = (0.0, -0.0, 0.001, 0.006, 0.5, 0.994, 0.999, 1.0, 1.2)
    assert [share(part) for part in shares] == [
        "0%", "0%", "< 1%", "1%", "50%", "99%", "> 99%", "100%", "120%",
    ]  # fmt: skip

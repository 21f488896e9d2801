"""Amounts and differences as text, so that rounding neither hides a small one nor shows `0.0` or `−0.0`."""

from __future__ import annotations

import re

MINUS = "−"
NOTHING = 1e-9  # what sums of floats leave where the result is zero


def amount(number: float, decimals: int = 1) -> str:
    """Return a number with these decimals: `3.2`, `1,234.5`; `0` for none, `< 0.1` where it would round to zero. Whole
    numbers (int) have no decimals."""
    if number < -NOTHING:
        return MINUS + amount(-number, decimals)
    if number <= NOTHING:
        return "0"
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.{decimals}f}"
    return text if _has_digit(text) else f"< {10**-decimals:.{decimals}f}"


def signed(difference: float, size: str) -> str:
    """Return the size of a difference with its sign: `+0.3`, `−2%`, `±0%`; a bound such as `< 0.1` has none."""
    if not _has_digit(size):
        return "±" + re.sub(r"0[.0]*", "0", size)
    if not difference or size.startswith("<"):
        return size
    return ("+" if difference > 0 else MINUS) + size


def share(part: float) -> str:
    """Return a share (0 to 1) as a percentage: `92%`; `< 1%` and `> 99%` where rounding would make it none or all."""
    text = f"{part * 100:.0f}%"
    if text in ("0%", "-0%"):
        return "< 1%" if part > NOTHING else "0%"
    return "> 99%" if text == "100%" and part < 1 - NOTHING else text


def _has_digit(text: str) -> bool:
    return any(digit in text for digit in "123456789∞")

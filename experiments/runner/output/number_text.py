"""Numbers in text: their positions and values."""

import math
import re
from bisect import bisect_right

_SIGN = "[-+−–‑]"  # also the typographic minus, the en dash, the non-breaking hyphen
_SPACE = "[\u00a0\u2009\u202f]"  # no-break spaces group digits; a plain space separates numbers
_GROUPS = (
    rf"(?:\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?:'\d{{3}})+|\d{{1,3}}(?:’\d{{3}})+|\d{{1,3}}(?:{_SPACE}\d{{3}})+)"
)
_DIGITS = rf"(?:{_GROUPS}|\d+(?:_\d+)*)"
_EXPONENT = rf"(?:[eE]{_SIGN}?\d+|[dD]{_SIGN}\d+)"
_ANY_EXPONENT = rf"[eEdD]{_SIGN}?\d+"
MULTIPLES = {"k": 3, "K": 3, "M": 6, "G": 9}  # 1.2k is 1200; powers of ten
_MULTIPLE = rf"[{''.join(MULTIPLES)}]\b"
_NUMBER = rf"(?:(?:{_DIGITS}(?:\.\d*)?|\.\d+){_EXPONENT}?(?:{_MULTIPLE})?)"
_MSVC = r"1\.#(?:QNAN|SNAN|IND|INF)"  # nan and inf as printed by Microsoft's C library
_WORD = rf"(?:(?:(?i:nan|inf(?:inity)?)|{_MSVC})\b|∞)"

# `{number}` in a pattern. RE2 has no lookarounds, so `NumbersOfLine` checks the match.
RE2_NUMBER = rf"{_SIGN}?(?:{_WORD}|{_NUMBER})"

# What may be between a label and its number: blanks for alignment, and what Python prints around a number, such as
# np.float64(0.5), tensor(0.5, device='cuda:0'), Decimal('0.5'), [0.5].
_TYPE = (
    r"(?:\w+\.)*(?:b?float(?:ing)?\d*(?:_\w+)?|half|single|double|longdouble|u?int\d*|tensor|eagertensor|d?array"
    r"|devicearray|variable|parameter|decimal)\("
)
_MARK = "[~≈$€£¥]"  # an approximation, a currency
RE2_LEAD = rf"[ \t]*(?:(?i:{_TYPE}))?[\[ ]*[\"']?(?:{_MARK} ?)?"
_LEAD = re.compile(RE2_LEAD, re.ASCII)

_FULL_NUMBER = re.compile(RE2_NUMBER, re.ASCII)
_OTHER_BASE = r"0(?:[xX][0-9a-fA-F]+|[bB][01]+|[oO][0-7]+)"
_POWER = rf"(?:(?:\^|\*\*)\(?{_SIGN}?\d+\)?|[⁺⁻]?[⁰¹²³⁴-⁹]+)"
_END = rf"(?:{_ANY_EXPONENT}(?:{_MULTIPLE})?|\s?[xX×*·⋅]\s?10{_POWER}|{_POWER}|[¼-¾⅐-⅞]|{_MULTIPLE})"
_IN_LINE = re.compile(
    rf"(?:(?<![\w.)\]]){_SIGN})?"  # not the hyphen of acc-0.9
    rf"(?:{_MSVC}\b|{_OTHER_BASE}|(?:{_GROUPS}(?!\d)|\d+(?:_\d+)*)(?:\.\d*)?{_END}?|\.\d+{_END}?"
    rf"|(?<![\w.]){_WORD})",
    re.ASCII,
)
_IMAGINARY = r"[-+][\d.]+(?:[eE][-+]?\d+)?[ij]\b"
_MORE_OF_WHOLE = re.compile(
    rf"[.,:'’_][\d.,:'’_]*\d(?:[eE][-+]?\d+)?|{_IMAGINARY}|([-/])\d\d?\1\d\d?\b"
    r"|[dhm] ?\d+(?:\.\d+)? ?[hms]\b| days?,? -?\d+:[\d:.]+",
    re.ASCII,
)  # 0|,5 12|:30 1|.2.3 2|+1j 2026|-11-30 1|m30s 2| days, 3:04:05
_MORE_OF_FRACTION = re.compile(
    rf"[._][\d._]*\d(?:[eE][-+]?\d+)?|{_IMAGINARY}", re.ASCII
)  # 1.2|.3, but 0.5|,0.7 is a list
# Two numbers of which the first alone would be a wrong value: 3|/10 0.5|-0.7 12%|-15% 0.5|->0.7 3| of 10. The group is
# what joins them. Spaces around / and - also separate columns, so that only whole numbers are a fraction then.
_SECOND = rf"(?:{_MARK} ?)?(?:\d[\d.,]*|\.\d+)(?:[eE][-+]?\d+)?(?: ?%)?"
_PAIR = re.compile(rf"((?: ?%)?(?:/|⁄|∕|…| ?(?:-+>|=>|→) ?|[-–—‑])){_SECOND}", re.ASCII)
_PAIR_OF_WHOLE = re.compile(rf"((?: ?%)? ?/ ?| (?:out )?of )(?:{_SECOND})", re.ASCII)
_SPACED = re.compile(r"( )\d{3}(?: \d{3})*(?:[.,]\d+)?(?![\w.,]*\d)", re.ASCII)  # 1| 234,5
_SPACED_BEGIN = re.compile(r"[-+−–‑]?[1-9]\d{0,2}", re.ASCII)
_TORN_EXPONENT = re.compile(r"[eE][-+]?(?![\w.])", re.ASCII)  # 1e5|e 1.5|e+
_EUROPEAN = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_EUROPEAN_FRACTION = re.compile(r",\d+(?![\d.,])", re.ASCII)  # 1.234|,5
_MORE_OF_LIST = re.compile(r"[\s,;]+[-+−]?\.?\d[^\])]*[\])]?", re.ASCII)  # [0.9|, 0.8]
_SEPARATORS = ",'’"
_AS_FLOAT = str.maketrans(
    dict.fromkeys("−–‑", "-") | dict.fromkeys(",'’_\u00a0\u2009\u202f", "") | {"∞": "inf"}
)
EXACT_TO = 1 << 53  # floats hold every whole number up to here
_LONGEST_WHOLE = 1e199  # text is kept up to 200 characters
_TRAILING = ".,;:)]}>\"'%"


def parse_number(text: str) -> float | None:
    """Return the number that the text represents, or None. nan and inf are numbers here; a whole number that a float
    would round is an int. Supports signs (also the typographic minus), exponents (also Fortran's D), `,`, `'`, `_` or a
    no-break space between digits, and k, M or G after them. Ignores punctuation after the number and a percent sign.
    """
    text = text.strip()
    if not _FULL_NUMBER.fullmatch(text):
        text = text.rstrip(_TRAILING).rstrip()
        if not _FULL_NUMBER.fullmatch(text):
            return None
    plain = text.translate(_AS_FLOAT)
    if plain[-1] in MULTIPLES:
        digits, _, exponent = re.sub("[dD]", "e", plain[:-1].lower()).partition("e")
        return float(f"{digits}e{int(exponent or 0) + MULTIPLES[plain[-1]]}")
    if "#" in plain:
        return math.copysign(math.inf, float(plain.partition(".")[0])) if plain.endswith("INF") else math.nan
    number = float(plain if plain.lstrip("+-")[0].isalpha() else re.sub("[dD]", "e", plain))
    if EXACT_TO <= abs(number) < _LONGEST_WHOLE and plain.lstrip("+-").isdecimal():
        return int(plain)
    return number


def lead_length(text: str) -> int:
    """Return the number of characters before the number in a text: blanks, a bracket, and the type name that Python
    prints."""
    match = _LEAD.match(text)
    return match.end() if match else 0


class NumbersOfLine:
    """Finds the whole numbers that partial matches in a line of text belong to."""

    def __init__(self, line: str, *, named: str = "") -> None:
        """`named` is the part of the pattern behind its number: what it names there is no part of the number."""
        self.line = line
        self._multiples = {multiple for multiple in MULTIPLES if multiple in named}
        self._tokens = list(_IN_LINE.finditer(line))

    def cut(self, start: int, end: int, *, match: tuple[int, int], has_label: bool) -> str:
        """Return the longer number of which `line[start:end]` is a part, or "" when it is whole.

        `match` is where the whole match begins and ends: a pattern that names the comma around its number reads a list,
        unless the comma is the end of `loss: ([0-9.]+),`, which `has_label`.
        """
        match_start, match_end = match
        is_list = match_start < start and self.line[start - 1] in _SEPARATORS
        list_end = end + 1 if has_label else end
        first = bisect_right(self._tokens, start, key=lambda token: token.end())
        for index in range(first, len(self._tokens)):
            token = self._tokens[index]
            begin, stop = token.span()
            if begin >= end:
                break
            if begin < start and not is_list:
                return token[0]
            is_named = (match_end > list_end and self.line[end] in _SEPARATORS) or (
                match_end > end and self.line[end] in self._multiples
            )
            if end < stop and not is_named:
                return self.line[start:stop]
            if (
                stop == end
                and self.line[end:match_end].strip() == "%"
                and not self.line[match_end - 1].isspace()
            ):
                rest = _PAIR.match(self.line, end)
                return self.line[start : rest.end()] if rest else ""
            if stop == end == match_end and self.line[stop - 1].isdigit():
                more = _MORE_OF_FRACTION if any(char in token[0] for char in ".eEdD") else _MORE_OF_WHOLE
                rest = more.match(self.line, end)
                if not rest and _EUROPEAN.fullmatch(token[0]):
                    rest = _EUROPEAN_FRACTION.match(self.line, end)
                if rest:
                    return token[0] + rest[0]
            if stop == end == match_end and (pair := _pair(token[0], self.line, end)):
                return token[0] + pair[0]
        return ""

    def list_of(self, start: int, end: int) -> str:
        """Return the bracketed list whose first number is `line[start:end]`, or "" when it is not in a list."""
        bracket = self.line[:start].rstrip(" \t\"'")[-1:]
        rest = _MORE_OF_LIST.match(self.line, end) if bracket in ("[", "(") else None
        return bracket + self.line[start:end] + rest[0] if rest else ""


def joint(number: str) -> str:
    """Return what joins the two parts of a number that `NumbersOfLine.cut` returned, such as / in 3/10, or ""."""
    token = _IN_LINE.match(number)
    pair = _pair(token[0], number, token.end()) if token else None
    return pair[1] if pair and pair.re.groups and pair.end() == len(number) else ""


def _pair(token: str, line: str, end: int) -> re.Match[str] | None:
    """Return the match of what follows a token that ends at `end` of the line, if the token is only a part."""
    patterns = [_PAIR, _TORN_EXPONENT]
    if token.lstrip("+-−–‑").isdecimal():
        patterns += [_PAIR_OF_WHOLE]
        patterns += [_SPACED] if _SPACED_BEGIN.fullmatch(token) else []
    return next(filter(None, (pattern.match(line, end) for pattern in patterns)), None)

"""Numbers in text: where they begin and end, and what they are."""

import re

_SIGN = "[-+−]"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:'\d{3})+|\d+(?:_\d+)*)"
_EXPONENT = rf"(?:[eE]{_SIGN}?\d+|[dD]{_SIGN}\d+)"
_NUMBER = rf"(?:(?:{_DIGITS}(?:\.\d*)?|\.\d+){_EXPONENT}?)"
_WORD = r"(?i:nan|inf(?:inity)?)\b"

# `{number}` in a pattern. RE2 has no lookarounds, so `cut_number` checks the match.
RE2_NUMBER = rf"{_SIGN}?(?:{_NUMBER}|{_WORD})"

_WHOLE = re.compile(RE2_NUMBER, re.ASCII)
_HEXADECIMAL = r"0[xX][0-9a-fA-F]+"
_POWER_OF_TEN = rf"\s?[xX×*·]\s?10(?:\^|\*\*)\(?{_SIGN}?\d+\)?"
_IN_LINE = re.compile(
    rf"(?:(?<![\w.)\]]){_SIGN})?"  # not the hyphen of acc-0.9
    rf"(?:{_HEXADECIMAL}|(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d{{1,3}}(?:'\d{{3}})+(?!\d)|\d+(?:_\d+)*)(?:\.\d*)?"
    rf"(?:{_EXPONENT}|{_POWER_OF_TEN})?|\.\d+(?:{_EXPONENT}|{_POWER_OF_TEN})?|(?<![\w.]){_WORD})",
    re.ASCII,
)
_MORE_OF_WHOLE = re.compile(r"[.,:'_][\d.,:'_]*\d(?:[eE][-+]?\d+)?", re.ASCII)  # 0|,5 12|:30 1|.2.3
_MORE_OF_FRACTION = re.compile(r"[._][\d._]*\d(?:[eE][-+]?\d+)?", re.ASCII)  # 1.2|.3, but 0.5|,0.7 is a list
_SEPARATORS = ",'"
_TRAILING = ".,;:)]}>\"'%"


def parse_number(text: str) -> float | None:
    """Return the number that the text is, or None. nan and inf are numbers here.

    Signs (the typographic minus too), exponents (Fortran's D too) and `,`, `'` or `_` between digits are read, and the
    punctuation behind it and a percent sign are left out.
    """
    text = text.strip()
    if not _WHOLE.fullmatch(text):
        text = text.rstrip(_TRAILING).rstrip()
        if not _WHOLE.fullmatch(text):
            return None
    plain = text.replace("−", "-").translate(str.maketrans("", "", ",'_"))
    return float(plain if plain.lstrip("+-")[0].isalpha() else re.sub("[dD]", "e", plain))


def cut_number(line: str, start: int, end: int, *, match_end: int) -> str:
    """Return the longer number of which `line[start:end]` is a part, or "" when it is whole.

    `match_end` is where the whole match ends: a pattern that names the comma around its number reads a list.
    """
    for token in _IN_LINE.finditer(line):
        begin, stop = token.span()
        if begin >= end:
            return ""
        is_list = line[start - 1] in _SEPARATORS if start else False
        if begin < start < stop and not is_list:
            return token[0]
        if begin < end < stop and not (match_end > end and line[end] in _SEPARATORS):
            return line[max(begin, start) :][: stop - max(begin, start)]
        if stop == end == match_end and line[stop - 1].isdigit():
            more = _MORE_OF_FRACTION if any(char in token[0] for char in ".eEdD") else _MORE_OF_WHOLE
            if rest := more.match(line, end):
                return token[0] + rest[0]
    return ""

"""Standard streams that take whatever is printed: of any encoding, and where they are closed."""

import codecs
import io
import os
import sys
import unicodedata

# One ASCII character where it can be, so that tables and pictures keep their columns.
_SUBSTITUTES = {
    **dict(zip("▁▂▃▄▅▆▇█", ".:-=+*#@", strict=True)),
    **dict(zip("×÷·•–—−‖⁄↑↓✓✗●○■□◆△▲▼", "x/..---|/^vyx*o#o*^^v", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉░▒▓", "||||||#.:#", strict=True)),
    **dict(zip("†′″⁻₋◇", "+'\"--o", strict=True)),
    "±": "+-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "∝": "~",
    "∞": "inf",
    "∅": "none",
    "√": "sqrt",
    "Σ": "sum",
    "∂": "d",
    "∇": "grad ",
    "Δ": "D",
    "ℓ": "l",
    "“": '"',
    "”": '"',
    "’": "'",
    "∈": "in",
    "∫": "int",
    "∘": "o",
}


def prepare_streams() -> None:
    """Let nothing that is printed end the program.

    What a stream's encoding does not have is written in ASCII, and what goes to a closed stream
    goes nowhere.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would have its number, and get what is printed.
            os.open(os.devnull, os.O_RDWR)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error("ascii substitutes", _substituted)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ascii substitutes")


def in_ascii(text: str) -> str:
    """A text with other characters than ASCII's written by means of those."""
    return "".join(c if c.isascii() else _substitute(c) for c in text)


def _substitute(character: str) -> str:
    if character in _SUBSTITUTES:
        return _SUBSTITUTES[character]
    if "\u2500" <= character <= "\u257f":  # lines of tables
        name = unicodedata.name(character)
        if "AND" in name:
            return "+"
        return "|" if "VERTICAL" in name else "-" if "HORIZONTAL" in name else "+"
    if "\u2800" <= character <= "\u28ff":  # dots of braille
        return " " if character == "\u2800" else "*"
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain:
        return plain
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):  # GREEK SMALL LETTER DELTA
        return name.split("LETTER ")[-1].split()[0].lower()
    return "?"


def _substituted(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return in_ascii(error.object[error.start : error.end]), error.end

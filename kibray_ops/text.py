"""What other people wrote, made fit to print."""

JOINER = "\N{ZERO WIDTH JOINER}"
"""Makes one emoji of several."""


def printable(text: str) -> str:
    """Return a text on one line, without the control characters that a terminal or a mail header would obey."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() or letter == JOINER else " " for letter in text)
    return " ".join(text.split())

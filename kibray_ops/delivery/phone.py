"""Numbers in E.164, and how many segments a text takes."""

import math
from functools import cache

GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The letters of GSM 03.38; a text with any other is sent as UCS-2."""
GSM_7_EXTENDED = frozenset("^{}\\[~]|€\f")
"""These take the room of two."""


@cache
def e164(phone: str) -> str | None:
    """Return a number in E.164 (+13035550123), or None when it is no number that could be called.

    Without a country code it is American.
    """
    import phonenumbers

    try:
        number = phonenumbers.parse(phone, "US")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def segments(text: str) -> int:
    """Return how many segments a text is sent in, each of which is paid for: 160 letters of GSM-7, or 70 of UCS-2.

    In a text of several, each holds 153, or 67.
    """
    if all(letter in GSM_7 or letter in GSM_7_EXTENDED for letter in text):
        length, alone, each = sum(2 if letter in GSM_7_EXTENDED else 1 for letter in text), 160, 153
    else:
        length, alone, each = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= alone else math.ceil(length / each)

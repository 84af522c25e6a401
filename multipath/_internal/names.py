"""Names that anybody may have chosen, such as those of folders, shown so that they do no harm."""

from __future__ import annotations

JOINERS = "\u200c\u200d"
"""Invisible, and part of how words of some languages and some emoji are written."""


def visible(text: object) -> str:
    r"""Text in one line, with an escape for each character that would not show or move others.

    These are control characters, line breaks, marks of the direction of writing and bytes that are
    no text. What people write otherwise, in any language, stays as it is.

    Args:
        text: Anything with a ``str``.

    Example:
        >>> print(visible("kick\n\x1b[31m drum \u202e 🥁 \\ ü"))
        kick\n\x1b[31m drum \u202e 🥁 \ ü
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(
        character
        if character.isprintable() or character in JOINERS
        else character.encode("unicode_escape").decode()
        for character in plain
    )

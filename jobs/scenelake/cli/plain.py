"""Text from outside on a terminal: keys, topics and reasons are shown, never obeyed."""

from rich.markup import escape


def plain(text: str) -> str:
    """The text for a console that reads markup: brackets stay brackets, control characters become escapes."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))

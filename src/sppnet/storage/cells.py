"""Texts in tables: one that a spreadsheet would run as a formula gets an apostrophe, which reading takes off again."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "'")


def spreadsheet_safe(text: str) -> str:
    """Return a text that spreadsheets show as it is; ``safe_text`` gives back what it was."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def safe_text(cell: str) -> str:
    """Return the text that ``spreadsheet_safe`` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell

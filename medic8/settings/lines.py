"""In which line of a TOML text each key and each array element stands; ``tomllib`` does not tell."""

from __future__ import annotations

import re
import tomllib

#: Keys and array indices, from the document's root.
KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
_SCALAR = re.compile(
    r'"""(?:\\[\s\S]|(?!""")[^\\])*"{3,5}'
    r"|'''(?:(?!''')[\s\S])*'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]+"
)


def lines_of(text: str) -> dict[KeyPath, int]:
    """
    The line, from 1, of every key, table and array element of *text*.

    Args:
        text: A document that ``tomllib`` has accepted; of any other the answer is incomplete.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """
    Walks once over a document.

    Attributes:
        lines: What was found so far; a table that is opened again keeps its first line.
    """

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        #: How many tables each array of tables has.
        self._arrays: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._take("["):
                table = self._header()
            elif not self._assignment(table):
                return

    def _header(self) -> KeyPath:
        """Read ``[a.b]`` or ``[[a.b]]``; inside an array of tables the last one is meant."""
        is_array = self._take("[")
        start = self._at
        path: KeyPath = ()
        keys = self._keys()
        for depth, key in enumerate(keys, 1):
            path = (*path, key)
            if is_array and depth == len(keys):
                self._arrays[path] = self._arrays.get(path, 0) + 1
            self._note(path, start)
            if count := self._arrays.get(path):
                path = (*path, count - 1)
                self._note(path, start)
        self._at = self._text.find("]]" if is_array else "]", self._at) + (2 if is_array else 1)
        return path

    def _assignment(self, table: KeyPath) -> bool:
        """Read ``a.b = value``; False if there is none."""
        start = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        if path == table or not self._take("="):
            return False
        self._value(path)
        return True

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        if self._take("["):
            index = 0
            while self._skip_blank() and not self._take("]"):
                self._note((*path, index), self._at)
                self._value((*path, index))
                self._skip_blank()
                self._take(",")
                index += 1
        elif self._take("{"):
            while self._skip_blank() and not self._take("}") and self._assignment(path):
                self._skip_blank()
                self._take(",")
        elif found := _SCALAR.match(self._text, self._at):
            self._at = found.end()

    def _keys(self) -> list[str]:
        keys = []
        while found := _KEY.match(self._text, self._at):
            self._at = found.end()
            keys.append(_unquoted(found[1]))
            if not self._take("."):
                break
        return keys

    def _skip_blank(self) -> bool:
        """Pass white space and comments; whether anything is left."""
        if blank := _BLANK.match(self._text, self._at):
            self._at = blank.end()
        return self._at < len(self._text)

    def _take(self, mark: str) -> bool:
        """Pass *mark* if it comes next."""
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _note(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, self._text.count("\n", 0, at) + 1)


def _unquoted(key: str) -> str:
    return key if key[0] not in "\"'" else str(tomllib.loads(f"key = {key}")["key"])

"""BERT's tokens of a text: words in lower case without accents, cut greedily into the longest known pieces.

After BERT's own tokenization (https://github.com/google-research/bert, tokenization.py, Apache-2.0).
"""

from __future__ import annotations

import unicodedata

from agentlib.types import Iterable, Iterator

LONGEST = 100  # characters of a word that is cut into pieces; a longer one is unknown as a whole
READ = 64  # characters a token that are looked at, so that the end of a book costs nothing
CJK = (  # Chinese characters, each a word of its own; Japanese kana and Korean are written in words
    *(
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
    ),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class WordPiece:
    """The tokens of one vocabulary: its pieces in the order of their numbers; `##` begins one that goes on a word."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.numbers = {piece: number for number, piece in enumerate(vocabulary)}

    def encode(self, text: str, most: int) -> list[int]:
        """The numbers of the text's tokens between [CLS] and [SEP], at most `most` of them in all."""
        found = [self.numbers["[CLS]"]]
        for word in words(text[: most * READ]):
            found += self.pieces(word)
            if len(found) >= most:
                break
        return [*found[: most - 1], self.numbers["[SEP]"]]

    def pieces(self, word: str) -> list[int]:
        """A word as its longest pieces from the left; [UNK] where that leaves a rest."""
        found: list[int] = []
        start = 0
        while start < len(word) <= LONGEST:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.numbers), None)
            if end is None:
                return [self.numbers["[UNK]"]]
            found.append(self.numbers[mark + word[start:end]])
            start = end
        return found or [self.numbers["[UNK]"]]


def words(text: str) -> list[str]:
    """The words of a text; a sign of punctuation is a word."""
    return "".join(_spaced(text)).split()


def _spaced(text: str) -> Iterator[str]:
    for sign in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(sign)
        if sign in "\t\n\r" or kind[0] == "Z":
            yield " "
        elif kind in ("Mn", "Cc", "Cf") or sign == "\ufffd":  # accents, control characters
            continue
        elif kind[0] == "P" or sign.isascii() and kind[0] == "S" or _chinese(ord(sign)):
            yield f" {sign} "
        else:
            yield sign


def _chinese(code: int) -> bool:
    return code >= 0x3400 and any(first <= code <= last for first, last in CJK)

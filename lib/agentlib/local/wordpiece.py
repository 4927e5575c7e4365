"""BERT's tokens of a text: words in lower case without accents, cut greedily into the longest known pieces. After
BERT's tokenizer (https://github.com/google-research/bert, tokenization.py, Apache-2.0)."""

import re
import unicodedata

from agentlib.types import Iterable, Iterator

LONGEST = 100  # characters of a word that is cut into pieces; a longer word is unknown
CHARACTERS = 64  # of the text that are read for each token, so that a long book takes no longer
# Chinese characters are words each. Japanese kana and Korean are not among them: they are written in words.
_PLANES = "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
CJK = re.compile(f"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff{_PLANES}]")


class WordPiece:
    """A vocabulary: the pieces in the order of their numbers. `##` begins a piece that continues a word."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.numbers = {piece: number for number, piece in enumerate(vocabulary)}

    def encode(self, text: str, most: int) -> list[int]:
        """The numbers of the text's tokens between [CLS] and [SEP], at most `most` of them in all."""
        numbers = [self.numbers["[CLS]"]]
        for word in words(text[: most * CHARACTERS]):
            numbers += self.pieces(word)
            if len(numbers) >= most:
                break
        return [*numbers[: most - 1], self.numbers["[SEP]"]]

    def pieces(self, word: str) -> list[int]:
        """The numbers of a word's longest pieces from the left; [UNK] if they do not make up all of it."""
        numbers: list[int] = []
        start = 0
        while start < len(word) <= LONGEST:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.numbers), None)
            if end is None:
                return [self.numbers["[UNK]"]]
            numbers.append(self.numbers[mark + word[start:end]])
            start = end
        return numbers or [self.numbers["[UNK]"]]


def words(text: str) -> list[str]:
    return "".join(_spaced(text)).split()


def _spaced(text: str) -> Iterator[str]:
    for sign in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(sign)
        if sign in "\t\n\r" or kind[0] == "Z":
            yield " "
        elif kind in ("Mn", "Cc", "Cf") or sign == "\ufffd":  # accents, control characters
            continue
        elif kind[0] == "P" or sign.isascii() and kind[0] == "S" or CJK.match(sign):
            yield f" {sign} "
        else:
            yield sign

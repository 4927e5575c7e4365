"""all-MiniLM-L6-v2, quantized to int8, on onnxruntime: turns a text into 384 numbers (docs/provider-minilm.md).

Texts go through one at a time: the int8 model scales all texts of a batch together, so a text in a batch would get
another vector than the text alone, and a batch is no faster on a processor. Its tokens are BERT's (tokenization.py in
https://github.com/google-research/bert, Apache-2.0): words in lower case without accents, in the longest known pieces.
"""

import os
import re
import unicodedata
from importlib import import_module

from agentlib import records
from agentlib.faults import Fault
from agentlib.local import models
from agentlib.types import Any, Iterable

# Wheels that need no others for this; 151 MB unpacked.
RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6")
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "minilm.json")
TITLE = "all-MiniLM-L6-v2"
TOKENS = 256  # of a text; the model was trained on no more, and the rest of a text is ignored
LONGEST = 100  # characters of a word that is cut into pieces; a longer word is unknown
CHARACTERS = 64  # of the text that are read for each token, so that a long book takes no longer
# Chinese characters are words each. Japanese kana and Korean are not among them: they are written in words.
_PLANES = "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
CJK = re.compile(f"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff{_PLANES}]")


def pins() -> list[models.Pin]:
    """The pinned files, each like a model of models.json: the weights, then the vocabulary."""
    with open(PINS, "rb") as file:
        return records.loads(file.read())  # type: ignore[no-any-return]


def installed() -> bool:
    there = all(os.path.isfile(models.path(pin)) for pin in pins())
    return there and models.has_runtime("onnxruntime", "numpy")


def absent() -> Fault:
    cost = "0.15 GB of download, 0.17 GB of disk, licence Apache-2.0, no key needed"
    cure = f"`agent-llm local install --size embeddings` fetches it: {cost}"
    return Fault("not_found", f"{TITLE} is not on this machine; {cure}", retryable=False)


class MiniLM:
    """The model in memory (0.26 GB with its runtime); several threads may use it at once."""

    def __init__(self) -> None:
        if not installed():
            raise absent()
        self._numpy: Any = import_module("numpy")
        onnxruntime: Any = import_module("onnxruntime")
        weights, vocabulary = (models.path(pin) for pin in pins())
        with open(vocabulary, encoding="utf-8") as file:
            self._tokens = WordPiece(file.read().split("\n"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        processors = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(weights, options, providers=processors)

    def vector(self, text: str) -> tuple[list[float], int]:
        """(384 numbers, a vector of length 1; how many tokens were read). The vector is the mean over the tokens."""
        ids = self._tokens.encode(text, TOKENS)
        row = self._numpy.array([ids], dtype="int64")
        inputs = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
        mean = self._session.run(None, inputs)[0][0].mean(axis=0)
        unit = mean / self._numpy.linalg.norm(mean)
        return [round(x, 7) for x in unit.tolist()], len(ids)


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
    spaced = ""
    for sign in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(sign)
        if sign in "\t\n\r" or kind[0] == "Z":
            spaced += " "
        elif kind[0] == "P" or sign.isascii() and kind[0] == "S" or CJK.match(sign):
            spaced += f" {sign} "
        elif kind not in ("Mn", "Cc", "Cf") and sign != "\ufffd":  # accents, control characters
            spaced += sign
    return spaced.split()

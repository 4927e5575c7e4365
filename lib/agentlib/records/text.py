"""What text bytes are, for all that takes text as it is: by its mark, as UTF-8, else as Latin-1."""

from agentlib import stderr
from agentlib.faults import Fault

OF_TEXT = bytes({7, 8, 9, 10, 11, 12, 13, 27, *range(32, 256)})  # no control character


def text_of(data: bytes, source: str = "standard input") -> str:
    """The text that the bytes are, by their byte order mark, as UTF-8, or else as Latin-1, which is then said.
    `invalid_input` where they are no text: a NUL in them, or no UTF-8 and a control character in fifty."""
    marks = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
    codec = next((codec for mark, codec in marks if data.startswith(mark)), "utf-8")
    try:
        if codec == "utf-16" or b"\0" not in data:
            text = data.decode(codec)
            if codec == "utf-16":
                stderr.warn(f"{source} is UTF-16: read as such")
            return text
    except UnicodeDecodeError:
        pass
    if binary(data):
        why = f"{source} is not text: give a picture or document by agent-context"
        raise Fault("invalid_input", why)
    read, text = data.decode(codec, "ignore"), data.decode(codec, "replace")
    wrong = len(text) - len(read)
    if b"\xff" not in data and wrong > len(read) - len(read.encode("ascii", "ignore")):
        stderr.warn(f"{source} is not UTF-8: read as Latin-1")
        return data.decode("cp1252", "replace")
    stderr.warn(f"{source}: {wrong} places are not UTF-8: each stands as \N{REPLACEMENT CHARACTER}")
    return text


def binary(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 are no text either: a NUL, or a control character in fifty."""
    return b"\0" in data or len(data.translate(None, OF_TEXT)) > len(data) // 50

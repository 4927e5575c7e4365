"""Which files may be run for their schema: those with the mark in them that only their owner can change."""

import os
import stat

from agentlib import paths
from agentlib.faults import Fault

MARK = b"agent-schema"
LOOP = (b"agent-react", b"--name")  # a script with both answers through agent-react
SCAN = 64 << 20  # bytes of a file that are searched for the mark
_TYPES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


class Skipped(Fault):
    """The file is no candidate at all (a folder, no mark): left out of a folder's listing in silence."""


class NoInterpreter(Fault):
    """A program of the suite in a language that is not on this machine: left out likewise, until it is there."""


SILENT = (Skipped, NoInterpreter)


def checked(path: str, folders: dict[str, str]) -> os.stat_result:
    """The stat of an executable that may be asked; a Fault for one that must not be. folders: those that are known."""
    places = {os.path.dirname(path)}
    if os.path.islink(path):
        places.add(os.path.dirname(os.path.realpath(path)))
    for folder in places - folders.keys():
        folders[folder] = paths.exposed(folder)
    try:
        seen = os.stat(path)
    except OSError as bad:
        why = bad.strerror or str(bad)
        kind = Skipped if os.path.islink(path) else Fault
        raise kind("not_found", why) from None
    except ValueError:
        raise Fault("invalid_input", "no file name: it holds a NUL") from None
    if not stat.S_ISREG(seen.st_mode):
        what = _TYPES.get(stat.S_IFMT(seen.st_mode), "a device")
        raise Skipped("invalid_input", f"is {what}, not an executable file")
    if not seen.st_mode & 0o111:
        raise Skipped("invalid_input", "not executable (chmod +x)")
    exposed = "".join([folders[folder] for folder in places if folders[folder]][:1])
    risks = (
        (0o6000, "runs with rights of another user (setuid or setgid): not asked"),
        (stat.S_IWOTH, "anyone may write to this file: not asked (chmod o-w)"),
        (exposed and 0o111, f"anyone may write to the folder {exposed}: not asked (chmod o-w)"),
    )
    for bits, why in risks:
        if bits and seen.st_mode & bits:
            raise (Fault if marked(path) else Skipped)("tool_denied", why)
    return seen


def marked(path: str) -> bool:
    """Whether a file may be run to read its schema: it is the suite's own, or holds in its first SCAN bytes the mark
    `agent-schema`, or in a script `agent-react` and `--name`."""
    if paths.of_suite(path):
        return True
    mark = flag(path).encode()
    try:
        with open(path, "rb", buffering=0) as file:
            tail, left = b"", SCAN
            while left > 0 and (block := file.read(1 << 20)):
                if mark in tail + block:
                    return True
                if left == SCAN and block[:2] == b"#!" and all(word in block for word in LOOP):
                    return True
                tail, left = block[-len(mark) :], left - len(block)
    except OSError:
        pass
    return False


def flag(path: str) -> str:
    """What follows the two dashes where the file is asked: `schema` for an older kind, called llm-tool-NAME."""
    return "schema" if os.path.basename(path).startswith("llm-tool-") else MARK.decode()


def unmarked() -> Skipped:
    """The fault of a file without its mark."""
    cure = "a comment that names --agent-schema is enough, where the program answers it"
    return Skipped("invalid_input", f"does not hold the mark agent-schema: not run ({cure})")

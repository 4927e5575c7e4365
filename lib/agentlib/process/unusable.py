"""Why a program that the user named was not started."""

import os

from agentlib.faults import NOT_FOUND, UNUSABLE, Fault


def unusable(path: str, why: str = "") -> Fault:
    """The Fault: exit status 127 where it is not there, 126 where it cannot be run. why: what its start has said."""
    if not os.path.exists(path):
        return Fault("not_found", f"{path}: no such program", exit=NOT_FOUND)
    why = (broken(path) or why) if os.access(path, os.X_OK) else "not executable (chmod +x)"
    return Fault("invalid_request", f"{path}: cannot be run: {why}", exit=UNUSABLE)


def broken(path: str) -> str:
    """What keeps a script from starting, by its first line, with the cure; "" where all is well, or it is no script."""
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError as bad:
        return bad.strerror or str(bad)
    if first[:2] != b"#!":
        return "" if first[:4] == b"\x7fELF" else "no program: line 1 is not #! and an interpreter"
    if first.endswith(b"\r\n"):
        return "#! ends in CR LF, so its program is not found; sed -i 's/\\r$//' mends all lines"
    words = first[2:].decode("utf-8", "replace").split()
    if not words or not os.path.exists(words[0]):
        return f"#! names {words[0] if words else 'nothing'}, which is not there"
    if os.path.basename(words[0]) == "env":
        import shutil

        wanted = next((one for one in words[1:] if one[0] != "-" and "=" not in one), "")
        if not shutil.which(wanted):
            return f"#! needs {wanted or 'a name'}, which is not on PATH"
    return ""

"""Why a script cannot start: its first line, read as the kernel does."""

import os


def fault(path: str) -> str:
    """What keeps the script from starting, with its cure; "" where its first line is well, or it is no script."""
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

        names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        wanted = names[0] if names else ""
        if not shutil.which(wanted):
            return f"#! needs {wanted or 'a name'}, which is not on PATH"
    return ""

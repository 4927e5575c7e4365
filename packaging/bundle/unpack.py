"""What a bundle runs if it is not unpacked yet: check the machine, write the tree, verified, and rename it.

It is run with the names of start.py, and `file` stands at the zip.
"""

import _signal as signal
import os
import sys

BUNDLE, MADE = globals().get("BUNDLE", {}), globals().get("MADE", 0)
file, fail, sound = map(globals().get, ("file", "fail", "sound"))
alone, safe_way = map(globals().get, ("alone", "safe_way"))
UNPACK_TIMEOUT = 120  # seconds that another start may take to unpack


def unpack(me, top, tree):
    """Make the tree beside its place and rename it. What fails leaves nothing, and is one line; a signal ends it so
    too, without a word."""
    import errno
    import shutil

    for signum in (1, 2, 15):  # HUP, INT, TERM
        if signal.getsignal(signum) == signal.SIG_DFL:
            signal.signal(signum, lambda signum, frame: sys.exit(128 + signum))
    platform = fits()
    work, mask = f"{top}/.new-{os.getpid()}", os.umask(0o077)
    try:
        os.makedirs(top, 0o700, exist_ok=True)
        safe_way(top)
        alone(top)
        with open(top + "/.lock", "w") as lock:
            wait(lock)
            if sound(top, tree):
                return
            for left in os.listdir(top):
                if left.startswith(".new-"):
                    shutil.rmtree(os.path.join(top, left), ignore_errors=True)
            extract(me, work, platform)
            if os.path.lexists(tree):
                os.rename(tree, work + "-broken")
            os.rename(work, tree)
    except OSError as bad:
        why = f"cannot unpack {BUNDLE['size'] / 1e6:.0f} MB into {top}: {bad.strerror or bad}"
        full = bad.errno in (errno.ENOSPC, errno.EDQUOT)
        fail(f"{why}; set XDG_CACHE_HOME to a folder that has room", 111 if full else 100)
    finally:
        os.umask(mask)
        for signum in (1, 2, 15):
            if callable(signal.getsignal(signum)):
                signal.signal(signum, signal.SIG_DFL)
        for left in (work, work + "-broken"):
            shutil.rmtree(left, ignore_errors=True)


def fits():
    """The platform, as the bundle calls it; a machine that the compiled packages are not for is refused."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        libc = ""
    here = os.uname().machine + ("" if libc else "-musl")
    least = BUNDLE["platforms"].get(here)
    if sys.platform != "linux" or sys.implementation.name != "cpython" or least is None:
        made = ", ".join(BUNDLE["platforms"])
        this = f"{sys.implementation.name} on {sys.platform} {here}"
        fail(
            f"is made for CPython on Linux {made}, and this is {this}: see agent-bundle --platform"
        )
    if libc and tuple(map(int, libc.split()[1].split(".")[:2])) < tuple(least):
        fail(f"needs glibc {least[0]}.{least[1]}, and this is {libc}")
    return here


def wait(lock):
    """Take the lock: of starts at the same time, one unpacks. On a disk without locks each does."""
    import fcntl
    import time

    for _ in range(UNPACK_TIMEOUT * 20):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            return None
    fail(f"another start has been unpacking for {UNPACK_TIMEOUT} s", 111)


def extract(me, work, platform):
    """Write the files for this platform and Python, verified; then the list of them."""
    import compileall
    import hashlib
    import shutil
    import zipfile

    seen = hashlib.sha256()
    while piece := file.read(1 << 20):
        seen.update(piece)
    if seen.hexdigest() != BUNDLE["sha256"]:
        fail("this file is damaged (wrong SHA-256): copy it again")
    if sys.stderr.isatty():
        sys.stderr.write(f"{os.path.basename(me)}: unpacking, once\n")
    with zipfile.ZipFile(me) as archive:
        for one in archive.infolist():
            if name := place(one.filename, platform):
                path = f"{work}/{name}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with archive.open(one) as source, open(path, "wb") as target:
                    target.write(begun(source))
                    shutil.copyfileobj(source, target, 1 << 20)
                os.chmod(path, (one.external_attr >> 16) & 0o700)
                os.utime(path, (MADE, MADE))  # the compiled file names it
    # a tool in its sandbox cannot keep what it compiles
    compileall.compile_dir(work, quiet=2, stripdir=work, maxlevels=20)
    listing = list(listed(work))
    with open(f"{work}/files", "w", encoding="utf-8") as files:
        files.write("\0".join([str(len(listing)), *listing]))


def listed(work):
    """A line for each file below a folder, its size and name; all get the same time."""
    for folder, _, names in os.walk(work):
        for name in names:
            path = os.path.join(folder, name)
            os.utime(path, (MADE, MADE))
            yield f"{os.path.getsize(path)} {os.path.relpath(path, work)}"


def place(name, platform):
    """Where in the tree a file of the zip goes; "" for one of another platform or Python."""
    major, minor = sys.version_info[:2]
    for begin in ("any/", f"{platform}/abi3/", f"{platform}/cp{major}{minor}/"):
        if name.startswith(begin):
            return f"python{major}.{minor}/site-packages/{name.removeprefix(begin)}"
    return name if name.startswith(("agentutils/", "own/", "model/")) else ""


def begun(source):
    """The first line of a file; that of a program of the suite in Python leads to this interpreter."""
    here = f"#!{os.path.realpath(sys.executable)} -IS\n"
    first = source.readline(200)
    if first == b"#!/usr/bin/env -S python3 -IS\n" and len(here) < 120 and len(here.split()) == 2:
        return here.encode()
    return first

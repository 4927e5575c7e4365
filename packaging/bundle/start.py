"""What each bundle runs at each start, by whatever Python 3 is there: find its unpacked tree, become the program.

agent-bundle puts it behind head.sh, with BUNDLE before it; `file` is the open bundle, which stands at unpack.py. All is
checked here, and nothing is imported but os: a start takes 3 ms more than that of the program alone.
"""

import _signal as signal
import os
import sys

BUNDLE = globals().get("BUNDLE", {})
file = globals().get("file")
MADE = 315532800  # the time of all files in a tree, 1980


def start(me, args):
    """Run the program that is meant. me: the path of the bundle."""
    heard = signal.getsignal(signal.SIGINT)
    if callable(heard):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C shows no traceback
    if sys.version_info < (3, 11):  # noqa: UP036
        newer(me, args)
    folder, name, args = chosen(me, args)
    top = cache()
    safe_way(top)
    major, minor = sys.version_info[:2]
    python = f"-{major}.{minor}" + os.path.realpath(sys.executable).replace("/", "-")
    tree = os.path.join(top, BUNDLE["hash"] + python)
    if not sound(top, tree):
        more = {**globals(), "__doc__": ""}
        exec(compile(file.read(BUNDLE["unpack"]), me, "exec"), more)
        more["unpack"](me, top, tree)
    file.close()
    if callable(heard):
        signal.signal(signal.SIGINT, heard)
    run(tree, os.path.join(tree, folder, name), args)


def chosen(me, args):
    """(folder, name, arguments) of the program: the agent, or what the bundle's name or the first operand says."""
    name = BUNDLE["agent"] or os.path.basename(me)
    if name not in BUNDLE["programs"]:
        name, args = (args or [""])[0], args[1:]
    if name not in BUNDLE["programs"]:
        fail(f"{name or 'which program?'}: there is none of this name; --list names them", 2)
    return BUNDLE["programs"][name], name, args


def newer(me, args):
    """Start again with a newer Python, if one is on PATH."""
    import shutil

    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        if shutil.which(name) and not os.environ.get("AGENT_BUNDLE_PYTHON"):
            os.environ["AGENT_BUNDLE_PYTHON"] = name
            os.execv("/bin/sh", ["sh", me, *args])
    here = ".".join(map(str, sys.version_info[:2]))
    fail(f"needs Python 3.11 or newer, and {sys.executable} is {here}")


def fail(why, status=100):
    """End with a line."""
    name = BUNDLE["agent"] or os.path.basename(sys.argv[1])
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in f"{name}: {why}")
    sys.stderr.write(line + "\n")
    sys.exit(status)


def cache():
    """The folder of all bundles in the user's cache."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(folder):
        fail("there is no home to keep a cache in: set XDG_CACHE_HOME")
    return os.path.join(folder, "agentutils", "bundles")


def sound(top, tree):
    """Whether the tree is there as it was unpacked: ours alone, each file with its size and time. The first line of
    `files` says how many there are, so a list that was cut is seen."""
    try:
        alone(top)
        alone(tree)
        with open(tree + "/files", encoding="utf-8") as listing:
            count, *files = listing.read().split("\0")
        handle = os.open(tree, os.O_RDONLY)
        for line in files:
            size, _, name = line.partition(" ")
            seen = os.stat(name, dir_fd=handle)
            if seen.st_size != int(size) or seen.st_mtime != MADE:
                return False
        os.close(handle)
        return int(count) == len(files) > 0
    except (OSError, ValueError):
        return False


def alone(folder):
    """Refuse a folder that is not this user's alone. OSError if there is none."""
    seen = os.lstat(folder)
    if seen.st_mode & 0o170077 != 0o40000 or seen.st_uid != os.getuid():
        why = "not a folder of yours alone (your own, mode 0700): remove it, or set XDG_CACHE_HOME"
        fail(f"{folder}: {why}")
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        fail(f"{folder}: {NOEXEC}")


NOEXEC = "no program may run from this disk (noexec): set XDG_CACHE_HOME to a folder of another"


def safe_way(folder):
    """Refuse a folder above this one, or a link on the way, that another user may change; as far as there are any."""
    way, names = "/", folder.split("/")[::-1]
    try:
        unchanged_by_others(way)
        while names:
            way = os.path.normpath(os.path.join(way, names.pop()))
            if unchanged_by_others(way):
                names += os.readlink(way).split("/")[::-1]
                way = "/" if os.readlink(way)[0] == "/" else os.path.dirname(way)
            if len(names) > 1000:
                raise OSError("too many links")
    except FileNotFoundError:
        pass
    except OSError as bad:
        fail(f"{way}: {bad.strerror or bad}: set XDG_CACHE_HOME")


def unchanged_by_others(path):
    """Whether this is a link. Refuse it where it is another user's, or open to others and not sticky: in a sticky
    folder (/tmp) nobody replaces what another user has there."""
    seen = os.lstat(path)
    link = seen.st_mode & 0o170000 == 0o120000
    others = 0 if link or seen.st_mode & 0o1000 else seen.st_mode & 0o22
    if others == 0o20 and private_group(seen.st_gid):
        others = 0
    foreign = seen.st_uid not in (0, os.getuid()) and not root_is_nobody(seen.st_uid)
    if others or foreign:
        why = "another user may change what is in it, so nothing is kept there: set XDG_CACHE_HOME"
        fail(f"{path}: {why}")
    return link


def private_group(gid):
    """Whether the user is the one member of this group, which has the user's name."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (user.pw_gid, user.pw_name) == (gid, group.gr_name) and {*group.gr_mem} <= {user.pw_name}


def root_is_nobody(uid):
    """Whether this is a sandbox in which root has no number, and this number is what is seen instead."""
    try:
        with open("/proc/self/uid_map") as ranges, open("/proc/sys/kernel/overflowuid") as overflow:
            return uid == int(overflow.read()) and all(int(line.split()[0]) for line in ranges)
    except OSError:
        return False


def run(tree, program, args):
    """Become the program. One of the suite in Python runs in this process; a site is never imported."""
    os.environ["PATH"] = f"{tree}/agentutils/bin:{os.environ.get('PATH', os.defpath)}"
    for kind in BUNDLE["own"]:
        name = f"AGENT_{kind[:-1].upper()}_PATH"
        data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        usual = f"{data}/agentutils/{kind}:{tree}/agentutils/{kind}"
        os.environ[name] = f"{tree}/own/{kind}:{os.environ.get(name) or usual}"
    if BUNDLE["model"]:
        os.environ.setdefault("AGENT_LOCAL_MODEL", f"{tree}/model/{BUNDLE['model']}")
    with open(program, "rb") as source:
        text = source.read()
    if b" -IS" in text[:300].split(b"\n")[0] and program.startswith(tree + "/agentutils/"):
        sys.argv = [program, *args]
        sys.modules["__main__"] = main = type(sys)("__main__")
        main.__file__ = program
        return exec(compile(text, program, "exec"), main.__dict__)
    try:
        os.execv(program, [program, *args])
    except OSError as bad:
        why = bad.strerror
        if bad.errno == 13:
            why += ": set XDG_CACHE_HOME to a folder whose programs may run"
        fail(f"{program}: {why}", 126)

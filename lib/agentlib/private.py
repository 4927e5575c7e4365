"""What a process asks of the kernel: that nobody reads the keys in its memory, and that it ends with its starter."""

import os


def no_core() -> None:
    """No core file of this process and of what it starts; who is started may ask for one again."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def undumpable() -> None:
    """Nobody but root may read our memory and environment from now on (no core files either)."""
    import ctypes

    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def end_with_starter(parent: int = 0) -> None:
    """SIGTERM for us when the thread that started us is gone; the end, where the process `parent` is gone already."""
    import ctypes

    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGTERM
    if parent and os.getppid() != parent:
        os._exit(128 + 15)

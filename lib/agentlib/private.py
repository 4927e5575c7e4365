"""A process that holds keys in its memory keeps them there."""


def no_core() -> None:
    """No core file of this process and of what it starts; who is started may ask for one again."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def undumpable() -> None:
    """Nobody but root may read our memory and environment from now on (no core files either)."""
    import ctypes

    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE

"""The names of annotations, free at run time: importing `typing` costs 4 ms, `argparse` 6. mypy reads types.pyi.

At run time every name here stands for nothing, but TYPE_CHECKING (for annotations whose module would cost to load)
and NamedTuple, which makes a namedtuple as typing's does.
"""

TYPE_CHECKING = False


class _Nothing(type):
    def __getitem__(cls, _: object) -> type:
        return cls

    def __or__(cls, _: object) -> type:
        return cls

    __ror__ = __or__


class Any(metaclass=_Nothing):
    """Stands for every name that only an annotation uses."""


class _Fields(type):
    def __new__(meta, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
        if not bases:
            return super().__new__(meta, name, bases, body)
        from collections import namedtuple  # 2 ms: not every program has such a type

        annotate = body.pop("__annotate_func__", None)  # since Python 3.14
        fields = annotate(1) if annotate else body.pop("__annotations__", {})
        defaults = [body.pop(field) for field in fields if field in body]
        return type(name, (namedtuple(name, fields, defaults=defaults),), {"__slots__": (), **body})


class NamedTuple(metaclass=_Fields):
    """The base of a tuple with named fields, as typing.NamedTuple."""


def __getattr__(name: str) -> type:
    return Any

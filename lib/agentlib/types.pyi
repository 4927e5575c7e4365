from argparse import Action as Action
from argparse import ArgumentParser as ArgumentParser
from argparse import Namespace as Namespace
from argparse import _ArgumentGroup
from collections.abc import Callable as Callable
from collections.abc import Collection as Collection
from collections.abc import Generator as Generator
from collections.abc import Iterable as Iterable
from collections.abc import Iterator as Iterator
from collections.abc import Mapping as Mapping
from collections.abc import Sequence as Sequence
from pathlib import Path as Path
from typing import TYPE_CHECKING as TYPE_CHECKING
from typing import Any as Any
from typing import BinaryIO as BinaryIO
from typing import NamedTuple as NamedTuple
from typing import NoReturn as NoReturn
from typing import Protocol as Protocol

Record = dict[str, Any]
ArgumentGroup = _ArgumentGroup

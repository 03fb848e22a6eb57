from collections.abc import Sequence
from os import PathLike

__all__ = ["__version__", "run"]

__version__: str

def run(argv: Sequence[str | PathLike[str]]) -> int: ...

"""The section <NEOStorage> of ZConfig."""

from typing import Any

from ZConfig.datatypes import asBoolean
from ZODB.config import BaseConfig

__all__ = ["NeoStorage", "compress"]

#: Place of zlib in the list of algorithms.
ZLIB = 0


def compress(value: str) -> bool | tuple[int, int | None]:
    """`zlib`, `zlib=LEVEL`, or a boolean: what `Storage` takes."""
    name, equal, level = value.partition("=")
    if name == "zlib":
        if not equal:
            return ZLIB, None
        if len(level) == 1 and level in "123456789":
            return ZLIB, int(level)
        raise ValueError(f"the level of zlib is from 1 to 9, not {level!r}")
    return bool(asBoolean(value))


class NeoStorage(BaseConfig):
    """What the section becomes: open() makes the storage."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.options: dict[str, Any] = {}
        for attribute in config.getSectionAttributes():
            # A key can be written with `-` or `_`: one of the two has its own attribute.
            name = attribute.removesuffix("_alias")
            value = getattr(config, attribute)
            if self.options.get(name) is None:
                self.options[name] = value
            elif value is not None:
                raise ValueError(f"{name} is given twice")
        for name in "master_nodes", "name":
            if self.options[name] is None:
                raise ValueError(f"{name} is required")

    def open(self) -> Any:
        from .Storage import Storage

        return Storage(**self.options)

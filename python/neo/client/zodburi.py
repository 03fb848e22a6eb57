"""neo:// and neos:// for zodburi: neo://NAME@MASTER[,MASTER...][?OPTION=VALUE&...]"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from io import StringIO
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import ZConfig
import ZODB.config

__all__ = ["resolve_uri"]

#: Options that neos:// takes from the environment.
CREDENTIALS = ("ca", "cert", "key")

SCHEMA = """\
<schema>
<import package="ZODB"/>
<import package="neo.client"/>
</schema>
"""

CONFIG = """\
%import neo.client
<NEOStorage>
{}
</NEOStorage>
"""


@cache
def _keys() -> frozenset[str]:
    """Keys of the section, both spellings."""
    # As text, so that the one definition of the section is in component.xml.
    schema = ZConfig.loadSchemaFile(StringIO(SCHEMA))
    section = schema.gettype("neostorage")
    return frozenset(key for key, _ in section)


def _options(uri: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Keys of the section with their values, and what is for the database."""
    parts = urlsplit(uri)
    if parts.scheme not in ("neo", "neos"):
        raise ValueError(f"the scheme is neo or neos: {uri}")
    if parts.path or parts.fragment:
        raise ValueError(f"a path or a fragment has no meaning: {uri}")
    name, at, masters = parts.netloc.partition("@")
    if not (name and at and masters):
        raise ValueError(f"no NAME@MASTER: {uri}")
    storage = [("master_nodes", masters.replace(",", " ")), ("name", unquote(name))]
    database = {}
    for option, value in dict(parse_qsl(parts.query)).items():
        if option in ("master_nodes", "master-nodes", "name"):
            raise ValueError(f"{option} is not an option: {uri}")
        if option in _keys():
            dashed = option.replace("_", "-")
            storage.append((dashed if option != "dynamic_master_list" else option, value))
        else:
            database[option] = value
    if parts.scheme == "neos":
        storage += _credentials(key for key, _ in storage)
    return storage, database


def _credentials(given: Iterable[str]) -> list[tuple[str, str]]:
    result = []
    for key in set(CREDENTIALS).difference(given):
        variable = f"NEO_{key.upper()}"
        if not (value := os.environ.get(variable)):
            raise ValueError(f"neos:// needs {key}, as an option or in {variable}")
        result.append((key, value))
    return sorted(result)


def resolve_uri(uri: str) -> tuple[Callable[[], Any], dict[str, str]]:
    """Function that opens the storage, and keywords for the database."""
    storage, database = _options(uri)
    lines = []
    for key, value in storage:
        if "\n" in value or "\r" in value:
            raise ValueError(f"{key} has several lines")
        # A dollar would be taken for a substitution by ZConfig.
        lines.append(f"{key}\t{value.replace('$', '$$')}")
    text = CONFIG.format("\n".join(lines))
    return lambda: ZODB.config.storageFromString(text), database

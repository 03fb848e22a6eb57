"""Checks the length of files, functions and lines.

Functions of Rust are checked by clippy (too_many_lines), most lines by rustfmt and ruff;
rustfmt leaves comments and texts alone.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 600
FUNCTION_LINES = 100
COLUMNS = 100

SOURCES = ("*.rs", "*.py", "*.pyi", "*.sh", "Makefile")


def sources() -> list[Path]:
    """Files of the tree, those not added yet included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    names = subprocess.check_output([*command, *SOURCES, ":!tests/data"], text=True)
    return [path for path in map(Path, filter(None, names.split("\0"))) if path.is_file()]


def complaints(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Line and sentence of everything in `text` that is too long."""
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield 1, f"{len(lines)} lines, {FILE_LINES} at most"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, {COLUMNS} at most"
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text, str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    yield node.lineno, f"{node.name}: {length} lines, {FUNCTION_LINES} at most"


def main() -> int:
    count = 0
    for path in sources():
        for number, sentence in complaints(path, path.read_text(encoding="utf-8")):
            print(f"{path}:{number}: {sentence}", file=sys.stderr)
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Checks that the extension is made of the packages that the tests of the workspace compile.

Cargo compiles a package again for every set of features it is asked for. A package that the whole
workspace needs with more features than the extension alone would be compiled twice by `make test`.
"""

import subprocess
import sys


def packages(*selection: str) -> dict[str, set[str]]:
    """Features of each package, one set for all its uses."""
    command = ["cargo", "tree", "--prefix", "none", "--format", "{p}\t{f}", *selection]
    result: dict[str, set[str]] = {}
    for line in subprocess.check_output(command, text=True).splitlines():
        # A mark tells packages shown before, an empty line separates trees.
        package, _, features = line.removesuffix(" (*)").partition("\t")
        result.setdefault(package, set()).update(filter(None, features.split(",")))
    return result


def main() -> int:
    extension = packages("--package", "neo-py", "--edges", "normal,build")
    workspace = packages("--workspace", "--edges", "normal,build,dev")
    status = 0
    for package, features in sorted(extension.items()):
        if more := workspace[package] - features:
            print(
                f"{package}: the extension lacks {', '.join(sorted(more))}, which other packages"
                " of the workspace enable: add it in [workspace.dependencies] of Cargo.toml, or"
                " at the end of rust/py/Cargo.toml if no crate of ours names that package",
                file=sys.stderr,
            )
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())

"""docs/commands.md shows what each command says of itself.

Run as a program, this writes the help of the installed commands into it.
"""

import re
import subprocess
import sys
from pathlib import Path

from cluster import argv

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "commands.md"

#: A command and what it prints.
BLOCK = re.compile(r"^```console\n\$ (.+)\n((?:.*\n)*?)```$", re.MULTILINE)

#: Everything that can be typed, but for the commands of neoctl, which it lists together.
COMMANDS = (
    "neomaster --help",
    "neostorage --help",
    "neoadmin --help",
    "neoctl --help",
    "neoctl",
    "neolog --help",
    "neomigrate --help",
    "neosimple --help",
    "reflink --help",
    "reflink REFS_URI run --help",
    "reflink REFS_URI gc --help",
    "reflink REFS_URI bootstrap --help",
    "reflink REFS_URI path --help",
    "reflink REFS_URI dump --help",
)


def output(command):
    """What a command prints."""
    words = command.replace("REFS_URI", "file://refs").split()
    return subprocess.run(argv(*words), check=True, capture_output=True, text=True).stdout


def test_the_document_shows_the_help_of_every_command():
    blocks = dict(BLOCK.findall(DOCUMENT.read_text()))
    assert sorted(blocks) == sorted(COMMANDS)
    for command, text in blocks.items():
        assert text == output(command), f"run {sys.executable} {__file__} to update {DOCUMENT}"


def main():
    def block(match):
        command = match[1]
        return f"```console\n$ {command}\n{output(command)}```"

    DOCUMENT.write_text(BLOCK.sub(block, DOCUMENT.read_text()))


if __name__ == "__main__":
    main()

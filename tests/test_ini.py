"""The INI parser gives what Python's ConfigParser gives, on generated files."""

import configparser
import io
import json
import random
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Seconds after which our parser is taken for stuck.
PATIENCE = 60

SEED = 20120101
FILES = 6000

#: Pieces that lines are made of; some mean something, some only look like it.
KEYS = ["a", "b", "C", "c", "long_key", "Key", "k k", "ß", "É", "İ", ""]
WORDS = [
    "x",
    "1",
    "yes",
    "[::1]:10",
    "%%",
    "%(a)s",
    "%(B)s",
    "%(c)s",
    "%(k k)s",
    "%(none)s",
    "%",
    "%(a",
    "%()s",
    "%(a)d",
    "# x",
    "; y",
    "=",
    ":",
    "a=b",
    "é",
    "\t",
    "\xa0",
    "\x1c",
    "\u2003",
    "\x0b",
    "]",
    "[",
    "\x00",
]
SECTIONS = ["DEFAULT", "master", "Master", "storage 1", "s]", " s ", "[s", "default", "", "é"]
BLANKS = ["", "", "", "", " ", "  ", "\t", "    ", "\xa0", "\x1c ", "\u2003"]
ENDS = ["\n"] * 8 + ["\r\n", "\r", "\n\n", "\x85\n"]


def text(rng, most=3):
    return rng.choice(["", " "]).join(rng.choice(WORDS) for _ in range(rng.randrange(most + 1)))


def key(rng):
    separator = rng.choice(["=", ":", " = ", " : ", ": ", "\t=\t", "=="])
    return rng.choice(KEYS) + separator + text(rng)


def line(rng, tidy):
    """A line that is rarely (`tidy`) or often wrong."""
    kind = rng.random()
    indent = rng.choice(BLANKS)
    if kind < 0.55:
        return (indent if rng.random() < (0.1 if tidy else 0.5) else "") + key(rng)
    if kind < 0.70:
        return rng.choice(["  ", "\t", " \u2003"]) + text(rng)
    if kind < 0.80:
        return indent
    if kind < 0.88:
        return indent + rng.choice("#;") + text(rng)
    if kind < (0.97 if tidy else 0.95):
        tail = "" if tidy else rng.choice(["", "", " ", "x", "]", " ; c"])
        return ("" if tidy else rng.choice(["", "", " "])) + f"[{rng.choice(SECTIONS)}]{tail}"
    return rng.choice(["", indent]) + text(rng)


def generate(rng):
    tidy = rng.random() < 0.7
    lines = [] if rng.random() < 0.05 else [f"[{rng.choice(SECTIONS[:3])}]"]
    lines += (line(rng, tidy) for _ in range(rng.randrange(1, 12)))
    return "".join(item + rng.choice(ENDS) for item in lines)


def chain(depth):
    """References nested to this depth."""
    return "[s]\na0 = x\n" + "".join(f"a{i + 1} = %(a{i})s\n" for i in range(depth))


def expected(source):
    parser = configparser.ConfigParser()
    try:
        parser.read_file(io.StringIO(source, newline=None))
    except configparser.Error as error:
        return type(error).__name__
    return [
        [section, [value(parser, section, option) for option in parser.options(section)]]
        for section in parser.sections()
    ]


def value(parser, section, option):
    try:
        return [option, parser.get(section, option)]
    except configparser.Error as error:
        return [option, None, type(error).__name__]


@pytest.fixture(scope="module")
def dump():
    """Function that gives what our parser makes of many files."""
    build = ["cargo", "build", "--release", "--quiet", "-p", "neo-node", "--example", "ini_dump"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--no-deps", "--format-version", "1"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )["target_directory"]

    def run(sources):
        return json.loads(
            subprocess.run(
                [f"{target}/release/examples/ini_dump"],
                input=json.dumps(sources),
                check=True,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            ).stdout
        )

    return run


def test_generated_files(dump):
    rng = random.Random(SEED)
    sources = [generate(rng) for _ in range(FILES)]
    wanted = [expected(source) for source in sources]
    outcomes = set()
    for source, ours, theirs in zip(sources, dump(sources), wanted, strict=True):
        # The order of inherited keys is free.
        assert normal(ours) == normal(theirs), source
        if isinstance(theirs, str):
            outcomes.add(theirs)
        else:
            outcomes.update(item[-1] for _, items in theirs for item in items if len(item) == 3)
    assert outcomes == {
        "MissingSectionHeaderError",
        "DuplicateSectionError",
        "DuplicateOptionError",
        "ParsingError",
        "InterpolationSyntaxError",
        "InterpolationMissingOptionError",
        "InterpolationDepthError",
    }
    files = [result for result in wanted if not isinstance(result, str)]
    values = [item for result in files for _, items in result for item in items if len(item) == 2]
    assert len(files) > FILES / 4, "too few files are valid to prove anything"
    assert sum("\n" in item[1] for item in values) > 100, "too few continuation lines"


def normal(result):
    if isinstance(result, str):
        return result
    return [[section, sorted(items, key=lambda item: item[0])] for section, items in result]


@pytest.mark.parametrize("depth", [1, 9, 10, 11])
def test_depth_of_references(dump, depth):
    source = chain(depth)
    [ours] = dump([source])
    assert normal(ours) == normal(expected(source))


def test_our_example_is_valid(dump):
    source = (ROOT / "neo.conf").read_text()
    [ours] = dump([source])
    assert normal(ours) == normal(expected(source))
    assert [section for section, _ in ours] == ["master", "admin", "storage1", "storage2"]

"""docs/operating.md, as an operator who follows it: every command, and what it shows."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from cluster import free_port

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operating.md"

#: Seconds after which the whole session is taken for stuck.
PATIENCE = 300

#: Characters of stderr to show of a session that failed.
LAST = 4000


def blocks(text):
    """Kind and content of every block with a kind."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shape(line):
    """A line without what differs each time: numbers, and how wide a column is."""
    return re.sub(r"(?<=#0x)[0-9a-f]+|\d+", "0", line).split()


def is_shown(expected, lines):
    """Whether each line of `expected` begins one of `lines`, in this order."""
    lines = iter(lines)
    for wanted in expected:
        words = shape(wanted)
        if not any(shape(line)[: len(words)] == words for line in lines):
            return False
    return True


def test_a_session_from_the_document(tmp_path):
    text = DOCUMENT.read_text()
    for port in ("10000", "9999", "8025"):
        new = free_port()
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{new}")
        text = text.replace(f'"127.0.0.1", {port}', f'"127.0.0.1", {new}')
    (kind, configuration), *rest = blocks(text)
    assert kind == "ini"
    (tmp_path / "neo.conf").write_text(configuration)
    # Each command is said on stderr: the last one is where it stopped.
    script = ["set -ex"]
    expected = []
    for kind, block in rest:
        if kind == "sh":
            expected.append([])
            script += [f"echo '=== {len(expected)}'", block]
        else:
            assert kind == "text"
            expected[-1] = block.splitlines()
    script.append("echo '=== end'")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "session").write_text("\n".join(script))
    with open(tmp_path / "stdout", "wb") as stdout, open(tmp_path / "stderr", "wb") as stderr:
        session = subprocess.Popen(
            ["bash", "session"],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        stuck = False
        try:
            session.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            stuck = True
        finally:
            # Nodes of a session that failed are left.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(session.pid, signal.SIGKILL)
    out = (tmp_path / "stdout").read_text()
    said = (tmp_path / "stderr").read_text()
    parts = re.split(r"^=== .*\n", out, flags=re.MULTILINE)[1:]
    shown = parts[-1] if parts else ""
    assert not stuck, f"{shown}\n{said[-LAST:]}"
    assert session.returncode == 0, f"{shown}\n{said[-LAST:]}"
    assert len(parts) == len(expected) + 1
    for wanted, part in zip(expected, parts, strict=False):
        assert is_shown(wanted, part.splitlines()), f"{wanted} is not in\n{part}\n{said}"

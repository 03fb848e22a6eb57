"""A node that answers Ping: rust/net/examples/echo_node.rs."""

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: Seconds after which a node is taken for stuck. No test waits for it.
PATIENCE = 60


@functools.cache
def executable():
    # Nothing to do if the tests in Rust were built.
    command = ["cargo", "build", "--release", "-q", "-p", "neo-net", "--example", "echo_node"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target/release/examples/echo_node"


class EchoNode:
    """Runs while in the context."""

    def __init__(self, files=None, connect=None, extra=(), prepare=None):
        self.command = [executable(), *extra]
        if files:
            self.command += ["--tls", *files]
        if connect:
            self.command += ["--connect", "{}:{}".format(*connect)]
        else:
            self.command += ["--listen", "127.0.0.1:0"]
        self.listens = not connect
        self.prepare = prepare

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self.prepare,
        )
        if self.listens:
            host, port = self.expect("listening").rsplit(":", 1)
            self.address = host, int(port)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        """The next thing that happened to the node."""
        return self.process.stdout.readline().rstrip("\n")

    def expect(self, *words):
        """The next lines start with these words; returns what follows the last one."""
        for word in words:
            line = self.line()
            assert line.split(" ", 1)[0] == word or line == word, line
        return line.removeprefix(word).strip()

    def end(self):
        """Status, remaining lines and errors, once it has ended by itself."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.splitlines(), err

"""The lines of the README work, one after the other, in an empty folder."""

import os
import re
import signal
import subprocess

from cluster import free_port
from conftest import PATIENCE, ROOT
from zope_environment import BIN, prepare

#: Lines that make what these tests have already.
PREPARED = ("python3 -m venv env", ". env/bin/activate", "pip install ")

#: Zope until its first answer, instead of until Ctrl-C.
SERVE = """\
runwsgi zope/etc/zope.ini >zope.log 2>&1 &
until python3 -c '
import urllib.request
print("Zope answers", urllib.request.urlopen("http://127.0.0.1:8080/").status)
' 2>/dev/null; do kill -0 $!; sleep 0.1; done
kill $!; wait $! || :"""


def lines():
    """Of all blocks that are for a shell."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```\n", text, re.DOTALL | re.MULTILINE)
    return "".join(blocks).splitlines()


def adapted(line):
    """What a reader does about a line, besides typing it."""
    if line.startswith(PREPARED):
        return None
    if line.startswith("NEO="):
        return f"NEO={ROOT}"
    if line.startswith("neoctl "):
        line = line.replace("neoctl ", "neoctl -a 127.0.0.1:9999 ")
        if "print cluster" in line:
            return f'until [ "$({line})" = RUNNING ]; do sleep 0.1; done; {line}'
    if line.startswith("mkwsgiinstance "):
        # The template has the ports of the README, too.
        return (
            f"{line}\nsed -i 's/:10000/:''10000/; s/= 8080/= ''8080/'"
            " zope/etc/zope.conf zope/etc/zope.ini"
        )
    if line.startswith("runwsgi "):
        return SERVE
    return line


def script():
    """All lines, with ports that nobody uses."""
    text = "\n".join(filter(None, map(adapted, lines())))
    for port in ("10000", "9999", "8080"):
        free = str(free_port())
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}").replace(f"''{port}", free)
    return f"set -e\n{text}\nwait\n"


def test_quick_start(tmp_path):
    prepare()
    # Ours first, where NEO is installed as the README says; then those of Zope.
    path = os.pathsep.join((str(ROOT / ".venv" / "bin"), str(BIN), os.environ["PATH"]))
    script_path = tmp_path / "lines.sh"
    script_path.write_text(script())
    process = subprocess.Popen(
        ["bash", script_path],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=2 * PATIENCE)
    finally:
        # Nothing if all nodes stopped: what is killed has our session.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            left = False
        else:
            left = True
    assert process.returncode == 0, said
    for line in ("RUNNING", "hello", "Zope answers 200"):
        assert line in said.splitlines(), said
    assert not left, said


def test_the_readme_shows_every_command_of_a_first_day():
    starts = {line.split()[0] for line in lines() if line and line[0].isalpha()}
    assert {"pip", "neomaster", "neoadmin", "neostorage", "neoctl", "runwsgi"} <= starts

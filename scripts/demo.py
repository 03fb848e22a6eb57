"""Starts a cluster by `neosimple`, lets examples/bank.py work on it, and leaves it running."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.executable).parent


def start(folder):
    """The process of a cluster on SQLite."""
    options = ("--adapter", "SQLite", "--name", "demo", "--partitions", "12", "--logger")
    command = [COMMANDS / "neosimple", *options, "--temp_dir", folder, "storage1", "storage2"]
    # Out of the terminal's foreground, for Ctrl-C is ours to hand over.
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def wait_running(process, folder):
    """What the cluster says of itself, once it runs."""
    facts = {}
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        if line.startswith("Cluster running"):
            return facts
        key, _, value = line.partition(": ")
        facts[key] = value.strip()
    sys.exit(f"The cluster did not start: neosimple ended with {process.wait()}, see {folder}")


def say(text):
    print(f"\n== {text}", flush=True)


def shown(path):
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def neoctl(address, *words):
    print(f"$ neoctl -a {address} {' '.join(words)}", flush=True)
    subprocess.run([COMMANDS / "neoctl", "-a", address, *words], check=True)


def work(facts, seconds):
    """What a visitor wants to see."""
    admin, uri = facts["Admin"], facts["Clients"]
    say("A bank: processes that move money, and one that counts it")
    bank = [sys.executable, ROOT / "examples" / "bank.py", "--seconds", str(seconds), uri]
    subprocess.run(bank, check=True)
    say("The cluster")
    for words in (("print", "cluster"), ("print", "node"), ("print", "pt")):
        neoctl(admin, *words)
    say("How to connect")
    commands = shown(COMMANDS)
    print(f"""\
Zope, or anything that reads ZConfig:

    %import neo.client
    <zodb>
      <NEOStorage>
        master_nodes {facts["Masters"]}
        name {facts["Name of the cluster"]}
      </NEOStorage>
    </zodb>

Python ({commands}/python):

    from neo.client.Storage import Storage
    from ZODB import DB
    db = DB(Storage("{facts["Masters"]}", "{facts["Name of the cluster"]}"))

By URL:     {commands}/python {shown(ROOT / "examples")}/bank.py {uri}
Operators:  {commands}/neoctl -a {admin}""")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "demo")
    parser.add_argument("--seconds", type=float, default=5, help="of the bank")
    parser.add_argument("--once", action="store_true", help="stop the cluster at the end")
    options = parser.parse_args()
    say(f"A cluster in {shown(options.folder)}: a master, an admin and two storages on SQLite")
    # Neither may leave the cluster behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    process = start(options.folder.resolve())
    try:
        facts = wait_running(process, options.folder)
        work(facts, options.seconds)
        if not options.once:
            say("Running until Ctrl-C; `make demo` continues with the same data")
            process.wait()
    except KeyboardInterrupt:
        print()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait()
    say(f"The cluster ended with {status}")
    sys.exit(status)


if __name__ == "__main__":
    main()

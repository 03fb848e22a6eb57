"""Kills for as long as wanted: soak.py [--seed TEXT] KILLS."""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from campaign import Campaign
from cluster import Cluster

CONFIGURATIONS = ((1, 1), (2, 12))


def soak(folder, storages, partitions, kills, seed):
    """Whether all is well."""
    print(f"== {storages} storages, {partitions} partitions, seed {seed}, {folder}", flush=True)
    start = time.monotonic()
    with Cluster(folder, storages=storages, partitions=partitions) as cluster:
        cluster.start()
        campaign = Campaign(cluster, seed, lambda text: print(text, flush=True))
        wrong, outcomes = campaign.run(kills)
        cluster.stop()
    print(f"kills: {dict(campaign.kills)}")
    print(f"transactions: {dict(outcomes or {})}")
    print("\n".join(f"WRONG: {text}" for text in wrong) or "nothing is lost, nothing half there")
    print(f"{time.monotonic() - start:.0f} s", flush=True)
    if wrong:
        return False
    shutil.rmtree(folder)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, help="in all")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of what is killed (random)")
    options = parser.parse_args()
    parent = Path(__file__).resolve().parent.parent.parent / "var"
    parent.mkdir(exist_ok=True)
    good = True
    for i, (storages, partitions) in enumerate(CONFIGURATIONS):
        folder = tempfile.mkdtemp(prefix=f"soak-{storages}-", dir=parent)
        # All of them, whatever the number.
        kills = (options.kills + i) // len(CONFIGURATIONS)
        good &= soak(folder, storages, partitions, kills, options.seed)
    sys.exit(not good)


if __name__ == "__main__":
    main()

"""`kill -9` of every process under load: nothing that was acknowledged is lost, nothing is half
there. `make soak` does the same for hours."""

import pytest
from campaign import Campaign
from cluster import Cluster

KILLS = 40


@pytest.mark.parametrize("storages, partitions", ((1, 1), (2, 12)))
def test_nothing_is_lost_by_killing(tmp_path, storages, partitions):
    with Cluster(tmp_path, storages=storages, partitions=partitions) as cluster:
        cluster.start()
        campaign = Campaign(cluster, seed=f"{storages} {partitions}")
        wrong, outcomes = campaign.run(KILLS)
        assert not wrong
        # Otherwise nothing was tried.
        assert outcomes["ack"] > KILLS
        assert {"m", "s", "admin"} <= set(campaign.kills)
        cluster.stop()

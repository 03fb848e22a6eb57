//! How a cluster is stopped, and how a process is (spec master.md 17).

use neo_wire::{ClusterState, NodeState, NodeType};
use tracing::{info, warn};

use super::{Master, Phase, STOPPING, Turn};
use crate::io::{Exit, Output};

/// What is being waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Wait {
    #[default]
    Nothing,
    /// The cluster stops once no transaction is pending.
    Transactions,
    /// The process stops once no transaction is being finished.
    Commits,
}

/// Whether the cluster or the process stops.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    wait: Wait,
}

impl Shutdown {
    /// Whether the process was asked to stop.
    pub fn is_exiting(&self) -> bool {
        self.wait == Wait::Commits
    }
}

impl Master {
    /// Stops the cluster: what is begun may end, nothing begins.
    pub(super) fn stop_cluster(&mut self, turn: &mut Turn<'_>) {
        if self.cluster_state == Some(ClusterState::Stopping) {
            return;
        }
        self.set_cluster_state(turn, ClusterState::Stopping);
        self.shutdown.wait = Wait::Transactions;
        self.wait_at_most(turn, self.config.limits.stopping_ms);
    }

    fn wait_at_most(&self, turn: &mut Turn<'_>, delay_ms: u64) {
        let timer = STOPPING;
        turn.out.push(Output::SetTimer { timer, delay_ms });
    }

    /// The process was asked to stop. For others this is like a crash: they look for another
    /// primary. But commits in progress are answered, if that does not take long.
    pub(super) fn on_stop(&mut self, turn: &mut Turn<'_>) {
        if self.shutdown.wait == Wait::Commits {
            return;
        }
        info!("asked to stop");
        turn.out.push(Output::StopListening);
        self.shutdown.wait = Wait::Commits;
        self.wait_at_most(turn, self.config.limits.exit_ms);
    }

    /// Ends what there is nothing to wait for any more; whether it did.
    pub(super) fn advance_shutdown(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_operating = self.phase == Phase::Service;
        match self.shutdown.wait {
            Wait::Nothing => return false,
            Wait::Transactions if is_operating && !self.transactions.is_empty() => return false,
            Wait::Transactions => self.close_cluster(turn),
            Wait::Commits if is_operating && self.transactions.has_finishing() => return false,
            Wait::Commits => self.close_process(turn),
        }
        true
    }

    /// What was waited for does not come.
    pub(super) fn stop_waiting(&mut self, turn: &mut Turn<'_>) {
        match self.shutdown.wait {
            Wait::Nothing => {}
            Wait::Transactions => {
                // Those that are being finished are in the hands of storages, not of a client.
                let unfinished = self.transactions.unfinished();
                let ready: Vec<_> = self.readiness.ready().collect();
                for ttid in unfinished {
                    warn!(%ttid, "aborted: it does not end and the cluster stops");
                    self.abort_transaction(turn, ttid, ready.iter().copied());
                }
            }
            Wait::Commits => {
                warn!("stopping while transactions are being finished");
                self.close_process(turn);
            }
        }
    }

    /// Tells storages to exit, closes everything and ends.
    pub(super) fn close_cluster(&mut self, turn: &mut Turn<'_>) {
        info!("the cluster is stopped");
        turn.out.push(Output::StopListening);
        for (key, _, connection) in self.storages() {
            self.set_node_state(key, NodeState::Down);
            if let Some(info) = self.nodes.info(key) {
                self.tell_one(turn, connection, vec![info]);
            }
        }
        self.close_process(turn);
    }

    fn close_process(&mut self, turn: &mut Turn<'_>) {
        let connections: Vec<_> = self.links.ids().collect();
        for connection in connections {
            self.links.abort(connection, turn.out);
        }
        let nodes: Vec<_> = self.nodes.of_type(NodeType::Storage).map(|x| x.0).collect();
        for key in nodes {
            self.nodes.set_connection(key, None);
        }
        self.exit(turn, Exit::Success);
    }
}

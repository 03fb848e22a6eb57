//! `neomaster`.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

use neo_core::io::{Entropy, Nothing};
use neo_core::master::{Effect, Master, MasterConfig as CoreConfig};
use neo_net::{Context, Effects};
use neo_wire::NodeId;
use tracing::{info, warn};

use super::daemon;
use super::master_list::MasterList;
use crate::config::MasterConfig;
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = MasterConfig::load(args)?;
    daemon::start_log(&config.node)?;
    info!(?config, "Configuration loaded");
    run_node(config)
}

/// Runs the node until the cluster stops it.
fn run_node(config: MasterConfig) -> Result<(), RunError> {
    let MasterConfig { node, autostart, upstream, backup, .. } = config;
    if upstream.is_some() || backup {
        warn!("backup of another cluster is not there yet: the upstream cluster is ignored");
    }
    let (list, known) = MasterList::open(node.dynamic_master_list.as_deref())?;
    let shell = daemon::bind::<Nothing>(&node)?;
    let mut masters = daemon::addresses(&node.masters);
    masters.extend(known);
    let address = daemon::advertised(&shell, &node);
    let config = CoreConfig {
        masters,
        nid: node.nid.map(NodeId),
        autostart: autostart.unwrap_or(0),
        partitions: config.partitions,
        partitions_chosen: config.partitions_chosen,
        replicas: config.replicas,
        ..CoreConfig::new(node.cluster.as_str().into(), address)
    };
    // Seeded by the system: only the choice of identifiers depends on it.
    let entropy = Entropy::new(RandomState::new().hash_one(std::process::id()));
    let master = Master::new(config, entropy);
    let exit = daemon::run(shell, master, MasterEffects { list })?;
    daemon::finish(exit)
}

struct MasterEffects {
    list: MasterList,
}

impl Effects<Master> for MasterEffects {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Nothing>) {
        match effect {
            Effect::SaveMasters(masters) => self.list.save(&masters),
            Effect::FlushLog => logging::file::flush(),
        }
    }
}

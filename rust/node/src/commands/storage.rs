//! `neostorage`.

mod database;

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use neo_core::storage::{Config, Storage};
use neo_store::Writer;
use neo_store::database::WriteJob;
use neo_store::sqlite::{self, Options};
use neo_wire::{NodeId, Text};
use tracing::{info, warn};

use self::database::Database;
use super::daemon;
use super::master_list::MasterList;
use crate::RunError;
use crate::config::StorageConfig;
use crate::config::storage::Database as DatabaseConfig;

/// Bytes of stores that may wait in memory for their vote.
const MEMORY_LIMIT: usize = 64 << 20;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = StorageConfig::load(args)?;
    daemon::start_log(&config.node)?;
    info!(?config, "Configuration loaded");
    run_node(config)
}

/// Runs the node until the cluster stops it.
fn run_node(config: StorageConfig) -> Result<(), RunError> {
    let sqlite = match &config.database {
        DatabaseConfig::Sqlite(sqlite) => sqlite,
        DatabaseConfig::Mysql(_) => return Err(RunError::not_there_yet("the MySQL backend")),
        DatabaseConfig::Importer(_) => {
            return Err(RunError::not_there_yet("the Importer backend"));
        }
    };
    if config.new_nid {
        return Err(RunError::not_there_yet("--new-nid"));
    }
    let options = Options {
        database: sqlite.text.clone(),
        dedup: config.dedup,
        reset: config.reset,
        cluster: config.node.cluster.clone(),
    };
    let mut writer: Box<dyn Writer> = Box::new(sqlite::open(&options).map_err(daemon::failed)?);
    name_database(writer.as_mut(), &config.node.cluster)?;
    if config.reset {
        return writer.close().map_err(daemon::failed);
    }
    let device_path = device_path(sqlite.path.as_deref());
    serve(&config, writer, device_path)
}

/// A database without name belongs to this cluster from now on (spec storage.md 2).
fn name_database(writer: &mut dyn Writer, cluster: &str) -> Result<(), RunError> {
    let reader = writer.reader().map_err(daemon::failed)?;
    if reader.configuration().map_err(daemon::failed)?.name.is_none() {
        let job = WriteJob::SetName(cluster.into());
        writer.run(vec![job]).map_err(daemon::failed)?;
    }
    Ok(())
}

/// Host name, then file system: what can fail together (spec storage.md 2).
fn device_path(file: Option<&Path>) -> Vec<Text> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let device = file.and_then(|file| match std::fs::metadata(file) {
        Ok(metadata) => Some(metadata.dev().to_string()),
        Err(error) => {
            warn!(%error, "the device of the database is not known");
            None
        }
    });
    [host, device].into_iter().flatten().map(Text::from).collect()
}

fn serve(
    config: &StorageConfig,
    writer: Box<dyn Writer>,
    device_path: Vec<Text>,
) -> Result<(), RunError> {
    let reader = writer.reader().map_err(daemon::failed)?;
    let settings = reader.configuration().map_err(daemon::failed)?;
    let rows = reader.table().map_err(daemon::failed)?;
    let node = &config.node;
    let (list, known) = MasterList::open(node.dynamic_master_list.as_deref())?;
    let shell = daemon::bind(node)?;
    let mut masters = daemon::addresses(&node.masters);
    masters.extend(known);
    let storage = Storage::new(
        Config {
            cluster: node.cluster.clone(),
            masters,
            address: daemon::advertised(&shell, node),
            device_path,
            nid: node.nid.map(NodeId),
            disable_pack: config.disable_pack,
            memory_limit: MEMORY_LIMIT,
        },
        &settings,
        rows,
    );
    let database = Database::start(writer, reader, shell.handle(), list)?;
    let failure = database.failure();
    let exit = daemon::run(shell, storage, database)?;
    match failure.take() {
        Some(sentence) => Err(RunError::Failed(sentence)),
        None => daemon::finish(exit),
    }
}

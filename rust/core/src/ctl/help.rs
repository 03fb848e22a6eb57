//! What `neoctl` prints when no command is given (spec tools.md 8.1).

/// The list of commands.
pub const COMMANDS: &str = "\
Available commands:
print
  ids
    Print ids allocated last: OID, TID, partition table. In backup mode, the
    TID up to which data was replicated.
  pt [min [max [node]]]
    Print the partition table, or its rows from min (included) to max
    (excluded, 0 for the end), those having a cell on the given node.
  node [type]
    Print the nodes, or those of a type: MASTER, STORAGE, CLIENT, ADMIN.
  cluster
    Print the state of the cluster.
  primary
    Print the node id of the primary master.
  summary
    Print a summary of the health of this cluster and of its backups.
set
  cluster state
    Set the state of the cluster: VERIFYING (same as start), STOPPING,
    STARTING_BACKUP or STOPPING_BACKUP.
  replicas number
    Set the number of replicas. Use 'tweak' to apply it.
check [partition]:[node]... [min_tid [max_tid]]
  Check that replicas hold the same transactions. Without partition: all of
  them. Without node: replicas are compared together. Results are in logs.
start
  Allow a cluster in recovery to start with the storages that are there. The
  last transactions are lost if they are only on storages that are absent.
add all|node...
  Add pending storages to the cluster. Use 'tweak' to give them cells.
tweak [-n] [node...]
  Balance the partition table. Listed nodes are going away: their cells do not
  count. With -n: only print the table it would give.
drop [--force] node
  Remove a storage from the cluster for ever. If it is pending, it erases its
  database, so that --force is needed.
kill node
  Stop a storage or a secondary master.
prune_orphan 0|1 all|node...
  Delete data that no object refers to. With 1: only count them. Results are in
  logs.
truncate tid
  Remove every transaction after the given one.
flush_log
  Make every node write its log to disk.
wait state|replicated
  Wait until the cluster is in a state (RUNNING...), or in service with all its
  cells up to date. It may be started before the admin. See --timeout.

A TID is given as tid:<integer> (0x, 0o and 0b prefixes are understood), or as
a number of seconds since the Unix epoch (1970-01-01 00:00 UTC).
";

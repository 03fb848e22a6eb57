//! Data that no object refers to: looked for, and deleted, slice by slice in the background of the
//! database (spec storage.md 16.2).

use tracing::{info, warn};

use super::jobs::Job;
use super::{Context, Storage};
use crate::database::{DataId, JobOutput, WriteJob};

/// Rows that a slice looks at: some milliseconds, for others may wait for the database.
const ROWS: u32 = 256;

/// A repair that is in progress.
#[derive(Debug)]
pub(super) struct Repair {
    dry_run: bool,
    next: DataId,
    orphans: u64,
    /// A slice was asked of the database.
    is_asked: bool,
}

impl Storage {
    /// NotifyRepair. Before operation the master waits for what is written: it begins then.
    pub(super) fn begin_repair(&mut self, dry_run: bool, cx: &mut Context<'_>) {
        if self.repair.is_some() {
            warn!("orphan data is already being looked for: the new request is ignored");
            return;
        }
        info!(dry_run, "looking for orphan data");
        self.repair = Some(Repair { dry_run, next: DataId(0), orphans: 0, is_asked: false });
        self.go_on_repairing(cx);
    }

    /// Asks for the next slice. Not out of operation, when no long work may delay the master; what
    /// is done stays done.
    pub(super) fn go_on_repairing(&mut self, cx: &mut Context<'_>) {
        let is_operational = self.is_operational();
        let Some(repair) = self.repair.as_mut().filter(|x| is_operational && !x.is_asked) else {
            return;
        };
        repair.is_asked = true;
        let (min, dry_run) = (repair.next, repair.dry_run);
        let slice = WriteJob::PruneOrphans { min, limit: ROWS, dry_run };
        self.ask_write(vec![slice], Job::Repair, cx);
    }

    /// A slice is done, maybe of a former operation.
    pub(super) fn repaired(&mut self, outputs: &[JobOutput], cx: &mut Context<'_>) {
        let Some(repair) = &mut self.repair else { return };
        let [JobOutput::Pruned { orphans, next }] = outputs else {
            warn!("the search for orphan data stops");
            self.repair = None;
            return;
        };
        repair.is_asked = false;
        repair.orphans += orphans;
        if let Some(next) = next {
            repair.next = *next;
            return self.go_on_repairing(cx);
        }
        let (orphans, dry_run) = (repair.orphans, repair.dry_run);
        info!(orphans, dry_run, "orphan data: {}", if dry_run { "counted" } else { "deleted" });
        self.repair = None;
    }
}

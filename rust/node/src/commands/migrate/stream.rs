//! A transaction that is too big to be in memory: written in pieces, alone.

use std::collections::HashMap;

use neo_client::{Application, Conflict, Content, Error, Metadata, TransactionKey, Write};
use neo_wire::{Oid, Tid};

use super::cluster::never;

/// See the module. It must be ended or given up.
pub struct Stream<'a> {
    application: &'a Application,
    key: TransactionKey,

    metadata: Metadata,
    /// Where undos go back to.
    data_serials: HashMap<Oid, Tid>,
}

impl<'a> Stream<'a> {
    /// Begins it. Nothing else may be on its way.
    pub fn begin(
        application: &'a Application,
        tid: Tid,
        metadata: Metadata,
    ) -> Result<Self, Error> {
        let key = application.begin(Some(tid), &never)?;
        Ok(Self { application, key, metadata, data_serials: HashMap::new() })
    }

    /// Writes a piece, waiting while too much is on its way.
    pub fn write(&mut self, writes: Vec<Write>) -> Result<(), Error> {
        for mut write in writes {
            if let Some(tid) = write.data_serial {
                self.data_serials.insert(write.oid, tid);
            } else {
                self.data_serials.remove(&write.oid);
            }
            if let Content::Data { stored, record } = &mut write.content {
                // What counts is what is on its way.
                *record = stored.data.clone();
            }
            let conflict = self.application.write(self.key, write, &never)?;
            self.rebase(conflict)?;
        }
        Ok(())
    }

    /// The base of a write was another revision.
    fn rebase(&self, mut conflict: Option<Conflict>) -> Result<(), Error> {
        while let Some(Conflict { oid, content, committed: base, .. }) = conflict {
            let data_serial = self.data_serials.get(&oid).copied();
            let write = Write { oid, base, content, data_serial };
            conflict = self.application.write(self.key, write, &never)?;
        }
        Ok(())
    }

    /// Commits it.
    pub fn end(self) -> Result<Tid, Error> {
        loop {
            match self.application.vote(self.key, self.metadata.clone(), &never)? {
                Ok(_) => return self.application.finish(self.key, |_| (), &never),
                Err(conflict) => self.rebase(Some(conflict))?,
            }
        }
    }

    /// Gives it up.
    pub fn abort(self) {
        self.application.abort(self.key);
    }
}

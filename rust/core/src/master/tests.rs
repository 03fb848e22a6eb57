//! The master, with storages, clients, admins and masters played by hand.

mod administration;
mod commit;
mod election;
mod harness;
mod hostile;
mod identification;
mod imposed;
mod joining;
mod packs;
mod recovery;
mod shutdown;
mod traces;
mod verification;

//! The thread of a writer: group commit.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use neo_core::database::{JobResult, WriteJob};

use crate::{Batch, Durability, Policy, StoreError, Submission, Ticket, Writer};

/// Called in the thread of the writer, once for each ticket, when its jobs are durable or failed.
/// After a failure nothing more will succeed: the node must stop.
pub type Completion = Box<dyn FnMut(Ticket, Result<Vec<JobResult>, StoreError>) + Send>;

/// A thread that owns a writer. It sleeps while there is nothing to do, never waits to gather
/// jobs, and commits together what came while the previous commit was made.
pub struct WriterThread {
    sender: Option<Sender<Submission>>,
    thread: Option<JoinHandle<Box<dyn Writer>>>,
}

impl WriterThread {
    /// Starts it.
    ///
    /// # Errors
    /// If the system can not start a thread.
    pub fn spawn(writer: Box<dyn Writer>, completion: Completion) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let mut shell =
            Shell { writer, completion, receiver, policy: Policy::default(), closed: false };
        let thread =
            std::thread::Builder::new().name("neo-writer".to_owned()).spawn(move || {
                shell.run();
                shell.writer
            })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Queues jobs; never blocks. Order: see [`Policy`].
    ///
    /// # Errors
    /// If the thread is gone.
    pub fn submit(&self, ticket: Ticket, jobs: Vec<WriteJob>) -> Result<(), StoreError> {
        let submission = Submission { ticket, jobs };
        match &self.sender {
            Some(sender) if sender.send(submission).is_ok() => Ok(()),
            _ => Err(StoreError::GivenUp("its thread ended".to_owned())),
        }
    }

    /// Finishes what was submitted, and closes the database.
    ///
    /// # Errors
    /// If it can not be closed cleanly.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(writer)) => writer.close(),
            _ => Err(StoreError::GivenUp("its thread ended".to_owned())),
        }
    }
}

/// Everything that was submitted is finished first.
impl Drop for WriterThread {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the database ended by a panic");
        }
    }
}

struct Shell {
    writer: Box<dyn Writer>,
    completion: Completion,
    receiver: Receiver<Submission>,
    policy: Policy,
    closed: bool,
}

impl Shell {
    fn run(&mut self) {
        loop {
            self.receive();
            match self.policy.next_batch() {
                Some(batch) => self.commit(batch),
                None if self.closed => return,
                None => match self.receiver.recv() {
                    Ok(submission) => self.policy.push(submission),
                    Err(_) => self.closed = true,
                },
            }
        }
    }

    /// Takes what is there already.
    fn receive(&mut self) {
        self.closed |= receive(&self.receiver, &mut self.policy);
    }

    fn commit(&mut self, batch: Batch) {
        let mut taken = Vec::new();
        let result = match batch {
            Batch::Foreground(submissions, durability) => {
                let mut submissions = submissions.into_iter();
                let mut jobs = Feed::new(&mut taken, || submissions.next());
                let result = self.writer.commit(durability, &mut jobs);
                // A failed commit may have left some out: they failed with it.
                taken.extend(submissions.map(|left| (left.ticket, left.jobs.len())));
                result
            }
            Batch::Background => {
                let start = Instant::now();
                let (policy, receiver) = (&mut self.policy, &self.receiver);
                let mut jobs = Feed::new(&mut taken, || {
                    receive(receiver, policy);
                    policy.next_of_slice(start.elapsed())
                });
                let result = self.writer.commit(Durability::Durable, &mut jobs);
                // A writer that gave up asks for nothing: what it was to do failed.
                if result.is_err() {
                    while let Some(left) = self.policy.next_of_slice(start.elapsed()) {
                        taken.push((left.ticket, left.jobs.len()));
                    }
                }
                result
            }
        };
        match result {
            Ok(results) => {
                let mut results = results.into_iter();
                for (ticket, count) in taken {
                    let own = results.by_ref().take(count).collect();
                    (self.completion)(ticket, Ok(own));
                }
            }
            Err(error) => {
                for (ticket, _) in taken {
                    (self.completion)(ticket, Err(error.clone()));
                }
            }
        }
    }
}

/// Takes what is there already; true if nothing will come any more.
fn receive(receiver: &Receiver<Submission>, policy: &mut Policy) -> bool {
    loop {
        match receiver.try_recv() {
            Ok(submission) => policy.push(submission),
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Disconnected) => return true,
        }
    }
}

/// The jobs of submissions that are asked for one by one, and what was taken.
struct Feed<'a, F> {
    taken: &'a mut Vec<(Ticket, usize)>,
    jobs: std::vec::IntoIter<WriteJob>,
    next: F,
}

impl<'a, F: FnMut() -> Option<Submission>> Feed<'a, F> {
    fn new(taken: &'a mut Vec<(Ticket, usize)>, next: F) -> Self {
        let jobs = Vec::new().into_iter();
        Self { taken, jobs, next }
    }
}

impl<F: FnMut() -> Option<Submission>> Iterator for Feed<'_, F> {
    type Item = WriteJob;

    fn next(&mut self) -> Option<WriteJob> {
        loop {
            if let Some(job) = self.jobs.next() {
                return Some(job);
            }
            let submission = (self.next)()?;
            self.taken.push((submission.ticket, submission.jobs.len()));
            self.jobs = submission.jobs.into_iter();
        }
    }
}

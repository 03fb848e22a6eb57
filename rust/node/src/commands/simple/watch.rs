//! What is asked of the admin: whether the cluster runs, and to stop it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use neo_core::ctl::{Command, Ctl, Effect};
use neo_core::io::{Exit, Nothing};
use neo_net::{Context, Effects, Shell, ShellConfig};
use neo_wire::Address;

/// How long an admin may think about a question.
const TIMEOUT_MS: u64 = 1000;

/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks the admin again and again, in a thread of its own, until it is dropped.
pub(super) struct Watch {
    running: Arc<AtomicBool>,
    unwanted: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn start(admin: SocketAddr) -> Self {
        let watch = Self { running: Arc::default(), unwanted: Arc::default() };
        let (running, unwanted) = (watch.running.clone(), watch.unwanted.clone());
        thread::spawn(move || {
            while !unwanted.load(Ordering::Relaxed) {
                if ask(admin, ["print", "cluster"]).is_some_and(|state| state.trim() == "RUNNING") {
                    return running.store(true, Ordering::Relaxed);
                }
                thread::sleep(PAUSE);
            }
        });
        watch
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

/// Asks the admin to stop all nodes, in a thread of its own.
pub(super) struct Shutdown {
    refused: Arc<AtomicBool>,
}

impl Shutdown {
    pub(super) fn start(admin: SocketAddr) -> Self {
        let shutdown = Self { refused: Arc::default() };
        let refused = shutdown.refused.clone();
        thread::spawn(move || {
            let answer = ask(admin, ["set", "cluster", "STOPPING"]);
            refused.store(answer.is_none(), Ordering::Relaxed);
        });
        shutdown
    }

    /// Whether the nodes will not stop by themselves: the cluster does not run, or has no admin.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What `neoctl` prints. None: it fails.
fn ask<const N: usize>(admin: SocketAddr, words: [&str; N]) -> Option<String> {
    let command = Command::parse(&words).ok()??;
    let config = ShellConfig { stop_signals: false, ..ShellConfig::default() };
    let shell = Shell::<Nothing>::bind(config).ok()?;
    let ctl = Ctl::new(Address::from_socket(admin), command).with_timeout(Some(TIMEOUT_MS));
    let text = Rc::new(RefCell::new(String::new()));
    let exit = shell.run(ctl, Text(text.clone())).ok()?;
    (exit == Exit::Success).then(|| text.take())
}

struct Text(Rc<RefCell<String>>);

impl Effects<Ctl> for Text {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Nothing>) {
        if let Effect::Print(text) = effect {
            self.0.borrow_mut().push_str(&text);
        }
    }
}

//! `neoctl`.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::rc::Rc;

use neo_core::ctl::{COMMANDS, Command, Ctl, Effect};
use neo_core::io::{Exit, Nothing};
use neo_net::{Context, Effects, Shell, ShellConfig};
use neo_wire::Address;

use super::daemon;
use crate::config::CtlConfig;
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = CtlConfig::load(args)?;
    // Otherwise stderr is for the reason of a failure alone: scripts match it.
    if let Some(logfile) = &config.link.logfile {
        logging::init(Some(logfile))?;
    }
    run_command(config)
}

/// Sends the command to the admin and prints the answer.
fn run_command(config: CtlConfig) -> Result<(), RunError> {
    let command = Command::parse(&config.command).map_err(|e| RunError::Plain(e.to_string()))?;
    let Some(command) = command else {
        return print(COMMANDS).map_err(daemon::failed);
    };
    let tls = daemon::tls(&config.link)?;
    // Ctrl-C does what it does to any command.
    let shell = ShellConfig { tls, stop_signals: false, ..ShellConfig::default() };
    let shell = Shell::<Nothing>::bind(shell).map_err(daemon::failed)?;
    let admin = Address::from_socket(config.address);
    let timeout_ms = config.timeout.map(|x| u64::try_from(x.as_millis()).unwrap_or(u64::MAX));
    let failure = Rc::new(Cell::new(None));
    let effects = CtlEffects { failure: failure.clone() };
    let ctl = Ctl::new(admin, command).with_timeout(timeout_ms);
    let exit = shell.run(ctl, effects).map_err(daemon::failed)?;
    if let Some(error) = failure.take() {
        return Err(daemon::failed(error));
    }
    match exit {
        Exit::Success => Ok(()),
        Exit::Failure(reason) => Err(RunError::Plain(reason)),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

struct CtlEffects {
    failure: Rc<Cell<Option<io::Error>>>,
}

impl Effects<Ctl> for CtlEffects {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Nothing>) {
        let Effect::Print(text) = effect;
        if let Err(error) = print(&text) {
            self.failure.set(Some(error));
        }
    }
}

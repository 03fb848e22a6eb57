//! `neoctl`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use neo_core::ctl::{COMMANDS, Command, Ctl, Effect, Failure, FailureKind};
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
        logging::init_at_once(logfile)?;
    }
    run_command(config)
}

/// Sends the command to an admin and prints the answer.
fn run_command(config: CtlConfig) -> Result<(), RunError> {
    let command = match Command::parse(&config.command) {
        Ok(Some(command)) => command,
        Ok(None) => return print(COMMANDS).map_err(daemon::failed),
        Err(error) => return failed(&config, Failure::usage(error.to_string())),
    };
    let started = Instant::now();
    let mut admins = config.addresses.iter().copied().map(Address::from_socket);
    let first = admins.next().ok_or_else(|| RunError::Plain("no admin is known".into()))?;
    let prepare = |ctl: Ctl, elapsed: Duration| {
        let left = config.timeout.map(|timeout| timeout.saturating_sub(elapsed).as_millis());
        ctl.or_at(admins.clone()).with_timeout(left.map(|x| u64::try_from(x).unwrap_or(u64::MAX)))
    };
    let mut elapsed = Duration::ZERO;
    if command.has_cautions() {
        let ctl = prepare(Ctl::cautions(first.clone(), command.clone()), elapsed);
        let cautions = match talk(&config, ctl)? {
            Ok(text) => text,
            Err(failure) => return failed(&config, failure),
        };
        elapsed = started.elapsed();
        if !cautions.is_empty() && !confirmed(&config, &cautions).map_err(daemon::failed)? {
            return failed(&config, cancelled());
        }
    }
    let ctl = prepare(Ctl::new(first, command).as_json(config.json), elapsed);
    match talk(&config, ctl)? {
        Ok(text) => print(&text).map_err(daemon::failed),
        Err(failure) => failed(&config, failure),
    }
}

/// Runs one dialogue: what it prints, or why it fails.
fn talk(config: &CtlConfig, ctl: Ctl) -> Result<Result<String, Failure>, RunError> {
    let tls = daemon::tls(&config.link)?;
    // Ctrl-C does what it does to any command.
    let shell = ShellConfig { tls, stop_signals: false, ..ShellConfig::default() };
    let shell = Shell::<Nothing>::bind(shell).map_err(daemon::failed)?;
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let exit = shell.run(ctl, CtlEffects(outcome.clone())).map_err(daemon::failed)?;
    let Outcome { printed, failure } = outcome.take();
    match (exit, failure) {
        (Exit::Success, _) => Ok(Ok(printed)),
        (Exit::Failure(_), Some(failure)) => Ok(Err(failure)),
        (Exit::Failure(reason), None) => Err(RunError::Plain(reason)),
    }
}

/// Says what the operator should know; on a terminal, whether the command is wanted all the same.
fn confirmed(config: &CtlConfig, cautions: &str) -> io::Result<bool> {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    stderr.write_all(cautions.as_bytes())?;
    if config.yes || !stdin.is_terminal() || !stderr.is_terminal() {
        return Ok(true);
    }
    stderr.write_all(b"Continue? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

fn cancelled() -> Failure {
    Failure { kind: FailureKind::Refused, text: "cancelled: nothing was done".into() }
}

/// Tells a failure as it is wanted.
fn failed(config: &CtlConfig, failure: Failure) -> Result<(), RunError> {
    if config.json {
        print(&(failure.to_json() + "\n")).map_err(daemon::failed)?;
        return Err(RunError::Told(failure.status()));
    }
    Err(RunError::Plain(failure.text))
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// What comes of a dialogue.
#[derive(Default)]
struct Outcome {
    printed: String,
    failure: Option<Failure>,
}

struct CtlEffects(Rc<RefCell<Outcome>>);

impl Effects<Ctl> for CtlEffects {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Nothing>) {
        let mut outcome = self.0.borrow_mut();
        match effect {
            Effect::Print(text) => outcome.printed.push_str(&text),
            Effect::Failed(failure) => outcome.failure = Some(failure),
        }
    }
}

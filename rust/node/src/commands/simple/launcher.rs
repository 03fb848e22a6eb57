//! How another command of NEO is run from this one.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::RunError;

/// By what we were called.
const NAME: &str = "neosimple";

/// How this process was run, which is how others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Launcher {
    /// A console script: its interpreter with options, and the folder of scripts. Not the
    /// executable as the system knows it: a virtual environment is recognized by the path that its
    /// interpreter was called by.
    Script { interpreter: OsString, options: Vec<OsString>, folder: PathBuf },
    /// The native binary; whether the name of the command is that of the binary.
    Binary { executable: PathBuf, named: bool },
    /// Unknown: by name, through `$PATH`.
    Path,
}

impl Launcher {
    /// As the system remembers our command line. In an interpreter that was not given the path of
    /// a script, nothing is known.
    pub(super) fn of_this_process() -> Self {
        Self::new(&env::args_os().collect::<Vec<_>>(), env::current_exe().ok())
    }

    fn new(words: &[OsString], executable: Option<PathBuf>) -> Self {
        let base = |word: &OsString| Path::new(word).file_name().map(OsString::from);
        let ours = words.iter().position(|word| base(word).is_some_and(|base| base == NAME));
        let Some(ours) = ours else { return Self::Path };
        let before = words.get(..ours).unwrap_or_default();
        let folder = words.get(ours).map(Path::new).and_then(Path::parent);
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        match (before, folder, executable) {
            // A shebang gives the path, and the words before it.
            ([interpreter, options @ ..], Some(folder), _) => Self::Script {
                interpreter: interpreter.clone(),
                options: options.to_vec(),
                folder: folder.to_owned(),
            },
            (before, _, Some(executable)) => Self::Binary { executable, named: before.is_empty() },
            _ => Self::Path,
        }
    }

    /// A command of this name.
    pub(super) fn command(&self, name: &str, args: &[OsString]) -> Command {
        let mut command = match self {
            Self::Script { interpreter, options, folder } => {
                let mut command = Command::new(interpreter);
                command.args(options).arg(folder.join(name));
                command
            }
            Self::Binary { executable, named } => {
                let mut command = Command::new(executable);
                if *named {
                    command.arg0(name);
                } else {
                    command.arg(name);
                }
                command
            }
            Self::Path => Command::new(name),
        };
        command.args(args);
        command
    }
}

/// Why a command does not even start.
pub(super) fn cannot(name: &str, error: &io::Error) -> RunError {
    RunError::Failed(format!("cannot run {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> (OsString, Vec<OsString>) {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let command =
            Launcher::new(&words, Some("/lib/exe".into())).command("neomaster", &["-x".into()]);
        let args = command.get_args().map(Into::into).collect();
        (command.get_program().into(), args)
    }

    fn expect(program: &str, args: &[&str]) -> (OsString, Vec<OsString>) {
        (program.into(), args.iter().map(Into::into).collect())
    }

    #[test]
    fn console_scripts_run_their_siblings_by_the_same_interpreter() {
        assert_eq!(
            line(&["/venv/bin/python", "-E", "/venv/bin/neosimple", "--logger", "db"]),
            expect("/venv/bin/python", &["-E", "/venv/bin/neomaster", "-x"])
        );
    }

    #[test]
    fn the_native_binary_runs_itself() {
        assert_eq!(line(&["/usr/bin/neosimple", "db"]), expect("/lib/exe", &["-x"]));
        assert_eq!(
            line(&["target/neo", "neosimple", "db"]),
            expect("/lib/exe", &["neomaster", "-x"])
        );
    }

    #[test]
    fn otherwise_commands_are_looked_for() {
        assert_eq!(line(&["python3", "-c", "..."]), expect("neomaster", &["-x"]));
    }
}

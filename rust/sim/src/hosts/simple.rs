//! Nodes whose only glue is the network: masters, admins, commands of operators.

use neo_core::io::{Input, Node, Nothing};

use crate::host::{Host, Kind, Turn, common_input, drive};
use crate::random::Random;

/// Makes the core of a new process.
type Make<N> = Box<dyn FnMut(&mut Random) -> N>;

/// Says what is left when nobody wants anything.
type Rest<N> = fn(&N) -> Result<(), String>;

/// A machine with such a node.
pub struct SimpleHost<N> {
    kind: Kind,
    make: Make<N>,
    rest: Rest<N>,
    core: Option<N>,
    quiet: bool,
}

impl<N> SimpleHost<N> {
    /// `make` starts a process, `rest` says whether one is at rest.
    pub fn new(kind: Kind, make: impl FnMut(&mut Random) -> N + 'static, rest: Rest<N>) -> Self {
        Self { kind, make: Box::new(make), rest, core: None, quiet: false }
    }
}

impl<N: Node + std::fmt::Debug> Host for SimpleHost<N> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn boot(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        self.core = Some((self.make)(turn.random));
        Ok(())
    }

    fn handle(&mut self, turn: &mut Turn<'_>, input: Input<Nothing>) -> Result<(), String> {
        if let Some(core) = &mut self.core {
            // Files that these nodes write only matter to people.
            drive(core, turn, common_input(input), &mut Vec::new());
        }
        Ok(())
    }

    fn crash(&mut self, _machine: bool, _turn: &mut Turn<'_>) {
        self.core = None;
    }

    fn quiet(&mut self) {
        self.quiet = true;
    }

    fn go_on(&mut self) {
        self.quiet = false;
    }

    fn starts_again(&self) -> bool {
        // Commands end by themselves, and nobody types any more.
        self.kind != Kind::Operator || !self.quiet
    }

    fn describe(&self) -> String {
        format!("{:#?}", self.core)
    }

    fn check_rest(&self) -> Result<(), String> {
        match &self.core {
            Some(core) => (self.rest)(core),
            None if self.kind == Kind::Operator => Ok(()),
            None => Err("there is no process".into()),
        }
    }
}

//! All commands of NEO in one native binary: call it `neo neomaster …`, or link it by this name.

use std::env;
use std::process::exit;

fn main() {
    exit(neo_node::run(env::args_os().collect()));
}

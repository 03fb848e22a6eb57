//! The description of the protocol that log files carry (spec tools.md 11.4).
//!
//! The `neolog` of the Python NEO executes it; ours only looks for its version.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use neo_wire::Packet;

/// Version of the packets that we speak.
pub(crate) const VERSION: u32 = 5;

const TEMPLATE: &str = include_str!("protocol.py.in");

/// Source text of a Python module.
fn text() -> String {
    let mut packets = String::new();
    for schema in Packet::schemas() {
        // Writing to a String does not fail.
        let _ = writeln!(packets, "{}={}", schema.name, schema.code);
    }
    TEMPLATE.replace("@PACKETS@", packets.trim_end())
}

/// The same, compressed.
pub(super) fn compressed() -> &'static [u8] {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut encoder = BzEncoder::new(Vec::new(), Compression::best());
        // Neither can writing to memory fail.
        let _ = encoder.write_all(text().as_bytes());
        encoder.finish().unwrap_or_default()
    })
}

//! `neolog` (spec tools.md 12).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Zoned;

use super::ConfigError;
use super::date;
use super::options::{CommandSpec, Kind, OptionSpec, Positional};
use super::settings::Settings;
use super::value;

/// How much of packets is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketDetail {
    /// Identifier, name, peer.
    Header,
    /// Arguments too.
    Body,
    /// Arguments, with the data of objects decompressed.
    Decompressed,
}

/// What the node column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeColumn {
    /// The NID, else the name of the file.
    Nid,
    /// Cluster and NID.
    ClusterNid,
    /// The name of the file, or of the node in tests.
    Name,
}

/// From when records are shown.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// Seconds since the Unix epoch.
    Epoch(f64),
    /// Seconds before now, more than 0.
    Ago(f64),
}

/// What `neolog` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Detail of packets.
    pub packets: PacketDetail,
    /// Whether each row is a JSON object.
    pub json: bool,
    /// Whether lines are coloured by severity.
    pub color: bool,
    /// Format of dates, as of strftime. Empty: no date.
    pub date: String,
    /// Period at which to look for more records; none: stop at the end.
    pub follow: Option<Duration>,
    /// Processes to send SIGRTMIN to at each period.
    pub flush: Vec<i32>,
    /// Only these values of the node column; empty: all.
    pub nodes: Vec<String>,
    /// Whether the node column is hidden.
    pub hide_node: bool,
    /// What the node column shows.
    pub node_column: NodeColumn,
    /// First date.
    pub from: Option<From>,
    /// Files to merge, at least one.
    pub files: Vec<PathBuf>,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    CommandSpec {
        program: "neolog",
        prefix: "",
        about: "Show log files of NEO nodes, merged by date",
        options: vec![
            OptionSpec::flag("all", "decode bodies of packets").short('a'),
            OptionSpec::flag("decompress", "as --all, and decompress data of objects").short('A'),
            OptionSpec::flag("color", "color lines by severity").short('c'),
            OptionSpec::new("date", Kind::List, "format of dates, empty for no date")
                .short('d')
                .value_name("STRFTIME")
                .default("%F %T"),
            OptionSpec::flag("follow", "keep reading").short('f'),
            OptionSpec::new("flush", Kind::Repeated, "with -f: process to ask for its records")
                .short('F')
                .value_name("PID"),
            OptionSpec::new("sleep-interval", Kind::Number, "period of -f, in seconds")
                .short('s')
                .value_name("SECONDS")
                .default("1"),
            OptionSpec::new("node", Kind::Repeated, "only this node; - hides the column")
                .short('n')
                .value_name("NAME"),
            OptionSpec::new("from", Kind::Number, "first date: timestamp, -seconds, or date")
                .value_name("TIME"),
            OptionSpec::flag("cluster", "node column: cluster/NID").short('C'),
            OptionSpec::flag("no-nid", "node column: name of the file").short('N'),
            OptionSpec::flag("json", "a JSON object by line"),
        ],
        positionals: vec![Positional {
            several: true,
            ..Positional::new("FILE", "log files, possibly compressed (.gz .bz2 .xz .zst)")
        }],
    }
}

impl LogConfig {
    /// Parses a command line, given without the name of the program.
    ///
    /// # Errors
    /// [`ConfigError::Answer`], [`ConfigError::Usage`].
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let settings = Settings::parse(spec(), args)?;
        let (cluster, no_nid) = (settings.flag("cluster")?, settings.flag("no-nid")?);
        if cluster && no_nid {
            return Err(settings.reject("no-nid", "not allowed with argument -C/--cluster"));
        }
        let mut nodes = settings.list("node")?;
        let hide_node = nodes.iter().any(|node| node == "-");
        nodes.retain(|node| node != "-");
        let period = settings.parsed("sleep-interval", period)?;
        Ok(Self {
            packets: match (settings.flag("decompress")?, settings.flag("all")?) {
                (true, _) => PacketDetail::Decompressed,
                (false, true) => PacketDetail::Body,
                (false, false) => PacketDetail::Header,
            },
            json: settings.flag("json")?,
            color: settings.flag("color")?,
            date: settings.text("date")?.unwrap_or_default(),
            follow: if settings.flag("follow")? { period } else { None },
            flush: flush(&settings)?,
            nodes,
            hide_node,
            node_column: match (cluster, no_nid) {
                (true, _) => NodeColumn::ClusterNid,
                (false, true) => NodeColumn::Name,
                (false, false) => NodeColumn::Nid,
            },
            from: settings.parsed("from", from)?,
            files: settings.words("FILE").iter().map(Into::into).collect(),
        })
    }
}

fn period(text: &str) -> Result<Duration, String> {
    let duration = Duration::try_from_secs_f64(value::number(text)?).ok();
    let positive = duration.filter(|duration| !duration.is_zero());
    positive.ok_or_else(|| "sleep_interval must be positive".to_owned())
}

fn flush(settings: &Settings) -> Result<Vec<i32>, ConfigError> {
    let pids = settings.list("flush")?;
    let pids = pids.iter().map(|text| match value::integer(text).map(i32::try_from)? {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(format!("not a process: '{text}'")),
    });
    let pids: Result<_, String> = pids.collect();
    pids.map_err(|reason| settings.reject("flush", reason))
}

fn from(text: &str) -> Result<From, String> {
    Ok(match value::number(text) {
        Ok(seconds) if seconds < 0. => From::Ago(-seconds),
        Ok(seconds) => From::Epoch(seconds),
        Err(_) => From::Epoch(date::parse(text, &Zoned::now())?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &str) -> Result<LogConfig, ConfigError> {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        LogConfig::load(&args)
    }

    fn usage(args: &str) -> String {
        match load(args) {
            Err(ConfigError::Usage { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_parsed() {
        let log =
            load("-Acf -F 12 -F 13 -s 0.5 -n S1 -n - -n M1 -C --from -60 -d  a b.gz").unwrap();
        assert_eq!(log.packets, PacketDetail::Decompressed);
        assert_eq!(log.follow, Some(Duration::from_millis(500)));
        assert_eq!(log.flush, [12, 13]);
        assert_eq!((log.nodes.as_slice(), log.hide_node), (&["S1".into(), "M1".into()][..], true));
        assert_eq!((log.node_column, log.from), (NodeColumn::ClusterNid, Some(From::Ago(60.))));
        assert_eq!((log.date.as_str(), log.files.len()), ("", 2));
    }

    #[test]
    fn defaults_are_simple() {
        let log = load("a").unwrap();
        assert_eq!((log.packets, log.node_column), (PacketDetail::Header, NodeColumn::Nid));
        assert_eq!((log.date.as_str(), log.follow, log.from), ("%F %T", None, None));
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        assert!(usage("-s 0 a").contains("sleep_interval must be positive"));
        assert!(usage("-C -N a").contains("not allowed with argument -C/--cluster"));
        assert!(usage("-F x a").contains("invalid int"));
        assert!(usage("-F -5 a").contains("-5"));
        assert!(usage("-a").contains("FILE"));
    }
}

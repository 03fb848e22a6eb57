//! Which nodes there are, and how they are run.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::RunError;
use crate::config::SimpleConfig;
use crate::config::simple::SimpleAdapter;

/// A node to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodePlan {
    /// `master_0`, `storage_0`, `admin`...
    pub(super) name: String,
    /// `neomaster`...
    pub(super) command: &'static str,
    /// Words that follow.
    pub(super) args: Vec<OsString>,
}

/// A cluster to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) cluster: String,
    pub(super) masters: Vec<SocketAddr>,
    pub(super) admin: SocketAddr,
    pub(super) autostart: bool,
    /// In the order of their start.
    pub(super) nodes: Vec<NodePlan>,
}

impl Plan {
    /// For this configuration, on ports that are free now.
    pub(super) fn new(config: &SimpleConfig, directory: &Path) -> Result<Self, RunError> {
        let ports = free_ports(config.bind_ip, usize::from(config.masters) + 1);
        let ports = ports.map_err(|error| {
            RunError::Failed(format!("cannot listen on {}: {error}", config.bind_ip))
        })?;
        let name = config.name.clone();
        let cluster = name.unwrap_or_else(|| cluster_name(config.seed.as_deref()));
        Ok(Self::on(config, directory, cluster, ports))
    }

    fn on(
        config: &SimpleConfig,
        directory: &Path,
        cluster: String,
        mut ports: Vec<SocketAddr>,
    ) -> Self {
        let admin = ports.pop().unwrap_or_else(|| (config.bind_ip, 0).into());
        let masters = ports;
        let mut plan = Self { cluster, masters, admin, autostart: config.autostart, nodes: vec![] };
        for (i, master) in plan.masters.clone().iter().enumerate() {
            let mut args = words(["-b", &master.to_string()]);
            args.extend(words(["-p", &config.partitions.to_string()]));
            args.extend(words(["-r", &config.replicas.to_string()]));
            if config.autostart {
                args.extend(words(["-A", &config.databases.len().to_string()]));
            }
            plan.add(config, directory, format!("master_{i}"), "neomaster", args);
        }
        plan.add(config, directory, "admin".into(), "neoadmin", words(["-b", &admin.to_string()]));
        for (i, database) in config.databases.iter().enumerate() {
            let mut args = words(["-b", &SocketAddr::from((config.bind_ip, 0)).to_string()]);
            args.extend(database_args(config.adapter, directory, database));
            plan.add(config, directory, format!("storage_{i}"), "neostorage", args);
        }
        plan
    }

    fn add(
        &mut self,
        config: &SimpleConfig,
        directory: &Path,
        name: String,
        command: &'static str,
        own: Vec<OsString>,
    ) {
        let mut args = words(["-c", &self.cluster]);
        args.extend(words(["-m", &self.master_nodes()]));
        args.extend(own);
        if config.logger {
            args.push("-l".into());
            args.push(directory.join(format!("{name}.log")).into());
        }
        self.nodes.push(NodePlan { name, command, args });
    }

    /// Addresses of all masters, as clients are given them.
    pub(super) fn master_nodes(&self) -> String {
        self.join_masters(" ")
    }

    /// What `zodburi` opens.
    pub(super) fn uri(&self) -> String {
        let name: String = self.cluster.bytes().map(escaped).collect();
        format!("neo://{name}@{}", self.join_masters(","))
    }

    fn join_masters(&self, separator: &str) -> String {
        let masters: Vec<String> = self.masters.iter().map(ToString::to_string).collect();
        masters.join(separator)
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.iter().map(Into::into).collect()
}

fn database_args(adapter: SimpleAdapter, directory: &Path, database: &str) -> Vec<OsString> {
    match adapter {
        SimpleAdapter::Mysql => words(["-a", "MySQL", "-d", database]),
        SimpleAdapter::Sqlite => {
            let mut args = words(["-a", "SQLite", "-d"]);
            args.push(match database.contains('/') {
                true => database.into(),
                false => directory.join(format!("{database}.sqlite")).into(),
            });
            args
        }
    }
}

/// Ports that nobody listens on. Others may take them before we do: nothing better is possible when
/// several processes must know them.
fn free_ports(ip: IpAddr, count: usize) -> io::Result<Vec<SocketAddr>> {
    let listeners: io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind((ip, 0))).collect();
    listeners?.iter().map(TcpListener::local_addr).collect()
}

/// `neo_<0-100>`, always the same one for a seed.
fn cluster_name(seed: Option<&str>) -> String {
    let seed = seed.map_or_else(random, str::to_owned);
    // FNV-1a.
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("neo_{}", hash % 101)
}

fn random() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} {now:?}", process::id())
}

fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

/// Words as they can be given to a shell.
pub(super) fn quoted(words: &[OsString]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(&word.to_string_lossy())).collect();
    quoted.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: &str) -> Plan {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        let config = SimpleConfig::load(&args).unwrap();
        let ports = (1..=config.masters + 1).map(|port| (config.bind_ip, port).into());
        Plan::on(&config, "/dir".as_ref(), "a b".into(), ports.collect())
    }

    fn lines(plan: &Plan) -> Vec<String> {
        let line = |x: &NodePlan| format!("{}: {} {}", x.name, x.command, quoted(&x.args));
        plan.nodes.iter().map(line).collect()
    }

    #[test]
    fn every_node_knows_masters_and_the_name() {
        let plan = plan("--adapter SQLite --master_count 2 --partitions 12 --replicas 1 x ./y");
        assert_eq!(
            lines(&plan),
            [
                "master_0: neomaster -c 'a b' -m '127.0.0.1:1 127.0.0.1:2' -b 127.0.0.1:1 -p 12 \
                 -r 1 -A 2",
                "master_1: neomaster -c 'a b' -m '127.0.0.1:1 127.0.0.1:2' -b 127.0.0.1:2 -p 12 \
                 -r 1 -A 2",
                "admin: neoadmin -c 'a b' -m '127.0.0.1:1 127.0.0.1:2' -b 127.0.0.1:3",
                "storage_0: neostorage -c 'a b' -m '127.0.0.1:1 127.0.0.1:2' -b 127.0.0.1:0 -a \
                 SQLite -d /dir/x.sqlite",
                "storage_1: neostorage -c 'a b' -m '127.0.0.1:1 127.0.0.1:2' -b 127.0.0.1:0 -a \
                 SQLite -d ./y",
            ]
        );
        assert_eq!(plan.uri(), "neo://a%20b@127.0.0.1:1,127.0.0.1:2");
    }

    #[test]
    fn the_operator_may_start_it_and_read_logs() {
        let plan = plan("--adapter MySQL --address_type 10 --no-autostart --logger x");
        assert_eq!(
            lines(&plan),
            [
                "master_0: neomaster -c 'a b' -m '[::1]:1' -b '[::1]:1' -p 1 -r 0 \
                 -l /dir/master_0.log",
                "admin: neoadmin -c 'a b' -m '[::1]:1' -b '[::1]:2' -l /dir/admin.log",
                "storage_0: neostorage -c 'a b' -m '[::1]:1' -b '[::1]:0' -a MySQL -d x \
                 -l /dir/storage_0.log",
            ]
        );
    }

    #[test]
    fn a_seed_makes_the_name() {
        assert_eq!(cluster_name(Some("x")), cluster_name(Some("x")));
        assert_ne!(cluster_name(Some("x")), cluster_name(Some("y")));
        let number: u32 = cluster_name(None).strip_prefix("neo_").unwrap().parse().unwrap();
        assert!(number <= 100);
    }

    #[test]
    fn ports_are_distinct() {
        let ports = free_ports([127, 0, 0, 1].into(), 3).unwrap();
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        assert!(ports.iter().all(|address| address.port() != 0));
    }
}

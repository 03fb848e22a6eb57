//! Who this process is, for mails: the user and the name of the machine.

use std::{env, fs};

use nix::unistd::{Uid, User, gethostname};

/// The name of this machine, with its domain if /etc/hosts knows it.
pub(super) fn host() -> String {
    let name = gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into());
    if name.contains('.') {
        return name;
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    qualified(&name, &hosts).unwrap_or(name)
}

/// The full name that the file gives to a machine.
fn qualified(name: &str, hosts: &str) -> Option<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut lines = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let names = lines.find(|names| names.contains(&name))?;
    let full = names.into_iter().find(|full| full.contains('.') && full.starts_with(name));
    full.map(str::to_owned)
}

/// The address of who runs this process, on this machine.
pub(super) fn sender(host: &str) -> String {
    let variables = ["LOGNAME", "USER"].into_iter().filter_map(|name| env::var(name).ok());
    let user = variables.filter(|name| !name.is_empty()).find(|_| true);
    let system = || User::from_uid(Uid::current()).ok().flatten().map(|user| user.name);
    let user = user.or_else(system).unwrap_or_else(|| "neo".into());
    format!("{user}@{host}")
}

#[cfg(test)]
mod tests {
    use super::qualified;

    #[test]
    fn the_domain_comes_from_the_file() {
        let hosts = "127.0.0.1 localhost # node.wrong\n10.0.0.1\tnode.example.com node\n";
        assert_eq!(qualified("node", hosts).as_deref(), Some("node.example.com"));
        assert_eq!(qualified("localhost", hosts), None);
        assert_eq!(qualified("other", hosts), None);
    }
}

use std::ffi::OsString;

use super::*;

fn load(args: &str) -> Result<MasterConfig, ConfigError> {
    let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
    MasterConfig::load(&args)
}

fn invalid(args: &str) -> String {
    match load(args).unwrap_err() {
        ConfigError::Invalid(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn usage(args: &str) -> String {
    match load(args).unwrap_err() {
        ConfigError::Usage { reason, usage } => {
            assert!(usage.contains("neomaster"), "{usage}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_is_enough() {
    let master = load("-c test").unwrap();
    assert_eq!(master.node.cluster, "test");
    assert_eq!(master.node.masters, []);
    assert_eq!(master.node.bind.to_string(), "127.0.0.1:10000");
    assert_eq!((master.replicas, master.partitions, master.autostart), (0, 100, None));
    assert!(!master.partitions_chosen);
    assert_eq!((master.upstream, master.backup, master.node.nid), (None, false, None));
}

#[test]
fn options_have_short_glued_and_abbreviated_forms() {
    let master =
        load("-ctest -A3 -r 1 --part=12 --mast [::1]:1 -B -C up -M [::1]:2 -i -268435455").unwrap();
    assert_eq!((master.replicas, master.partitions, master.autostart), (1, 12, Some(3)));
    assert!(master.partitions_chosen);
    assert_eq!(master.node.masters, ["[::1]:1".parse().unwrap()]);
    assert_eq!(master.node.nid, Some(-268_435_455));
    assert!(master.backup);
    assert_eq!(load("-c test -A 0").unwrap().autostart, None);
    assert_eq!(load("-c a -c b -B -B -C up -M [::1]:2").unwrap().node.cluster, "b");
}

#[test]
fn values_out_of_range_are_refused() {
    assert!(invalid("-c test -r -1").contains("replicas must be a positive integer"));
    assert!(invalid("-c test -p 0").contains("partitions must be more than zero"));
    assert!(invalid("-c test -A -1").contains("autostart"));
    assert!(usage("-c test -p x").contains("-p/--partitions: invalid int value: 'x'"));
    assert!(usage("-c test -i 3000000000").contains("out of range"));
}

#[test]
fn an_upstream_has_another_name_and_masters() {
    let master = load("-c bak -C test -M 127.0.0.1:1").unwrap();
    let upstream = master.upstream.unwrap();
    assert_eq!((upstream.cluster.as_str(), upstream.masters.len()), ("test", 1));
    assert!(invalid("-c test -C test -M 127.0.0.1:1").contains("another name"));
    assert!(usage("-c bak -C test").contains("--upstream-masters"));
    assert!(
        invalid("-c bak -B").contains("No upstream cluster to backup defined in configuration")
    );
}

#[test]
fn the_name_is_mandatory_and_not_empty() {
    assert!(usage("-B").contains("required: -c/--cluster"));
    assert!(usage("-c ").contains("value is empty"));
    assert!(usage("-c test extra").contains("extra"));
    assert!(usage("-c test --ca").contains("--ca"));
}

#[test]
fn tls_wants_its_three_files() {
    let master = load("-c test --ca a --cert b --key c").unwrap();
    assert_eq!(master.node.link.tls.unwrap().key, std::path::Path::new("c"));
    assert!(invalid("-c test --ca a --cert b").contains("key is missing"));
    assert!(invalid("-c test --key a").contains("ca and cert is missing"));
}

#[test]
fn bad_addresses_are_errors_of_configuration() {
    assert!(invalid("-c test -b 127.0.0.1:x").contains("bad port"));
    assert!(invalid("-c test -m 127.0.0.1").contains("no port"));
    assert!(invalid("-c test -b no.such.host.invalid:1").contains("cannot resolve"));
}

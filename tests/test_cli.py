"""Command lines and configuration files, as a user meets them."""

import os
from pathlib import Path

import pytest

COMMANDS = (
    "neomaster",
    "neostorage",
    "neoadmin",
    "neoctl",
    "neolog",
    "neomigrate",
    "neosimple",
    "reflink",
)

CONF = """\
[DEFAULT]
cluster: test
masters: 127.0.0.1:10000
partitions: 12
dir: ~/neo
[master]
BIND = 127.0.0.1:10001
logfile: %(dir)s/100%%.log
replicas = 1
[master_01]
masters:
  127.0.0.1:10000
  127.0.0.1:10001
cluster = other
[backup]
upstream_cluster: test
upstream_masters: 127.0.0.1:10000
cluster: bak
Backup: YES
[storage1]
adapter: SQLite
database: %(dir)s/storage1.sqlite
[mysql]
database: neo:secret@neo1
disable-pack: true
new_nid: off
[admin]
monitor_email:
  a@localhost

  b@localhost
smtp_auth: user:secret
"""


@pytest.fixture
def check(cmd, tmp_path):
    """Function that gives the values in effect, by key, as (value, origin)."""
    (tmp_path / "neo.conf").write_text(CONF)

    def run(name, *args):
        result = cmd(name, "--check", *args, env={"HOME": "/home/neo"})
        assert (result.code, result.err) == (0, "")
        lines = [line.partition(" =") for line in result.out.splitlines() if " =" in line]
        return {key: tuple(value.strip().split("  <- ")) for key, _, value in lines}

    return run


@pytest.fixture
def refused(cmd, tmp_path):
    """Function that gives the reason why a command line is refused with this status."""

    def run(code, name, *args, conf=CONF):
        if isinstance(conf, str):
            conf = conf.encode()
        (tmp_path / "neo.conf").write_bytes(conf)
        result = cmd(name, *args)
        assert (result.code, result.out) == (code, ""), result
        *usage, last = result.err.splitlines()
        assert bool(usage) == (code == 2), "a usage is shown for usage errors only"
        assert not usage or usage[0].startswith(f"Usage: {name}"), usage
        prefix = f"{name}: error: "
        assert last.startswith(prefix), result.err
        return last.removeprefix(prefix)

    return run


# What is right.


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(cmd, name, option):
    result = cmd(name, option)
    assert (result.code, result.err) == (0, "")
    assert f"Usage: {name} " in result.out


@pytest.mark.parametrize("command", ["run", "gc", "bootstrap", "path", "dump"])
def test_help_of_reflink_commands(cmd, command):
    result = cmd("reflink", "file://refs", command, "--help")
    assert (result.code, result.err) == (0, "")
    assert f"Usage: reflink <REFS_URI> {command} " in result.out


def test_the_form_of_2012(check):
    """The name of the cluster is in the file only."""
    values = check("neomaster", "-f", "neo.conf")
    assert values["cluster"] == ("test", "[DEFAULT]")
    assert values["bind"] == ("127.0.0.1:10001", "[master]")
    assert values["replicas"] == ("1", "[master]")
    assert values["partitions"] == ("12", "[DEFAULT]")
    assert values["backup"] == ("false", "default")
    assert check("neoadmin", "-f", "neo.conf")["cluster"] == ("test", "[DEFAULT]")
    assert check("neostorage", "-f", "neo.conf", "-s", "storage1")["adapter"][0] == "SQLite"


def test_our_example(cmd):
    example = Path(__file__).resolve().parent.parent / "neo.conf"
    for name, *section in [
        ("neomaster",),
        ("neoadmin",),
        ("neostorage", "-s", "storage1"),
        ("neostorage", "-s", "storage2"),
    ]:
        result = cmd(name, "--check", "-f", example, *section)
        assert (result.code, result.err) == (0, ""), result
        assert "cluster = test  <- [DEFAULT]" in result.out


@pytest.mark.parametrize(
    "args",
    [
        ("-f", "neo.conf", "-s", "master_01"),
        ("-s", "master_01", "-f", "neo.conf"),
        ("-smaster_01", "-fneo.conf"),
        ("--section=master_01", "--file=neo.conf"),
        ("--sec", "master_01", "--fil", "neo.conf"),
        ("-s", "master", "-f", "neo.conf", "-s", "master_01"),
    ],
)
def test_section(check, args):
    values = check("neomaster", *args)
    assert values["cluster"] == ("other", "[master_01]")
    assert values["masters"] == ("127.0.0.1:10000 127.0.0.1:10001", "[master_01]")


def test_precedence(check):
    values = check("neomaster", "-f", "neo.conf", "-r", "2", "--bind", "[::1]:5", "-p12")
    assert values["replicas"] == ("2", "command line")
    assert values["bind"] == ("[::1]:5", "command line")
    assert values["partitions"] == ("12", "command line")
    assert values["cluster"] == ("test", "[DEFAULT]")
    assert check("neomaster", "-c", "x")["partitions"] == ("100", "default")


def test_a_flag_of_the_file_cannot_be_unset(check):
    assert check("neomaster", "-f", "neo.conf", "-s", "backup")["backup"] == ("true", "[backup]")
    values = check("neomaster", "-f", "neo.conf", "-B", "-C", "up", "-M", "127.0.0.1:10000")
    assert values["backup"] == ("true", "command line")


def test_repeated_options_are_appended_to_those_of_the_file(check):
    values = check("neoadmin", "-f", "neo.conf", "--monitor-email", "c@localhost")
    assert values["monitor_email"] == (
        "a@localhost b@localhost c@localhost",
        "[admin], command line",
    )


def test_interpolation_and_home(check):
    values = check("neomaster", "-f", "neo.conf")
    assert values["logfile"] == ("/home/neo/neo/100%.log", "[master]")
    assert check("neomaster", "-c", "x", "-l", "~/l")["logfile"] == ("/home/neo/l", "command line")


def test_passwords_are_not_shown(cmd, check):
    assert check("neostorage", "-f", "neo.conf", "-s", "mysql")["database"][0] == "neo:***@neo1"
    assert check("neoadmin", "-f", "neo.conf")["smtp_auth"][0] == "user:***"


def test_keys_with_dashes_are_not_options(cmd, tmp_path):
    (tmp_path / "neo.conf").write_text(CONF)
    result = cmd("neostorage", "--check", "-f", "neo.conf", "-s", "mysql")
    assert "disable_pack = false  <- default" in result.out
    assert "# not an option: disable-pack" in result.out


def test_values_of_other_commands_are_ignored(cmd, tmp_path):
    (tmp_path / "neo.conf").write_text(
        "[DEFAULT]\ncluster: x\nadapter: Foo\nsmtp_tls: maybe\n[master]"
    )
    result = cmd("neomaster", "--check", "-f", "neo.conf")
    assert (result.code, result.err) == (0, "")


def test_an_empty_path_in_the_file_is_none(check, tmp_path):
    (tmp_path / "neo.conf").write_text("[master]\ncluster: x\nlogfile:\nca:\n")
    assert check("neomaster", "-f", "neo.conf")["logfile"] == ("",)


# What is wrong on the command line: status 2.


@pytest.mark.parametrize(
    "name, args, reason",
    [
        ("neomaster", (), "required: -c/--cluster"),
        ("neomaster", ("-f", "nameless.conf"), "'cluster' in section [master] of nameless.conf"),
        ("neomaster", ("-c", ""), "-c/--cluster: value is empty"),
        ("neomaster", ("-c",), "--cluster"),
        ("neomaster", ("--bogus",), "'--bogus'"),
        ("neomaster", ("-c", "test", "word"), "'word'"),
        ("neomaster", ("--c", "test"), "ambiguous option: --c could match --cluster"),
        ("neomaster", ("-c", "test", "-r", "x"), "-r/--replicas: invalid int value: 'x'"),
        ("neomaster", ("-c", "test", "-i", "3000000000"), "-i/--nid: int value out of range"),
        ("neomaster", ("-c", "test", "-C", "other"), "--upstream-masters"),
        ("neomaster", ("-c", "test", "--version"), "'--version'"),
        ("neostorage", ("-c", "test"), "required: -d/--database"),
        ("neostorage", ("-c", "test", "-d", "x", "-a", "Foo"), "invalid choice: 'Foo'"),
        ("neostorage", ("-c", "test", "-d", "x", "-w", "y"), "invalid float value: 'y'"),
        ("neostorage", ("-c", "test", "-d", "x", "-m", ""), "-m/--masters: value is empty"),
        ("neoadmin", ("-c", "test", "-m", " "), "-m/--masters: value is empty"),
        ("neoadmin", ("-c", "test", "--smtp-auth", "user"), "USER:PASS"),
        ("neoadmin", ("-c", "test", "--monitor-email", ""), "value is empty"),
        ("neoctl", ("--bogus", "print", "cluster"), "'--bogus'"),
        ("neoctl", ("-a",), "--address"),
        ("neoctl", ("--timeout", "0", "start"), "timeout must be positive"),
        ("neolog", (), "FILE"),
        ("neolog", ("-s", "0", "file"), "sleep_interval must be positive"),
        ("neolog", ("-C", "-N", "file"), "not allowed with argument -C/--cluster"),
        ("neolog", ("-F", "x", "file"), "invalid int value: 'x'"),
        ("neomigrate", ("-c", "test", "source"), "DESTINATION"),
        ("neomigrate", ("127.0.0.1:1", "x.fs"), "required: -c/--cluster"),
        ("neosimple", (), "DB"),
        ("neosimple", ("--storage_kw", "x", "db"), "not usable from a command line"),
        ("neosimple", ("--master-count", "0", "db"), "must be more than zero"),
        ("neosimple", ("--adapter", "Importer", "db"), "invalid choice: 'Importer'"),
        ("reflink", (), "requires a subcommand"),
        ("reflink", ("file://refs",), "requires a subcommand"),
        ("reflink", ("file://refs", "run", "-0", "-1", "file://main"), "only one of -0, -1 and -N"),
        ("reflink", ("file://refs", "gc", "-m", "0", "file://main"), "from 1 to 2097151"),
        ("reflink", ("file://refs", "bootstrap", "x"), "invalid integer: 'x'"),
        ("reflink", ("refs", "dump"), "No resolver found for uri: refs"),
    ],
)
def test_usage_errors(refused, tmp_path, name, args, reason):
    (tmp_path / "nameless.conf").write_text("[master]\npartitions: 12\n")
    assert reason in refused(2, name, *args)


def test_an_argument_that_is_not_utf8(refused):
    assert "not UTF-8" in refused(2, "neomaster", "-c", os.fsdecode(b"\xff"))


# What is wrong in the configuration: status 1, one sentence.


@pytest.mark.parametrize(
    "name, args, reason",
    [
        ("neomaster", ("-f", "missing.conf"), "No section: 'master' (cannot read missing.conf"),
        ("neomaster", ("-f", "."), "No section: 'master' (cannot read .: Is a directory"),
        ("neomaster", ("-f", "neo.conf", "-s", "Master"), "No section: 'Master'"),
        ("neomaster", ("-f", "neo.conf", "-s", "DEFAULT"), "No section: 'DEFAULT'"),
        ("neostorage", ("-f", "neo.conf"), "No section: 'storage' (use -s to choose one of"),
        ("neomaster", ("-c", "x", "-r", "-1"), "replicas must be a positive integer"),
        ("neomaster", ("-c", "x", "-p", "0"), "partitions must be more than zero"),
        ("neomaster", ("-c", "x", "-C", "x", "-M", "127.0.0.1:1"), "another name than 'x'"),
        ("neomaster", ("-c", "x", "--ca", "a", "--key", "k"), "cert is missing"),
        ("neoctl", ("--cert", "a", "print", "cluster"), "ca and key is missing"),
        ("neomaster", ("-c", "x", "-b", "127.0.0.1:http"), "bad port in address"),
        ("neomaster", ("-c", "x", "-b", "127.0.0.1:65536"), "bad port in address"),
        ("neomaster", ("-c", "x", "-m", "127.0.0.1"), "no port in address of master"),
        ("neoctl", ("-a", "no.such.host.invalid", "start"), "cannot resolve host"),
        ("neostorage", ("-c", "x", "-d", "x", "-e", "Foo"), "Unsupported engine: Foo"),
        (
            "neostorage",
            ("-c", "x", "-d", "x", "-a", "SQLite", "-e", "InnoDB"),
            "Unsupported engine",
        ),
        ("neostorage", ("-c", "x", "-d", "/run/x"), "no name of MySQL database"),
        ("neostorage", ("-c", "x", "-aSQLite", "-dfile:a?x=1"), "unsupported pragma: x"),
        (
            "neomaster",
            ("-c", "x", "-l", "no/such/folder"),
            "cannot use log file no/such/folder: its directory",
        ),
        ("neomigrate", ("-c", "x", "typo.fs", "127.0.0.1:1"), "neither an existing FileStorage"),
    ],
)
def test_configuration_errors(refused, name, args, reason):
    assert reason in refused(1, name, *args)


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("neomaster", "cluster:", "neo.conf: [master] cluster: value is empty"),
        ("neomaster", "replicas: x", "neo.conf: [master] replicas: invalid int value: 'x'"),
        ("neomaster", "replicas: -1", "replicas must be a positive integer"),
        ("neomaster", "backup: maybe", "neo.conf: [master] backup: Not a boolean: maybe"),
        ("neomaster", "bind: 127.0.0.1:9 ; admin", "bad port in address '127.0.0.1:9 ; admin'"),
        ("neomaster", "logfile: 100%", "'%' must be followed by"),
        ("neomaster", "logfile: %(dir)s", "the value of 'logfile' refers to 'dir'"),
        ("neomaster", "upstream_cluster: y", "--upstream-masters"),
        ("neomaster", "backup: on", "No upstream cluster to backup defined in configuration"),
        ("neomaster", "nid: 1\nNID = 2", "line 5: 'nid' is given twice in section [master]"),
        ("neomaster", "[master]", "line 4: section [master] is given twice"),
        ("neomaster", "rubbish", "line 4: 'rubbish' is neither [section] nor key = value"),
        ("neostorage", "adapter: Foo\ndatabase: x", "Cannot find a database adapter <Foo>"),
        ("neostorage", "masters:\ndatabase: x", "[storage] masters: value is empty"),
        ("neoadmin", "smtp_auth: user", "[admin] smtp_auth: credentials must be written USER:PASS"),
    ],
)
def test_errors_of_the_file(refused, name, text, reason):
    section = name.removeprefix("neo")
    conf = f"[DEFAULT]\ncluster: x\n[{section}]\n{text}\n"
    assert reason in refused(1, name, "-f", "neo.conf", conf=conf)


def test_text_before_the_first_section(refused):
    reason = refused(1, "neomaster", "-f", "neo.conf", conf="cluster: x\n[master]\n")
    assert "line 1: 'cluster: x' comes before the first [section]" in reason


def test_a_file_that_is_not_utf8(refused):
    reason = refused(1, "neomaster", "-f", "neo.conf", conf=b"[master]\ncluster: \xff\n")
    assert reason == "neo.conf: not UTF-8"


def test_a_wrong_value_that_the_command_line_replaces_is_not_looked_at(cmd, tmp_path):
    (tmp_path / "neo.conf").write_text("[master]\ncluster: x\nreplicas: many\n")
    assert cmd("neomaster", "--check", "-f", "neo.conf").code == 1
    assert cmd("neomaster", "--check", "-f", "neo.conf", "-r", "0").code == 0


# What is not there yet says so: this list shortens as it comes.


@pytest.mark.parametrize(
    "name, args",
    [
        ("neostorage", ("-c", "test", "-a", "MySQL", "-d", "db")),
        ("neostorage", ("-c", "test", "-a", "Importer", "-d", "importer.conf")),
        ("neostorage", ("-c", "test", "-a", "SQLite", "-d", "db", "--new-nid")),
        ("reflink", ("file://refs", "dump")),
    ],
)
def test_what_is_missing_says_so(refused, name, args):
    assert "is not there yet" in refused(1, name, *args)

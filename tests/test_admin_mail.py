"""Notifications of the admin, to a mail server."""

import base64
import re
import socket
from contextlib import contextmanager
from email import message_from_string
from email.policy import default as policy
from pathlib import Path

import pytest
from cluster import Cluster, free_port
from smtp import Server

#: Nodes are right to complain: mail servers refuse.
WARNINGS = "provoked"

TLS = Path(__file__).parent / "data" / "tls"

#: Seconds after which a mail does not come. No test waits for it.
PATIENCE = 60


@contextmanager
def monitored(folder, *args, **options):
    """A running cluster whose admin got these arguments."""
    with Cluster(folder, **options) as cluster:
        for name in cluster.nodes:
            cluster.start_node(name, *(args if name == "admin" else ()))
        cluster.wait_state()
        yield cluster


def mail_to(server, *recipients):
    return ("--smtp", server.address, *(x for to in recipients for x in ("--monitor-email", to)))


def test_people_are_told_what_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("EMAIL", "neo@example.com")
    to = ("ops@example.com", "Boss <boss@example.com>")
    with (
        Server() as server,
        monitored(tmp_path, *mail_to(server, *to), storages=2, partitions=4, replicas=1) as cluster,
    ):
        mail = server.mails.get(timeout=PATIENCE)
        # The states that the cluster passed through may have been slower than the admin.
        while mail.headers["Subject"] != "NEO monitoring: OK":
            mail = server.mails.get(timeout=PATIENCE)
        assert mail.commands[0].startswith("EHLO ")
        assert mail.commands[1] == "MAIL FROM:<>"
        assert mail.recipients == ["ops@example.com", "boss@example.com"]
        date = mail.headers["Date"]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d -0000", date)
        assert mail.message.split("Date: ")[0] == (
            "MIME-Version: 1.0\n"
            'Content-Type: text/plain; charset="utf-8"\n'
            "Content-Transfer-Encoding: 7bit\n"
        )
        parsed = message_from_string(mail.message, policy=policy)
        assert parsed["From"] == "NEO test <neo@example.com>"
        assert [x.addr_spec for x in parsed["To"].addresses] == mail.recipients
        assert re.fullmatch(r"RUNNING; UP_TO_DATE=8; ltid=\w{16} \(.*\)\n", mail.body)

        cluster.kill("s2")
        mail = server.mails.get(timeout=PATIENCE)
        assert mail.headers["Subject"] == "NEO monitoring: PROBLEM (test)"
        assert mail.body.startswith("RUNNING; OUT_OF_DATE=4, UP_TO_DATE=4; DOWN=1; ltid=")

        cluster.kill("m1")
        mail = server.mails.get(timeout=PATIENCE)
        assert mail.headers["Subject"] == "NEO monitoring: PROBLEM (test)"
        assert mail.body == "Not connected to a primary master.\n"


def test_encrypted_with_a_password(tmp_path):
    tls = (TLS / "node.crt", TLS / "node.key")
    for auth, expected in [
        (("LOGIN", "PLAIN"), ["AUTH PLAIN " + base64.b64encode(b"\0me\0p:w").decode()]),
        (("LOGIN",), ["AUTH LOGIN", "bWU=", "cDp3"]),
    ]:
        with Server(tls=tls, auth=auth) as server:
            args = ("--smtp-tls", "--smtp-auth", "me:p:w", *mail_to(server, "ops@localhost"))
            with monitored(tmp_path / "-".join(auth), *args):
                mail = server.mails.get(timeout=PATIENCE)
        assert mail.encrypted
        assert mail.commands[1] == "STARTTLS"
        start = mail.commands.index(expected[0])
        assert mail.commands[start : start + len(expected)] == expected


def test_a_recipient_that_is_refused_does_not_deprive_others(tmp_path):
    with Server(refused=["gone@localhost"]) as server:
        args = mail_to(server, "gone@localhost", "ops@localhost")
        with monitored(tmp_path, *args) as cluster:
            assert server.mails.get(timeout=PATIENCE).recipients == ["ops@localhost"]
            cluster.wait_for(
                lambda: "gone@localhost: RCPT: 550 no such user" in cluster["admin"].tail(),
                "the admin says who is refused",
            )


def failure(cluster, cmd):
    """What the summary says about the mail that could not be sent."""
    out = cmd("neoctl", "-a", cluster.admin_address, "print", "summary").out
    return out.partition("A notification could not be sent at ")[2] and out


@pytest.mark.parametrize("kind", ["nobody", "no TLS", "no AUTH", "refused"])
def test_a_mail_that_can_not_be_sent_is_in_the_summary(tmp_path, cmd, kind):
    with Server(refused=["ops@localhost"]) as server:
        address = server.address if kind != "nobody" else f"127.0.0.1:{free_port()}"
        args = ["--smtp", address, "--monitor-email", "ops@localhost"]
        args += {"no TLS": ["--smtp-tls"], "no AUTH": ["--smtp-auth", "a:b"]}.get(kind, [])
        with monitored(tmp_path, *args) as cluster:
            out = cluster.wait_for(lambda: failure(cluster, cmd), "the summary tells the failure")
    line, text = out.split("\n", 1)
    assert line == '# {"problem": [null]}'
    reason = {
        "nobody": "can not connect: Connection refused (os error 111)",
        "no TLS": "it does not offer STARTTLS: leave --smtp-tls out",
        "no AUTH": "it offers neither AUTH PLAIN nor AUTH LOGIN (after --smtp-tls, maybe)",
        "refused": "no recipient is accepted (ops@localhost: RCPT: 550 no such user)",
    }[kind]
    date = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    expected = (
        r"RUNNING; UP_TO_DATE=1; ltid=.*\n\n"
        rf"A notification could not be sent at {date}:\n\n"
        + re.escape(f"mail server {address}: {reason}\n")
    )
    assert re.fullmatch(expected, text), text


def test_a_mail_server_that_says_nothing_does_not_stop_the_admin(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with monitored(tmp_path, "--smtp", address, "--monitor-email", "ops@localhost") as cluster:
            connection = server.accept()[0]
            with connection:
                assert cluster.state == "RUNNING"
                assert cluster.neoctl("print", "summary").startswith("# {}\n")
                cluster.stop("admin")


def test_without_recipient_nothing_is_sent(tmp_path):
    with Server() as server, monitored(tmp_path, "--smtp", server.address) as cluster:
        cluster.kill("s1")
        cluster.neoctl("--timeout", PATIENCE, "wait", "RECOVERING")
        assert server.mails.empty()

"""A Zope instance made of zope_component/, served by runwsgi, and used over HTTP."""

import base64
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from html import unescape

from cluster import free_port
from conftest import ROOT
from zope_environment import BIN, PATIENCE, run

USER = "admin:secret"


class Instance:
    """See the module. It is made as docs/zope.md says."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.address = "127.0.0.1", free_port()
        self.process = None
        run("mkwsgiinstance", "-d", folder, "-u", USER, "-s", ROOT / "zope_component")
        self.configure("zope.conf", "%define NEO_MASTERS 127.0.0.1:10000", cluster.master_nodes)
        self.configure("zope.conf", "%define NEO_CLUSTER test", cluster.name)
        self.configure("zope.ini", "port = 8080", self.address[1])

    def configure(self, name, line, value):
        """Gives another value to what a line sets."""
        path = self.folder / "etc" / name
        text = path.read_text()
        assert text.count(f"{line}\n") == 1
        key, space, _ = line.rpartition(" ")
        path.write_text(text.replace(f"{line}\n", f"{key}{space}{value}\n"))

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "runwsgi", self.folder / "etc" / "zope.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while socket.socket().connect_ex(self.address):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
            self.process = None

    def said(self):
        return (self.folder / "log").read_text()

    def __call__(self, path, **form):
        """What a page says; with a form, what it says to a POST. Any failure raises."""
        host, port = self.address
        url = f"http://{host}:{port}/{path}"
        # The suffix tells Zope the type of a value: days=0 with ":float" is not a text.
        fields = [
            (key.replace("__", ":"), value)
            for key, values in form.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        data = urllib.parse.urlencode(fields).encode() if form else None
        request = urllib.request.Request(url, data)
        token = base64.b64encode(USER.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def is_found(self, path):
        try:
            self(path)
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return False
        return True

    def values(self, path, field):
        """Values that a form of the ZMI offers for a field."""
        inputs = re.findall(r"<input[^>]*>", self(path), re.DOTALL)
        found = []
        for text in inputs:
            attributes = dict(re.findall(r'([\w-]+)\s*=\s*"([^"]*)"', text))
            if attributes.get("name") == field:
                found.append(unescape(attributes["value"]))
        return found

    def add_folder(self, where, name):
        self(f"{where}manage_addProduct/OFSP/manage_addFolder", id=name)

    def add_template(self, where, name, text):
        self(
            f"{where}manage_addProduct/PageTemplates/manage_addPageTemplate",
            id=name,
            text=text,
            submit="Add",
        )

    def edit(self, path, text):
        self(f"{path}/pt_editAction", title="", text=text, content_type="text/html")

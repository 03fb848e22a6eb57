"""A mail server for tests: it keeps what it gets, and misbehaves on request."""

import socket
import ssl
import threading
from queue import Queue


class Mail:
    """What was handed over."""

    def __init__(self):
        self.commands = []
        self.recipients = []
        self.message = ""
        self.encrypted = False

    @property
    def headers(self):
        headers = self.message.split("\n\n", 1)[0].replace("\n ", " ")
        return dict(line.split(": ", 1) for line in headers.split("\n"))

    @property
    def body(self):
        return self.message.split("\n\n", 1)[1]


class Server:
    """Accepts mails on `address` until it is closed; they are in the queue `mails`."""

    def __init__(self, *, tls=None, auth=(), refused=()):
        """`tls` is (certificate, key); `auth` are mechanisms; `refused` are recipients."""
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*map(str, tls))
        self.auth = auth
        self.refused = refused
        self.mails = Queue()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread that accepts is not woken by close() alone.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _serve(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection):
        mail = Mail()
        stream = connection.makefile("rwb")

        def say(*lines):
            *more, last = lines
            for line in more:
                stream.write(f"{line[:3]}-{line[4:]}\r\n".encode())
            stream.write(f"{last}\r\n".encode())
            stream.flush()

        say("220 test ESMTP")
        while line := stream.readline():
            words = line.decode().strip()
            mail.commands.append(words)
            verb = words.split(" ")[0].upper()
            if verb == "EHLO":
                more = ["250 8BITMIME"]
                if self.tls and not mail.encrypted:
                    more.append("250 STARTTLS")
                elif self.auth:
                    more.append(f"250 AUTH {' '.join(self.auth)}")
                say("250 test", *more)
            elif verb == "STARTTLS":
                say("220 go ahead")
                connection = self.tls.wrap_socket(connection, server_side=True)
                stream = connection.makefile("rwb")
                mail.encrypted = True
            elif words.upper() == "AUTH LOGIN":
                for prompt in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"):
                    say(prompt)
                    mail.commands.append(stream.readline().decode().strip())
                say("235 welcome")
            elif verb == "AUTH":
                say("235 welcome")
            elif verb == "RCPT":
                address = words.split("<")[1].rstrip(">")
                if address in self.refused:
                    say("550 no such user")
                else:
                    mail.recipients.append(address)
                    say("250 ok")
            elif verb == "DATA":
                say("354 go ahead")
                lines = []
                while (line := stream.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line.removeprefix("."))
                mail.message = "\n".join(lines) + "\n"
                say("250 kept")
                self.mails.put(mail)
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

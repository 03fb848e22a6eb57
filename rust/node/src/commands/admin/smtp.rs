//! Hands a mail over to a mail server (RFC 5321): EHLO, optional STARTTLS and AUTH, one message.
//!
//! A library would bring tables of Unicode to check addresses that only pass here.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use neo_core::admin::{Mail, base64};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::config::admin::{SmtpAuth, SmtpConfig};

/// How long the server may do nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of one reply.
const MAX_REPLY: usize = 64 * 1024;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// What the server answers: a code and its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }
}

struct Session<'a> {
    config: &'a SmtpConfig,
    stream: Stream,
    received: Vec<u8>,
    /// What it offers, in upper case.
    extensions: Vec<String>,
}

/// Sends a mail with an empty envelope sender: nothing comes back of what can not be delivered.
/// Gives the recipients that the server refuses while it takes others, each with its reason.
///
/// # Errors
/// One line.
pub(super) fn send(config: &SmtpConfig, host: &str, mail: &Mail) -> Result<Vec<String>, String> {
    let server = format!("{}:{}", config.host, config.port);
    let result = Session::open(config).and_then(|mut session| session.send(host, mail));
    result.map_err(|reason| format!("mail server {server}: {reason}"))
}

impl<'a> Session<'a> {
    fn open(config: &'a SmtpConfig) -> Result<Self, String> {
        let address = (config.host.as_str(), config.port);
        let addresses = address.to_socket_addrs();
        let addresses = addresses.map_err(|error| format!("can not resolve its name: {error}"))?;
        let mut reason = "its name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    let timeout = Some(TIMEOUT);
                    let set = stream.set_read_timeout(timeout);
                    set.and_then(|()| stream.set_write_timeout(timeout)).map_err(lost)?;
                    return Ok(Self {
                        config,
                        stream: Stream::Plain(stream),
                        received: Vec::new(),
                        extensions: Vec::new(),
                    });
                }
                Err(error) => reason = format!("can not connect: {error}"),
            }
        }
        Err(reason)
    }

    fn send(&mut self, host: &str, mail: &Mail) -> Result<Vec<String>, String> {
        self.reply()?.expect("its greeting", &[220])?;
        self.hello(host)?;
        if self.config.tls {
            self.start_tls()?;
            self.hello(host)?;
        }
        if let Some(auth) = &self.config.auth {
            self.authenticate(auth)?;
        }
        let body = match mail.message.is_ascii() || !self.offers("8BITMIME") {
            true => "",
            false => " BODY=8BITMIME",
        };
        self.command("MAIL", &format!("MAIL FROM:<>{body}"), &[250])?;
        let mut refused = Vec::new();
        for recipient in &mail.to {
            let address = bare(recipient)?;
            let reply = self.command("RCPT", &format!("RCPT TO:<{address}>"), &[250, 251]);
            if let Err(reason) = reply {
                refused.push(format!("{address}: {reason}"));
            }
        }
        if refused.len() == mail.to.len() {
            return Err(format!("no recipient is accepted ({})", refused.join(", ")));
        }
        self.command("DATA", "DATA", &[354])?;
        self.write(&stuffed(&mail.message))?;
        self.reply()?.expect("the message", &[250])?;
        // It has the message: how it says good bye does not matter.
        let _ = self.command("QUIT", "QUIT", &[221]);
        Ok(refused)
    }

    fn hello(&mut self, host: &str) -> Result<(), String> {
        self.write(&format!("EHLO {host}\r\n"))?;
        let reply = self.reply()?;
        if reply.code >= 500 {
            // From before 1995.
            self.command("HELO", &format!("HELO {host}"), &[250])?;
            self.extensions.clear();
            return Ok(());
        }
        self.extensions = reply.lines.iter().skip(1).map(|x| x.to_ascii_uppercase()).collect();
        reply.expect("EHLO", &[250])
    }

    fn offers(&self, name: &str) -> bool {
        self.extensions.iter().any(|line| line.split([' ', '=']).next() == Some(name))
    }

    fn start_tls(&mut self) -> Result<(), String> {
        if !self.offers("STARTTLS") {
            return Err("it does not offer STARTTLS: leave --smtp-tls out".into());
        }
        self.command("STARTTLS", "STARTTLS", &[220])?;
        if !self.received.is_empty() {
            return Err("it says something before TLS starts".into());
        }
        let Stream::Plain(stream) = &self.stream else {
            return Ok(());
        };
        let stream = stream.try_clone().map_err(lost)?;
        let name = ServerName::try_from(self.config.host.clone())
            .map_err(|_| format!("'{}' can not be a name in TLS", self.config.host))?;
        let tls = |error: rustls::Error| format!("TLS: {error}");
        let connection = ClientConnection::new(Arc::new(client().map_err(tls)?), name);
        let stream = StreamOwned::new(connection.map_err(tls)?, stream);
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    fn authenticate(&mut self, auth: &SmtpAuth) -> Result<(), String> {
        let mut mechanisms = self.extensions.iter().filter_map(|x| x.strip_prefix("AUTH"));
        let mechanisms = mechanisms.next().unwrap_or_default().to_owned();
        let has = |name| mechanisms.split([' ', '=']).any(|word| word == name);
        let SmtpAuth { user, password } = auth;
        if has("PLAIN") {
            let secret = base64(format!("\0{user}\0{password}").as_bytes());
            return self.command("AUTH", &format!("AUTH PLAIN {secret}"), &[235]);
        }
        if !has("LOGIN") {
            return Err("it offers neither AUTH PLAIN nor AUTH LOGIN (after --smtp-tls, \
                        maybe)"
                .into());
        }
        self.command("AUTH", "AUTH LOGIN", &[334])?;
        self.command("AUTH", &base64(user.as_bytes()), &[334])?;
        self.command("AUTH", &base64(password.as_bytes()), &[235])
    }

    fn command(&mut self, name: &str, line: &str, expected: &[u16]) -> Result<(), String> {
        self.write(&format!("{line}\r\n"))?;
        self.reply()?.expect(name, expected)
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        self.stream.write(text.as_bytes()).map_err(lost)
    }

    fn reply(&mut self) -> Result<Reply, String> {
        let mut lines = Vec::new();
        let mut size = 0;
        loop {
            let line = self.line()?;
            size += line.len();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code: u16 = code.ok_or_else(|| format!("not a reply of SMTP: {line:?}"))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
            if size > MAX_REPLY {
                return Err("it says too much".into());
            }
        }
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.received.len() > MAX_REPLY {
                return Err("it says too much".into());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).map_err(lost)? {
                0 => return Err("it hung up".into()),
                count => self.received.extend(buffer.iter().take(count)),
            }
        }
    }
}

impl Reply {
    fn expect(&self, what: &str, codes: &[u16]) -> Result<(), String> {
        match codes.contains(&self.code) {
            true => Ok(()),
            false => Err(format!("{what}: {}", self.text())),
        }
    }
}

fn lost(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "no answer".into(),
        _ => error.to_string(),
    }
}

/// The address in what a recipient is written as, `Name <address>` or the address alone.
fn bare(recipient: &str) -> Result<&str, String> {
    let inside = recipient.rsplit_once('<').and_then(|(_, end)| end.split_once('>'));
    let address = inside.map_or(recipient, |(address, _)| address).trim();
    // All of it is in the header of the message.
    let is_split = recipient.contains(char::is_control);
    match is_split || address.is_empty() || address.contains([' ', '<', '>']) {
        true => Err(format!("'{}' is not an address", recipient.escape_debug())),
        false => Ok(address),
    }
}

/// The message as it is sent after DATA: a line that begins with a dot gets a second one.
fn stuffed(message: &str) -> String {
    let dotted = |line: &str| if line.starts_with('.') { format!(".{line}") } else { line.into() };
    let lines: Vec<String> = message.lines().map(dotted).collect();
    lines.join("\r\n") + "\r\n.\r\n"
}

/// As with the Python NEO, encryption without asking who the server is: it mostly is a relay of
/// the same site, with a certificate of its own.
#[derive(Debug)]
struct Anybody(CryptoProvider);

fn client() -> Result<ClientConfig, rustls::Error> {
    let provider = default_provider();
    let verifier = Arc::new(Anybody(provider.clone()));
    Ok(ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_addresses() {
        assert_eq!(bare("ops@example.com"), Ok("ops@example.com"));
        assert_eq!(bare("Operators <ops@example.com>"), Ok("ops@example.com"));
        for wrong in ["", "a b@c", "a@b\r\nDATA", "x <>", "x <a@b\n>"] {
            assert!(bare(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_dot_alone_does_not_end_the_message() {
        let text = "To: x\r\n\r\n.\r\n..a\r\nb\r\n";
        assert_eq!(stuffed(text), "To: x\r\n\r\n..\r\n...a\r\nb\r\n.\r\n");
    }
}

//! TLS as NEO uses it (spec protocol.md 2.2, tools.md 4.2): both sides show a certificate, which
//! must lead to an authority of the CA file; nothing else of it is looked at.

mod check;
mod files;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};

use verifier::ChainVerifier;

/// What is wrong with the three files, in one sentence that names one of them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read.
    #[error("can not read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Files are good one by one, but a node that has them would refuse itself.
    #[error("{} is not accepted with the authorities of {}: {cause}", cert.display(), ca.display())]
    Refused {
        /// The certificate.
        cert: PathBuf,
        /// The authorities.
        ca: PathBuf,
        /// Why.
        cause: String,
    },
    /// TLS can not be set up, whatever the files.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    fn file(path: &Path, cause: impl ToString) -> Self {
        Self::File { path: path.into(), cause: cause.to_string() }
    }
}

/// Everything that is needed to speak TLS in both roles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// Reads PEM files: `ca` holds authorities, and revocation lists if any; `cert` the
    /// certificate of this node, maybe followed by intermediate ones; `key` its private key. Then
    /// shakes hands with itself, so that what any peer would refuse is told here.
    ///
    /// Certificates must be X.509 v3 (those of authorities may be v1), signed with RSA of at least
    /// 2048 bits, ECDSA on P-256 or P-384, or Ed25519.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn open(ca: &Path, cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let authorities = files::authorities(ca)?;
        let chain = files::chain(cert)?;
        let provider = Arc::new(default_provider());
        let signer =
            any_supported_type(&files::key(key)?).map_err(|error| TlsError::file(key, error))?;
        let certified = CertifiedKey::new(chain, signer);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let cause = format!("this is not the key of {}", cert.display());
                TlsError::file(key, cause)
            }
            error => TlsError::file(cert, verifier::explain(&error)),
        })?;
        let verifier =
            Arc::new(ChainVerifier::new(authorities, provider.signature_verification_algorithms));
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let versions = [&TLS13, &TLS12];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(resolver.clone());
        // A resumed session would not be checked again. Connections are few and last.
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let tls = Self { client: Arc::new(client), server: Arc::new(server) };
        check::handshake(&tls).map_err(|error| TlsError::Refused {
            cert: cert.into(),
            ca: ca.into(),
            cause: verifier::explain(&error),
        })?;
        Ok(tls)
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests;

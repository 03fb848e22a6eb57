//! Which certificates are good: those that lead to an authority.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::{
    EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::files::Authorities;

/// Checks the chain of a certificate and, if the CA file has revocation lists, the revocation of
/// the certificate itself. Neither names nor usages are looked at (spec protocol.md 2.2).
#[derive(Debug)]
pub struct ChainVerifier {
    authorities: Authorities,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Certificates of NEO are made for both roles, whatever they say.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl ChainVerifier {
    pub fn new(authorities: Authorities, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { authorities, algorithms }
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let lists: Vec<_> = self.authorities.revocations.iter().collect();
        // As OpenSSL does: a list is needed for every authority once there is one, and must not
        // be expired.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        EndEntityCert::try_from(certificate)
            .and_then(|certificate| {
                certificate
                    .verify_for_usage(
                        self.algorithms.all,
                        &self.authorities.anchors,
                        intermediates,
                        now,
                        AnyUsage,
                        revocation,
                        None,
                    )
                    .map(|_| ())
            })
            .map_err(certificate_error)
    }
}

/// Errors for which TLS has an alert of its own; the others are told as they are.
fn certificate_error(error: webpki::Error) -> Error {
    use webpki::Error as Chain;
    let error = match error {
        // An authority of the same name did not sign it: it is not the same authority.
        Chain::UnknownIssuer | Chain::InvalidSignatureForPublicKey => {
            CertificateError::UnknownIssuer
        }
        Chain::BadDer | Chain::BadDerTime | Chain::TrailingData(_) => CertificateError::BadEncoding,
        Chain::CertExpired { .. } | Chain::InvalidCertValidity => CertificateError::Expired,
        Chain::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Chain::CertRevoked => CertificateError::Revoked,
        Chain::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        Chain::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        error => CertificateError::Other(OtherError(std::sync::Arc::new(error))),
    };
    Error::InvalidCertificate(error)
}

/// In words for an administrator.
pub fn explain(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else {
        return error.to_string();
    };
    match error {
        CertificateError::UnknownIssuer => "none of them issued it".into(),
        CertificateError::Expired => "it is expired".into(),
        CertificateError::NotValidYet => "it is not valid yet".into(),
        CertificateError::Revoked => "it is revoked".into(),
        CertificateError::UnknownRevocationStatus => {
            "there are revocation lists, but none of its authority".into()
        }
        CertificateError::ExpiredRevocationList => {
            "the revocation list of its authority is expired".into()
        }
        CertificateError::BadEncoding => {
            "its encoding is not understood (X.509 v3 is needed)".into()
        }
        CertificateError::Other(OtherError(error)) => error.to_string(),
        error => error.to_string(),
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ChainVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // There is one certificate to choose from on the other side too.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

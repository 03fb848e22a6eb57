//! What is in the PEM files.

use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};

use super::TlsError;

/// What the CA file says.
#[derive(Debug)]
pub struct Authorities {
    pub anchors: Vec<TrustAnchor<'static>>,
    pub revocations: Vec<CertRevocationList<'static>>,
}

type Sections = Vec<(SectionKind, Vec<u8>)>;

fn sections(path: &Path) -> Result<Sections, TlsError> {
    let text =
        std::fs::read(path).map_err(|source| TlsError::Read { path: path.into(), source })?;
    <(SectionKind, Vec<u8>)>::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::file(path, format!("not a PEM file: {error}")))
}

pub fn authorities(path: &Path) -> Result<Authorities, TlsError> {
    let mut authorities = Authorities { anchors: Vec::new(), revocations: Vec::new() };
    for (kind, der) in sections(path)? {
        match kind {
            SectionKind::Certificate => {
                let certificate = CertificateDer::from(der);
                let anchor = anchor_from_trusted_cert(&certificate).map_err(|error| {
                    TlsError::file(path, format!("not the certificate of an authority: {error}"))
                })?;
                authorities.anchors.push(anchor.to_owned());
            }
            SectionKind::Crl => {
                let list = OwnedCertRevocationList::from_der(&der).map_err(|error| {
                    TlsError::file(path, format!("not a revocation list: {error}"))
                })?;
                authorities.revocations.push(list.into());
            }
            _ => {}
        }
    }
    if authorities.anchors.is_empty() {
        return Err(TlsError::file(path, "no certificate in this file"));
    }
    Ok(authorities)
}

pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = sections(path)?
        .into_iter()
        .filter(|(kind, _)| matches!(kind, SectionKind::Certificate))
        .map(|(_, der)| der.into())
        .collect();
    if chain.is_empty() {
        return Err(TlsError::file(path, "no certificate in this file"));
    }
    Ok(chain)
}

pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key =
        sections(path)?.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    key.ok_or_else(|| TlsError::file(path, "no private key in this file, or one with a passphrase"))
}

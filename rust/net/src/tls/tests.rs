use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::*;

/// An authority, as the helper of the Python NEO makes it.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}

impl Authority {
    fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        name(&mut params, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// Without alternative name nor extended key usage. Returns certificate and key.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::default();
        name(&mut params, "node");
        params.serial_number = Some(SerialNumber::from(7));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn revoke(&self, serials: &[u64], until: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Three files.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(ca: &str, (cert, key): &(String, String)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [("ca.pem", ca), ("cert.pem", cert), ("key.pem", key)] {
            fs::write(directory.path().join(name), content).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> Result<Tls, TlsError> {
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| self.path(name));
        Tls::open(&ca, &cert, &key)
    }

    /// The error, without the directory.
    fn error(&self) -> String {
        let directory = format!("{}/", self.directory.path().display());
        self.open().unwrap_err().to_string().replace(&directory, "")
    }
}

/// A node that trusts and has a certificate of a new authority.
pub fn node() -> Tls {
    let authority = Authority::new("CA");
    let files = Files::new(&authority.pem, &authority.issue(|_| {}));
    files.open().unwrap()
}

#[test]
fn certificates_without_names_and_with_any_usage_are_good() {
    let authority = Authority::new("CA");
    let plain = authority.issue(|_| {});
    Files::new(&authority.pem, &plain).open().unwrap();
    let mail = authority.issue(|params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection];
        params.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere".try_into().unwrap())];
    });
    Files::new(&authority.pem, &mail).open().unwrap();
}

#[test]
fn a_certificate_file_may_hold_the_whole_chain() {
    let root = Authority::new("root");
    let mut params = CertificateParams::default();
    name(&mut params, "intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &root.issuer).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let intermediate = Authority { pem, issuer };
    let (leaf, key) = intermediate.issue(|_| {});
    let chain = format!("{leaf}{}", intermediate.pem);
    Files::new(&root.pem, &(chain, key.clone())).open().unwrap();
    assert_eq!(
        Files::new(&root.pem, &(leaf, key)).error(),
        "cert.pem is not accepted with the authorities of ca.pem: none of them issued it"
    );
}

#[test]
fn what_is_wrong_is_told_with_the_file() {
    let [ours, other] = ["CA", "CA"].map(Authority::new);
    let good = ours.issue(|_| {});
    let sentence =
        |ca: &str, cert: &str, key: &str| Files::new(ca, &(cert.into(), key.into())).error();
    let (cert, key) = &good;
    let refused = "cert.pem is not accepted with the authorities of ca.pem: ";
    // Same name, another key: only the signature tells.
    let stranger = format!("{refused}none of them issued it");
    assert_eq!(sentence(&other.pem, cert, key), stranger);
    assert_eq!(sentence(&Authority::new("other").pem, cert, key), stranger);
    let both = format!("{}{}", other.pem, ours.pem);
    Files::new(&both, &good).open().unwrap();
    let expired = ours.issue(|params| params.not_after = date_time_ymd(2021, 1, 1));
    assert_eq!(sentence(&ours.pem, &expired.0, &expired.1), format!("{refused}it is expired"));
    let future = ours.issue(|params| params.not_before = date_time_ymd(2119, 1, 1));
    assert_eq!(sentence(&ours.pem, &future.0, &future.1), format!("{refused}it is not valid yet"));
    let (_, other_key) = ours.issue(|_| {});
    assert_eq!(sentence(&ours.pem, cert, &other_key), "key.pem: this is not the key of cert.pem");
    assert_eq!(
        sentence(&ours.pem, cert, cert),
        "key.pem: no private key in this file, or one with a passphrase"
    );
    assert_eq!(sentence(&ours.pem, key, key), "cert.pem: no certificate in this file");
    assert_eq!(sentence("", cert, key), "ca.pem: no certificate in this file");
    assert!(sentence(&ours.pem[..200], cert, key).starts_with("ca.pem: not a PEM file"));
    let files = Files::new(&ours.pem, &good);
    fs::remove_file(files.path("key.pem")).unwrap();
    assert!(files.error().starts_with("can not read key.pem: "));
}

#[test]
fn revocation_lists_of_the_ca_file_are_honoured() {
    let ours = Authority::new("CA");
    let other = Authority::new("other");
    let good = ours.issue(|_| {});
    let refused = "cert.pem is not accepted with the authorities of ca.pem: ";
    let open = |list: String| Files::new(&format!("{}{list}", ours.pem), &good);
    open(ours.revoke(&[8], 2120)).open().unwrap();
    assert_eq!(open(ours.revoke(&[8, 7], 2120)).error(), format!("{refused}it is revoked"));
    assert_eq!(
        open(ours.revoke(&[], 2021)).error(),
        format!("{refused}the revocation list of its authority is expired")
    );
    assert_eq!(
        open(other.revoke(&[], 2120)).error(),
        format!("{refused}there are revocation lists, but none of its authority")
    );
}

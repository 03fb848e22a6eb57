"""Authorities and certificates like those of the helper of the Python NEO: X.509 v3, without
alternative name nor extended key usage."""

import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

START = datetime.datetime(2020, 1, 1)
END = datetime.datetime(2120, 1, 1)


class Files(NamedTuple):
    """What the options ca, cert and key of a node say."""

    ca: Path
    cert: Path
    key: Path


def make_key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A certificate authority whose files are in `folder`."""

    def __init__(self, folder, kind="ec"):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.kind = kind
        self.key = make_key(kind)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
        certificate = (
            self.builder(self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / "ca.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def builder(self, subject, key, end=END):
        identifier = x509.SubjectKeyIdentifier.from_public_key
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(START)
            .not_valid_after(end)
            .add_extension(identifier(key.public_key()), critical=False)
            .add_extension(authority(self.key.public_key()), critical=False)
        )

    def issue(self, name, end=END):
        """Files of a node called `name`, good until `end`; the authority is this one."""
        key = make_key(self.kind)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self.builder(subject, key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = Files(self.path, self.folder / f"{name}.crt", self.folder / f"{name}.key")
        files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def revoke(self, *revoked):
        """A CA file with a list that revokes the certificates of these nodes."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(START)
            .next_update(END)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        for files in revoked:
            certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(START)
                .build()
            )
        crl = builder.sign(self.key, hashes.SHA256())
        path = self.folder / "ca-and-crl.pem"
        path.write_bytes(
            self.path.read_bytes() + crl.public_bytes(serialization.Encoding.PEM),
        )
        return path


USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]


def key_usage(**true):
    return x509.KeyUsage(**{name: true.get(name, False) for name in USAGES})

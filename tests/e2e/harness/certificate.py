"""A certificate for 127.0.0.1, signed by an authority of its own."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate:
    """A certificate and its key, in the file formats that servers need, and its authority."""

    def __init__(self, directory: Path) -> None:
        self.chain, self.key, self.both = (directory / name for name in ("proxy.crt", "proxy.key", "proxy.pem"))
        self.authority = directory / "proxy-ca.pem"
        root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = _signed(key, root, ca=False).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.authority.write_bytes(_signed(root, root, ca=True).public_bytes(serialization.Encoding.PEM))
        self.chain.write_bytes(chain)
        self.key.write_bytes(secret)
        self.both.write_bytes(chain + secret)

    def trust(self) -> ssl.SSLContext:
        """A client context that trusts only this authority."""
        return ssl.create_default_context(cafile=self.authority)


def _signed(key: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
    def name(of_authority: bool) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy authority" if of_authority else "proxy.test")])

    now = datetime.datetime.now(datetime.UTC)
    # Python demands the key usage and both key identifiers
    usage = x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name(ca))
        .issuer_name(name(True))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )

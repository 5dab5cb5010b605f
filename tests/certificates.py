"""Certificates as an operator would have them made: an authority, and what it vouches for. A helper of tests, no test."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _key(kind: str) -> Key:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """One that signs. folder: where its certificate (`ca`) and all that it issues are put, as PEM. kind: of its keys, ec or rsa."""

    def __init__(self, folder: Path, name: str = "Test CA", kind: str = "ec") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._kind, self._key = folder, kind, _key(kind)
        now = datetime.datetime.now(datetime.UTC)
        self._subject = _name(name)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = (
            x509.CertificateBuilder().subject_name(self._subject).issuer_name(self._subject).public_key(self._key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        self.ca = folder / (name.replace(" ", "-") + ".pem")
        self.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, days: tuple[int, int] = (-1, 30), client: bool = False, encoding: str = "pkcs8") -> tuple[Path, Path]:
        """(certificate, key) for a host name or a node. days: from, to, from today. encoding: of the key, pkcs8 or as OpenSSL did."""
        key = _key(self._kind)
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(_name(name)).issuer_name(self._subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )  # fmt: skip
        use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        made = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False).sign(self._key, hashes.SHA256())
        stem = self._folder / ("%s_%d_%d" % (name, *days))
        stem.with_suffix(".pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8 if encoding == "pkcs8" else serialization.PrivateFormat.TraditionalOpenSSL
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        stem.with_suffix(".key").write_bytes(pem)
        return stem.with_suffix(".pem"), stem.with_suffix(".key")


def listener(certificate: tuple[Path, Path], ca: Path | None = None) -> list[str]:
    """Lines of mosquitto.conf for a listener that was just named. ca: of nodes, which then need a certificate."""
    lines = ["certfile %s" % certificate[0], "keyfile %s" % certificate[1]]
    return lines + (["cafile %s" % ca, "require_certificate true"] if ca else [])

// SPDX-License-Identifier: MIT
//! The certificate of a listener that was given none: made by ourselves, and made anew in time.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;

use crate::net::error::Error;

/// Browsers pin a certificate by its fingerprint only if it is valid for 14 days at most, and its key is
/// one of ECDSA (W3C WebTransport, "custom certificate requirements").
const MAX_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);
/// The clock of a peer may be behind ours by as much.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);
/// The next one is served for so long before this one ends: who has just read its fingerprint comes in
/// with the old one no more, so that is not long; but a host may sleep.
const RENEWAL: Duration = Duration::from_secs(2 * 24 * 3600);

/// A certificate and its key, in files that nobody else can read and that go with this.
pub(super) struct GeneratedCertificate {
    folder: TempDir,
    /// When the next one is due.
    renew_at: SystemTime,
}

impl GeneratedCertificate {
    pub(super) fn new(now: SystemTime) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("gstmoq")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir();
        let mut this = Self {
            folder: folder.map_err(|err| failed(&err))?,
            renew_at: now,
        };
        this.make(now)?;
        Ok(this)
    }

    /// The files of certificate and key.
    pub(super) fn files(&self) -> (PathBuf, PathBuf) {
        let folder = self.folder.path();
        (folder.join("certificate.pem"), folder.join("key.pem"))
    }

    /// Makes the next one if it is due; the listener reads the files again by itself.
    pub(super) fn renew(&mut self, now: SystemTime) -> Result<bool, Error> {
        let due = now >= self.renew_at;
        if due {
            self.make(now)?;
        }
        Ok(due)
    }

    fn make(&mut self, now: SystemTime) -> Result<(), Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|err| failed(&err))?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).map_err(|err| failed(&err))?;
        let end = now + MAX_LIFETIME - BACKDATE;
        params.not_before = (now - BACKDATE).into();
        params.not_after = end.into();
        let certificate = params.self_signed(&key).map_err(|err| failed(&err))?;
        let (certificate_file, key_file) = self.files();
        let mut written = write(&key_file, &key.serialize_pem());
        written = written.and_then(|()| write(&certificate_file, &certificate.pem()));
        written.map_err(|err| failed(&err))?;
        self.renew_at = end - RENEWAL;
        Ok(())
    }
}

/// Replaces a file at once, so that nobody reads half of it.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut output = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    output.write_all(text.as_bytes())?;
    fs::rename(new, file)
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::settings(format!(
        "No certificate could be made ({error}): set \"tls-certificate\" and \"tls-private-key\""
    ))
}

#[cfg(test)]
mod tests {
    use moq_tokio::tls::PeerIdentity;
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn read(certificate: &GeneratedCertificate) -> PeerIdentity {
        let file = certificate.files().0;
        let leaf = CertificateDer::from_pem_file(file).expect("a certificate");
        PeerIdentity::from_chain(vec![leaf])
    }

    #[test]
    fn it_is_made_anew_before_it_ends() {
        let start = SystemTime::now();
        let mut certificate = GeneratedCertificate::new(start).expect("a certificate");
        let first = read(&certificate);
        let end = first.expiry().expect("it ends");
        assert!(end <= start + 13 * DAY && end > start + 12 * DAY);
        assert!(!certificate.renew(start + 10 * DAY).expect("nothing to do"));
        assert_eq!(read(&certificate).fingerprint(), first.fingerprint());
        assert!(certificate.renew(start + 11 * DAY).expect("another one"));
        let second = read(&certificate);
        assert_ne!(second.fingerprint(), first.fingerprint());
        assert!(second.expiry() > Some(end));
    }

    #[test]
    fn its_key_is_for_nobody_else_and_goes_with_it() {
        let certificate = GeneratedCertificate::new(SystemTime::now()).expect("a certificate");
        let key = certificate.files().1;
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&key) & 0o077, 0);
        assert_eq!(mode(certificate.folder.path()) & 0o077, 0);
        drop(certificate);
        assert!(!key.exists());
    }
}

// SPDX-License-Identifier: MIT
//! The certificate of a listener that was given none: made by ourselves, and made anew in time.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
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
/// How long after a failure to make the next one it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// The next one is served for so long before this one ends: who has just read its fingerprint comes in
/// with the old one no more, so that is not long; but a host may sleep.
const RENEWAL: Duration = Duration::from_secs(2 * 24 * 3600);

/// What cleans up temporary folders leaves files alone that have changed within days (systemd-tmpfiles: 10).
const TOUCH_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// The names of the folders begin so, and go on with the number of the process.
const FOLDER: &str = "gstmoq";

/// A certificate and its key, in files that nobody else can read and that go with this.
pub(super) struct GeneratedCertificate {
    folder: TempDir,
    /// When the next one is due.
    renew_at: SystemTime,
    touch_at: SystemTime,
}

impl GeneratedCertificate {
    pub(super) fn new(now: SystemTime) -> Result<Self, Error> {
        remove_leftovers(&env::temp_dir());
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER}-{}-", process::id()))
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir();
        let mut this = Self {
            folder: folder.map_err(|err| failed(&err))?,
            renew_at: now,
            touch_at: now + TOUCH_INTERVAL,
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
            // After a failure it is tried again, but not at once.
            self.renew_at = now + RETRY_INTERVAL;
            self.make(now)?;
        } else if now >= self.touch_at {
            self.touch_at = now + TOUCH_INTERVAL;
            let (certificate, key) = self.files();
            for file in [certificate, key] {
                // One that cannot be touched cannot be renewed either, which is told then.
                let _ = fs::File::open(file).and_then(|file| file.set_modified(now));
            }
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

/// Removes what processes have left behind that were killed.
fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let rest = name
            .strip_prefix(FOLDER)
            .and_then(|rest| rest.strip_prefix('-'));
        let process = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Those of other users stay.
            let _ = fs::remove_dir_all(entry.path());
        }
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
    fn what_a_killed_process_has_left_is_removed() {
        let temporary = tempfile::tempdir().expect("a folder");
        // No process has that number: Linux ends at 2^22.
        let make = |name: &str| fs::create_dir(temporary.path().join(name)).expect("a folder");
        let own = format!("gstmoq-{}-x", process::id());
        for name in [
            "gstmoq-4194304000-x",
            "gstmoq-x",
            "other-4194304000-x",
            &own,
        ] {
            make(name);
        }
        remove_leftovers(temporary.path());
        let left = fs::read_dir(temporary.path()).expect("a folder").count();
        assert_eq!(left, 3);
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

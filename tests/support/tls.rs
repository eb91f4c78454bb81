//! Certificates for tests of TLS, made with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::scratch;

/// What a server presents: a certificate and its key, PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authority that signed it.
    pub ca: PathBuf,
}

/// Made once per process.
#[derive(Debug)]
pub struct Certificates {
    /// For `127.0.0.1` and `localhost`.
    pub server: Identity,
    /// Signed by the same authority, for a host this is not: passes `verify-ca`, fails `verify-identity`.
    pub elsewhere: Identity,
    /// Signed by the same authority, for somebody who connects and serves nothing.
    pub client: Identity,
    /// The authority that signed them.
    pub ca: PathBuf,
    /// An authority that signed neither.
    pub other_ca: PathBuf,
    _dir: TempDir,
}

/// The certificates of this process (0.1 s to make).
pub fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let dir = scratch("tls");
        let ca = authority(dir.path(), "ca");
        let other_ca = authority(dir.path(), "other-ca");
        Certificates {
            server: identity(
                dir.path(),
                "server",
                "IP:127.0.0.1,DNS:localhost",
                // The nodes of a Redis Cluster are each other's clients.
                "serverAuth,clientAuth",
            ),
            elsewhere: identity(dir.path(), "elsewhere", "DNS:elsewhere.test", "serverAuth"),
            client: identity(dir.path(), "client", "DNS:client.test", "clientAuth"),
            ca,
            other_ca,
            _dir: dir,
        }
    })
}

const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

fn authority(dir: &Path, name: &str) -> PathBuf {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN=evictd test {name}");
    let mut args = vec!["req", "-x509", "-days", "2", "-subj", &subject];
    args.extend(NEW_KEY);
    args.extend(["-keyout", &key, "-out", &pem]);
    openssl(dir, &args);
    dir.join(pem)
}

fn identity(dir: &Path, name: &str, alternative_names: &str, usage: &str) -> Identity {
    let [key, pem, request, extensions] =
        ["key", "pem", "csr", "ext"].map(|suffix| format!("{name}.{suffix}"));
    let subject = format!("/CN=evictd test {name}");
    std::fs::write(
        dir.join(&extensions),
        format!(
            "subjectAltName={alternative_names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n"
        ),
    )
    .expect("the scratch directory is writable");

    let mut args = vec!["req", "-new", "-subj", &subject];
    args.extend(NEW_KEY);
    args.extend(["-keyout", &key, "-out", &request]);
    openssl(dir, &args);
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &pem,
        ],
    );
    Identity {
        certificate: dir.join(pem),
        key: dir.join(key),
        ca: dir.join("ca.pem"),
    }
}

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("openssl can be run");
    assert!(
        output.status.success(),
        "openssl {args:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

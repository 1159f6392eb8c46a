use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// An authority of a test's own, whose certificates are good for this machine's loopback. They are gone when it is dropped.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// # Panics
    /// When there is no `openssl`.
    #[must_use]
    pub fn new() -> Authority {
        let folder = TempDir::with_prefix("switchboard-ca-").expect("a temporary folder");
        openssl(
            folder.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tests -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem",
        );
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n";
        std::fs::write(folder.path().join("names"), names).expect("a file");
        Authority { folder }
    }

    /// Its own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for both ends of a connection.
    ///
    /// # Panics
    /// As [`Authority::new`].
    #[must_use]
    pub fn leaf(&self, name: &str) -> Leaf {
        let folder = self.folder.path();
        openssl(
            folder,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
            ),
        );
        Leaf { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let made = made.unwrap_or_else(|e| panic!("openssl: {e}: install Debian's openssl, as tests/run does"));
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

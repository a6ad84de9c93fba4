//! Certificates for the servers of a test, signed by an authority that nobody else knows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, version};

/// An authority and what it has signed, in files.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: TempDir,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When there is no room for its files.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let pem = certificate.pem();
        let authority = Self {
            issuer: Issuer::new(params, key),
            pem,
            dir: TempDir::new().expect("a temporary directory can be made"),
        };
        authority.write("ca.pem", &authority.pem);
        // Servers may run as somebody else.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(authority.dir.path(), open).expect("it is ours");
        authority
    }

    /// Its own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for these names or addresses, as `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// When a name cannot be one.
    pub fn sign(&self, name: &str, subjects: &[&str]) -> (PathBuf, PathBuf) {
        let subjects: Vec<String> = subjects.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(subjects).expect("names of a test are good");
        let signed = params
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        (
            self.write(&format!("{name}.pem"), &signed.pem()),
            self.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    /// A certificate for servers of this machine.
    pub fn sign_local(&self, name: &str) -> (PathBuf, PathBuf) {
        self.sign(name, &["127.0.0.1", "localhost"])
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("there is room for a file");
        path
    }

    /// How a client checks certificates that this authority has signed; it offers these protocols.
    ///
    /// # Panics
    /// Never: the authority's certificate is good.
    #[must_use]
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(alpn, &[ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3])
    }

    /// The same for these versions of TLS only.
    ///
    /// # Panics
    /// Never: the authority's certificate is good.
    #[must_use]
    pub fn client_of(&self, alpn: &[&str], versions: &[ProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.pem.as_bytes()) {
            let certificate = certificate.expect("our own PEM");
            roots.add(certificate).expect("our own certificate");
        }
        let known = [&version::TLS12, &version::TLS13];
        let wanted: Vec<_> = known
            .into_iter()
            .filter(|known| versions.contains(&known.version))
            .collect();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&wanted)
            .expect("there is a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// What clients of this machine's servers ask for.
///
/// # Panics
/// Never: it is a good name.
#[must_use]
pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a good name")
}

/// A path as a setting.
///
/// # Panics
/// When it is no UTF-8.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are plain")
}

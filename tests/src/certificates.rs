//! Certificates for the servers of a test, signed by an authority of the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, version};

/// An authority and the certificates that it has signed, in files.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: TempDir,
}

impl Authority {
    /// Creates a new authority.
    ///
    /// # Panics
    /// Panics if its files cannot be written.
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
        // Servers may run as another user.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(authority.dir.path(), open)
            .expect("the directory belongs to this user");
        authority
    }

    /// The file of the authority's own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Signs a certificate for these names or addresses, as `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// Panics if a subject is not valid.
    pub fn sign(&self, name: &str, subjects: &[&str]) -> (PathBuf, PathBuf) {
        let subjects: Vec<String> = subjects.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(subjects).expect("the names of a test are valid");
        let signed = params
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        (
            self.write(&format!("{name}.pem"), &signed.pem()),
            self.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    /// Signs a certificate for servers on this machine.
    pub fn sign_local(&self, name: &str) -> (PathBuf, PathBuf) {
        self.sign(name, &["127.0.0.1", "localhost"])
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("there is room for a file");
        path
    }

    /// The settings of a client that trusts this authority and offers these protocols.
    ///
    /// # Panics
    /// Never panics: the authority's certificate is valid.
    #[must_use]
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(alpn, &[ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3])
    }

    /// The same for these TLS versions only.
    ///
    /// # Panics
    /// Never panics: the authority's certificate is valid.
    #[must_use]
    pub fn client_of(&self, alpn: &[&str], versions: &[ProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.pem.as_bytes()) {
            let certificate = certificate.expect("the authority's PEM is valid");
            roots
                .add(certificate)
                .expect("the authority's certificate is valid");
        }
        let known = [&version::TLS12, &version::TLS13];
        let wanted: Vec<_> = known
            .into_iter()
            .filter(|known| versions.contains(&known.version))
            .collect();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&wanted)
            .expect("the versions are not empty")
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

/// The server name for clients of servers on this machine.
///
/// # Panics
/// Never panics: the name is valid.
#[must_use]
pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("the name is valid")
}

/// A path as the value of a setting.
///
/// # Panics
/// Panics if the path is not UTF-8.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

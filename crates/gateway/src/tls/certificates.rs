//! The certificate and its key: read from their files, and again when these have changed. Who is
//! connected stays; a file that cannot be used changes nothing but what operators see.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Metrics;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// No certificate chain is larger.
const MAX_FILE_BYTES: usize = 1 << 20;
/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// Why TLS does not work.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{setting}: cannot read {}: {source}", path.display())]
    Read {
        /// The setting that names it.
        setting: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file with something else in it.
    #[error("{setting}: {} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// The setting that names it.
        setting: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The content that is expected.
        wanted: &'static str,
    },
    /// They do not belong together, or are of a kind that is not supported.
    #[error("http.tls_cert and http.tls_key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The content of the files.
type Bytes = (Vec<u8>, Vec<u8>);

/// The certificate that new connections get.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Files,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    /// Why the newest files are not in use.
    problem: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read();
        Some(Arc::clone(&current))
    }
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub(crate) async fn load(cert: &str, key: &str) -> Result<(Arc<Self>, Bytes), TlsError> {
        let files = Files {
            cert: cert.into(),
            key: key.into(),
        };
        let provider = Arc::new(default_provider());
        let bytes = files.read().await?;
        let certified = files.parse(&bytes, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        let certificates = Arc::new(Self {
            files,
            current,
            config: Arc::new(config),
            problem: Mutex::default(),
        });
        Ok((certificates, bytes))
    }

    /// For one handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Why the newest files are not in use; `None`: they are.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.clone()
    }

    /// Looks at the files for ever. Their contents are compared, not their times: so it does not
    /// matter how they were put there, and what was half written is read once more.
    pub(crate) async fn watch(self: Arc<Self>, mut seen: Bytes, metrics: Arc<Metrics>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let loaded = match self.files.read().await {
                Ok(bytes) if bytes == seen && self.problem().is_none() => continue,
                Ok(bytes) => {
                    let parsed = self.files.parse(&bytes, &default_provider());
                    let is_new = bytes != seen;
                    seen = bytes;
                    parsed.map(|certified| (certified, is_new))
                }
                Err(error) => Err(error),
            };
            let problem = match loaded {
                Ok((certified, is_new)) => {
                    self.current.replace(certified);
                    if is_new {
                        tracing::info!("the new TLS certificate is in use");
                    }
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            metrics.certificate_problem(problem.is_some());
            self.report(problem);
        }
    }

    fn report(&self, problem: Option<String>) {
        let mut known = self.problem.lock();
        if *known != problem
            && let Some(problem) = &problem
        {
            tracing::error!(%problem, "the TLS files cannot be used, the certificate before is still in use");
        }
        *known = problem;
    }
}

impl Current {
    fn replace(&self, certified: CertifiedKey) {
        *self.0.write() = Arc::new(certified);
    }
}

impl Files {
    async fn read(&self) -> Result<Bytes, TlsError> {
        Ok((
            read("http.tls_cert", &self.cert).await?,
            read("http.tls_key", &self.key).await?,
        ))
    }

    /// Checks that the key is the certificate's, too.
    fn parse(
        &self,
        (cert, key): &Bytes,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::Pem {
            setting: "http.tls_cert",
            path: self.cert.clone(),
            wanted: "certificate",
        })?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem {
            setting: "http.tls_key",
            path: self.key.clone(),
            wanted: "private key",
        })?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}

async fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        setting,
        path: path.to_owned(),
        source,
    };
    let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if size > MAX_FILE_BYTES as u64 {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    tokio::fs::read(path).await.map_err(failed)
}

//! The way to a mail server: TCP, then TLS at once, or after the server was asked for it.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use switchboard_email::{Server, Tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a name, a connection or a handshake may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, with TLS where it comes first.
///
/// # Errors
/// With a sentence that names the server.
pub(super) async fn connect(server: &Server) -> Result<Box<dyn Stream>, String> {
    let at = format!("{}:{}", server.host, server.port);
    let tcp = tokio::time::timeout(PATIENCE, TcpStream::connect((server.host.as_str(), server.port)))
        .await
        .map_err(|_| format!("{at}: no connection within {} s", PATIENCE.as_secs()))?
        .map_err(|e| format!("{at}: {e}"))?;
    let _ = tcp.set_nodelay(true);
    match server.tls {
        Tls::Implicit => encrypt(Box::new(tcp), server).await,
        Tls::StartTls | Tls::None => Ok(Box::new(tcp)),
    }
}

/// The same connection with TLS on it.
///
/// # Errors
/// When the certificate is not the server's, or nobody believes it.
pub(super) async fn encrypt(stream: Box<dyn Stream>, server: &Server) -> Result<Box<dyn Stream>, String> {
    let at = format!("{}:{}", server.host, server.port);
    let config = config(server.ca.as_deref()).await?;
    let name =
        ServerName::try_from(server.host.clone()).map_err(|_| format!("`{}` can have no certificate", server.host))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(PATIENCE, handshake)
        .await
        .map_err(|_| format!("{at}: no TLS within {} s", PATIENCE.as_secs()))?
        .map_err(|e| format!("{at}: TLS: {e}"))?;
    Ok(Box::new(stream))
}

/// Whom we believe: who this machine believes, and who the configuration names. Read each time, for certificates change.
async fn config(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let ca = ca.map(Path::to_owned);
    let roots = tokio::task::spawn_blocking(move || roots(ca.as_deref())).await.map_err(|e| e.to_string())??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS: {e}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca {
        let wrong = |e: &dyn std::fmt::Display| format!("`ca` {}: {e}", path.display());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
        for certificate in certificates {
            roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        }
    }
    if roots.is_empty() {
        return Err("this machine believes no certificate: install ca-certificates, or name a file in `ca`".into());
    }
    Ok(roots)
}

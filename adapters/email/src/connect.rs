//! The way to a mail server: TCP, then TLS at once, or after the server was asked for it.

use crate::config::{Server, Tls};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a name, a connection or a handshake may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of either kind.
pub type Io = Box<dyn Stream>;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The network or the server: another time may be better.
    #[error("{0}")]
    Lost(String),
    /// What is configured: somebody has to act.
    #[error("{0}")]
    Config(String),
}

/// Connects, with TLS where it comes first. Our own address is for the greeting.
///
/// # Errors
/// With a sentence that names the server.
pub async fn open(server: &Server) -> Result<(Io, SocketAddr), Failure> {
    let at = format!("{}:{}", server.host, server.port);
    let lost = |e: &dyn std::fmt::Display| Failure::Lost(format!("{at}: {e}"));
    let connecting = TcpStream::connect((server.host.as_str(), server.port));
    let tcp = tokio::time::timeout(PATIENCE, connecting).await;
    let tcp =
        tcp.map_err(|_| lost(&format!("no connection within {} s", PATIENCE.as_secs())))?.map_err(|e| lost(&e))?;
    tcp.set_nodelay(true).map_err(|e| lost(&e))?;
    let ours = tcp.local_addr().map_err(|e| lost(&e))?;
    match server.tls {
        Tls::Implicit => Ok((encrypted(Box::new(tcp), server).await?, ours)),
        Tls::StartTls | Tls::None => Ok((Box::new(tcp), ours)),
    }
}

/// The same connection with TLS on it; the other side is who it should be.
///
/// # Errors
/// When the certificate is not the server's, or nobody believes it.
pub async fn encrypted(io: Io, server: &Server) -> Result<Io, Failure> {
    let at = format!("{}:{}", server.host, server.port);
    let config = config(server.ca.as_deref()).await?;
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| Failure::Config(format!("`{}` can have no certificate: check `host`", server.host)))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
    let stream = tokio::time::timeout(PATIENCE, handshake)
        .await
        .map_err(|_| Failure::Lost(format!("{at}: no TLS within {} s", PATIENCE.as_secs())))?
        .map_err(|e| Failure::Lost(format!("{at}: TLS: {e}{}", remedy(&e))))?;
    Ok(Box::new(stream))
}

/// What to do about a certificate that nobody believes.
fn remedy(error: &std::io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match cause {
        // Of another issuer of the same name that is believed, the signature is not.
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            ": if its issuer is one of your own, name the issuer's certificate in `ca`"
        }
        _ => "",
    }
}

/// Whom we believe: who this machine believes, and who the configuration names. Read each time, for certificates change.
async fn config(ca: Option<&Path>) -> Result<ClientConfig, Failure> {
    let ca = ca.map(Path::to_owned);
    let read = tokio::task::spawn_blocking(move || roots(ca.as_deref())).await;
    let roots = read.map_err(|e| Failure::Lost(e.to_string()))?.map_err(Failure::Config)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| Failure::Config(format!("TLS: {e}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca {
        let wrong = |e: &dyn std::fmt::Display| format!("`ca` {}: {e}", path.display());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
        let before = roots.len();
        for certificate in certificates {
            roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        }
        if roots.len() == before {
            return Err(wrong(&"it holds no certificate"));
        }
    }
    if roots.is_empty() {
        return Err("this machine believes no certificate: install ca-certificates, or name a file in `ca`".into());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16, tls: Tls, ca: Option<&str>) -> Server {
        Server { host: "127.0.0.1".into(), port, tls, account: None, ca: ca.map(Into::into) }
    }

    #[tokio::test]
    async fn nobody_there_is_told_from_a_configuration_that_is_wrong() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = |tls, ca| async move { open(&server(port, tls, ca)).await.map(|(_, ours)| ours).unwrap_err() };
        let missing = open(Tls::Implicit, Some("/nowhere/ca.pem")).await;
        assert!(matches!(&missing, Failure::Config(why) if why.contains("/nowhere/ca.pem")), "{missing:?}");
        let empty = open(Tls::Implicit, Some("/dev/null")).await;
        assert!(matches!(&empty, Failure::Config(why) if why.contains("holds no certificate")), "{empty:?}");
        let told = |error: rustls::Error| remedy(&std::io::Error::other(error));
        assert!(told(CertificateError::UnknownIssuer.into()).contains("in `ca`"));
        assert_eq!(told(CertificateError::Expired.into()), "", "no other issuer mends that");
        drop(listener);
        let gone = open(Tls::None, None).await;
        assert!(matches!(&gone, Failure::Lost(why) if why.starts_with(&format!("127.0.0.1:{port}: "))), "{gone:?}");
    }
}

//! A connection to a mail server, encrypted as configured.

use super::Ended;
use crate::config::{Server, Tls};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::Verifier;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use switchboard_adapter_sdk::classify::Class;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whatever bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(super) type Io = Box<dyn Stream>;

/// Opens a connection; our own address is for the greeting.
pub(super) async fn open(server: &Server) -> Result<(Io, SocketAddr), Ended> {
    let tcp = TcpStream::connect((server.host.as_str(), server.port)).await?;
    tcp.set_nodelay(true)?;
    let ours = tcp.local_addr()?;
    if server.tls == Tls::Implicit {
        Ok((encrypted(Box::new(tcp), server).await?, ours))
    } else {
        Ok((Box::new(tcp), ours))
    }
}

/// What follows is encrypted, and the other side is who it should be.
pub(super) async fn encrypted(io: Io, server: &Server) -> Result<Io, Ended> {
    let connector = connector(server.ca.as_deref()).await?;
    let name = ServerName::try_from(server.host.clone()).map_err(|_| config("`smtp.host` is no name of a server"))?;
    let tls = connector.connect(name, io).await.map_err(|e| Ended::Lost(format!("TLS: {e}")))?;
    Ok(Box::new(tls))
}

async fn connector(ca: Option<&Path>) -> Result<TlsConnector, Ended> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut extra = vec![];
    if let Some(path) = ca {
        let pem = tokio::fs::read(path).await.map_err(|e| config(&format!("`smtp.ca` cannot be read: {e}")))?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        extra = read.map_err(|e| config(&format!("`smtp.ca` holds no certificates: {e}")))?;
    }
    let verifier =
        Verifier::new_with_extra_roots(extra, provider.clone()).map_err(|e| config(&format!("`smtp.ca`: {e}")))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| config(&e.to_string()))?;
    // It is the system's own verifier, with the certificates that the operator added.
    let tls = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// Somebody has to mend the configuration.
pub(super) fn config(what: &str) -> Ended {
    Ended::By(Box::new(Class::Config.attempt(None, what.to_owned())))
}

//! The two listeners: the public one for providers and visitors, the private one for people of ours.

use super::{Role, StartError};
use crate::config::{Cidr, Config, TlsConfig};
use crate::http::chat::ClientAddr;
use crate::http::serve::{ServeLimits, serve};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub struct Listeners {
    /// `None` in a process that serves nobody outside.
    public: Option<TcpListener>,
    admin: TcpListener,
}

/// The addresses of a role, before anything else is started: a port in use is said at once.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn bind(config: &Config, role: Role) -> Result<Listeners, StartError> {
    let bind = async |what, address| {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { what, address, source })
    };
    let public = if role.serves() { Some(bind("http.listen", config.http.listen).await?) } else { None };
    Ok(Listeners { public, admin: bind("admin.listen", config.admin.listen).await? })
}

impl Listeners {
    /// Serves them until `stopping`.
    ///
    /// # Errors
    /// When the TLS certificate or key cannot be used.
    pub fn serve(
        self,
        config: &Config,
        public: Router,
        admin: Router,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let tls = config.http.tls.as_ref().map(acceptor).transpose()?;
        let limits = ServeLimits {
            max_connections: config.http.max_connections,
            header_timeout: config.http.read_timeout,
            drain: config.shutdown.drain,
            ..ServeLimits::default()
        };
        let proxies: Arc<[Cidr]> = config.http.trusted_proxies.clone().into();
        let public = public.layer(middleware::from_fn(move |request, next| client(proxies.clone(), request, next)));
        let outside = self.public.map(|l| tokio::spawn(serve(l, public, tls, limits, stopping.clone())));
        let inside = tokio::spawn(serve(self.admin, admin, None, limits, stopping.clone()));
        Ok(outside.into_iter().chain([inside]).collect())
    }
}

/// Notes whose request it is: the peer, or behind trusted proxies the nearest address that is not one of theirs.
async fn client(proxies: Arc<[Cidr]>, mut request: Request, next: Next) -> axum::response::Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    if let Some(peer) = peer {
        let trusted = |ip: IpAddr| proxies.iter().any(|p| p.contains(ip));
        let mut client = peer;
        if trusted(peer) {
            let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
            let hops: Vec<IpAddr> =
                forwarded.flat_map(|v| v.split(',')).filter_map(|h| h.trim().parse().ok()).collect();
            client = hops.iter().rev().find(|ip| !trusted(**ip)).or(hops.first()).copied().unwrap_or(peer);
        }
        request.extensions_mut().insert(ClientAddr(client));
    }
    next.run(request).await
}

fn acceptor(tls: &TlsConfig) -> Result<TlsAcceptor, StartError> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let wrong = |what: &str, e: &dyn std::fmt::Display| StartError::Other(format!("http.tls.{what}: {e}"));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong("cert", &format!("{}: {e}", tls.cert.display())))?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.expose().as_bytes())
        .map_err(|_| wrong("key", &"it is no PEM private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| wrong("cert", &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

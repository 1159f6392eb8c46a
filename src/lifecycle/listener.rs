//! The two listeners: the public one for providers and visitors, the private one for people of ours.

use super::{Role, StartError};
use crate::config::{Cidr, Config, TlsConfig};
use crate::http::chat::ClientAddr;
use crate::http::serve::{ServeLimits, serve};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use http::HeaderMap;
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

/// Notes whose request it is.
async fn client(proxies: Arc<[Cidr]>, mut request: Request, next: Next) -> axum::response::Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    if let Some(peer) = peer {
        let client = behind(peer, &proxies, request.headers());
        request.extensions_mut().insert(ClientAddr(client));
    }
    next.run(request).await
}

/// The peer, or behind trusted proxies the nearest address that is not one of theirs. Each proxy adds its own peer at the
/// end of X-Forwarded-For: what stands before a hop that is not trusted, or cannot be read, may be anybody's invention.
fn behind(peer: IpAddr, proxies: &[Cidr], headers: &HeaderMap) -> IpAddr {
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("unreadable").split(','))
        .collect();
    let mut client = peer;
    for hop in hops.iter().rev() {
        if !proxies.iter().any(|p| p.contains(client)) {
            break;
        }
        let Some(ip) = address(hop.trim()) else { break };
        client = ip;
    }
    client
}

/// `192.0.2.7`, `2001:db8::7`, and with a port `192.0.2.7:1234` and `[2001:db8::7]:1234`.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|a| a.ip()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn nobody_chooses_their_address_by_what_they_write_before_a_proxy() {
        let config = "[http]\ntrusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\", \"fd00::/8\"]\n[channels.site]\nkind = \"webchat\"\n";
        let config = crate::config::from_text(config, crate::config::Source::Quickstart, &Default::default()).unwrap();
        let proxies = config.http.trusted_proxies;
        for (peer, forwarded, client) in [
            ("192.0.2.1", &["9.9.9.9"][..], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["9.9.9.9, 5.5.5.5"], "5.5.5.5"),
            ("127.0.0.1", &["9.9.9.9, 5.5.5.5, 10.0.0.3"], "5.5.5.5"),
            ("127.0.0.1", &["9.9.9.9", "5.5.5.5", "10.0.0.3"], "5.5.5.5"),
            ("127.0.0.1", &["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
            ("127.0.0.1", &["9.9.9.9, 5.5.5.5:1234"], "5.5.5.5"),
            ("127.0.0.1", &["9.9.9.9, [2001:db8::7]:1234, fd00::1"], "2001:db8::7"),
            ("127.0.0.1", &["9.9.9.9, [2001:db8::7]"], "2001:db8::7"),
            ("127.0.0.1", &["9.9.9.9, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["9.9.9.9, _hidden, 10.0.0.3"], "10.0.0.3"),
            ("127.0.0.1", &["9.9.9.9,"], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            let found = behind(peer.parse().unwrap(), &proxies, &headers);
            assert_eq!(found.to_string(), client, "{peer} {forwarded:?}");
        }
    }
}

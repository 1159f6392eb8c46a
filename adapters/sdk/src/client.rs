//! The one HTTP client, with its guards: time limits, size caps, no redirects, nothing but HTTP, and errors that say whether
//! the request can have arrived.

use crate::{Answer, Call, CallBody, CallError, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;
use url::Host;

/// The longest answer that [`Client::call`] keeps, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the idle limit of common load balancers, so that a request rarely meets a connection that is being closed:
/// such a request is lost, and lost means `unknown`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 1024;
const MAX_REDIRECTS: usize = 3;

/// The client could not be made.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot start the HTTP client; are CA certificates installed (package `ca-certificates`)?")]
    Build(#[source] reqwest::Error),
    #[error("proxy: not an http:// or https:// URL")]
    Proxy(#[source] reqwest::Error),
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Bytes,
    /// As the host declared it.
    pub content_type: Option<String>,
}

/// A file that was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the host answered {0}")]
    Status(u16),
    #[error("larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("redirect refused: {0}")]
    Redirect(&'static str),
}

/// A handle on a connection pool; cloning it shares the pool. `Debug` shows none of the addresses: some hold tokens.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For files: it connects to no private network, whatever a name resolves to.
    outside: reqwest::Client,
    loopback_only: bool,
    /// Most calls of a channel go to one address.
    known: Arc<Mutex<HashMap<String, Url>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("loopback_only", &self.loopback_only).finish_non_exhaustive()
    }
}

/// Addresses that are kept read.
const KNOWN: usize = 64;
/// Longer ones are not.
const KNOWN_LENGTH: usize = 512;

impl Client {
    /// A client with the system's CA certificates and no proxy.
    ///
    /// # Errors
    /// When the system has no CA certificates.
    pub fn new() -> Result<Client, ClientError> {
        let http = builder().build().map_err(ClientError::Build)?;
        let outside = builder().dns_resolver(OutsideOnly).build().map_err(ClientError::Build)?;
        Ok(Client { http, outside, loopback_only: false, known: Arc::default() })
    }

    /// A client that goes through an HTTP proxy, with a pool of its own.
    ///
    /// # Errors
    /// When the proxy's URL cannot be used, or the system has no CA certificates.
    pub fn with_proxy(proxy: &str) -> Result<Client, ClientError> {
        let proxy = reqwest::Proxy::all(proxy).map_err(ClientError::Proxy)?;
        let http = builder().proxy(proxy).build().map_err(ClientError::Build)?;
        // The names are the proxy's to resolve, and the proxy may well be in a private network.
        Ok(Client { outside: http.clone(), http, loopback_only: false, known: Arc::default() })
    }

    /// A client for tests: whatever is not on this machine is refused before a byte leaves.
    ///
    /// # Errors
    /// When the system has no CA certificates.
    pub fn loopback_only() -> Result<Client, ClientError> {
        Ok(Client { loopback_only: true, ..Client::new()? })
    }

    /// Makes one call. A longer answer than [`BODY_LIMIT`] is cut; redirects are answers, not followed.
    ///
    /// # Errors
    /// [`CallError::NotSent`] only when no byte of the request left; [`CallError::Lost`] otherwise. A request that was put on a
    /// kept connection which the peer closed before anything was written is sent again on a new one; once a byte was
    /// written, it never is.
    pub async fn call(&self, call: Call) -> Answer {
        let url = self.known_target(&call.url)?;
        let headers = headers_of(&call)?;
        let response = send(&self.http, call, url, headers).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (body, _) = read(response, BODY_LIMIT).await?;
        Ok(Response { status, headers, body })
    }

    /// Fetches a file of at most `limit` bytes, following up to three redirects. The call's headers, which hold
    /// credentials, are left behind for good once a redirect leads to another origin. Unless the call itself is for a literal
    /// address of a private network, as an operator may have configured it, no name that leads into one is followed. The
    /// call's time is for all of it, redirects and the last byte included.
    ///
    /// # Errors
    /// When the file is not had whole.
    pub async fn fetch(&self, call: Call, limit: usize) -> Result<File, FetchError> {
        let time = call.timeout;
        let late = |_| Err(CallError::Lost(format!("timed out: the file was not there within {time:?}")).into());
        tokio::time::timeout(time, self.fetched(call, limit)).await.unwrap_or_else(late)
    }

    async fn fetched(&self, call: Call, limit: usize) -> Result<File, FetchError> {
        let mut url = self.target(&call.url)?;
        let mut headers = headers_of(&call)?;
        let http = if is_internal(&url) { &self.http } else { &self.outside };
        for _ in 0..=MAX_REDIRECTS {
            let get = Call { body: CallBody::Empty, ..call.clone() };
            let response = send(http, get, url.clone(), headers.clone()).await?;
            let status = response.status();
            if let Some(location) = location(&response) {
                let next = self.redirected(&url, &location)?;
                if next.origin() != url.origin() {
                    headers.clear();
                }
                url = next;
                continue;
            }
            if status != StatusCode::OK {
                return Err(FetchError::Status(status.as_u16()));
            }
            return file(response, limit).await;
        }
        Err(FetchError::Redirect("more than three in a row"))
    }

    /// As [`Client::target`], for an address that is probably called again.
    fn known_target(&self, url: &str) -> Result<Url, CallError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = known().get(url) {
            return Ok(url.clone());
        }
        let target = self.target(url)?;
        if url.len() <= KNOWN_LENGTH {
            let mut known = known();
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(url.to_owned(), target.clone());
        }
        Ok(target)
    }

    fn target(&self, url: &str) -> Result<Url, CallError> {
        let url = Url::parse(url).map_err(|e| CallError::NotSent(format!("not a URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(CallError::NotSent(format!("refused to use the scheme `{}`", url.scheme())));
        }
        if self.loopback_only && !is_loopback(&url) {
            return Err(CallError::NotSent("refused to leave this machine".into()));
        }
        Ok(url)
    }

    fn redirected(&self, from: &Url, location: &str) -> Result<Url, FetchError> {
        let next = from.join(location).map_err(|_| FetchError::Redirect("not a URL"))?;
        let next = self.target(next.as_str()).map_err(|_| FetchError::Redirect("not to be used"))?;
        if from.scheme() == "https" && next.scheme() == "http" {
            return Err(FetchError::Redirect("from https to http"));
        }
        if is_internal(&next) && !is_internal(from) {
            return Err(FetchError::Redirect("into a private network"));
        }
        Ok(next)
    }
}

async fn send(
    http: &reqwest::Client,
    call: Call,
    url: Url,
    headers: HeaderMap,
) -> Result<reqwest::Response, CallError> {
    let mut request = reqwest::Request::new(call.method, url);
    *request.timeout_mut() = Some(call.timeout);
    *request.headers_mut() = headers;
    if let CallBody::Bytes(_, bytes) = call.body {
        *request.body_mut() = Some(bytes.into());
    }
    http.execute(request).await.map_err(call_error)
}

/// Resolves names, and leaves out every address that outsiders must not make us visit. The connection is made to what is
/// left, so that no second answer of the name server counts.
struct OutsideOnly;

impl Resolve for OutsideOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let outside: Vec<SocketAddr> = found.filter(|address| !is_internal_ip(address.ip())).collect();
            if outside.is_empty() {
                return Err("the name leads into a private network".into());
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where clients are built, with the guards")]
fn builder() -> reqwest::ClientBuilder {
    // reqwest takes the process's default provider. Another part of the process may have installed it already: then the
    // error means that there is nothing to do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .no_proxy()
        .referer(false)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
}

fn headers_of(call: &Call) -> Result<HeaderMap, CallError> {
    let mut headers = HeaderMap::with_capacity(call.headers.len() + 1);
    let given = call.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let content_type = match call.body {
        CallBody::Bytes(content_type, _) => Some(("content-type", content_type)),
        CallBody::Empty => None,
    };
    for (name, value) in given.chain(content_type) {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        // The value is not named: it may be a secret.
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(CallError::NotSent("a header holds what HTTP cannot carry".into()));
        };
        value.set_sensitive(name == header::AUTHORIZATION);
        headers.append(name, value);
    }
    Ok(headers)
}

fn call_error(error: reqwest::Error) -> CallError {
    // A connect error means that the connector failed, which hands out no stream to write to.
    let not_sent = error.is_builder() || error.is_connect() || error.is_dns();
    let text = causes(&error.without_url());
    if not_sent { CallError::NotSent(text) } else { CallError::Lost(text) }
}

/// What a person reads who wonders why nothing was sent: what failed, and the innermost cause of it.
fn causes(error: &reqwest::Error) -> String {
    let what = match error {
        _ if error.is_timeout() => "timed out",
        _ if error.is_connect() || error.is_dns() => "cannot connect",
        _ if error.is_builder() => "not a request that can be made",
        _ => "the connection failed",
    };
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let cause = innermost.to_string();
    format!("{what}: {}", cause.split(" (os error").next().unwrap_or_default())
}

/// The body up to `limit`, and whether that was all of it.
async fn read(mut response: reqwest::Response, limit: usize) -> Result<(Bytes, bool), CallError> {
    // Most answers are one chunk: it is passed on without a copy.
    let Some(mut first) = response.chunk().await.map_err(lost)? else { return Ok((Bytes::new(), true)) };
    if first.len() > limit {
        first.truncate(limit);
        return Ok((first, false));
    }
    let Some(second) = response.chunk().await.map_err(lost)? else { return Ok((first, true)) };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let room = limit.saturating_sub(body.len());
        if chunk.len() > room {
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            return Ok((body.freeze(), false));
        }
        body.extend_from_slice(&chunk);
        next = response.chunk().await.map_err(lost)?;
    }
    Ok((body.freeze(), true))
}

fn lost(error: reqwest::Error) -> CallError {
    CallError::Lost(causes(&error.without_url()))
}

async fn file(response: reqwest::Response, limit: usize) -> Result<File, FetchError> {
    let declared = response.content_length().unwrap_or(0);
    if declared > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(FetchError::TooLarge { limit });
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    match read(response, limit).await? {
        (bytes, true) => Ok(File { bytes, content_type }),
        (_, false) => Err(FetchError::TooLarge { limit }),
    }
}

fn location(response: &reqwest::Response) -> Option<String> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| response.headers().get(header::LOCATION)?.to_str().ok().map(str::to_owned))
        .flatten()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether an address that outsiders chose leads into the network that we stand in, as far as it shows without resolving it.
/// [`Client::fetch`] looks at what names resolve to, but takes a literal address for the operator's own choice.
#[must_use]
pub fn leads_inside(url: &Url) -> bool {
    is_internal(url)
}

/// A literal address that outsiders must not make us visit; names are looked at when they are resolved.
fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(_)) | None => is_loopback(url),
        Some(Host::Ipv4(ip)) => is_internal_ip(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_internal_ip(IpAddr::V6(ip)),
    }
}

fn is_internal_ip(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, third, _] = ip.octets();
            // Carriers' own networks (RFC 6598), measurements (RFC 2544), protocol assignments (RFC 6890).
            let is_shared = (first == 100 && (64..128).contains(&second))
                || (first == 198 && (18..20).contains(&second))
                || [first, second, third] == [192, 0, 0];
            let is_reserved = first == 0 || first >= 240;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_multicast() || is_shared || is_reserved
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || translated(ip).is_some_and(|ip| is_internal_ip(IpAddr::V4(ip)))
        }
    }
}

/// The IPv4 address that an IPv6 address leads to: by NAT64 (RFC 6052), 6to4 (RFC 3056), or as the old compatible form. One
/// of a translator's own prefix (RFC 8215) counts as unspecified: what it leads to is not known.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    let at = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => at(0),
        [0x64, 0xff9b, 1, ..] => Some(Ipv4Addr::UNSPECIFIED),
        [0x2002, ..] => at(80),
        _ => None,
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

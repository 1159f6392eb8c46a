//! A listener: connections within limits, TLS where it is configured, and an end in two steps.

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// What one listener takes.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Open connections; more wait in the system's queue.
    pub max_connections: usize,
    /// For the head of a request, and for the TLS handshake.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub max_head: usize,
    /// Once it is told to stop, requests that run may take this long; then they are cut.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            max_head: 64 * 1024,
            drain: Duration::from_secs(30),
        }
    }
}

/// A pause after the system refused a connection, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` becomes true: then nothing new is accepted, idle connections close, requests that run finish
/// within the drain, and what is left is cut. Connections that became web sockets belong to their handlers, which watch
/// the shutdown themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: ServeLimits,
    mut shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(limits.max_connections.max(1)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            a = accept(&listener, &permits) => a,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        // Tasks that ended leave their handle behind.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer, permit)) => {
                let connection = Connection { router: router.clone(), peer, limits, shutdown: shutdown.clone() };
                connections.spawn(connection.run(stream, tls.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests still ran at the end of the drain and were cut");
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    limits: ServeLimits,
    shutdown: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>, _permit: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.http(stream).await };
        match tokio::time::timeout(self.limits.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let (router, peer, mut shutdown) = (self.router, self.peer, self.shutdown);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let mut router = router.clone();
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(self.limits.max_head.max(8192))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let stopped = async move { drop(shutdown.wait_for(|stop| *stop).await) };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped => {
                // The request that runs is answered; an idle connection closes.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // Mostly a peer that left; nobody can act on it.
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    const SOON: Duration = Duration::from_secs(10);

    struct Served {
        addr: SocketAddr,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(router: Router, limits: ServeLimits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        Served { addr, stop, task: tokio::spawn(serve(listener, router, None, limits, stopped)) }
    }

    async fn ask(addr: SocketAddr, text: &str) -> String {
        let mut s = TcpStream::connect(addr).await.unwrap();
        s.write_all(text.as_bytes()).await.unwrap();
        let mut out = String::new();
        tokio::time::timeout(SOON, s.read_to_string(&mut out)).await.unwrap().unwrap();
        out
    }

    #[tokio::test]
    async fn a_running_request_finishes_and_nothing_new_is_accepted() {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (b, g) = (Arc::clone(&begun), Arc::clone(&go));
        let slow = get(async move || {
            b.notify_one();
            g.notified().await;
            "done"
        });
        let served = start(Router::new().route("/", slow), ServeLimits::default()).await;
        let request = tokio::spawn(ask(served.addr, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
        tokio::time::timeout(SOON, begun.notified()).await.unwrap();
        served.stop.send(true).unwrap();
        let refused = async {
            while TcpStream::connect(served.addr).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, refused).await.unwrap();
        go.notify_one();
        assert!(request.await.unwrap().ends_with("done"));
        tokio::time::timeout(SOON, served.task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_outlives_the_drain_is_cut() {
        let begun = Arc::new(Notify::new());
        let b = Arc::clone(&begun);
        let never = get(async move || {
            b.notify_one();
            std::future::pending::<()>().await;
        });
        let limits = ServeLimits { drain: Duration::from_millis(50), ..ServeLimits::default() };
        let served = start(Router::new().route("/", never), limits).await;
        let request = tokio::spawn(ask(served.addr, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
        tokio::time::timeout(SOON, begun.notified()).await.unwrap();
        served.stop.send(true).unwrap();
        tokio::time::timeout(SOON, served.task).await.unwrap().unwrap();
        assert_eq!(request.await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_cut_and_frees_its_place() {
        let limits =
            ServeLimits { max_connections: 1, header_timeout: Duration::from_millis(100), ..ServeLimits::default() };
        let served = start(Router::new().route("/", get(async || "hello")), limits).await;
        let mut dawdler = TcpStream::connect(served.addr).await.unwrap();
        dawdler.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let answer = ask(served.addr, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

//! The provider's side of the bench: it takes the adapter's calls, and answers each message as it was told to.

use crate::Stopped;
use crate::broker::{Broker, lock};
use crate::plan::{Answer, Call as Told};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use switchboard_envelope::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const MAX_BODY: usize = 1024 * 1024;
const MAX_CALLS: usize = 10_000;

/// What becomes of a message's call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Act {
    #[default]
    Accept,
    Throttle,
    Reject,
    /// It is taken, and the connection is closed without an answer.
    Lose,
    /// It is taken and never answered.
    Hang,
}

/// A call that the adapter made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The mark of the message that it carried.
    pub mark: String,
    /// Who held the attempt's claim at that moment.
    pub claim: Option<String>,
    pub at: Timestamp,
}

struct Expected {
    claim_key: String,
    act: Act,
}

#[derive(Default)]
struct State {
    expected: BTreeMap<String, Expected>,
    calls: Vec<Call>,
}

/// A provider on the loopback.
pub(crate) struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    told: Option<Told>,
    broker: Broker,
    clock: fn() -> Timestamp,
    state: Mutex<State>,
}

impl Provider {
    pub(crate) async fn open(
        told: Option<Told>,
        broker: Broker,
        clock: fn() -> Timestamp,
    ) -> Result<Provider, Stopped> {
        let no = |e: std::io::Error| Stopped::Machine(format!("no port on the loopback for the provider: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no)?;
        let address = listener.local_addr().map_err(no)?;
        let shared = Arc::new(Shared { told, broker, clock, state: Mutex::default() });
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&shared))));
        Ok(Provider { address, shared, serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says how the call that carries `mark` is answered.
    pub(crate) fn expect(&self, mark: &str, claim_key: String, act: Act) {
        lock(&self.shared.state).expected.insert(mark.to_owned(), Expected { claim_key, act });
    }

    /// The calls that carried `mark`.
    pub(crate) fn calls(&self, mark: &str) -> Vec<Call> {
        lock(&self.shared.state).calls.iter().filter(|c| c.mark == mark).cloned().collect()
    }

    /// Nobody listens any more.
    pub(crate) async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn reopen(&mut self) -> Result<(), String> {
        let listener =
            TcpListener::bind(self.address).await.map_err(|e| format!("the provider's port is lost: {e}"))?;
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.shared))));
        Ok(())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            // An answer that is an error closes the connection without a byte.
            let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Lost)?.to_bytes();
    let said = format!("{target}\n{}", String::from_utf8_lossy(&body));
    let Some(told) = &shared.told else { return respond(404, &BTreeMap::new(), String::new()) };
    if let Some(other) = told.other.get(parts.uri.path()) {
        return from(other, "");
    }
    let found = {
        let state = lock(&shared.state);
        state
            .expected
            .iter()
            .find(|(mark, _)| said.contains(*mark))
            .map(|(mark, e)| (mark.clone(), e.claim_key.clone(), e.act))
    };
    let Some((mark, key, act)) = found.filter(|_| parts.uri.path().starts_with(&told.path)) else {
        return respond(404, &BTreeMap::new(), String::new());
    };
    // Before the answer: an adapter that claims afterwards has no claim yet.
    let call = Call { mark: mark.clone(), claim: shared.broker.claim(&key).await, at: (shared.clock)() };
    {
        let mut state = lock(&shared.state);
        if state.calls.len() < MAX_CALLS {
            state.calls.push(call);
        }
    }
    let id = format!("provider-{mark}");
    match act {
        Act::Accept => from(&told.accepted, &id),
        Act::Reject => {
            told.rejected.as_ref().map_or_else(|| respond(400, &BTreeMap::new(), String::new()), |r| from(r, &id))
        }
        Act::Throttle => {
            let t = told.throttled.clone().unwrap_or_default();
            respond(if t.status == 0 { 429 } else { t.status }, &t.headers, t.body)
        }
        Act::Lose => Err(Lost),
        Act::Hang => std::future::pending().await,
    }
}

fn from(answer: &Answer, id: &str) -> Result<Response<Full<Bytes>>, Lost> {
    respond(answer.status, &answer.headers, answer.body.replace("{id}", id))
}

fn respond(status: u16, headers: &BTreeMap<String, String>, body: String) -> Result<Response<Full<Bytes>>, Lost> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(body))).map_err(|_| Lost)
}

//! Who is signed in to the console: one-time login codes, sessions, and what makes a request with a cookie genuine.
//!
//! Codes and session ids are kept as hashes, so that neither a memory dump nor the file in the data directory, nor a careless
//! log line, opens anything. Sessions outlive a restart ([`super::kept`]); login codes do not, and the daemon prints a fresh one.

use super::kept::{Kept, Stored};
use super::presence::{Consoles, Presence, PresenceChange};
use crate::random::{self, NoRandomness};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, header};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use switchboard_envelope::{Scope, Timestamp};
use thiserror::Error;

/// How long a printed login link works.
pub const LOGIN_TTL_MS: i64 = 10 * 60_000;
/// A session without a request for this long is over.
pub const SESSION_IDLE_MS: i64 = 12 * 3_600_000;
/// A session ends after this even when it is used: who holds it proves again who they are.
pub const SESSION_LIFE_MS: i64 = 7 * 24 * 3_600_000;
/// A session that is used after this long is written down as used.
const KEEP_SEEN_MS: i64 = 10 * 60_000;
const MAX_LOGINS: usize = 100;
const MAX_SESSIONS: usize = 1_000;
/// No cookie or code of ours is longer; anything longer is not hashed.
const MAX_SECRET: usize = 128;
/// The header that no foreign page can send without asking us first.
pub const CONSOLE_HEADER: &str = "x-switchboard";

/// Whom a session speaks for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The name of the API token behind it, as configured under `[admin.tokens]`.
    pub token: String,
    /// The agent as whom the console acts, where there is one.
    pub agent: Option<String>,
    pub scopes: Vec<Scope>,
}

/// Why a request that carries a good cookie is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forged {
    #[error("a change made with the console's cookie needs the header `x-switchboard: console`")]
    Header,
    #[error("the request comes from another site than the console")]
    Origin,
}

/// Reads the time. A parameter, so that tests decide what it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

type Hash = [u8; 32];

/// Which session a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(Hash);

struct Login {
    identity: Identity,
    expires: Timestamp,
}

struct Session {
    identity: Identity,
    created: Timestamp,
    seen: Timestamp,
}

impl Session {
    fn over(&self, now: Timestamp) -> bool {
        now.since(self.seen) >= SESSION_IDLE_MS || now.since(self.created) >= SESSION_LIFE_MS
    }
}

#[derive(Default)]
struct Held {
    logins: HashMap<Hash, Login>,
    sessions: HashMap<Hash, Session>,
}

/// The signed-in consoles of this daemon. Shared by the console's own routes and by the API.
pub struct Sessions {
    clock: Clock,
    secure: bool,
    held: Mutex<Held>,
    consoles: Mutex<Consoles>,
    /// Where sessions are written down; `None` in tests.
    kept: Option<Kept>,
}

impl Sessions {
    /// `secure`: the admin listener is reached over https, so the cookie must never travel without it.
    #[must_use]
    pub fn new(clock: Clock, secure: bool) -> Sessions {
        Sessions { clock, secure, held: Mutex::default(), consoles: Mutex::default(), kept: None }
    }

    /// With the sessions of before the restart, which are written to `kept` from now on. Their agents may still be shown as
    /// available, and are expected back.
    #[must_use]
    pub fn restored(clock: Clock, secure: bool, kept: Kept) -> Sessions {
        let sessions = Sessions::new(clock, secure);
        let now = (sessions.clock)();
        for s in kept.read() {
            let session = Session { identity: s.identity, created: s.created, seen: s.seen };
            let mut held = sessions.held();
            if session.over(now) || held.sessions.len() >= MAX_SESSIONS {
                continue;
            }
            if let Some(agent) = &session.identity.agent {
                sessions.consoles().expect(agent, now);
            }
            held.sessions.insert(s.id, session);
        }
        Sessions { kept: Some(kept), ..sessions }
    }

    /// Writes down who is signed in. What fails is told, and costs at most another sign-in after the next restart.
    fn keep(&self, held: &Held) {
        let Some(kept) = &self.kept else { return };
        let stored = held.sessions.iter().map(|(id, s)| Stored {
            id: *id,
            identity: s.identity.clone(),
            created: s.created,
            seen: s.seen,
        });
        if let Err(error) = kept.write(stored.collect()) {
            tracing::warn!(%error, file = %kept.path().display(), "who is signed in to the console could not be written down");
        }
    }

    /// A one-time code for `…/console#login=<code>`. It works once, for ten minutes.
    pub fn create_login(&self, identity: Identity) -> Result<String, NoRandomness> {
        let code = secret::<24>()?;
        let now = (self.clock)();
        let mut held = self.held();
        held.logins.retain(|_, login| login.expires > now);
        if held.logins.len() >= MAX_LOGINS {
            let oldest = held.logins.iter().min_by_key(|(_, login)| login.expires).map(|(hash, _)| *hash);
            oldest.and_then(|hash| held.logins.remove(&hash));
        }
        held.logins.insert(hash(&code), Login { identity, expires: now.plus(LOGIN_TTL_MS) });
        Ok(code)
    }

    /// Takes a code out of use, and says whom it signs in; `None` when it is unknown, used or too old.
    pub fn redeem(&self, code: &str) -> Option<Identity> {
        if code.len() > MAX_SECRET {
            return None;
        }
        let login = self.held().logins.remove(&hash(code))?;
        (login.expires > (self.clock)()).then_some(login.identity)
    }

    /// Starts a session; the answer is the value of `Set-Cookie`.
    pub fn start(&self, identity: Identity) -> Result<String, NoRandomness> {
        let id = secret::<32>()?;
        let now = (self.clock)();
        let mut held = self.held();
        held.sessions.retain(|_, session| !session.over(now));
        if held.sessions.len() >= MAX_SESSIONS {
            let idle = held.sessions.iter().min_by_key(|(_, session)| session.seen).map(|(hash, _)| *hash);
            idle.and_then(|hash| held.sessions.remove(&hash));
        }
        held.sessions.insert(hash(&id), Session { identity, created: now, seen: now });
        self.keep(&held);
        Ok(self.cookie(&id, SESSION_LIFE_MS / 1000))
    }

    /// Ends the session of this request, if there is one; the answer is the `Set-Cookie` that makes the browser forget it.
    pub fn end(&self, headers: &HeaderMap) -> String {
        if let Some(id) = self.cookie_of(headers) {
            let mut held = self.held();
            if held.sessions.remove(&hash(id)).is_some() {
                self.keep(&held);
            }
        }
        self.cookie("", 0)
    }

    /// Whom the request's session cookie speaks for. It proves nothing about who caused the request: for anything but a
    /// read, ask [`Sessions::check`].
    pub fn identify(&self, headers: &HeaderMap) -> Option<Identity> {
        let key = hash(self.cookie_of(headers)?);
        let now = (self.clock)();
        let mut held = self.held();
        let session = held.sessions.get_mut(&key)?;
        if session.over(now) {
            held.sessions.remove(&key);
            return None;
        }
        let stale = now.since(session.seen) >= KEEP_SEEN_MS;
        session.seen = now;
        let identity = session.identity.clone();
        if stale {
            self.keep(&held);
        }
        Some(identity)
    }

    /// Whose cookie a request carries; it may be nobody's any more.
    pub fn session_of(&self, headers: &HeaderMap) -> Option<SessionId> {
        self.cookie_of(headers).map(|id| SessionId(hash(id)))
    }

    /// Whether a session goes on. Asking does not count as using it.
    pub fn is_open(&self, id: &SessionId) -> bool {
        let now = (self.clock)();
        self.held().sessions.get(&id.0).is_some_and(|session| !session.over(now))
    }

    /// Whom the cookie speaks for, and that the request was made by the console itself: a change needs the custom header,
    /// and its `Origin` must be the host it is sent to. `Ok(None)` means that there is no session.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Identity>, Forged> {
        let Some(identity) = self.identify(headers) else { return Ok(None) };
        if !matches!(*method, Method::GET | Method::HEAD) {
            genuine(headers)?;
        }
        Ok(Some(identity))
    }

    /// Counts a console as open until the answer is dropped: keep it in the event stream of a session with an agent.
    #[must_use]
    pub fn open_console(self: &Arc<Self>, agent: &str) -> OpenConsole {
        self.consoles().opened(agent);
        OpenConsole { sessions: Arc::clone(self), agent: agent.to_owned() }
    }

    /// How many consoles of this agent are open.
    #[must_use]
    pub fn open_consoles(&self, agent: &str) -> usize {
        self.consoles().open(agent)
    }

    /// At the start: an agent who may still be shown as available by a console of the previous run.
    pub fn expect_console(&self, agent: &str) {
        self.consoles().expect(agent, (self.clock)());
    }

    /// Somebody set an agent's presence, and not by a console of theirs. See [`Consoles::said`].
    pub fn presence_said(&self, agent: &str) {
        self.consoles().said(agent);
    }

    /// Which presences fall now because consoles are closed; ask every few seconds. See [`Consoles::tick`].
    pub fn presence_changes(&self, current: impl Fn(&str) -> Option<Presence>) -> Vec<PresenceChange> {
        self.consoles().tick((self.clock)(), current)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consoles(&self) -> MutexGuard<'_, Consoles> {
        self.consoles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `__Host-` makes the browser insist on `Secure`, `Path=/` and no `Domain`; it cannot be used without https.
    fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-switchboard_console" } else { "switchboard_console" }
    }

    fn cookie(&self, id: &str, max_age: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={id}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}", self.cookie_name())
    }

    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie_name();
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, id)| *key == name && !id.is_empty() && id.len() <= MAX_SECRET)
            .map(|(_, id)| id)
    }
}

/// An open console, counted until it is dropped.
pub struct OpenConsole {
    sessions: Arc<Sessions>,
    agent: String,
}

impl Drop for OpenConsole {
    fn drop(&mut self) {
        let now = (self.sessions.clock)();
        self.sessions.consoles().closed(&self.agent, now);
    }
}

/// Was the request made by the console's own page? A foreign page cannot add the header without a preflight, which nobody
/// answers; `Origin` and `Sec-Fetch-Site` are the browser's own word for it.
pub(super) fn genuine(headers: &HeaderMap) -> Result<(), Forged> {
    if headers.get(CONSOLE_HEADER).is_none_or(|value| value.as_bytes() != b"console") {
        return Err(Forged::Header);
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && site.as_bytes() != b"same-origin"
    {
        return Err(Forged::Origin);
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let from = origin.to_str().ok().and_then(|value| value.split_once("://")).map(|(_, authority)| authority);
    match (from, host) {
        (Some(from), Some(host)) if from.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Forged::Origin),
    }
}

fn secret<const N: usize>() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::bytes::<N>()?))
}

/// What is kept of a code, a session or a token.
pub(in crate::http) fn hash(secret: &str) -> Hash {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

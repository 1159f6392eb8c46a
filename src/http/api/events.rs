//! `GET /events`: what changes, as it changes (server-sent events).
//!
//! An event's id is `<log sequence>.<event>`. A client that comes back with `Last-Event-ID` gets what it missed from LOG,
//! or 410 when that is gone. What an event shows is read when it is sent, so several changes of one conversation that wait
//! together are one event; a slow client is never owed more than the newest state of each thing.

use super::conversations::Who;
use super::input::Params;
use super::{ApiState, views};
use crate::history::{Change, Direction, HistoryError};
use crate::http::console::{OpenConsole, SessionId, Sessions};
use crate::http::problem::Problem;
use axum::extract::State;
use axum::response::sse::{Event as Sse, KeepAlive, Sse as Stream};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use switchboard_routing_rules::event::{Event, KeyHash, Public};
use switchboard_routing_rules::ids::ConvId;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Interval;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A comment this often keeps proxies from closing a silent stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Frames that are shown as one step.
const TOGETHER: usize = 256;

/// Messages of a conversation that are shown anew when its customer confirms; what is older was shown by earlier ones.
const CONFIRMED: usize = 20;

/// A place in the stream: the frame and the event in it.
type Place = (u64, usize);

fn parse_id(text: &str) -> Option<Place> {
    let (frame, event) = text.trim().split_once('.')?;
    Some((frame.parse().ok()?, event.parse().ok()?))
}

pub(super) async fn stream(
    State(state): State<ApiState>,
    who: Who,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut params = Params::of(&uri);
    // A browser cannot send the header with its first request.
    let asked = params.one("last_event_id");
    params.finish()?;
    let asked = headers.get(&LAST_EVENT_ID).and_then(|v| v.to_str().ok()).map(str::to_owned).or(asked);
    let busy = || Problem::unavailable("too_many_streams", "too many event streams are open");
    let permit = Arc::clone(&state.shared.streams).try_acquire_owned().map_err(|_| busy())?;
    // Listen first, then look where LOG is: nothing falls between the two.
    let changes = state.shared.history.changes();
    let resumed = asked.is_some();
    let after = match asked {
        Some(text) => resume(&state, &text).await?,
        None => (state.shared.history.history().cursor(), usize::MAX),
    };
    let console = match (&state.shared.gate.sessions, who.console, &who.identity.agent) {
        (Some(sessions), true, Some(agent)) => Some(sessions.open_console(agent)),
        _ => None,
    };
    let session = state.shared.gate.sessions.clone().and_then(|s| Some((s.session_of(&headers)?, s)));
    let feed = Feed {
        shutdown: state.shared.shutdown.clone(),
        typing: state.backend().typing(),
        state,
        changes,
        after,
        // What came between the id and now is in LOG only.
        behind: resumed,
        ready: VecDeque::new(),
        session: who.console.then_some(session).flatten(),
        beat: tokio::time::interval(HEARTBEAT),
        _console: console,
        _permit: permit,
    };
    let events =
        stream::unfold(feed, |mut feed| async move { feed.next().await.map(|e| (Ok::<_, Infallible>(e), feed)) });
    let mut response = Stream::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies must not hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a client goes on, if LOG still holds what follows.
async fn resume(state: &ApiState, text: &str) -> Result<Place, Problem> {
    let place =
        parse_id(text).ok_or_else(|| Problem::bad("bad_event_id", "Last-Event-ID must be `<log sequence>.<event>`"))?;
    let (first, last) = state.backend().log_bounds().await?;
    if place.0.saturating_add(1) < first || place.0 > last {
        let detail = "what followed this event is not kept any more; load everything, then open a new stream";
        return Err(Problem::new(StatusCode::GONE, "gone", detail));
    }
    Ok(place)
}

struct Feed {
    state: ApiState,
    changes: broadcast::Receiver<Change>,
    typing: broadcast::Receiver<ConvId>,
    shutdown: watch::Receiver<bool>,
    /// The last place that was shown.
    after: Place,
    /// Frames must be read from LOG before listening goes on.
    behind: bool,
    ready: VecDeque<Sse>,
    /// The stream ends with its session.
    session: Option<(SessionId, Arc<Sessions>)>,
    beat: Interval,
    /// Signed in to the console: the agent counts as being there.
    _console: Option<OpenConsole>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    fn signed_out(&self) -> bool {
        self.session.as_ref().is_some_and(|(id, sessions)| !sessions.is_open(id))
    }

    async fn next(&mut self) -> Option<Sse> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if *self.shutdown.borrow() || self.signed_out() {
                return None;
            }
            let frames = if self.behind { self.missed().await? } else { self.heard().await? };
            if frames.is_empty() {
                continue;
            }
            match self.show(&frames).await {
                Ok(events) => self.ready.extend(events),
                // The client comes back with the last id that it got.
                Err(_) => return None,
            }
        }
    }

    /// Frames from LOG, until what is heard follows on. Never beyond what history holds: events show history's rows.
    async fn missed(&mut self) -> Option<Vec<Change>> {
        let known = self.state.shared.history.history().cursor();
        let from = if self.after.1 == usize::MAX { self.after.0 } else { self.after.0.saturating_sub(1) };
        if from >= known {
            self.behind = false;
            return Some(vec![]);
        }
        let frames = self.state.backend().frames(from, TOGETHER).await.ok()?;
        let frames: Vec<Change> = frames
            .into_iter()
            .filter(|(seq, _)| *seq <= known)
            .map(|(seq, events)| Change { seq, id: 0, events: Arc::new(events) })
            .collect();
        match frames.first() {
            // Trimmed in the meantime: the next request is told so.
            Some(first) if first.seq > from + 1 => None,
            None => None,
            Some(_) => {
                self.behind = frames.last().is_some_and(|f| f.seq < known);
                Some(frames)
            }
        }
    }

    /// The next frames as they come.
    async fn heard(&mut self) -> Option<Vec<Change>> {
        let first = tokio::select! {
            change = self.changes.recv() => change,
            conversation = next_typing(&mut self.typing) => {
                // Without an id: it is of the moment, and a client that comes back must not be placed by it.
                let value = json!({ "conversation": conversation });
                self.ready.push_back(Sse::default().event("typing").data(value.to_string()));
                return Some(vec![]);
            }
            _ = self.beat.tick() => return Some(vec![]),
            _ = self.shutdown.wait_for(|stop| *stop) => return None,
        };
        let mut frames = vec![];
        let mut next = first.map_err(|e| matches!(e, broadcast::error::RecvError::Closed));
        loop {
            match next {
                // The log began another life: what was shown may be of frames that are lost.
                Ok(change) if (change.seq, 0) <= self.after && change.is_rebase() => return None,
                Ok(change) => frames.push(change),
                Err(true) => return None,
                Err(false) => {
                    // Too slow: what was dropped is read from LOG.
                    self.behind = true;
                    return Some(vec![]);
                }
            }
            if frames.len() >= TOGETHER {
                break;
            }
            next = match self.changes.try_recv() {
                Ok(change) => Ok(change),
                Err(broadcast::error::TryRecvError::Empty) => break,
                Err(broadcast::error::TryRecvError::Closed) => Err(true),
                Err(broadcast::error::TryRecvError::Lagged(_)) => Err(false),
            };
        }
        Some(frames)
    }

    async fn show(&mut self, frames: &[Change]) -> Result<Vec<Sse>, HistoryError> {
        let mut seen = Touched::default();
        for frame in frames {
            for (index, event) in frame.events.iter().enumerate() {
                if (frame.seq, index) > self.after {
                    seen.note((frame.seq, index), event);
                }
            }
        }
        if let Some(last) = frames.last() {
            self.after = self.after.max((last.seq, usize::MAX));
        }
        seen.render(&self.state).await
    }
}

/// The next conversation in which a customer writes.
async fn next_typing(typing: &mut broadcast::Receiver<ConvId>) -> ConvId {
    loop {
        match typing.recv().await {
            Ok(conversation) => return conversation,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// What a step touched, each thing at the last place that touched it.
#[derive(Default)]
struct Touched {
    conversations: BTreeMap<ConvId, Place>,
    messages: BTreeMap<String, Place>,
    agents: BTreeMap<String, Place>,
    queues: BTreeMap<String, Place>,
    offers: BTreeMap<String, (Place, Value)>,
    /// Threads whose client confirmed our messages, up to a place in them.
    confirmed: BTreeMap<(String, KeyHash), (Place, u64)>,
    rules: Option<Place>,
    held: Option<Place>,
    channels: BTreeMap<String, Place>,
}

impl Touched {
    fn note(&mut self, at: Place, event: &Event) {
        use Public as P;
        if let Some(conv) = event.public.conversation() {
            self.conversations.insert(conv, at);
        }
        match &event.public {
            P::Received { message, .. }
            | P::FilesFetched { message, .. }
            | P::NoteAdded { message, .. }
            | P::SendQueued { message, .. }
            | P::Released { message, .. }
            | P::AttemptEnded { message, .. }
            | P::Sent { message, .. }
            | P::Receipt { message, .. } => {
                self.messages.insert(message.to_string(), at);
            }
            P::Dead { message, .. } | P::DeadCleared { message, .. } => {
                self.messages.insert(message.to_string(), at);
                self.held = Some(at);
            }
            P::Confirmed { channel, thread, up_to, .. } => {
                let entry = self.confirmed.entry((channel.clone(), *thread)).or_insert((at, 0));
                *entry = (at, entry.1.max(*up_to));
            }
            P::Quarantined { .. } | P::QuarantineReleased { .. } => self.held = Some(at),
            P::PackInForce { .. } | P::CanaryBegan { .. } | P::CanaryEnded { .. } => self.rules = Some(at),
            P::PresenceChanged { agent, .. } => {
                self.agents.insert(agent.clone(), at);
            }
            P::Queued { queue, .. } => {
                self.queues.insert(queue.clone(), at);
            }
            P::Assigned { agent, .. } => {
                self.agents.insert(agent.clone(), at);
            }
            P::Offered { conv, offer, agent, expires, .. } => {
                self.agents.insert(agent.clone(), at);
                let value = json!({ "id": offer, "conversation": conv, "agent": agent, "expires_at": expires });
                self.offers.insert(offer.to_string(), (at, value));
            }
            P::OfferEnded { conv, offer, agent, how } => {
                self.agents.insert(agent.clone(), at);
                let value = json!({ "id": offer, "conversation": conv, "agent": agent, "ended": how });
                self.offers.insert(offer.to_string(), (at, value));
            }
            P::ChannelHealth { channel, .. } => {
                self.channels.insert(channel.clone(), at);
            }
            _ => {}
        }
    }

    async fn render(self, state: &ApiState) -> Result<Vec<Sse>, HistoryError> {
        let mut out: Vec<(Place, &'static str, Value)> = vec![];
        let history = state.shared.history.history();
        let now = state.backend().state();
        let names = views::Names::of(state).await;
        for (id, (at, value)) in self.offers {
            drop(id);
            out.push((at, "offer", value));
        }
        let mut whose = BTreeMap::new();
        let mut queues = self.queues;
        let mut agents = self.agents;
        for (id, at) in self.conversations {
            let Some((c, contact)) = history.conversation(id).await? else { continue };
            // A conversation that moved changed the numbers where it was or is.
            queues.extend(c.queue.iter().map(|q| (q.clone(), at)));
            agents.extend(c.agent.iter().map(|a| (a.clone(), at)));
            out.push((at, "conversation", views::whole(&c, contact.as_ref(), &now, state).await));
            whose.insert(id, contact);
        }
        let mut messages = self.messages;
        for ((channel, thread), (at, up_to)) in self.confirmed {
            let Some(c) = history.thread_conversation(channel, thread).await? else { continue };
            let latest = history.messages(c.seq, None, CONFIRMED).await?.items;
            let ours = latest.into_iter().filter(|m| m.direction == Direction::Out && m.seq <= up_to);
            messages.extend(ours.map(|m| (m.id, at)));
        }
        for (id, at) in messages {
            let Some(m) = history.message(id).await? else { continue };
            let contact = whose.get(&m.conversation).and_then(Option::as_ref);
            let value =
                json!({ "conversation": m.conversation, "message": views::message(&m, contact, &names, state) });
            out.push((at, "message", value));
        }
        let pack = state.backend().pack(&now.pack).await.ok().flatten();
        for (id, at) in agents {
            let known = pack.as_deref().and_then(|p| p.agent(&id));
            out.push((at, "agent", views::agent(&id, known, now.agents.get(&id))));
        }
        for (id, at) in queues {
            let value = match now.queues.get(&id) {
                Some(q) => views::queue(&id, q, state.backend().now()),
                None => json!({ "id": id }),
            };
            out.push((at, "queue", value));
        }
        for (id, at) in self.channels {
            let value = match now.channels.get(&id) {
                Some(c) => views::channel(&id, c, state).await,
                None => json!({ "id": id }),
            };
            out.push((at, "channel", value));
        }
        out.extend(self.rules.map(|at| (at, "rules", json!({ "hash": now.pack }))));
        out.extend(self.held.map(|at| (at, "held", json!({}))));
        out.sort_by_key(|(at, name, _)| (*at, *name));
        // Only the last of what stands at one place carries the id: who is cut off before it gets all of them again.
        let next: Vec<Option<Place>> = out.iter().skip(1).map(|(at, ..)| Some(*at)).chain([None]).collect();
        let event = |((at, name, value), next): ((Place, &str, Value), Option<Place>)| {
            let event = Sse::default().event(name).data(value.to_string());
            if next == Some(at) { event } else { event.id(format!("{}.{}", at.0, at.1)) }
        };
        Ok(out.into_iter().zip(next).map(event).collect())
    }
}

//! The API's view of the daemon: commands through IN and the router, live numbers from its state.

use super::adapters::Adapters;
use super::trouble::{self, Troubles};
use crate::clock;
use crate::history::HistoryHandle;
use crate::http::api::{
    AgentView, Answer, Backend, ChannelView, QueueView, RawRecord, ReloadError, Retried, StateView, Unanswered,
    Undelivered,
};
use crate::http::chat::Wakes;
use crate::http::console::{self, Sessions};
use crate::inbound::{Again, Ingest, Speaker, blob_scope, reader};
use crate::log::{Log, LogError, Seq};
use crate::packs::{PackError, Packs, Staged};
use crate::router::{Codec, RouterHandle};
use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Opened};
use switchboard_envelope::{
    Action, Actor, Address, BlobRef, Command, Content, Inbound, MAX_EVENT_ID, Raw, Timestamp, event_id, numbered,
};
use switchboard_routing_rules::event::{Event, KeyHash};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::ConvStatus;
use switchboard_routing_rules::state::{InForce, Window};
use switchboard_routing_rules::waiting::{self, Waiting};
use switchboard_routing_rules::{RulePack, State};
use tokio::sync::{broadcast, watch};

/// How long a command may wait for its decision before the caller is told to come again: longer than another router takes to lead.
const ANSWER: Duration = Duration::from_secs(10);
/// A frame that the log has not taken for this long keeps nobody waiting.
const UNWRITTEN: Duration = Duration::from_secs(2);
/// How often history is asked for the answer to a command that may have been decided before; and to any other, for its frame can
/// have been one of those that this process folded instead of following.
const LOOK: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// Commands of which it is remembered that IN has them.
const TAKEN: usize = 1024;

pub struct Api {
    pub workspace: String,
    pub log: Arc<dyn Log>,
    pub ingest: Ingest,
    pub codec: Arc<Codec>,
    pub router: RouterHandle,
    pub history: HistoryHandle,
    pub packs: Arc<Packs>,
    pub adapters: BTreeMap<String, Arc<dyn Adapter>>,
    /// The adapters of other processes.
    pub elsewhere: Adapters,
    pub warnings: Warnings,
    pub serial: AtomicU64,
    /// Commands that were taken and are not decided, as far as this process knows: repeated, they are not refused as new.
    pub taken: Mutex<VecDeque<KeyHash>>,
    /// The sockets of the web chat, and where their typing is told.
    pub wakes: Arc<Wakes>,
    pub typing: broadcast::Sender<ConvId>,
    /// What reads a quarantined record again.
    pub again: Again,
    pub troubles: Troubles,
    /// Where people reach the console from outside.
    pub console_url: Option<String>,
    pub started: super::status::Started,
}

/// Warnings of packs that were staged here kept at most: a trial and what is reloaded meanwhile.
const WARNED: usize = 8;

/// What authors of packs should look at, by hash: what is staged is perhaps only tried, or not taken at all.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Vec<(String, Vec<String>)>>);

impl Warnings {
    fn keep(&self, hash: &str, warnings: Vec<String>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| of != hash);
        if kept.len() >= WARNED {
            kept.remove(0);
        }
        kept.push((hash.to_owned(), warnings));
    }

    fn of(&self, hash: &str) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, _)| of == hash).map(|(_, warnings)| warnings.clone()).unwrap_or_default()
    }
}

impl Api {
    fn staged(&self, staged: Result<Staged, PackError>) -> Result<String, ReloadError> {
        let (pack, warnings) = staged.map_err(unusable)?.map_err(ReloadError::Tests)?;
        self.warnings.keep(pack.hash(), warnings.iter().map(ToString::to_string).collect());
        Ok(pack.hash().to_owned())
    }

    fn current(&self) -> (Seq, Arc<State>) {
        self.router.state.latest()
    }

    /// Why nothing can be decided here, when that has been so for a while: a new command would only wait in IN, to be carried out
    /// when nobody thinks of it any more. One that IN has already may be asked for again.
    async fn unwritable(&self, command: KeyHash) -> Option<String> {
        let mut unwritten = self.router.unwritten.clone();
        if self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains(&command) {
            return None;
        }
        let why = unwritten.borrow().clone()?;
        let written = tokio::time::timeout(UNWRITTEN, unwritten.wait_for(Option::is_none)).await;
        written.is_err().then_some(why)
    }

    /// Ends when a command that was taken has waited long enough for its answer, with the reason.
    async fn without_answer(&self) -> String {
        tokio::select! {
            why = stays_unwritten(self.router.unwritten.clone()) => why,
            () = tokio::time::sleep(ANSWER) => format!("no router decided it within {ANSWER:?}"),
        }
    }

    fn took(&self, command: KeyHash) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.contains(&command) {
            taken.push_back(command);
        }
        while taken.len() > TAKEN {
            taken.pop_front();
        }
    }

    async fn earlier_answer(&self, key: KeyHash) -> Option<Answer> {
        let found = self.history.history().answered(key).await.ok()??;
        Some(Answer { reply: found.reply, seq: self.history.history().cursor() })
    }

    /// A record of IN as it was delivered: its envelope if it is one, its raw form, and its bytes.
    async fn held(&self, seq: Seq) -> Result<Option<Held>, LogError> {
        let Some(stored) = super::aside::find(self.log.as_ref(), seq).await? else { return Ok(None) };
        let inbound = Inbound::from_slice(&stored.data).ok().filter(|i| i.channel() == stored.channel);
        let (raw, scope) = match &inbound {
            Some(Inbound::Unparsed(u)) => (Some(u.raw.clone()), stored.channel.clone()),
            Some(Inbound::Message(m)) => (m.raw.clone(), blob_scope(&m.channel, &m.thread)),
            _ => (None, String::new()),
        };
        let Some(raw) = raw else {
            return Ok(Some(Held { channel: stored.channel, inbound, raw: record(), bytes: Some(stored.data) }));
        };
        let inline = raw.inline.as_ref().and_then(|i| base64::engine::general_purpose::STANDARD.decode(i).ok());
        let bytes = match (inline, &raw.blob) {
            (Some(bytes), _) => Some(Bytes::from(bytes)),
            (None, Some(blob)) => self.log.get_blob(&scope, blob).await?,
            (None, None) => None,
        };
        Ok(Some(Held { channel: stored.channel, inbound, raw, bytes }))
    }
}

/// Ends when the log has not taken the router's frame for a while, with the reason.
async fn stays_unwritten(mut unwritten: watch::Receiver<Option<String>>) -> String {
    loop {
        let Ok(why) = unwritten.wait_for(Option::is_some).await.map(|why| why.clone()) else {
            // The router ended; its answers tell.
            return std::future::pending().await;
        };
        if tokio::time::timeout(UNWRITTEN, unwritten.wait_for(Option::is_none)).await.is_err() {
            return why.unwrap_or_default();
        }
    }
}

/// A record of IN, with what was delivered.
struct Held {
    channel: String,
    /// `None`: it is no envelope, or one of another channel.
    inbound: Option<Inbound>,
    raw: Raw,
    /// `None`: nothing is kept any more.
    bytes: Option<Bytes>,
}

/// A record that is shown as it stands in IN.
fn record() -> Raw {
    Raw { content_type: "application/json".into(), blob: None, inline: None, meta: BTreeMap::new() }
}

impl Api {
    /// Reads a held record again, by whoever it is of, as it came `at` that time: where its provider names nothing by an id, what was
    /// read out of it before is known by the time. All of it is guarded: nobody knows why it is held.
    async fn reopen(&self, channel: String, raw: Raw, bytes: Bytes, at: Timestamp) -> Result<Opened, String> {
        let adapters = self.adapters.clone();
        let read = move || -> Result<Opened, String> {
            let all: Vec<Speaker<'_>> =
                adapters.iter().map(|(id, adapter)| (id.as_str(), adapter.as_ref() as _)).collect();
            let (taken_by, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(id, _)| *id == channel);
            let taken_by = taken_by.first().ok_or_else(|| unconfigured(&channel))?;
            let (_, adapter) = reader(&raw, &bytes, *taken_by, &others)?;
            Ok(adapter.reopen(&raw, bytes.clone(), at))
        };
        self.again.read(read).await.and_then(|opened| opened)
    }
}

#[async_trait]
impl Backend for Api {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn workspace(&self) -> String {
        self.workspace.clone()
    }

    async fn command(&self, command: Command) -> Result<Answer, Unanswered> {
        let key = self.command_key(&command.id);
        if let Some(why) = self.unwritable(key).await {
            return Err(Unanswered::Unwritable(why));
        }
        let mut answer = self.router.answers.expect(key);
        let ingested = self.ingest.one(Inbound::Command(Box::new(command))).await?;
        // A command that the log knew may have been answered before anybody waited: history tells then.
        let [soon, later] = LOOK;
        let look = if ingested == crate::log::Ingested::Duplicate { soon } else { later };
        let without = self.without_answer();
        tokio::pin!(without);
        loop {
            tokio::select! {
                biased;
                reply = &mut answer => {
                    let reply = reply.map_err(|_| LogError::Unavailable("the router is stopping".into()))?;
                    return Ok(Answer { reply, seq: self.current().0 });
                }
                why = &mut without => {
                    self.took(key);
                    return Err(Unanswered::Undecided(why));
                }
                () = tokio::time::sleep(look) => {
                    if let Some(answer) = self.earlier_answer(key).await {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    fn command_key(&self, id: &str) -> KeyHash {
        self.current().1.hash("input", &[id])
    }

    async fn waiting(&self, conversation: ConvId) -> Result<Option<Waiting>, LogError> {
        let (_, state) = self.current();
        let Some(pack) = self.pack(&state.pack).await? else { return Ok(None) };
        let tried = self.packs.tried(&self.log, &state).await?;
        Ok(waiting::why(&state, InForce { pack: &pack, tried: tried.as_deref() }, conversation))
    }

    fn state(&self) -> Arc<StateView> {
        let (seq, state) = self.current();
        let warnings = self.warnings.of(&state.pack);
        let mut view = view(seq, &state, self.packs.cached(&state.pack).as_deref(), warnings);
        for (id, channel) in &mut view.channels {
            channel.silent_since = self.elsewhere.silent_since(id, view.now);
            channel.unheard = self.elsewhere.unheard(id);
        }
        Arc::new(view)
    }

    async fn pack(&self, hash: &str) -> Result<Option<Arc<RulePack>>, LogError> {
        self.packs.by_hash(&self.log, hash).await
    }

    fn pack_warnings(&self, hash: &str) -> Vec<String> {
        self.warnings.of(hash)
    }

    async fn pack_on_disk(&self) -> Option<String> {
        self.packs.on_disk().await
    }

    async fn reload_pack(&self, force: bool) -> Result<String, ReloadError> {
        self.staged(self.packs.stage(&self.log, force).await)
    }

    async fn stage_pack(&self, files: Vec<(String, Vec<u8>)>, force: bool) -> Result<String, ReloadError> {
        self.staged(self.packs.stage_files(&self.log, files, force).await)
    }

    fn reaches(&self, channel: &str, to: &Address) -> Result<(), String> {
        self.adapters.get(channel).map_or(Ok(()), |adapter| adapter.reaches(to))
    }

    fn fits(&self, conversation: &str, content: &Content) -> Result<(), String> {
        let state = self.current().1;
        let known = ConvId::parse(conversation).and_then(|id| state.conversation(id));
        // What is not known here is the router's to say.
        let Some((c, p)) = known.and_then(|c| Some((c, c.private.as_ref()?))) else { return Ok(()) };
        let shown =
            state.channels.get(c.channel.as_str()).is_none_or(|channel| channel.profile.shows(&content.choices));
        // As it will leave: without buttons the choices are part of the text.
        let text = if shown { content.text.clone() } else { numbered(&content.text, &content.choices) };
        let content = Content { text, ..content.clone() };
        self.adapters.get(c.channel.as_str()).map_or(Ok(()), |adapter| adapter.fits(p.thread(), &content))
    }

    fn window(&self, conversation: ConvId) -> Option<Window> {
        let state = self.current().1;
        let c = state.conversation(conversation)?;
        Window::of(c, &state.channels.get(c.channel.as_str())?.profile, true)
    }

    fn undelivered(&self, conversation: ConvId) -> Option<Undelivered> {
        trouble::undelivered(&self.current().1, conversation, clock::now())
    }

    async fn sending_trouble(&self, channel: &str) -> Option<String> {
        let state = self.current().1;
        self.troubles.sending(&state, channel).await
    }

    fn receiving_trouble(&self, channel: &str) -> Option<String> {
        self.troubles.receiving(&self.current().1, channel)
    }

    fn console_url(&self) -> Option<String> {
        self.console_url.clone()
    }

    fn canonical(&self, channel: &str, to: Address) -> Address {
        match self.adapters.get(channel) {
            Some(adapter) => adapter.canonical(to),
            None => to,
        }
    }

    fn spelt(&self, identity: String) -> String {
        let Some((kind, value)) = identity.split_once(':') else { return identity };
        let of_kind = self.adapters.values().filter(|adapter| adapter.profile().address_kind == kind);
        let mut spelt = of_kind.map(|adapter| adapter.canonical(Address::new(kind, value)).identity());
        spelt.find(|spelt| *spelt != identity).unwrap_or(identity)
    }

    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        self.log.put_blob(&blob_scope(channel, thread), bytes).await
    }

    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        self.log.get_blob(&blob_scope(channel, thread), blob).await
    }

    async fn quarantined(&self, seq: Seq) -> Result<Option<RawRecord>, LogError> {
        let found = self.held(seq).await?;
        Ok(found.and_then(|h| Some(RawRecord { content_type: h.raw.content_type, bytes: h.bytes? })))
    }

    async fn retry_quarantined(&self, seq: Seq) -> Result<Retried, LogError> {
        if !self.current().1.quarantine.contains_key(&seq) {
            return Ok(Retried::StillHeld("it is not in the quarantine any more".into()));
        }
        let gone = || Retried::StillHeld("its bytes are not kept any more".into());
        let Some(held) = self.held(seq).await? else { return Ok(gone()) };
        if !self.adapters.contains_key(&held.channel) {
            return Ok(Retried::StillHeld(unconfigured(&held.channel)));
        }
        // What was understood, and refused only as it stood, is decided again; anything else is read by its adapter.
        let (id, at) = match &held.inbound {
            Some(Inbound::Unparsed(u)) if u.at != Timestamp::default() => (u.id.clone(), u.at),
            other => (other.as_ref().map(|i| i.id().to_owned()).unwrap_or_default(), clock::now()),
        };
        let (opened, bytes) = match (held.inbound, held.bytes) {
            (Some(Inbound::Unparsed(_)) | None, Some(bytes)) => {
                match self.reopen(held.channel, held.raw, bytes.clone(), at).await {
                    Ok(opened) => (opened, bytes),
                    Err(why) => return Ok(Retried::StillHeld(why)),
                }
            }
            (Some(Inbound::Unparsed(_)) | None, None) => return Ok(gone()),
            (Some(inbound), _) => (Opened { events: vec![again(inbound, seq)], files: vec![] }, Bytes::new()),
        };
        // What of a delivery still cannot be read keeps nothing back that can: it is held by itself from here on.
        let is_read = opened.events.iter().any(|e| !matches!(e, Inbound::Unparsed(_)));
        let unread = opened.events.iter().find_map(|e| match e {
            Inbound::Unparsed(u) if !is_read || u.id == id => Some(u.reason.clone()),
            _ => None,
        });
        if let Some(reason) = unread {
            return Ok(Retried::StillHeld(reason));
        }
        match self.ingest.opened(opened, &bytes).await {
            Ok(()) => Ok(Retried::Understood),
            Err(LogError::Refused(why)) => Ok(Retried::StillHeld(format!("the adapter's envelope is invalid: {why}"))),
            Err(error) => Err(error),
        }
    }

    async fn frames(&self, after: Seq, max: usize) -> Result<Vec<(Seq, Vec<Event>)>, LogError> {
        let mut frames = vec![];
        for stored in self.log.read_log(after, max).await? {
            let events = self.codec.decode(&stored).await.map_err(|e| LogError::Damaged(e.to_string()))?;
            frames.push((stored.seq, events));
        }
        Ok(frames)
    }

    fn measure(&self, channel: &str, text: &str) -> Option<switchboard_adapter_sdk::Measure> {
        self.adapters.get(channel)?.measure(text)
    }

    fn typing(&self) -> broadcast::Receiver<ConvId> {
        self.typing.subscribe()
    }

    fn agent_typing(&self, conversation: ConvId, agent: Option<&str>) {
        let state = self.current().1;
        let Some(c) = state.conversation(conversation) else { return };
        let pack = self.packs.cached(&state.pack);
        let name = agent.and_then(|id| pack.as_ref()?.agent(id)).map(|a| a.name.as_str());
        if let Some(p) = &c.private {
            self.wakes.agent_typing(&c.channel, p.thread(), name);
        }
    }

    async fn status(&self) -> Result<crate::http::api::Status, LogError> {
        super::status::status(self).await
    }

    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        self.log.log_bounds().await
    }
}

fn unusable(error: PackError) -> ReloadError {
    match error {
        PackError::Problems(unusable) => ReloadError::Pack(unusable.problems.iter().map(ToString::to_string).collect()),
        PackError::Log(error) => ReloadError::Log(error),
        error @ (PackError::Read { .. } | PackError::Empty { .. }) => ReloadError::Pack(vec![error.to_string()]),
    }
}

fn unconfigured(channel: &str) -> String {
    format!("channel `{channel}` is not in the configuration")
}

/// The same record under an id of its own: its first one is remembered as decided.
fn again(mut inbound: Inbound, seq: Seq) -> Inbound {
    let id = match &mut inbound {
        Inbound::Message(m) => &mut m.id,
        Inbound::Echo(e) => &mut e.id,
        Inbound::Receipt(r) => &mut r.id,
        Inbound::Consent(c) => &mut c.id,
        Inbound::Result(r) => &mut r.id,
        Inbound::Command(c) => &mut c.id,
        Inbound::Unparsed(u) => &mut u.id,
        Inbound::Refused(r) => &mut r.id,
    };
    let suffix = format!("{}{seq}", switchboard_routing_rules::decide::AGAIN);
    // An id as long as ids may be gives way at its end.
    let mut kept = MAX_EVENT_ID.saturating_sub(suffix.len()).min(id.len());
    while !id.is_char_boundary(kept) {
        kept -= 1;
    }
    id.truncate(kept);
    id.push_str(&suffix);
    inbound
}

fn view(seq: Seq, state: &State, pack: Option<&RulePack>, pack_warnings: Vec<String>) -> StateView {
    let mut queues: BTreeMap<String, QueueView> = BTreeMap::new();
    let mut agents: BTreeMap<String, AgentView> = BTreeMap::new();
    if let Some(pack) = pack {
        queues.extend(pack.queues().keys().map(|q| (q.clone(), QueueView::default())));
        agents.extend(pack.agents().keys().map(|a| (a.clone(), AgentView::default())));
    }
    for queue in state.queues_in_use() {
        let entry = queues.entry(queue.clone()).or_default();
        entry.depth = state.depth(queue) as u64;
        entry.oldest_since = state.oldest(queue);
    }
    for (queue, entry) in &mut queues {
        (entry.due, entry.in_time) = state.kept_today(queue);
    }
    for (name, a) in &state.agents {
        if let Some(entry) = agents.get_mut(name) {
            entry.presence = a.presence;
            entry.named.clone_from(&a.named);
            entry.load = a.load;
            entry.wrap_until = a.wrap_until;
        }
    }
    for (name, entry) in &mut agents {
        for c in state.borne_by(name).filter_map(|id| state.conversation(id)) {
            match c.status {
                ConvStatus::Offered => {
                    entry.offers += 1;
                    if let Some(queue) = c.queue.as_deref().and_then(|q| queues.get_mut(q)) {
                        queue.offered += 1;
                    }
                }
                _ => entry.conversations += 1,
            }
        }
    }
    let channels = state.channels.iter().filter(|(_, c)| !c.removed).map(|(id, c)| {
        let view = ChannelView {
            kind: c.profile.kind.clone(),
            failures: c.failures,
            paused: c.paused.clone(),
            probe_at: c.probe_at,
            silent_since: None,
            unheard: false,
        };
        (id.clone(), view)
    });
    StateView {
        seq,
        now: clock::now(),
        pack: state.pack.clone(),
        pack_warnings,
        queues,
        agents,
        channels: channels.collect(),
        packs: state.packs.clone(),
        canary: state.canary.clone(),
    }
}

/// How often closed consoles are looked at.
const CONSOLES: Duration = Duration::from_secs(5);

/// An agent whose last console closed becomes away, then offline.
pub async fn watch_consoles(api: Arc<Api>, sessions: Arc<Sessions>) {
    loop {
        tokio::time::sleep(CONSOLES).await;
        let state = api.current().1;
        let changes = sessions.presence_changes(|agent| {
            let presence = state.agents.get(agent).map(|a| a.presence).unwrap_or_default();
            console::Presence::from_word(presence.as_str())
        });
        for change in changes {
            let n = api.serial.fetch_add(1, Ordering::Relaxed);
            let command = Command {
                id: event_id("api", "command", &format!("console-{}-{}-{n}", change.agent, clock::now().0)),
                channel: "api".into(),
                at: clock::now(),
                actor: Actor { agent: None, token: None, scope: switchboard_envelope::Scope::Supervisor },
                action: Action::Presence { agent: change.agent.clone(), presence: change.to.as_str().to_owned() },
                body_hash: None,
                traceparent: None,
            };
            if let Err(error) = api.command(command).await {
                tracing::warn!(agent = %change.agent, %error, "a closed console could not change the agent's presence");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_envelope::{ConsentChange, ConsentState};

    #[test]
    fn the_warnings_of_a_pack_that_is_only_tried_are_not_those_of_the_one_in_force() {
        let warnings = Warnings::default();
        warnings.keep("in force", vec!["a rule never matches".into()]);
        for n in 0..3 {
            warnings.keep("tried", vec![format!("another {n}")]);
        }
        assert_eq!(warnings.of("in force"), ["a rule never matches"]);
        assert_eq!(warnings.of("tried"), ["another 2"], "and once it is in force they are");
        (0..WARNED).for_each(|n| warnings.keep(&n.to_string(), vec![]));
        assert_eq!(warnings.of("in force"), Vec::<String>::new());
    }

    #[test]
    fn what_is_decided_again_has_an_id_of_its_own_however_long_it_was() {
        for key in ["1".to_owned(), "ż".repeat(251)] {
            let inbound = Inbound::Consent(ConsentChange {
                id: format!("sms:consent:{key}"),
                channel: "sms".into(),
                address: Address::new("phone", "+15551230001"),
                state: ConsentState::OptedOut,
                at: Timestamp(1),
                reason: None,
                topic: None,
            });
            let again = again(inbound.clone(), 42);
            assert_ne!(again.id(), inbound.id());
            assert!(again.id().ends_with(":again-42"), "{}", again.id());
            assert_eq!(again.validate().map_err(|e| e.to_string()), Ok(()));
        }
    }
}

//! A thread store in memory behind the real routes: what the log and the history do for the chat, without them.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use switchboard::http::chat::{ChatBackend, ChatItem, ChatSetup, ChatState, Timing, Transcript, Wakes};
use switchboard::log::{Ingested, LogError};
use switchboard_envelope::{Action, BlobRef, Choice, Inbound, ReceiptStatus, Timestamp};
use switchboard_webchat::{TokenKey, Webchat, WebchatConfig};

#[derive(Default)]
pub struct Store {
    pub items: HashMap<(String, String), Vec<ChatItem>>,
    pub ids: HashSet<String>,
    /// Every record that was accepted, in order.
    pub ingested: Vec<Inbound>,
    pub files: HashMap<(String, String, String), Bytes>,
    pub queue: HashMap<String, u32>,
    pub seq: u64,
}

pub struct Fake {
    pub wakes: Arc<Wakes>,
    pub store: Mutex<Store>,
    /// Stores nothing, and says so.
    pub full: AtomicBool,
    pub typing: AtomicUsize,
}

impl Fake {
    pub fn new() -> Arc<Fake> {
        Arc::new(Fake {
            wakes: Wakes::new(),
            store: Mutex::default(),
            full: AtomicBool::new(false),
            typing: AtomicUsize::new(0),
        })
    }

    /// The daemon around this store. A second one over the same store is the daemon after a restart.
    pub fn daemon(self: &Arc<Self>, config: WebchatConfig, timing: Timing) -> ChatState {
        let settings = config.validate("site", &[]).expect("a valid configuration");
        ChatState::new(ChatSetup {
            backend: Arc::clone(self) as Arc<dyn ChatBackend>,
            wakes: Arc::clone(&self.wakes),
            channels: vec![Arc::new(Webchat::new(settings))],
            key: TokenKey::new(&[42; 32]),
            clock: Arc::new(now),
            timing,
        })
    }

    /// Our side says something.
    pub fn reply(&self, thread: &str, name: Option<&str>, text: &str, choices: &[(&str, &str)]) -> u64 {
        let choices =
            choices.iter().map(|(id, label)| Choice { id: (*id).into(), label: Some((*label).into()) }).collect();
        let seq = self.push("site", thread, |seq| ChatItem {
            seq,
            id: format!("out-{seq}"),
            from_visitor: false,
            author_name: name.map(str::to_owned),
            auto: name.is_none(),
            text: text.into(),
            attachments: vec![],
            choices,
            at: now(),
            client_id: None,
            status: Some(ReceiptStatus::Accepted),
        });
        self.wakes.grew("site", thread);
        seq
    }

    pub fn set_queue(&self, thread: &str, position: Option<u32>) {
        let mut store = self.store.lock().unwrap();
        match position {
            Some(p) => store.queue.insert(thread.into(), p),
            None => store.queue.remove(thread),
        };
        drop(store);
        self.wakes.grew("site", thread);
    }

    fn push(&self, channel: &str, thread: &str, item: impl FnOnce(u64) -> ChatItem) -> u64 {
        let mut store = self.store.lock().unwrap();
        // As positions in a log: ascending, not dense.
        store.seq += 4096 + store.seq % 7;
        let seq = store.seq;
        store.items.entry((channel.into(), thread.into())).or_default().push(item(seq));
        seq
    }

    /// The messages of visitors that were accepted, in order.
    pub fn heard(&self) -> Vec<String> {
        let store = self.store.lock().unwrap();
        let texts = store.ingested.iter().filter_map(|i| match i {
            Inbound::Message(m) => Some(m.content.text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// `(up_to, read)` of every confirmation.
    pub fn confirmed(&self) -> Vec<(u64, bool)> {
        let store = self.store.lock().unwrap();
        let confirmed = store.ingested.iter().filter_map(|i| match i {
            Inbound::Command(c) => match c.action {
                Action::Confirmed { up_to, read, .. } => Some((up_to, read)),
                _ => None,
            },
            _ => None,
        });
        confirmed.collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the fake daemon's one clock")]
pub fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[async_trait]
impl ChatBackend for Fake {
    async fn ingest(&self, inbound: Inbound) -> Result<Ingested, LogError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(LogError::Full("no room".into()));
        }
        inbound.validate().map_err(|e| LogError::Refused(e.to_string()))?;
        {
            let mut store = self.store.lock().unwrap();
            if !store.ids.insert(inbound.id().to_owned()) {
                return Ok(Ingested::Duplicate);
            }
            store.ingested.push(inbound.clone());
        }
        match inbound {
            Inbound::Message(m) => {
                let (channel, thread) = (m.channel.clone(), m.thread.clone());
                self.push(&channel, &thread, |seq| ChatItem {
                    seq,
                    id: m.id.clone(),
                    from_visitor: true,
                    author_name: m.from.name.clone(),
                    auto: false,
                    text: m.content.text.clone(),
                    attachments: m.content.attachments.clone(),
                    choices: vec![],
                    at: m.received_at,
                    client_id: m.provider_id.clone(),
                    status: None,
                });
                self.wakes.grew(&channel, &thread);
            }
            Inbound::Command(c) => {
                if let Action::Confirmed { target, thread, up_to, read } = c.action {
                    let status = if read { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
                    let mut store = self.store.lock().unwrap();
                    let items = store.items.entry((target, thread)).or_default();
                    items
                        .iter_mut()
                        .filter(|i| !i.from_visitor && i.seq <= up_to)
                        .for_each(|i| i.status = Some(status));
                }
            }
            other => panic!("a chat ingests messages and confirmations, not {other:?}"),
        }
        Ok(Ingested::Stored(self.store.lock().unwrap().seq))
    }

    async fn transcript(&self, channel: &str, thread: &str, after: u64, max: usize) -> Result<Transcript, LogError> {
        let store = self.store.lock().unwrap();
        let none = vec![];
        let items = store.items.get(&(channel.into(), thread.into())).unwrap_or(&none);
        let reset = after > store.seq;
        let after = if reset { 0 } else { after };
        Ok(Transcript {
            messages: items.iter().filter(|i| i.seq > after).take(max).cloned().collect(),
            last_seq: items.last().map_or(0, |i| i.seq),
            reset,
            conversation: (!items.is_empty()).then(|| "c1".into()),
            queue_position: store.queue.get(thread).copied(),
        })
    }

    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let blob = format!("blob:sha256:{hex}");
        self.store.lock().unwrap().files.insert((channel.into(), thread.into(), blob.clone()), bytes);
        Ok(BlobRef(blob))
    }

    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let key = (channel.into(), thread.into(), blob.0.clone());
        Ok(self.store.lock().unwrap().files.get(&key).cloned())
    }

    fn visitor_typing(&self, _channel: &str, _thread: &str) {
        self.typing.fetch_add(1, Ordering::SeqCst);
    }
}

//! From a configuration to a running daemon, and back.

use super::adapters::Adapters;
use super::channels::{self, Running};
use super::retention::Keeper;
use super::role::Role;
use super::supervisor::Supervisor;
use super::timekeeper::watch_clock;
use super::trouble::Troubles;
use super::waiting::Waiting;
use super::{api, chat, health, listener, open_log, tokens};
use crate::cli::banner::{Banner, ChannelLine, banner};
use crate::clock;
use crate::config::{Config, Signatures};
use crate::history::{Before, Earlier, HistoryHandle, HistoryWriter, keep_within, spawn_projection_after};
use crate::http::api::{ApiState, FileLinks, Limits as ApiLimits};
use crate::http::body::Room;
use crate::http::chat::{ChatSetup, ChatState, Timing, Wakes};
use crate::http::console::{ConsoleState, Identity, Kept, Sessions};
use crate::http::media::Links;
use crate::inbound::{
    Again, Fetcher, FileChannel, FileSource, Handover, Hook, HookState, Ingest, Mailbox, Mailboxes, Mended, Poller,
    Polls,
};
use crate::log::{Log, LogError, Stored, Told};
use crate::metrics::Metrics;
use crate::outbound::{Account, Budget, Caller, Lane, Limits, Unfinished};
use crate::packs::{self, Packs};
use crate::router::{Codec, Member, Seat, View, is_as_read, request_rebase, snapshot_of};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::Client;
use switchboard_envelope::Scope;
use switchboard_routing_rules::decide::PAUSED_BY_OPERATOR;
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::Limits as StateLimits;
use switchboard_routing_rules::{Event, RulePack};
use switchboard_webchat::TokenKey;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Who answers in the quickstart.
const QUICKSTART_AGENT: &str = "you";

/// Seals the links to our files.
const MEDIA_KEY: &str = "media";

/// Signs what mails of ours carry.
const MAIL_KEY: &str = "mail";

/// Why the daemon could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] crate::log::sqlite::OpenError),
    #[error(transparent)]
    Broker(#[from] crate::log::nats::OpenError),
    #[error("{0}")]
    Channels(String),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
    #[error(transparent)]
    Router(#[from] crate::router::Stop),
    #[error(
        "`{what}` cannot listen on {address}: {source}: another Switchboard may be running there; stop it, or change `{what}`"
    )]
    Listen { what: &'static str, address: std::net::SocketAddr, source: std::io::Error },
    #[error(
        "`--role {0}` needs a log that several processes share: set `backend = \"nats\"` under [log], or leave `--role` out"
    )]
    Role(&'static str),
    #[error("{0}")]
    Other(String),
}

/// What must not be dropped may take so long after everything else stopped.
const FINISH: Duration = Duration::from_secs(90);

/// Runs until a signal asks it to stop, or until it cannot go on.
///
/// # Errors
/// With a sentence that says what to mend.
pub async fn run(config: Config, role: Role) -> Result<(), StartError> {
    let unfinished = Unfinished::default();
    let ended = serve(config, role, &unfinished).await;
    finish(&unfinished).await;
    ended
}

/// Waits for what would be lost in the middle, however the daemon came to its end.
async fn finish(unfinished: &Unfinished) {
    if !unfinished.is_any() {
        return;
    }
    tracing::info!("a token is being renewed; the process ends once the new one is stored");
    Supervisor::of_process().stopping(FINISH);
    let lost = "a channel's new token was not stored: if the channel pauses, authorize the app again";
    tokio::select! {
        () = unfinished.end() => tracing::info!("the new token is stored"),
        () = signal() => tracing::error!("stopped at once; {lost}"),
        () = tokio::time::sleep(FINISH) => tracing::error!("{lost}"),
    }
}

async fn serve(config: Config, role: Role, unfinished: &Unfinished) -> Result<(), StartError> {
    if role != Role::All && config.log.nats.is_none() {
        return Err(StartError::Role(role.name()));
    }
    let started = super::status::Started::with(&config, role);
    let process = crate::outbound::process_name();
    let supervisor = Supervisor::of_process();
    let waiting = if role == Role::Edge { Some(Waiting::begin(&config, &supervisor).await?) } else { None };
    let mut opened = open_log::open(&config, &process, role).await?;
    let log = opened.log.clone();
    if let Some(why) = super::migrate::hinders(log.as_ref()).await.map_err(|e| StartError::Other(e.to_string()))? {
        return Err(StartError::Other(why));
    }
    let writer = HistoryWriter::open(config.log.path.join("history.db"))?;
    let told = writer.told();
    whole(log.as_ref(), told).await?;
    // What mails of ours carry is signed with it, so that answers find their way after a restart, at any process.
    let mail_key = log.put_key(MAIL_KEY, fresh()?).await?;
    let running = channels::build(&config, &mail_key).map_err(|p| StartError::Channels(p.join("\n")))?;
    let tokens = Arc::new(tokens::all(&config).map_err(|e| StartError::Other(format!("admin.token: {e}")))?);
    let workspace_key = log.put_key("workspace", fresh()?).await?;
    let chat_key = log.put_key("chat", fresh()?).await?;
    // Also where this process serves no files: an edge waits for a router to make it.
    let files = FileLinks::new(&log.put_key(MEDIA_KEY, fresh()?).await?);
    if let Some(waiting) = waiting {
        waiting.over().await;
    }
    let listeners = listener::bind(&config, role).await?;
    let handovers = bind_handovers(&running, role).await?;

    let metrics = Arc::new(Metrics::default());
    let mut salt = [0; 16];
    salt.copy_from_slice(workspace_key.split_at(16).0);
    let codec = Arc::new(Codec::new(log.clone()).writing(config.log.format));
    let packs = Arc::new(Packs::new(packs::Source::of(config.rules.clone()), packs::environment(&config)));

    let (stop_history, stopping_history) = watch::channel(false);
    let decoder = codec.clone();
    let decode = move |stored| {
        let codec = decoder.clone();
        async move { codec.decode(&stored).await.map_err(|e| LogError::Damaged(e.to_string())) }
    };
    let decode_file = decode.clone();
    let limits = limits(&config);
    let before = before_log(log.clone(), limits);
    let (history, history_task) = spawn_projection_after(before, log.clone(), writer, decode, stopping_history);

    let profiles = running.iter().map(|r| (r.id.clone(), r.profile.clone())).collect();
    let feed_history = history.clone();
    let feed = Box::new(move |seq, id, events| feed_history.feed(seq, id, events));
    let may_lead = role.routes();
    let seat = Seat { channels: profiles, salt: Salt(salt), limits, process: process.clone(), feed, may_lead, told };
    let (router, handle) = Member::enter(log.clone(), codec.clone(), packs.clone(), metrics.clone(), seat).await?;
    // Frames of history that were replaced since by those of a rebase.
    if handle.state.latest().1.rebased.is_some_and(|r| r.frame <= told.frame && r.number > told.rebase) {
        history.renew();
    }

    let (adapters, listening) = Adapters::watch(log.as_ref(), &running, role.serves()).await?;
    let (stop_edges, stopping) = watch::channel(false);
    let (stop_router, stopping_router) = watch::channel(false);
    let ingest = Ingest { log: log.clone(), metrics: metrics.clone() };
    let clients = clients(&running, &log, unfinished)?;
    let links = links(&config, log.as_ref()).await?;
    let clock_wrong = watch_clock(log.clone()).await;
    let mut edges = vec![];
    let troubles = Troubles { history: history.clone(), mailboxes: Mailboxes::default(), polls: Polls::default() };
    if role.serves() {
        edges = spawn_edges(
            &running,
            &clients,
            &ingest,
            &process,
            links.as_ref(),
            &Arc::new(Links::of_desk(files.clone(), config.admin.public_url.as_deref())),
            &clock_wrong,
            &troubles.polls,
            &stopping,
        );
        edges.extend(spawn_mailboxes(&running, &ingest, &troubles.mailboxes, &stopping));
        edges.extend(spawn_mended(&running, &ingest, &handle.state, &stopping));
        edges
            .extend(handovers.into_iter().map(|h| crate::inbound::spawn_handover(h, ingest.clone(), stopping.clone())));
        let served = running.iter().filter(|r| !r.profile.external).map(|r| r.id.clone()).collect();
        edges.push(tokio::spawn(super::adapters::beat(log.clone(), served, stopping.clone())));
        edges.push(spawn_files(&running, &clients, &ingest, &history, decode_file, &stopping));
    }
    let mut router_task = tokio::spawn(router.run(stopping_router));

    let wakes = Wakes::new();
    let typing = tokio::sync::broadcast::Sender::new(256);
    let chats = Arc::new(chat::Chat {
        ingest: ingest.clone(),
        history: history.clone(),
        state: handle.state.clone(),
        packs: packs.clone(),
        typing: typing.clone(),
    });
    let visitors = chats.clone();
    let chat_state = ChatState::new(ChatSetup {
        backend: chats,
        wakes: wakes.clone(),
        channels: running.iter().filter_map(|r| r.chat.clone()).collect(),
        key: TokenKey::new(&chat_key),
        clock: Arc::new(clock::now),
        timing: Timing::default(),
    });
    metrics.extend(|registry| chat_state.register(registry));
    // Without a channel that pushes, nobody waits for this.
    let pushes = role.serves() && running.iter().any(|r| r.profile.push);
    let wake = pushes.then(|| chat::wake(history.clone(), handle.state.clone(), wakes.clone()));
    let waker = tokio::spawn(async move {
        if let Some(wake) = wake {
            wake.await;
        }
    });

    let hooks = Arc::new(HookState {
        hooks: hooks(&config, &running),
        ingest: ingest.clone(),
        max_body: config.http.max_body,
        read_timeout: config.http.read_timeout,
        room: Room::for_bodies_of(config.http.max_body),
        typing: Box::new(move |channel, thread| visitors.writes(channel, thread)),
    });
    let mut public_routes = crate::inbound::routes(hooks)
        .merge(crate::http::chat::routes(chat_state.clone()))
        .merge(crate::http::front::routes());
    if let Some(links) = links {
        public_routes = public_routes.merge(crate::http::media::routes(links, log.clone()));
    }
    let kept = Kept::new(&config.log.path, tokens.fingerprints());
    let sessions = Arc::new(Sessions::restored(Arc::new(clock::now), false, kept));
    let check = tokens.clone();
    let console = ConsoleState {
        sessions: sessions.clone(),
        tokens: Arc::new(move |presented| check.check(presented)),
        workspace: config.workspace.clone(),
    };
    let welcome_packs = packs.clone();
    let backend = Arc::new(api::Api {
        workspace: config.workspace.clone(),
        log: log.clone(),
        ingest: ingest.clone(),
        codec,
        router: handle.clone(),
        history: history.clone(),
        packs,
        adapters: running.iter().map(|r| (r.id.clone(), r.adapter.clone())).collect(),
        warnings: Default::default(),
        serial: Default::default(),
        taken: Default::default(),
        wakes,
        typing,
        elsewhere: adapters.clone(),
        again: Again::default(),
        troubles: troubles.clone(),
        console_url: config.admin.public_url.clone(),
        started,
    });
    let api_limits = ApiLimits { read_timeout: config.http.read_timeout, ..ApiLimits::default() };
    let api_state = ApiState::new(
        backend.clone(),
        history.clone(),
        tokens,
        Some(sessions.clone()),
        files,
        api_limits,
        stopping.clone(),
    );
    let hangups = super::reload::listen().map_err(|e| StartError::Other(format!("SIGHUP: {e}")))?;
    let reloads = tokio::spawn(super::reload::on_hangup(hangups, backend.clone()));
    let presence = tokio::spawn(api::watch_consoles(backend, sessions.clone()));
    let keeper = Keeper {
        log: log.clone(),
        state: handle.state.clone(),
        standing: handle.standing.clone(),
        history: history.clone(),
        metrics: metrics.clone(),
        retention: config.retention.clone(),
    };
    let keeper = tokio::spawn(keeper.run(stopping.clone()));
    let trims = tokio::spawn(keep_within(history.clone(), config.retention.messages));
    let health = health::Health {
        probe: health::Probe::of(log.clone()),
        metrics: metrics.clone(),
        history: history.clone(),
        router: handle.clone(),
        may_lead: role.routes(),
        draining: stopping.clone(),
        clock_wrong: clock_wrong.clone(),
        adapters,
        troubles,
    };
    let admin_routes =
        health::routes(health).merge(crate::http::console::routes(console)).merge(crate::http::api::routes(api_state));
    let servers = listeners.serve(&config, public_routes, admin_routes, &stopping)?;
    let in_force = welcome_packs.cached(&handle.state.latest().1.pack);
    for (token, agent) in in_force.iter().flat_map(|pack| packs::unknown_agents(&config, pack)) {
        tracing::warn!(token, agent, "a token speaks for an agent whom the rule pack in force does not have");
    }
    welcome(&config, role, &sessions, log.as_ref(), in_force.as_deref());
    let does = if role.serves() { format!("served on {}", config.http.listen) } else { "routed".to_owned() };
    supervisor.ready(&format!("workspace {} is {does}", config.workspace));
    let watchdog = supervisor.watch();

    // Running: until a signal, or until something that the daemon cannot do without ends.
    tokio::select! {
        () = signal() => {}
        why = gone(&mut opened.fatal) => return Err(StartError::Other(why)),
        ended = &mut router_task => {
            let why = match ended { Ok(Ok(())) => "it ended".into(), Ok(Err(e)) => e.to_string(), Err(e) => e.to_string() };
            return Err(StartError::Other(format!("the router stopped: {why}")));
        }
    }
    tracing::info!(drain = ?config.shutdown.drain, "stopping: nothing new is accepted; a second signal ends at once");
    supervisor.stopping(config.shutdown.drain);
    stop_edges.send_replace(true);
    chat_state.drain();
    let drain = async {
        for server in servers {
            let _ = server.await;
        }
        for edge in edges {
            let _ = edge.await;
        }
        stop_router.send_replace(true);
        let _ = (&mut router_task).await;
        stop_history.send_replace(true);
        let _ = history_task.await;
    };
    tokio::select! {
        () = drain => tracing::info!("stopped"),
        () = signal() => tracing::warn!("stopped at once; what was in hand is found again at the next start"),
        () = tokio::time::sleep(config.shutdown.drain) => {
            tracing::warn!("the drain took too long; what was in hand is found again at the next start");
        }
    }
    watchdog.inspect(JoinHandle::abort);
    listening.inspect(JoinHandle::abort);
    waker.abort();
    keeper.abort();
    trims.abort();
    presence.abort();
    reloads.abort();
    Ok(())
}

/// What history is told of the time before LOG begins.
fn before_log(log: Arc<dyn Log>, limits: StateLimits) -> Before {
    Box::new(move || {
        let log = log.clone();
        Box::pin(async move {
            let Some((of, state)) = snapshot_of(&log, limits).await? else { return Ok(None) };
            let held = super::aside::described(log.as_ref(), state.quarantine.keys()).await?;
            Ok(Some(Earlier { of, state, held }))
        })
    })
}

pub(super) fn limits(config: &Config) -> StateLimits {
    let duplicates = usize::try_from(config.limits.duplicates).unwrap_or(usize::MAX);
    StateLimits { duplicates, ..StateLimits::default() }
}

/// Refuses a log that was lost as a whole, which is a mistake more often than not. One that only is behind what was made of it is
/// an older copy: a router goes on from it, and says so; that it must is written down before history forgets what it knows.
async fn whole(log: &dyn Log, told: Told) -> Result<(), StartError> {
    let (_, last) = log.log_bounds().await?;
    let snapshot = log.snapshot_seqs().await?.first().copied().unwrap_or(0);
    let seen = told.frame.max(snapshot);
    if last >= seen && is_as_read(log, last, told).await? {
        return Ok(());
    }
    if last == 0 {
        return Err(StartError::Other(format!(
            "the log is empty, but frame {seen} was seen before: the log was lost. Put the log that belongs here back; or, to \
             begin anew without what it held, move the data directory away"
        )));
    }
    let why = format!("LOG ends at frame {last}, and another frame {seen} was read before");
    tracing::error!(last, seen, "the log is an older copy of what this process read; a router has to rebase it");
    request_rebase(log, told.rebase, &why).await?;
    Ok(())
}

/// Says on standard output what runs and what to open next.
fn welcome(config: &Config, role: Role, sessions: &Arc<Sessions>, log: &dyn Log, pack: Option<&RulePack>) {
    let admin = format!("http://{}", config.admin.listen);
    // Its pack may be another, by the environment.
    let known = |agent: &&str| pack.is_some_and(|p| p.agent(agent).is_some());
    let agent = Some(QUICKSTART_AGENT).filter(|_| config.is_quickstart()).filter(known).map(str::to_owned);
    if let Some(agent) = &agent {
        sessions.expect_console(agent);
    }
    let operator = Identity { token: "console".into(), agent: agent.clone(), scopes: vec![Scope::Admin] };
    let login = match sessions.create_login(operator) {
        Ok(code) => format!("{admin}/console#login={code}"),
        Err(_) => format!("{admin}/console"),
    };
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let here = format!("{scheme}://{}", config.http.listen);
    let chat_base = config.http.public_url.as_ref().unwrap_or(&here);
    let is_chat = |kind: &crate::config::ChannelKind| matches!(kind, crate::config::ChannelKind::Webchat(_));
    let channels = config.enabled_channels().map(|(id, c)| ChannelLine {
        id: id.clone(),
        kind: c.kind.name(),
        // The public address may not lead here yet; this one does.
        here: (is_chat(&c.kind) && *chat_base != here).then(|| format!("{here}/chat/{id}")),
        url: match &c.kind {
            crate::config::ChannelKind::Webchat(_) => Some(format!("{chat_base}/chat/{id}")),
            crate::config::ChannelKind::Declared(_)
            | crate::config::ChannelKind::Facebook(_)
            | crate::config::ChannelKind::Sms(_)
            | crate::config::ChannelKind::Webhook(_) => config.hook_url(id),
            crate::config::ChannelKind::External(_) | crate::config::ChannelKind::Email(_) => None,
        },
    });
    let durability = log.durability();
    let text = banner(&Banner {
        source: &config.source,
        workspace: &config.workspace,
        public: role.serves().then_some(config.http.listen),
        admin: config.admin.listen,
        durability: &durability,
        channels: channels.collect(),
        login: Some(&login),
        agent: agent.as_deref(),
        pack_hash: pack.map(RulePack::hash).unwrap_or_default(),
        rules: pack.map_or(0, |p| p.rules().count()),
        queues: pack.map_or(0, |p| p.queues().len()),
        agents: pack.map_or(0, |p| p.agents().len()),
    });
    // A closed standard output is no reason to stop.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    let _ = std::io::Write::flush(&mut std::io::stdout());
}

/// How providers reach our files, if they can.
async fn links(config: &Config, log: &dyn Log) -> Result<Option<Arc<Links>>, StartError> {
    let Some(public_url) = &config.http.public_url else { return Ok(None) };
    let key = log.put_key(MEDIA_KEY, fresh()?).await?;
    Ok(Some(Arc::new(Links::new(&key, public_url))))
}

fn fresh() -> Result<[u8; 32], StartError> {
    crate::log::seal::fresh_key().map_err(|e| StartError::Other(e.to_string()))
}

fn hooks(config: &Config, running: &[Running]) -> BTreeMap<String, Hook> {
    running
        .iter()
        .filter(|r| r.chat.is_none() && r.mail.is_none() && !r.profile.external && !r.profile.desk)
        .map(|r| {
            let hook = Hook {
                adapter: r.adapter.clone(),
                report_only: r.config.signatures == Signatures::Report,
                public_url: config.hook_url(&r.id),
            };
            (r.id.clone(), hook)
        })
        .collect()
}

/// Who makes a channel's calls, and fetches its files.
struct Calls {
    caller: Arc<dyn Caller>,
    files: Arc<dyn FileSource>,
}

impl Calls {
    fn of<C: Caller + FileSource>(client: C) -> Calls {
        let client = Arc::new(client);
        Calls { caller: client.clone(), files: client }
    }
}

/// The HTTP client of each channel that calls a provider; one behind a proxy has its own.
fn clients(
    running: &[Running],
    log: &Arc<dyn Log>,
    unfinished: &Unfinished,
) -> Result<BTreeMap<String, Calls>, StartError> {
    let shared = Client::new().map_err(|e| StartError::Other(format!("the HTTP client: {e}")))?;
    let mut clients = BTreeMap::new();
    for r in running.iter().filter(|r| !r.profile.push) {
        let client = match &r.config.proxy {
            Some(proxy) => Client::with_proxy(proxy.expose())
                .map_err(|e| StartError::Channels(format!("channel `{}`: proxy: {e}", r.id)))?,
            None => shared.clone(),
        };
        let calls = match r.adapter.memory() {
            Some(_) => Calls::of(Account::new(&r.id, r.adapter.clone(), client, log.clone(), unfinished)),
            None => Calls::of(client),
        };
        clients.insert(r.id.clone(), calls);
    }
    Ok(clients)
}

#[expect(clippy::too_many_arguments, reason = "one for each thing that an edge needs")]
fn spawn_edges(
    running: &[Running],
    clients: &BTreeMap<String, Calls>,
    ingest: &Ingest,
    process: &str,
    links: Option<&Arc<Links>>,
    desk_links: &Arc<Links>,
    clock_wrong: &watch::Receiver<Option<String>>,
    polls: &Polls,
    stopping: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![];
    // The adapter of another process claims and sends by itself.
    for (r, calls) in running.iter().filter(|r| !r.profile.external).filter_map(|r| Some((r, clients.get(&r.id)?))) {
        let client = calls.caller.clone();
        let lane = Lane {
            channel: r.id.clone(),
            adapter: r.adapter.clone(),
            log: ingest.log.clone(),
            client: client.clone(),
            transport: r.mail.as_ref().and_then(|mail| mail.transport()),
            limits: r.config.rate.as_ref().map(|rate| limits_of(rate, &r.id, &ingest.log)),
            send_timeout: Duration::from_millis(u64::try_from(r.profile.send_timeout_ms).unwrap_or(20_000)),
            metrics: ingest.metrics.clone(),
            parallel: r.profile.in_flight as usize,
            process: process.to_owned(),
            links: if r.profile.desk { Some(desk_links.clone()) } else { links.cloned() },
            clock_wrong: clock_wrong.clone(),
            made: Default::default(),
        };
        tasks.push(crate::outbound::spawn(lane, stopping.clone()));
        if let Some(every) = r.config.poll.filter(|_| r.mail.is_none()) {
            let (channel, adapter) = (r.id.clone(), r.adapter.clone());
            let poller = Poller { channel, adapter, client, ingest: ingest.clone(), every, polls: polls.clone() };
            tasks.push(crate::inbound::spawn(poller, stopping.clone()));
        }
    }
    tasks
}

/// A channel's rate: this process's own where nobody else sends, else one that all edges share.
fn limits_of(rate: &crate::config::Rate, channel: &str, log: &Arc<dyn Log>) -> Limits {
    if log.exclusive() {
        return Limits::Own(rate.limiter());
    }
    Limits::Shared(Budget::new(log.clone(), channel, rate.count.get(), rate.per))
}

/// Where mail servers of ours hand over mail: a port in use is said at once.
async fn bind_handovers(running: &[Running], role: Role) -> Result<Vec<Handover>, StartError> {
    let mut bound = vec![];
    for (id, email, delivery) in running.iter().filter(|_| role.serves()).filter_map(|r| {
        let email = r.mail.clone()?;
        let delivery = email.config().delivery.clone()?;
        Some((r.id.clone(), email, delivery))
    }) {
        let address = delivery.listen;
        let listener = tokio::net::TcpListener::bind(address).await.map_err(|source| StartError::Listen {
            what: "delivery.listen",
            address,
            source,
        })?;
        bound.push(Handover { channel: id, email, delivery, listener });
    }
    Ok(bound)
}

/// The tasks that read mailboxes.
fn spawn_mailboxes(
    running: &[Running],
    ingest: &Ingest,
    mailboxes: &Mailboxes,
    stopping: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let mailbox = |r: &Running| {
        let email = r.mail.clone()?;
        let imap = email.config().imap.clone()?;
        let (channel, every) = (r.id.clone(), r.config.poll);
        let mailbox = Mailbox { channel, email, imap, ingest: ingest.clone(), every, mailboxes: mailboxes.clone() };
        Some(crate::inbound::spawn_mailbox(mailbox, stopping.clone()))
    };
    running.iter().filter_map(mailbox).collect()
}

/// The tasks that look at files of credentials, where a channel has some.
fn spawn_mended(
    running: &[Running],
    ingest: &Ingest,
    state: &View,
    stopping: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let mended = |r: &Running| {
        let (channel, files, state) = (r.id.clone(), r.adapter.credential_files(), state.clone());
        let paused = move |channel: &str| state.recent().1.channels.get(channel).and_then(|c| c.paused.clone());
        let of = channel.clone();
        let refused = Box::new(move || paused(&of).is_some_and(|why| why != PAUSED_BY_OPERATOR));
        let mended = Mended { channel, files, ingest: ingest.clone(), refused };
        (!mended.files.is_empty()).then(|| crate::inbound::spawn_mended(mended, stopping.clone()))
    };
    running.iter().filter_map(mended).collect()
}

/// The task that fetches what providers keep of messages.
fn spawn_files<F>(
    running: &[Running],
    clients: &BTreeMap<String, Calls>,
    ingest: &Ingest,
    history: &HistoryHandle,
    decode: impl Fn(Stored) -> F + Send + Sync + 'static,
    stopping: &watch::Receiver<bool>,
) -> JoinHandle<()>
where
    F: Future<Output = Result<Vec<Event>, LogError>> + Send + 'static,
{
    let channel = |r: &Running| {
        let source = clients.get(&r.id)?.files.clone();
        Some((r.id.clone(), FileChannel { adapter: r.adapter.clone(), source }))
    };
    let fetcher = Fetcher {
        channels: running.iter().filter_map(channel).collect(),
        ingest: ingest.clone(),
        history: history.clone(),
        decode: Box::new(move |stored| Box::pin(decode(stored))),
    };
    crate::inbound::spawn_files(fetcher, stopping.clone())
}

/// The log stopped: nothing can be accepted any more.
async fn gone(fatal: &mut watch::Receiver<Option<String>>) -> String {
    let why = fatal.wait_for(Option::is_some).await.ok().and_then(|w| w.clone());
    why.unwrap_or_else(|| "the log stopped".into())
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

//! A day at a shop: customers write on every channel at once, rules and an agent answer them, and everything goes wrong that can:
//! providers repeat, reorder and forge deliveries, tell what became of a text before they answer for it, lose answers, cut connections,
//! refuse, and ask for patience, change their secrets, ask whether the address is still ours, and refuse our credentials until an operator
//! resumes the channel; somebody on each leaves, and a mail comes back; mail servers and a real Kannel die, and so does the daemon. Afterwards the promises hold, by what customers were told, what the daemon says and what each provider counted.
//!
//! `DAY_SEED` repeats a run as far as the machine's timing allows; `DAY_ROUNDS` is how often each customer writes.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{has_an_owner_and_a_clock, number, settled, transcripts};
use switchboard_e2e::ways::{
    Chat, DESCRIBED, FASTER, Gateway, Kannel, Line, Mail, Meta, NEXT_SECRET, NewerVonage, OFFERED, PICTURED, Product,
    Signed, Telegram, Texts, Vonage, Way, Webhooks, X,
};
use switchboard_e2e::{
    Answer, Api, Backend, Daemon, Dialect, Dice, Dovecot, Gateway as RealKannel, GatewaySim, MetaConfig, MetaSim,
    Postfix, Provider, Shop, SmppCentre, TelegramSim, VonageConfig, VonageSim, WebhookSim, XConfig, XSim,
    eventually_within, free_port, message, on_every_backend,
};

const CUSTOMERS: u64 = 3;
/// One more on each channel, who leaves.
const LEAVER: u64 = CUSTOMERS;
/// And one who writes where the daemon has not heard yet that its credentials are refused.
const LAST: u64 = CUSTOMERS + 1;
/// Long enough for whatever died to come back.
const LONG: Duration = Duration::from_secs(60);
const PATH_SECRET: &str = "a-secret-of-the-path-0123456789";
const HOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const NEXT_HOOK_SECRET: &str = "whsec_NzY1NDMyMTBmZWRjYmE5ODc2NTQzMjEw";

on_every_backend! {
    customers_on_all_channels_at_once_are_each_answered_once_whatever_fails,
}

/// The shop and every way to it.
async fn open(backend: &Backend) -> (Arc<Shop>, Vec<Arc<dyn Way>>, Arc<Mail>, Arc<Kannel>) {
    let public_port = free_port();
    let centre = SmppCentre::start().await.expect("a port for the centre behind Kannel");
    let real = RealKannel::new(Kannel::CHANNEL, public_port, Some(centre.port()));
    let provider = Provider::start().await;
    let vonage = VonageSim::start(VonageConfig::default()).await.expect("a port for Vonage");
    let newer = VonageSim::start(VonageConfig::default()).await.expect("a port for Vonage's newer API");
    let jasmin = GatewaySim::start(Dialect::Jasmin).await.expect("a port for Jasmin");
    let gateway = GatewaySim::start(Dialect::Json).await.expect("a port for a gateway");
    let meta = Arc::new(MetaSim::start(MetaConfig::default()).await.expect("a port for Meta"));
    let x = XSim::start(XConfig { direct_limit: 1_000_000, ..XConfig::default() }).await.expect("a port for X");
    let telegram = TelegramSim::start().await.expect("a port for Telegram");
    let crm = WebhookSim::start(&[HOOK_SECRET, NEXT_HOOK_SECRET]).await.expect("a port for the receiver");
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    let (v, m, c) = (vonage.config().clone(), meta.config().clone(), x.config().clone());
    let app = format!(
        "kind = \"facebook\"\napp_secret = [\"{}\", \"{NEXT_SECRET}\"]\nverify_token = \"{}\"\nbase_url = \"{}\"\n",
        m.app_secret,
        m.verify_token,
        meta.base_url()
    );
    let by_vonage = |channel: &str, api: &str, base: &str| {
        format!(
            "[channels.{channel}]\nkind = \"sms\"\nprovider = \"vonage\"\napi = \"{api}\"\napi_key = \"{}\"\napi_secret = \"{}\"\nsignature_secret = [\"{}\", \"{NEXT_SECRET}\"]\nfrom = \"+{}\"\nbase_url = \"{base}\"\n",
            v.api_key, v.api_secret, v.signature_secret, v.numbers[0],
        )
    };
    let at_home = |channel: &str, provider: &str, base: &str| {
        format!(
            "[channels.{channel}]\nkind = \"sms\"\nprovider = \"{provider}\"\nfrom = \"24453\"\nhook_secret = \"{PATH_SECRET}\"\nbase_url = \"{base}\"\n"
        )
    };
    let channels = [
        "[channels.site]\nkind = \"webchat\"\norigins = []\n".to_owned(),
        by_vonage("vonage", "sms", &vonage.base_url()),
        by_vonage("newer", "messages", &newer.base_url()),
        format!(
            "{}numbers = \"digits\"\nusername = \"{}\"\npassword = \"{}\"\n",
            at_home("jasmin", "jasmin", &jasmin.base_url()),
            GatewaySim::USER,
            GatewaySim::PASSWORD
        ),
        real.channel(public_port),
        at_home("gateway", "http", &gateway.base_url()) + &DESCRIBED.replace("PASSWORD", GatewaySim::PASSWORD),
        format!("[channels.page]\n{app}page_id = \"{}\"\npage_token = \"{}\"\n", m.page_id, m.page_token),
        format!(
            "[channels.insta]\n{app}product = \"instagram\"\npage_id = \"{}\"\npage_token = \"{}\"\n",
            m.account_id, m.account_token
        ),
        format!(
            "[channels.wa]\n{app}product = \"whatsapp\"\nphone_number_id = \"{}\"\naccess_token = \"{}\"\n",
            m.phone_number_id, m.access_token
        ),
        format!(
            "[channels.handle]\nkind = \"twitter\"\nuser_id = \"{}\"\nconsumer_key = \"{}\"\nconsumer_secret = [\"{}\", \"{NEXT_SECRET}\"]\naccess_token = \"{}\"\naccess_token_secret = \"{}\"\nlimits = {{ dm_15m = 1000 }}\nbase_url = \"{}\"\n",
            c.user_id,
            c.consumer_key,
            c.consumer_secret,
            c.access_token,
            c.access_token_secret,
            x.base_url()
        ),
        format!(
            "[channels.bot]\nkind = \"telegram\"\ntoken = \"{}\"\nsecret_token = [\"{}\", \"{NEXT_SECRET}\"]\nbase_url = \"{}\"\n",
            TelegramSim::TOKEN,
            TelegramSim::SECRET,
            telegram.base_url()
        ),
        format!(
            "[channels.crm]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = [\"{HOOK_SECRET}\", \"{NEXT_HOOK_SECRET}\"]\n",
            crm.url()
        ),
        format!(
            "{}smtp = {{ host = \"localhost\", port = {}, ca = \"{}\" }}\n",
            dovecot.channel(""),
            postfix.port,
            postfix.certificate().display()
        ),
        // An adapter in another process needs a broker.
        match backend.url() {
            Some(_) => "[channels.line]\nkind = \"external\"\nlabel = \"telnet\"\naddress_kind = \"line\"\n".to_owned(),
            None => String::new(),
        },
    ];
    let shop = Shop::with(&provider.base_url()).log(backend).sms("send_timeout = \"5s\"").more(&channels.concat());
    let shop = Arc::new(shop.public_port(public_port).open());
    for sim in [&vonage, &newer] {
        sim.route("https://hooks.shop.example", &shop.public());
    }
    for sim in [&jasmin, &gateway] {
        sim.route("https://hooks.shop.example", &shop.public());
    }
    let mail = Arc::new(Mail::new(dovecot, postfix));
    let at = || shop.clone();
    let kannel = Arc::new(Kannel::new(at(), centre, real));
    kannel.up().await;
    let ways: Vec<Arc<dyn Way>> = vec![
        Arc::new(Texts::new(at(), provider)),
        Arc::new(Vonage { shop: at(), sim: vonage }),
        Arc::new(NewerVonage { shop: at(), sim: newer }),
        Arc::new(Gateway { shop: at(), sim: jasmin, dialect: Dialect::Jasmin, secret: PATH_SECRET }),
        Arc::new(Gateway { shop: at(), sim: gateway, dialect: Dialect::Json, secret: PATH_SECRET }),
        Arc::new(Meta { shop: at(), sim: meta.clone(), product: Product::Messenger }),
        Arc::new(Meta { shop: at(), sim: meta.clone(), product: Product::Instagram }),
        Arc::new(Meta { shop: at(), sim: meta, product: Product::WhatsApp }),
        Arc::new(X::new(at(), x)),
        Arc::new(Telegram::new(at(), telegram)),
        Arc::new(Webhooks { shop: at(), sim: crm }),
        kannel.clone(),
        mail.clone(),
        Arc::new(Chat::new(at())),
    ];
    (shop, ways, mail, kannel)
}

/// What a customer was told was accepted, and what an agent was told will be sent to them.
struct Told {
    messages: Vec<String>,
    /// Places of two that were said at the same moment, so that either may come first.
    at_once: BTreeSet<usize>,
    replies: BTreeSet<String>,
}

/// Providers that refused our credentials, each with the channels of which it did for one.
type Refused = Arc<Mutex<Vec<(Arc<dyn Way>, &'static [&'static str])>>>;

/// Those of which the daemon has paused no channel. It may not have lived to read the refusal.
fn unheard(refused: &Refused, said: &str) -> Vec<(Arc<dyn Way>, &'static [&'static str])> {
    let (paused, asked) = (paused(said), refused.lock().expect("nobody failed with it").clone());
    let is_unheard = |ids: &[&str]| !ids.is_empty() && !ids.iter().any(|id| paused.contains(*id));
    asked.into_iter().filter(|(_, ids)| is_unheard(ids)).collect()
}

/// Somebody is answered whose provider refuses our credentials, while nothing is killed: the channel is paused.
async fn is_refused(way: &dyn Way, ids: &[&str], daemon: &Daemon<'_>, api: &Api, dice: &mut Dice) {
    way.refuses_us();
    let hello = format!("hello {}-last", way.channel());
    until_taken(way, LAST, &hello, dice).await;
    agent(api, way, &hello, dice).await;
    eventually_within(LONG, "the channel to be paused", || async {
        let paused = paused(&daemon.said());
        if ids.iter().any(|id| paused.contains(*id)) { Ok(()) } else { Err(format!("{ids:?} of {paused:?}")) }
    })
    .await;
}

/// Writes one text after the other, each until it is taken, and delivered again and forged now and then. In the middle of the day their
/// provider gets another secret, and refuses ours.
async fn customer(way: Arc<dyn Way>, api: Api, who: u64, rounds: u64, mut dice: Dice, refused: Refused) -> Told {
    let mut told = Told { messages: vec![], at_once: BTreeSet::new(), replies: BTreeSet::new() };
    for n in 0..rounds {
        if who == 0 && n == rounds / 2 {
            way.rotates();
            let ids = way.refuses_us();
            refused.lock().expect("nobody failed with it").push((way.clone(), ids));
        }
        if way.shakes_hands().is_some() && dice.one_in(4) {
            eventually_within(LONG, "the address to be ours", || async {
                let is_ours = match way.shakes_hands() {
                    Some(asked) => asked.await,
                    None => true,
                };
                if is_ours { Ok(()) } else { Err(way.channel()) }
            })
            .await;
        }
        let name = format!("{}-{who}-{n}", way.channel());
        let wants_refund = dice.one_in(2);
        let text = match wants_refund {
            true => format!("refund {name}"),
            false if way.has_pictures() && dice.one_in(3) => format!("hello {name} {PICTURED}"),
            false => format!("hello {name}"),
        };
        if way.signs() && dice.one_in(4) {
            let signed = if dice.one_in(2) { Signed::Badly } else { Signed::Not };
            let taken = way.says(who, &format!("forged {name}"), signed).await;
            assert!(!taken, "{name}: a forged delivery was taken: {signed:?}");
        }
        if way.says_at_once() && dice.one_in(4) {
            // Twice at the same moment, on two connections: whichever comes first.
            let other = format!("refund {name}-too");
            let mut pauses = (dice.fork(1), dice.fork(2));
            tokio::join!(until_taken(&*way, who, &text, &mut pauses.0), until_taken(&*way, who, &other, &mut pauses.1));
            told.at_once.insert(told.messages.len());
            told.messages.extend([text.clone(), other]);
            told.replies.insert(format!("Your refund {name}-too is on its way."));
        } else {
            until_taken(&*way, who, &text, &mut dice).await;
            told.messages.push(text.clone());
        }
        if wants_refund {
            told.replies.insert(format!("Your refund {name} is on its way."));
        }
        if dice.one_in(3) {
            way.tells(who, &mut dice).await;
        }
        while dice.one_in(3) {
            // Providers repeat what was accepted, and what was accepted long ago.
            let old = told.messages[dice.below(told.messages.len() as u64) as usize].clone();
            way.says(who, &old, Signed::Well).await;
        }
        // Seldom enough that a channel is not looked at once a minute only, as after five failures in a row.
        if dice.one_in(6) {
            way.trouble(&mut dice);
        }
        if !wants_refund {
            told.replies.insert(agent(&api, &*way, &text, &mut dice).await);
        }
        tokio::time::sleep(dice.millis(1500)).await;
    }
    told
}

async fn until_taken(way: &dyn Way, who: u64, text: &str, dice: &mut Dice) {
    while !way.says(who, text, Signed::Well).await {
        for wait in way.repeats().iter().flat_map(|repeats| repeats.waits(FASTER)) {
            tokio::time::sleep(wait).await;
            if way.says(who, text, Signed::Well).await {
                return;
            }
        }
        // Who gave up is asked for what is missing.
        tokio::time::sleep(dice.millis(150)).await;
    }
}

/// Ann answers the conversation in which this was said, repeating the same request under one key until the daemon answers it.
async fn agent(api: &Api, way: &dyn Way, said: &str, dice: &mut Dice) -> String {
    let asks = way.offered(0).is_some() && dice.one_in(2);
    let text = format!("Ann {} {}", if asks { "asks" } else { "says" }, said.trim_start_matches("hello "));
    let choices = OFFERED.map(|id| json!({ "id": id, "label": id }));
    let body = match asks {
        true => json!({ "text": text, "agent": "ann", "choices": choices }),
        false => json!({ "text": text, "agent": "ann" }),
    };
    loop {
        if let Some(id) = conversation(api, way.channel(), said).await {
            let path = format!("/conversations/{id}/reply");
            match api.call(http::Method::POST, &path, Some(&body), Some(&text)).await {
                Ok(answer) if answer.status == 202 => return text,
                Ok(answer) if matches!(answer.status, 503 | 504) => {}
                Ok(answer) => panic!("a reply on {} was refused: {answer}", way.channel()),
                Err(_) => {}
            }
        }
        tokio::time::sleep(dice.millis(300)).await;
    }
}

/// Asks until the daemon answers, which may be down.
async fn answer(api: &Api, path: &str, reply: Option<&Value>) -> Answer {
    let (method, key) = if reply.is_some() { (http::Method::POST, Some(path)) } else { (http::Method::GET, None) };
    eventually_within(LONG, path, || async {
        match api.call(method.clone(), path, reply, key).await {
            Ok(answer) if !matches!(answer.status, 503 | 504) => Ok(answer),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Somebody is answered, and wants nothing more of us: from then on nobody can write to them.
async fn leaver(way: Arc<dyn Way>, api: Api, mut dice: Dice) {
    let (name, hello) = (way.channel(), format!("hello {}-leaver", way.channel()));
    until_taken(&*way, LEAVER, &hello, &mut dice).await;
    let said = agent(&api, &*way, &hello, &mut dice).await;
    eventually_within(LONG, "somebody who leaves to be heard", || async {
        let is_heard = match way.leaves(LEAVER) {
            Some(left) => left.await,
            None => false,
        };
        if is_heard { Ok(()) } else { Err(name) }
    })
    .await;
    let id = conversation_of(&api, name, &hello).await;
    let path = format!("/conversations/{id}");
    eventually_within(LONG, "what they want to be known", || async {
        let whole = answer(&api, &path, None).await;
        let known = whole.body["contact"]["consent"][name] == "opted_out";
        if known { Ok(()) } else { Err(whole.to_string()) }
    })
    .await;
    let late = json!({ "text": format!("Ann is too late for {name}"), "agent": "ann" });
    answer(&api, &format!("{path}/reply"), Some(&late)).await.refused(422, "opted_out");
    let sent = way.sent(LEAVER).await;
    assert!(sent.iter().all(|text| *text == said), "{name}: nothing but the one answer of before: {sent:?}");
}

/// Somebody writes to whom no mail can be delivered: the answer comes back, and has failed. One of which nobody knows whether the dying
/// mail server took it is given again.
async fn unreachable(mail: Arc<Mail>, api: Api, mut dice: Dice) {
    for n in 0.. {
        let hello = format!("hello from-nowhere-{n}");
        until_taken(&*mail, mail.gone(), &hello, &mut dice).await;
        let said = agent(&api, &*mail, &hello, &mut dice).await;
        let path = format!("/conversations/{}", conversation_of(&api, mail.channel(), &hello).await);
        let ends = async || {
            mail.brings_back().await;
            let whole = answer(&api, &path, None).await;
            let told = message(&whole.body, &said).cloned().unwrap_or_default();
            match told["status"].as_str() {
                Some("failed") if told.to_string().contains("gone.example") => Ok(true),
                Some("unknown") => Ok(false),
                _ => Err(told.to_string()),
            }
        };
        if eventually_within(LONG * 2, "the answer to come back", ends).await {
            return;
        }
    }
}

/// Resumes each channel that waits for an operator; those that it resumed are noted.
async fn operator(api: Api, resumed: Arc<Mutex<BTreeSet<String>>>) {
    loop {
        let all = match api.call(http::Method::GET, "/channels", None, None).await {
            Ok(answer) => answer.body["channels"].as_array().cloned().unwrap_or_default(),
            Err(_) => vec![],
        };
        for channel in all {
            if let (Some(id), true) = (channel["id"].as_str(), channel["paused_reason"].is_string()) {
                let path = format!("/channels/{id}/resume");
                if api.call(http::Method::POST, &path, Some(&json!({})), None).await.is_ok_and(|a| a.status == 200) {
                    resumed.lock().expect("nobody failed with it").insert(id.to_owned());
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn conversation_of(api: &Api, channel: &str, said: &str) -> String {
    eventually_within(LONG, "a conversation", || async { conversation(api, channel, said).await.ok_or(channel) }).await
}

async fn conversation(api: &Api, channel: &str, said: &str) -> Option<String> {
    let list = format!("/conversations?channel={channel}&limit=200");
    let list = api.call(http::Method::GET, &list, None, None).await.ok()?;
    for row in list.body["conversations"].as_array()? {
        let id = row["id"].as_str()?;
        let whole = api.call(http::Method::GET, &format!("/conversations/{id}"), None, None).await.ok()?;
        if message(&whole.body, said).is_some() {
            return Some(id.to_owned());
        }
    }
    None
}

async fn customers_on_all_channels_at_once_are_each_answered_once_whatever_fails(backend: Backend) {
    // One day at a time: what is late should be the program's fault.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let seed = number("DAY_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let rounds = number("DAY_ROUNDS", 8);
    println!("DAY_SEED={seed} DAY_ROUNDS={rounds}");
    let mut dice = Dice::new(seed);
    let (shop, mut ways, mail, kannel) = open(&backend).await;
    let mut daemon = Daemon::start(&shop).await;
    if let Some(broker) = backend.url() {
        ways.push(Arc::new(Line::start(&shop, &broker).await));
    }
    let (refused, resumed) = (Refused::default(), Arc::<Mutex<BTreeSet<String>>>::default());
    let operator = tokio::spawn(operator(shop.api(), resumed.clone()));
    let mut others = vec![tokio::spawn(unreachable(mail.clone(), shop.api(), dice.fork(1_000_000)))];
    let mut customers = vec![];
    for (w, way) in ways.iter().enumerate() {
        for who in 0..CUSTOMERS {
            let dice = dice.fork(w as u64 * 1000 + who);
            customers.push((
                way.clone(),
                who,
                tokio::spawn(customer(way.clone(), shop.api(), who, rounds, dice, refused.clone())),
            ));
        }
        if way.leaves(LEAVER).is_some() {
            others.push(tokio::spawn(leaver(way.clone(), shop.api(), dice.fork(2_000_000 + w as u64))));
        }
    }
    let (mut kills, mut deaths) = (0, 0);
    let writing = tokio::spawn(async move {
        let mut told = vec![];
        for (way, who, task) in customers {
            told.push((way, who, task.await.expect("a customer's task does not fail")));
        }
        for task in others {
            task.await.expect("a customer's task does not fail");
        }
        told
    });
    while !writing.is_finished() {
        tokio::time::sleep(Duration::from_secs(1) + dice.millis(2000)).await;
        daemon.kill();
        daemon.restart().await;
        kills += 1;
        for (way, _) in unheard(&refused, &daemon.said()) {
            way.refuses_us();
        }
        if dice.one_in(2) {
            mail.postfix.kill();
            mail.dovecot.lock().await.down();
            mail.postfix.up().await;
            mail.dovecot.lock().await.up().await;
        }
        if dice.one_in(2) {
            kannel.dies_and_comes_back().await;
            deaths += 1;
        }
    }
    let told = writing.await.expect("everybody has written");
    while let Some((way, ids)) = unheard(&refused, &daemon.said()).pop() {
        is_refused(&*way, ids, &daemon, &shop.api(), &mut dice).await;
    }
    // What a provider still had in mind would meet the next send only.
    let pictured = pictures(&shop.api()).await;
    let quiet = settled(&shop).await;
    operator.abort();
    let resumed = resumed.lock().expect("nobody failed with it").clone();
    let paused = paused(&daemon.said());
    assert!(!resumed.is_empty(), "{paused:?} were paused, and none of them resumed by hand");
    let (mut messages, mut replies, mut unknown, mut refused) = (0, 0, 0, 0);
    for (way, who, told) in &told {
        let sent = way.sent(*who).await;
        let found = of_customer(&quiet.conversations, way.channel(), &told.messages);
        let [(row, transcript)] = found.as_slice() else {
            panic!("customer {who} of {} has {} conversations", way.channel(), found.len())
        };
        let name = format!("customer {who} of {}", way.channel());
        messages += told.messages.len();
        replies += sent.len();
        let parked = promises_kept(&name, &**way, transcript, &sent, told, &quiet.parked);
        if let Some(offered) = way.offered(*who) {
            let asked: Vec<&String> = sent.iter().filter(|text| text.starts_with("Ann asks ")).collect();
            assert_eq!(offered.iter().collect::<Vec<_>>(), asked, "{name}: choices that were not offered");
        }
        (unknown, refused) = (unknown + parked.0, refused + parked.1);
        has_an_owner_and_a_clock(row);
    }
    println!(
        "{kills} kills, {deaths} of Kannel, {messages} messages accepted, {pictured} with a picture, {replies} replies at the providers, {unknown} parked as unknown, {refused} refused for good, {} channels paused, {} resumed by hand",
        paused.len(),
        resumed.len()
    );
    assert!(pictured > 0, "nobody sent a picture");
    assert!(replies * 2 > messages, "too little was answered: the test proves little");
}

/// Waits until each picture that came is stored; how many there are.
async fn pictures(api: &Api) -> usize {
    eventually_within(LONG * 2, "every picture to be stored", || async {
        let mut stored = 0;
        for (_, messages) in transcripts(api).await {
            let shown = |m: &&Value| m["text"].as_str().is_some_and(|text| text.ends_with(PICTURED));
            for m in messages.iter().filter(|m| m["direction"] == "in").filter(shown) {
                let file = &m["attachments"][0];
                if file["state"] != "stored" || file["size"].as_u64().unwrap_or(0) == 0 {
                    return Err(m.to_string());
                }
                stored += 1;
            }
        }
        Ok(stored)
    })
    .await
}

/// The channels of which the daemon said that they wait for an operator.
fn paused(said: &str) -> BTreeSet<String> {
    let alarms = said.lines().filter(|line| line.contains("the channel is paused: nothing is sent on it until"));
    let of = |line: &str| Some(line.split_once("channel=\"")?.1.split_once('"')?.0.to_owned());
    alarms.filter_map(of).collect()
}

/// The conversations that hold any of these texts.
fn of_customer<'a>(all: &'a [(Value, Vec<Value>)], channel: &str, texts: &[String]) -> Vec<&'a (Value, Vec<Value>)> {
    let holds = |m: &Value| m["text"].as_str().is_some_and(|t| texts.iter().any(|text| text == t));
    all.iter().filter(|(row, messages)| row["channel"] == channel && messages.iter().any(holds)).collect()
}

/// Promises 1 to 4 for one customer; how many replies are parked as unknown, and how many were refused for good.
fn promises_kept(
    name: &str,
    way: &dyn Way,
    transcript: &[Value],
    sent: &[String],
    told: &Told,
    parked: &[Value],
) -> (usize, usize) {
    let texts = |direction: &str| -> Vec<&str> {
        transcript.iter().filter(|m| m["direction"] == direction).filter_map(|m| m["text"].as_str()).collect()
    };
    let mut heard = texts("in");
    for at in &told.at_once {
        if heard.get(*at).is_some_and(|text| *text == told.messages[at + 1]) {
            heard.swap(*at, at + 1);
        }
    }
    assert_eq!(heard, told.messages, "{name}: what was decided is not what was accepted");
    let decided: BTreeSet<String> = texts("out").into_iter().map(str::to_owned).collect();
    assert_eq!(decided.len(), texts("out").len(), "{name}: a reply was decided twice");
    assert_eq!(decided, told.replies, "{name}: the replies decided are not those that were asked for");
    let once: BTreeSet<&String> = sent.iter().collect();
    assert_eq!(once.len(), sent.len(), "{name}: a reply was sent twice: {sent:?}");
    let (mut unknown, mut refused) = (0, 0);
    for m in transcript.iter().filter(|m| m["direction"] == "out") {
        let there = sent.iter().any(|s| m["text"] == s.as_str());
        match m["status"].as_str() {
            Some("accepted" | "delivered" | "read") => assert!(there, "{name}: said to be sent, and is not: {m}"),
            Some("unknown") => {
                unknown += 1;
                let id = m["id"].as_str().unwrap_or("?");
                assert!(parked.iter().any(|p| p.to_string().contains(id)), "{name}: unknown and not parked: {m}");
            }
            Some("rejected" | "failed") => {
                refused += 1;
                assert!(!there, "{name}: said to be refused, and was taken: {m}");
            }
            _ => panic!("{name}: a reply without an outcome: {m}"),
        }
    }
    if way.keeps_order() {
        let order: Vec<&str> = texts("out").into_iter().filter(|t| sent.iter().any(|s| s == t)).collect();
        assert_eq!(sent, order, "{name}: replies were sent in another order than decided");
    }
    (unknown, refused)
}

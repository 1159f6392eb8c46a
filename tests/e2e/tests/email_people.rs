//! Mail between several people, several daemons and machines that answer, through a real Postfix and a real Dovecot.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use switchboard_e2e::{
    Api, Backend, Daemon, Dovecot, Postfix, Shop, eventually, eventually_within, field, free_port, message, text_of,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// What our mail server says of who wrote to us.
const PROVED: &str = "Authentication-Results: mx.shop.example; dmarc=pass header.from=customer.example\r\n";

fn smtp(postfix: &Postfix) -> String {
    format!(
        "smtp = {{ host = \"localhost\", port = {}, ca = \"{}\" }}\n",
        postfix.port,
        postfix.certificate().display()
    )
}

/// A shop that reads its mail at this Dovecot and hands its own in at this Postfix.
fn shop(dovecot: &Dovecot, postfix: &Postfix, more: &str) -> Shop {
    Shop::with("http://127.0.0.1:9").more(&format!("{}{}{more}", dovecot.channel(""), smtp(postfix))).open()
}

async fn servers(more: &str) -> (Dovecot, Postfix) {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(more));
    dovecot.up().await;
    postfix.up().await;
    (dovecot, postfix)
}

/// The one conversation there is, once it holds these words.
async fn only(api: &Api, text: &str) -> Value {
    eventually(&format!("one conversation with `{text}`"), || async {
        let all = api.all("/conversations?channel=support-email", "conversations").await;
        let [one] = all.as_slice() else { return Err(format!("{} of them", all.len())) };
        let whole = api.get(&format!("/conversations/{}", one["id"].as_str().unwrap_or_default())).await;
        if message(&whole.body, text).is_some() { Ok(whole.body) } else { Err(whole.to_string()) }
    })
    .await
}

async fn reply(api: &Api, conversation: &Value, text: &str) {
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": text, "agent": "ann" })).await.ok();
}

async fn accepted(api: &Api, conversation: &Value, text: &str, detail: &str) -> Value {
    let path = format!("/conversations/{}", conversation["id"].as_str().expect("an id"));
    eventually_within(Duration::from_secs(60), &format!("`{text}` to be accepted, with `{detail}`"), || async {
        let whole = api.get(&path).await;
        let told = |m: &&Value| m["status"] == "accepted" && m["detail"].as_str().unwrap_or_default().contains(detail);
        message(&whole.body, text).filter(told).cloned().ok_or(whole.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_copied_in_gets_the_answer_and_answers_in_the_same_conversation() {
    let (dovecot, postfix) = servers("").await;
    let more =
        "reply_all = true\naddresses = [\"sales@shop.example\"]\nauthentication_results = [\"mx.shop.example\"]\n";
    let shop = shop(&dovecot, &postfix, more);
    let _daemon = Daemon::start(&shop).await;
    let (api, mut client) = (shop.api(), dovecot.client().await);
    let first = |to: &str| {
        format!(
            "{PROVED}Delivered-To: {to}\r\nFrom: Ann <ann@customer.example>\r\nTo: support@shop.example, Sales <sales@shop.example>\r\n\
             Cc: Bob <bob@customer.example>, gone@gone.example, nobody@customer.example\r\nSubject: Kettle\r\nMessage-ID: <1@customer.example>\r\n\r\nIt leaks.\r\n"
        )
    };
    // It went to two addresses of ours, so it is in the mailbox twice.
    for to in ["support@shop.example", "sales@shop.example"] {
        client.append(&first(to)).await.expect("Dovecot takes it");
    }
    let conversation = only(&api, "It leaks.").await;
    assert_eq!(conversation["messages"].as_array().map(Vec::len), Some(1), "{conversation}");
    reply(&api, &conversation, "Try the new seal.").await;
    accepted(&api, &conversation, "Try the new seal.", "and not to nobody@customer.example").await;
    // Ann's and Bob's are in one folder, and the one that could not be delivered comes back.
    let mails = postfix.delivered("customers", 2).await;
    let ids: BTreeSet<String> = mails.iter().map(|m| field(m, "message-id")).collect();
    let to: BTreeSet<String> = mails.iter().map(|m| field(m, "delivered-to")).collect();
    assert_eq!((ids.len(), to.len()), (1, 2), "one mail for both: {to:?}");
    let (mail, copies) = (&mails[0], field(&mails[0], "cc"));
    assert!(field(mail, "to").contains("ann@customer.example") && !mail.contains("sales@"), "{mail}");
    assert!(copies.contains("Bob <bob@customer.example>") && copies.contains("gone@gone.example"), "{copies}");
    let bounce = postfix.delivered("shop", 1).await.remove(0);
    client.append(&bounce.replace('\n', "\r\n")).await.expect("Dovecot takes it");
    accepted(&api, &conversation, "Try the new seal.", "a copy did not arrive: gone@gone.example").await;

    // Bob answers to all of them; he is in the conversation, and what he adds to it is not written to.
    let guest = |id: &str, proof: &str, from: &str, text: &str| {
        format!(
            "{proof}From: {from}\r\nTo: {}\r\nCc: ann@customer.example, eve@customer.example\r\nSubject: Re: Kettle\r\nMessage-ID: <{id}@customer.example>\r\n\
             In-Reply-To: {}\r\n\r\n{text}\r\n",
            field(mail, "reply-to"),
            field(mail, "message-id"),
        )
    };
    client.append(&guest("2", PROVED, "bob@customer.example", "It is the lid.")).await.expect("Dovecot takes it");
    let conversation = only(&api, "It is the lid.").await;
    reply(&api, &conversation, "Then a lid.").await;
    let mails = postfix.delivered("customers", 4).await;
    let second = mails.iter().find(|m| text_of(m).starts_with("Then a lid.")).expect("the second answer");
    assert!(field(second, "to").contains("ann@customer.example") && !second.contains("eve@"), "{second}");

    // Nobody proves who wrote this: whatever it knows, it is a conversation of its own.
    client.append(&guest("3", "", "bob@customer.example", "Send it to me.")).await.expect("Dovecot takes it");
    let its_own = eventually("a conversation of its own", || async {
        let all = api.all("/conversations?channel=support-email", "conversations").await;
        let own = all.iter().find(|c| c["last_message"]["text"] == "Send it to me.").cloned();
        own.filter(|_| all.len() == 2).ok_or(format!("{all:?}"))
    })
    .await;
    assert_eq!(its_own["last_message"]["sender_proved"], false, "{its_own}");
    let own = its_own["id"].as_str().expect("an id");
    for (id, words) in [(conversation["id"].as_str().expect("an id"), "It leaks."), (own, "Send it to me.")] {
        let whole = api.get(&format!("/conversations/{id}")).await.ok();
        assert_eq!(message(&whole, words).expect("it is there")["sender_proved"], id != own, "{whole}");
        let shown = shop.command(&["conversations", "show", id]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(shown.contains("SENDER NOT PROVED"), id == own, "{shown}");
    }
    let whole = api.get(&format!("/conversations/{}", conversation["id"].as_str().expect("an id"))).await;
    assert!(message(&whole.body, "Send it to me.").is_none(), "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_who_proves_senders_a_secret_address_brings_its_own_customer_back_and_nobody_else_in() {
    let port = free_port();
    let postfix =
        Postfix::new(&format!("transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{port} }} }}"));
    postfix.up().await;
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{port}\" }}\n{}",
        smtp(&postfix)
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let to = json!({ "kind": "email", "value": "Ann@Customer.example" });
    let body =
        json!({ "channel": "support-email", "to": to, "subject": "Kettle", "text": "It is ready.", "agent": "ann" });
    api.post("/messages", body).await.ok();
    let mail = postfix.delivered("customers", 1).await.remove(0);
    let answer = |from: &str, text: &str| {
        let (to, id) = (field(&mail, "reply-to"), field(&mail, "message-id"));
        format!(
            "From: {from}\r\nTo: {to}\r\nSubject: Re: Kettle\r\nMessage-ID: <{}@x.example>\r\nIn-Reply-To: {id}\r\n\r\n{text}\r\n",
            text.len()
        )
    };
    let secret = field(&mail, "reply-to");
    let secret = secret.split(['<', '>']).find(|part| part.contains('+')).expect("a signed address").to_owned();
    hand_in(&postfix, "ann@customer.example", &secret, &answer("ann@customer.example", "Thank you.")).await;
    let own = only(&api, "Thank you.").await;
    hand_in(&postfix, "eve@customer.example", &secret, &answer("eve@customer.example", "Send it to me instead.")).await;
    let eves = api.conversation("email:eve@customer.example", "to be there", |_| true).await;
    assert_ne!(eves["id"], own["id"], "a secret is not enough: {eves}");
    assert_eq!(eves["messages"].as_array().map(Vec::len), Some(1), "{eves}");
    // And nobody leaves in another's name.
    let leave = "From: ann@customer.example\r\nTo: support@shop.example\r\nSubject: unsubscribe\r\nMessage-ID: <u@x.example>\r\n\r\nunsubscribe\r\n";
    hand_in(&postfix, "ann@customer.example", "support@shop.example", leave).await;
    eventually("the wish to be shown to people", || async {
        let all = api.all("/conversations?channel=support-email", "conversations").await;
        if all.len() == 3 { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    reply(&api, &own, "You are welcome.").await;
    accepted(&api, &own, "You are welcome.", "").await;
}

/// Hands a mail in at Postfix, as another mail server would.
async fn hand_in(postfix: &Postfix, from: &str, to: &str, mail: &str) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", postfix.port)).await.expect("Postfix listens"));
    let lines =
        ["".to_owned(), "HELO mx.example\r\n".into(), format!("MAIL FROM:<{from}>\r\n"), format!("RCPT TO:<{to}>\r\n")];
    for line in lines.into_iter().chain(["DATA\r\n".into(), format!("{mail}.\r\n"), "QUIT\r\n".into()]) {
        stream.get_mut().write_all(line.as_bytes()).await.expect("it listens");
        let mut heard = String::new();
        let read =
            tokio::time::timeout(Duration::from_secs(20), stream.read_line(&mut heard)).await.expect("an answer");
        assert!(read.is_ok() && heard.starts_with(['2', '3']), "{line:.60}: {heard}");
    }
}

/// A machine at a customer's that answers every mail, and does not say that it is one. Returns how many it answered within a time of
/// silence that is long enough for an answer to its answer.
async fn answers_everything(postfix: &Postfix, make: impl Fn(usize, &str) -> String) -> usize {
    let (mut known, mut answered) = (BTreeSet::new(), 0usize);
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(12) {
        for mail in postfix.mails("customers") {
            let id = field(&mail, "message-id");
            if known.insert(id) {
                answered += 1;
                assert!(answered < 100, "it never ends");
                let to = field(&mail, "return-path").trim_matches(['<', '>']).to_owned();
                let to = if answered % 2 == 0 { "support@shop.example".to_owned() } else { to };
                hand_in(postfix, "robot@customer.example", &to, &make(answered, &mail)).await;
                quiet = Instant::now();
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    answered
}

/// A daemon that answers everything, by a rule, with the usual budget: a conversation ends after three answers to a machine.
const EAGER: &str = "queues: { everyone: {} }\nreplies: { thanks: \"Thank you, we have it.\" }\n\
    rules:\n  - { name: Thanks, when: { channel: support-email }, then: { reply: thanks } }\ndefault: { queue: everyone }\n";

async fn eager(postfix: &Postfix, port: u16) -> Shop {
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{port}\" }}\n{}",
        smtp(postfix)
    );
    // Budgets are of a day: where it is noon, none ends while the test runs.
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let zone = if hour <= 12 { format!("Etc/GMT-{}", 12 - hour) } else { format!("Etc/GMT+{}", hour - 12) };
    Shop::with("http://127.0.0.1:9").pack(&format!("zone: {zone}\n{EAGER}")).more(&channel).open()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_answers_everything_is_soon_left_alone() {
    for (fresh, budget) in [(false, 3), (true, 20)] {
        let port = free_port();
        let postfix =
            Postfix::new(&format!("transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{port} }} }}"));
        postfix.up().await;
        let shop = eager(&postfix, port).await;
        let _daemon = Daemon::start(&shop).await;
        let answer = |number: usize, answered: &str| {
            let mut mail = format!(
                "From: Robot <robot@customer.example>\r\nTo: support@shop.example\r\nMessage-ID: <{number}@customer.example>\r\n\
                 Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            );
            // One that answers in its thread, and one whose every mail looks like the first of another.
            let thread = match fresh {
                true => format!("Subject: Ticket {number} was opened\r\n"),
                false => format!("Subject: Re: Hello\r\nIn-Reply-To: {}\r\n", field(answered, "message-id")),
            };
            mail.push_str(&thread);
            mail + "\r\nThank you for your mail.\r\n"
        };
        hand_in(&postfix, "robot@customer.example", "support@shop.example", &answer(0, "")).await;
        let answered = answers_everything(&postfix, answer).await;
        assert_eq!(answered, budget, "a thread of its own each time: {fresh}");
        let api = shop.api();
        let all = api.all("/conversations?channel=support-email", "conversations").await;
        let mut heard = 0;
        for conversation in &all {
            let messages = api.messages(conversation["id"].as_str().expect("an id")).await;
            heard += messages.iter().filter(|m| m["direction"] == "in").count();
        }
        assert_eq!(heard, budget + 1, "what is not answered is there all the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_that_answer_everything_leave_each_other_alone_after_one_answer() {
    let ports = [(); 2].map(|()| free_port());
    let postfix = Postfix::new(&format!(
        "transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{} }}, {{ customer.example = lmtp:inet:127.0.0.1:{} }} }}",
        ports[0], ports[1]
    ));
    postfix.up().await;
    let ours = eager(&postfix, ports[0]).await;
    let theirs = eager(&postfix, ports[1]).await;
    theirs.reconfigure(|c| c.replace("support@shop.example", "desk@customer.example"));
    let (_one, _two) = (Daemon::start(&ours).await, Daemon::start(&theirs).await);
    let first = "From: desk@customer.example\r\nTo: support@shop.example\r\nSubject: Hello\r\nMessage-ID: <1@customer.example>\r\n\r\nHello\r\n";
    hand_in(&postfix, "desk@customer.example", "support@shop.example", first).await;
    // Theirs gets our automatic answer, and says nothing to it.
    let api = theirs.api();
    let id = eventually("one conversation at the other side", || async {
        let all = api.all("/conversations", "conversations").await;
        let id = all.first().and_then(|c| c["id"].as_str()).map(str::to_owned);
        id.filter(|_| all.len() == 1).ok_or_else(|| format!("{all:?}"))
    })
    .await;
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(6) {
        let sent = postfix.said().matches("to=<desk@customer.example>").count();
        assert!(sent <= 1, "{}", postfix.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let there = api.messages(&id).await;
    let texts: Vec<&str> = there.iter().filter_map(|m| m["text"].as_str()).collect();
    let silent = "the rule “Thanks” would have answered, but a machine wrote the message";
    assert_eq!(texts, ["Thank you, we have it.", silent], "{there:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_who_has_to_wait_keeps_nobody_else_from_their_mail() {
    let greylist = "smtpd_recipient_restrictions = check_recipient_access inline:{ { grey@customer.example = 450 4.2.0 come again later } }, permit_mynetworks, reject";
    let (dovecot, postfix) = servers(greylist).await;
    let shop = shop(&dovecot, &postfix, "");
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let write = async |to: &str, text: &str| {
        let to = json!({ "kind": "email", "value": to });
        let body = json!({ "channel": "support-email", "to": to, "subject": "Hello", "text": text, "agent": "ann" });
        api.post("/messages", body).await.ok();
    };
    write("grey@customer.example", "in time").await;
    // Five failures of the channel would let one mail a minute through.
    eventually_within(Duration::from_secs(90), "six attempts", || async {
        let tries = postfix.said().matches("450 4.2.0").count();
        if tries >= 6 { Ok(()) } else { Err(format!("{tries}")) }
    })
    .await;
    let began = Instant::now();
    for n in 0..10 {
        write(&format!("c{n}@customer.example"), "at once").await;
    }
    postfix.delivered("customers", 10).await;
    assert!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
    let channels = api.all("/channels", "channels").await;
    let mail = channels.iter().find(|c| c["id"] == "support-email").expect("the channel");
    assert_eq!(mail["state"], "up", "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_was_away_for_a_moment_is_found_before_a_minute_is_over() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    let shop = shop(&dovecot, &postfix, "");
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    for n in 0..10 {
        let to = json!({ "kind": "email", "value": format!("c{n}@customer.example") });
        let body = json!({ "channel": "support-email", "to": to, "subject": "Hello", "text": "late", "agent": "ann" });
        api.post("/messages", body).await.ok();
    }
    eventually("the channel to fail", || async {
        let all = api.get("/channels").await;
        let email = all.body["channels"].as_array().into_iter().flatten().find(|c| c["id"] == "support-email");
        let failures = email.and_then(|c| c["failures"].as_u64()).unwrap_or(0);
        if failures >= 5 { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    postfix.up().await;
    let began = Instant::now();
    postfix.delivered("customers", 10).await;
    assert!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
}

/// What another implementation says of a signature: dkimpy, which Debian has for its own Python.
fn verified(mail: &str, record: &str) -> String {
    const SCRIPT: &str = "import sys, dkim\n\
        asked = []\n\
        def txt(name, timeout=5):\n    asked.append(name)\n    return sys.argv[1].encode()\n\
        print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=txt), *(n.decode() for n in asked))\n";
    let child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT, record])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|e| panic!("python3: {e}: install Debian's python3-dkim, as tests/run does"));
    child.stdin.take().expect("a pipe").write_all(mail.replace('\n', "\r\n").as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "install Debian's python3-dkim and python3-nacl, as tests/run does");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let made = Command::new("openssl").args(arguments).output().expect("openssl is installed, as by tests/run");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_is_signed_so_that_another_implementation_believes_it() {
    let (dovecot, postfix) = servers("").await;
    let kinds: [(&str, &[&str], usize); 2] = [
        ("rsa", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], 0),
        ("ed25519", &["genpkey", "-algorithm", "ed25519"], 12),
    ];
    for (done, (kind, make, raw)) in kinds.into_iter().enumerate() {
        let shop = shop(&dovecot, &postfix, "dkim = { selector = \"s2026\", key = { file = \"dkim.pem\" } }\n");
        let key = shop.folder().join("dkim.pem");
        std::fs::write(&key, openssl(make)).expect("a key");
        std::os::unix::fs::chown(&key, None, None).expect("it is ours");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("for us alone");
        let public = openssl(&["pkey", "-in", key.to_str().expect("a path"), "-pubout", "-outform", "DER"]);
        let _daemon = Daemon::start(&shop).await;
        let to = json!({ "kind": "email", "value": "ann@customer.example" });
        let text = "Zürich  calling.\n.\n\nA line   with blanks \nand the end\n\n";
        let body =
            json!({ "channel": "support-email", "to": to, "subject": "Ihr Kessel ☕", "text": text, "agent": "ann" });
        shop.api().post("/messages", body).await.ok();
        let mails = postfix.delivered("customers", done + 1).await;
        let mail = mails.iter().find(|m| field(m, "dkim-signature").contains(kind)).expect("a signed mail");
        // What Postfix put on top of it is not ours.
        let record = format!("v=DKIM1; k={kind}; p={}", base64(&public[raw..]));
        assert_eq!(verified(mail, &record), "True s2026._domainkey.shop.example.", "{mail}");
        assert!(verified(&mail.replace("calling", "falling"), &record).starts_with("False"));
        assert!(verified(&mail.replacen("\nTo:", "\nCc: eve@x.example\nTo:", 1), &record).starts_with("False"));
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["base64", "-A"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("letters")
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_that_share_a_mailbox_take_each_mail_once_and_lose_none() {
    const MAILS: usize = 120;
    let broker = Backend::nats();
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let channel = dovecot.channel("");
    let shop = |role| Shop::with("http://127.0.0.1:9").log(&broker).role(role).more(&channel).open();
    let (router, one, two) = (shop("router"), shop("edge"), shop("edge"));
    let _router = Daemon::start(&router).await;
    let mut edges = [Daemon::start(&one).await, Daemon::start(&two).await];
    let mut client = dovecot.client().await;
    for n in 0..MAILS {
        let mail = format!(
            "From: c{n}@customer.example\r\nTo: support@shop.example\r\nSubject: Hello\r\nMessage-ID: <{n}@customer.example>\r\n\r\nmail {n} of mine\r\n"
        );
        client.append(&mail).await.expect("Dovecot takes it");
        // Whichever of them reads, it is killed in the middle of it, and comes back.
        if n % 40 == 20 {
            let which = (n / 40) % 2;
            edges[which].kill();
            edges[which].restart().await;
        }
    }
    // Somebody asks for the mail while nobody does, too: both read it again from a cursor that is behind.
    let api = router.api();
    eventually_within(Duration::from_secs(120), &format!("{MAILS} conversations"), || async {
        let found = api.all("/conversations?channel=support-email", "conversations").await.len();
        if found >= MAILS { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
    let mut seen = BTreeSet::new();
    for conversation in api.all("/conversations?channel=support-email", "conversations").await {
        let messages = api.messages(conversation["id"].as_str().expect("an id")).await;
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(seen.insert(messages[0]["text"].as_str().expect("a text").to_owned()), "{messages:?}");
    }
    assert_eq!(seen.len(), MAILS);
}

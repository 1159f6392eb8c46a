//! Notices at desks through the real daemon: Slack and a webhook are told, each notice once, and the customer never.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::time::Duration;
use switchboard_e2e::{
    Backend, Daemon, HookStep, Provider, Shop, SlackPost, SlackSim, SlackStep, WebhookSim, eventually,
    eventually_within, on_every_backend, sid,
};

const ANN: &str = "+15551230001";
const SECRET: &str = "whsec_c2VjcmV0LW9mLXRoZS1kZXNrcy1vZi10aGUtdGVzdHM=";

const PACK: &str = r#"
zone: UTC
queues:
  everyone: { sla: { first_response: 2s, on_breach: { priority: urgent, notify: { desk: team-slack, text: Nobody has answered } } } }
  calm: {}
agents:
  ann: { name: Ann, desks: { team-slack: U024BE7LH } }
  you: { name: You }
rules:
  - name: VIP outside hours
    when: { text: { contains: vip } }
    then: { agent: ann, desk: team-slack, queue: calm }
  - name: Fraud
    when: { text: { contains: bank } }
    then: { queue: calm, priority: urgent, notify: [{ desk: team-slack, text: "Fraud? {{ message.text }}" }, { desk: crm, text: Fraud }] }
  - name: Calm
    when: { text: { contains: calm } }
    then: { queue: calm, notify: { desk: crm, text: "{{ message.text }}" } }
default: { queue: everyone }
"#;

struct Scene {
    slack: SlackSim,
    crm: WebhookSim,
    provider: Provider,
    shop: Shop,
}

async fn scene(backend: &Backend) -> Scene {
    let slack = SlackSim::start().await.expect("a port for Slack");
    let crm = WebhookSim::start(&[SECRET]).await.expect("a port for the webhook");
    let provider = Provider::start().await;
    let desks = format!(
        "[desks.team-slack]\nkind = \"slack\"\nbot_token = \"{}\"\nchannel = \"{}\"\nbase_url = \"{}\"\nrate = \"20/s\"\n\
         [desks.crm]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n",
        SlackSim::TOKEN,
        SlackSim::CHANNEL,
        slack.base_url(),
        crm.url(),
    );
    let shop = Shop::with(&provider.base_url()).log(backend).pack(PACK).more(&desks).open();
    shop.reconfigure(|c| c.replace("[admin]\n", "[admin]\npublic_url = \"https://desk.shop.example\"\n"));
    Scene { slack, crm, provider, shop }
}

impl Scene {
    async fn says(&self, text: &str) {
        self.says_as(ANN, text).await;
    }

    async fn says_as(&self, who: &str, text: &str) {
        let sms = self.shop.sms(who, text, &sid(&format!("{who} {text}")));
        let taken = sms.deliver(&self.shop.hook("support-sms")).await.expect("an answer");
        assert_eq!(taken.status, 200, "{}", taken.body);
    }

    /// The posts, once there are so many.
    async fn posts(&self, count: usize) -> Vec<SlackPost> {
        eventually_within(Duration::from_secs(60), &format!("{count} posts"), || async {
            let all = self.slack.posts();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }

    /// The notices of the customer's conversation, once `holds` is true of them.
    async fn notices(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let of = |c: &Value| -> Vec<Value> {
            let all = c["messages"].as_array().cloned().unwrap_or_default();
            all.into_iter().filter(|m| m["direction"] == "notice").collect()
        };
        let whole = self.shop.api().conversation(&format!("phone:{ANN}"), what, |c| holds(&of(c))).await;
        of(&whole)
    }

    fn nobody_wrote_to_the_customer(&self) {
        assert_eq!(self.provider.sent().len(), 0, "the customer was told nothing");
    }
}

async fn a_breach_and_a_rule_tell_slack_and_a_webhook(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    scene.says("where is my parcel <!channel>?").await;
    let late = scene.posts(1).await.remove(0);
    assert!(late.text.starts_with("Nobody has answered\n"), "{}", late.text);
    assert!(late.text.contains("&lt;!channel&gt;") && late.text.contains("urgent"), "{}", late.text);
    let link = late.text.lines().last().unwrap_or_default().to_owned();
    assert!(link.starts_with("https://desk.shop.example/console/inbox/all/c"), "{link}");
    let told = scene.notices("to have told Slack", |n| n.iter().any(|n| n["status"] == "accepted")).await;
    assert_eq!((told.len(), &told[0]["desk"]), (1, &"team-slack".into()));
    // The one who bank robbers write to: both desks.
    scene.says_as("+15551230002", "this is your bank").await;
    assert!(scene.posts(2).await[1].text.starts_with("Fraud? this is your bank\n"));
    let hooked =
        eventually("a notice at the webhook", || async { scene.crm.taken().first().cloned().ok_or("nothing yet") })
            .await;
    let text = hooked.body["content"]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("Fraud\n") && hooked.body["channel"] == "crm", "{}", hooked.body);
    scene.nobody_wrote_to_the_customer();
    let listed = scene.shop.command(&["channels"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("team-slack"), "{listed:?}");
}

async fn a_desk_gets_the_customers_files_as_links_that_open_for_a_while(backend: Backend) {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture";
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let picture = scene.provider.sim().add_file("image/png", PNG);
    let sms = scene.shop.sms(ANN, "a letter of my bank", &sid("picture"));
    let sms = sms.with("NumMedia", "1").with("MediaUrl0", &picture).with("MediaContentType0", "image/png");
    assert_eq!(sms.deliver(&scene.shop.hook("support-sms")).await.expect("an answer").status, 200);
    let post = scene.posts(1).await.remove(0).text;
    let hooked =
        eventually("a notice at the webhook", || async { scene.crm.taken().first().cloned().ok_or("nothing yet") })
            .await;
    let file = &hooked.body["content"]["attachments"][0];
    let (name, url) = (file["name"].as_str().expect("a name"), file["url"].as_str().expect("a link"));
    assert_eq!(file.get("size"), None, "nobody has fetched it, and 0 would be wrong");
    assert!(post.contains(&format!("\n1 file: {name}\n")), "{post}");
    let said = hooked.body["content"]["text"].as_str().expect("its words");
    assert!(said.contains(&format!("\n1 file: {name}\n")), "{said}");
    let link = post.split("\nOpen: <").nth(1).and_then(|rest| rest.split_once('|')).expect("a link in the post");
    assert_eq!(link.1, format!("{name}>"));
    for url in [url.to_owned(), link.0.replace("&amp;", "&")] {
        let path = url.strip_prefix("https://desk.shop.example").expect("where agents reach the console");
        let address = format!("{}{path}", scene.shop.admin());
        // Who follows it has no token; the file is fetched a moment after the notice was given.
        let bytes = eventually("the link to open the picture", || async {
            let answer = switchboard_e2e::http().get(&address).send().await.map_err(|e| e.to_string())?;
            if answer.status().as_u16() == 200 {
                return answer.bytes().await.map_err(|e| e.to_string());
            }
            Err(answer.status().to_string())
        })
        .await;
        assert_eq!(bytes, PNG);
        let ended = address.replace("?until=1", "?until=0");
        let refused = switchboard_e2e::http().get(&ended).send().await.expect("an answer");
        assert_eq!(refused.status().as_u16(), 403, "its end is part of what is signed");
    }
    // In the transcript the picture stands with the message, and the notice has none of its own.
    let told = scene.notices("to have told both", |n| n.len() == 2).await;
    assert!(told.iter().all(|n| n["attachments"].as_array().is_some_and(Vec::is_empty)), "{told:?}");
    scene.nobody_wrote_to_the_customer();
}

async fn patience_and_a_lost_answer(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    scene.slack.next(SlackStep::RateLimited(1));
    scene.says("first bank").await;
    scene.posts(1).await;
    scene
        .notices("to have told Slack later", |n| {
            n.iter().any(|n| n["desk"] == "team-slack" && n["status"] == "accepted")
        })
        .await;
    assert_eq!(scene.slack.requests(), 2, "refused once, then taken");
    // It is posted, and the answer is lost: Slack's list shows it, so that it is told once.
    scene.slack.next(SlackStep::CutAfter);
    scene.says("second bank").await;
    scene
        .notices("to have found the second", |n| {
            n.iter().filter(|n| n["desk"] == "team-slack" && n["status"] == "accepted").count() == 2
        })
        .await;
    // Slack says that it failed, and has posted it: it is looked for before anybody is told twice.
    scene.slack.next(SlackStep::ErrorAfter("internal_error".into()));
    scene.says("bank, and an error").await;
    scene
        .notices("to have found what came with an error", |n| {
            n.iter().filter(|n| n["desk"] == "team-slack" && n["status"] == "accepted").count() == 3
        })
        .await;
    // One that did not arrive, and of which nobody can say so, is a dead letter until somebody resends it.
    scene.slack.next(SlackStep::CutBefore);
    scene.says("third bank").await;
    let dead = eventually_within(Duration::from_secs(90), "a dead letter", || async {
        let held = scene.shop.api().all("/dead-letters", "dead_letters").await;
        held.first().cloned().ok_or("none yet")
    })
    .await;
    assert_eq!((&dead["channel"], &dead["reason"]), (&"team-slack".into(), &"unknown".into()), "{dead}");
    let posts = scene.slack.posts().len();
    assert_eq!((posts, scene.slack.requests()), (3, 5), "nothing was posted twice");
    let id = dead["id"].as_str().expect("an id");
    let resent = scene.shop.command(&["dead-letters", "resend", id]);
    assert!(resent.status.success(), "{resent:?}");
    assert!(scene.posts(4).await[3].text.starts_with("Fraud? third bank\n"));
    // The webhook's receiver drops what it has, so a lost answer is simply asked again.
    scene.crm.script(HookStep::AcceptAndReset);
    scene.says("all calm").await;
    scene
        .notices("to have told the webhook", |n| {
            n.iter().filter(|n| n["desk"] == "crm").all(|n| n["status"] == "accepted")
                && n.iter().filter(|n| n["desk"] == "crm").count() == 5
        })
        .await;
    assert_eq!(scene.crm.taken().len(), 5);
    scene.nobody_wrote_to_the_customer();
}

async fn a_daemon_that_is_killed_tells_each_thing_once(backend: Backend) {
    let scene = scene(&backend).await;
    let mut daemon = Daemon::start(&scene.shop).await;
    for n in 0..6 {
        scene.says_as(&format!("+1555123010{n}"), &format!("bank {n}")).await;
        daemon.kill();
        daemon.restart().await;
    }
    let said = |all: &[SlackPost]| -> Vec<String> {
        let first = |p: &SlackPost| p.text.lines().next().unwrap_or_default().to_owned();
        all.iter().map(first).collect()
    };
    eventually_within(Duration::from_secs(120), "each notice at Slack, or known as a dead letter", || async {
        let held = scene.shop.api().all("/dead-letters?channel=team-slack", "dead_letters").await;
        let posts = said(&scene.slack.posts());
        let parked = |n: usize| held.iter().any(|d| d.to_string().contains(&format!("bank {n}")));
        let open: Vec<usize> = (0..6).filter(|n| !posts.contains(&format!("Fraud? bank {n}")) && !parked(*n)).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} of {posts:?}")) }
    })
    .await;
    let mut all = said(&scene.slack.posts());
    all.sort();
    let told = all.len();
    all.dedup();
    assert_eq!(all.len(), told, "told twice: {all:?}");
    scene.nobody_wrote_to_the_customer();
}

async fn who_is_on_call_is_mentioned(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    // She is at home, and not in the console.
    scene.says("a vip is stuck").await;
    let called = scene.posts(1).await.remove(0);
    assert!(
        called.text.starts_with("<@U024BE7LH> Ann: you are called to this conversation, which waits\n"),
        "{}",
        called.text
    );
    assert!(called.text.contains("&gt; a vip is stuck"), "{}", called.text);
    // What history shows follows what was decided.
    eventually("an explanation that tells of the desk", || async {
        let explained = scene.shop.command(&["rules", "explain", "--last"]);
        let said = String::from_utf8_lossy(&explained.stdout).into_owned();
        if said.contains("team-slack") {
            Ok(())
        } else {
            Err(format!("{said}{}", String::from_utf8_lossy(&explained.stderr)))
        }
    })
    .await;
    scene.shop.api().available("ann").await;
    let given = scene.posts(2).await.remove(1);
    assert!(given.text.starts_with("<@U024BE7LH> Ann: this conversation is yours\n"), "{}", given.text);
    scene.nobody_wrote_to_the_customer();
}

on_every_backend!(
    a_breach_and_a_rule_tell_slack_and_a_webhook,
    a_desk_gets_the_customers_files_as_links_that_open_for_a_while,
    patience_and_a_lost_answer,
    a_daemon_that_is_killed_tells_each_thing_once,
    who_is_on_call_is_mentioned,
);

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_slack_refuses_pauses_the_desk_and_nothing_is_lost() {
    let scene = scene(&Backend::Embedded).await;
    let _daemon = Daemon::start(&scene.shop).await;
    scene.slack.next(SlackStep::Error("token_revoked".into()));
    scene.says("my bank").await;
    eventually("the desk to be paused", || async {
        let channels = scene.shop.api().get("/channels").await.ok();
        let text = channels.to_string();
        if text.contains("refuses the bot's token") { Ok(()) } else { Err(text) }
    })
    .await;
    assert!(scene.slack.posts().is_empty());
    let resumed = scene.shop.command(&["channels", "resume", "team-slack"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(scene.posts(1).await[0].text.starts_with("Fraud? my bank\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_names_a_desk_that_is_not_there_is_refused_with_every_place() {
    let scene = scene(&Backend::Embedded).await;
    scene
        .shop
        .reconfigure(|c| c.replace("[desks.crm]", "[desks.other]").replace("[desks.team-slack]", "[desks.slack-two]"));
    let checked = scene.shop.command(&["check", "--config", scene.shop.config().to_str().expect("a path")]);
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(!checked.status.success(), "{said}");
    for place in ["pack.yaml:4:", "pack.yaml:7:", "pack.yaml:12:", "pack.yaml:15:", "pack.yaml:18:"] {
        assert!(said.contains(place), "{place} is not in {said}");
    }
    assert!(said.contains("add [desks.team-slack] to the configuration"), "{said}");
}

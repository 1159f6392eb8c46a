use super::*;
use std::sync::Arc;
use switchboard_envelope::Action;
use switchboard_routing_rules::event::CanaryEnd;
use switchboard_routing_rules::state::{Canary, Tally};

const PACK: &str = "zone: UTC\nqueues: { everyone: {} }\ndefault: { queue: everyone }\n";

#[tokio::test]
async fn a_trial_shows_both_packs_side_by_side() {
    let fake = fake().await;
    assert_eq!(fake.get("/rules/canary").await.ok(), json!({ "canary": null }));
    let tried = Tally {
        conversations: 3,
        places: [("queue billing".to_owned(), 2), ("closed".to_owned(), 1)].into(),
        auto_replies: 1,
        answers: [(104, 1)].into(),
        breached: 1,
    };
    let canary = Canary {
        number: 2,
        pack: "pack2".into(),
        beside: "pack1".into(),
        percent: 10,
        since: super::fake::NOW,
        ended: Some((super::fake::NOW, CanaryEnd::RolledBack)),
        tried,
        others: Tally::default(),
    };
    *fake.back.canary.lock().unwrap() = Some(Arc::new(canary));
    let report = fake.get("/rules/canary").await.ok();
    let canary = &report["canary"];
    assert_eq!((&canary["share"], &canary["ended"]["how"]), (&json!(10), &json!("rolled_back")));
    assert_eq!((&canary["packs"][0]["pack"], &canary["packs"][0]["role"]), (&json!("pack1"), &json!("in_force")));
    let tried = &canary["packs"][1];
    assert_eq!((&tried["role"], &tried["conversations"], &tried["answered"]), (&json!("tried"), &json!(3), &json!(1)));
    assert_eq!(tried["destinations"], json!({ "queue billing": 2, "closed": 1 }));
    assert!(tried["first_answer"]["median_ms"].is_i64() && canary["packs"][0]["first_answer"]["median_ms"].is_null());
    assert_eq!(fake.get("/rules").await.ok()["canary"], *canary);
    let history = fake.get("/rules").await.ok()["history"].clone();
    assert_eq!((&history[0]["hash"], &history[1]["hash"]), (&json!("pack1"), &json!("pack0")));
}

#[tokio::test]
async fn a_pack_is_tried_from_disk_or_from_the_request() {
    let fake = fake().await;
    let body = json!({ "share": 5, "files": { "pack.yaml": PACK } });
    fake.post("/rules/canary", "t-admin", body.clone()).await.ok();
    let Action::TryPack { hash, percent } = fake.last_command().action else { panic!("another command") };
    assert_eq!((hash.len(), percent), (64, 5));
    // Larger than what other paths take.
    let long = format!("{PACK}# {}\n", "x".repeat(100_000));
    fake.post("/rules/canary", "t-admin", json!({ "share": 5, "files": { "pack.yaml": long } })).await.ok();
    let commands = fake.commands();
    let bad = fake.post("/rules/canary", "t-admin", json!({ "share": 5, "files": { "a.yaml": "queues: 7\n" } })).await;
    bad.refused(422, "bad_pack");
    assert!(bad.body["errors"][0]["detail"].as_str().unwrap().starts_with("a.yaml:1:"), "{}", bad.body);
    for wrong in [
        json!({}),
        json!({ "share": 0 }),
        json!({ "share": "a bit" }),
        json!({ "share": 5, "files": [] }),
        json!({ "share": 5, "pack": "x" }),
    ] {
        let status = fake.post("/rules/canary", "t-admin", wrong.clone()).await.status;
        assert_eq!(status.as_u16(), 422, "{wrong}");
    }
    fake.post("/rules/canary", "t-sup", body).await.refused(403, "scope");
    assert_eq!(fake.commands(), commands);
}

#[tokio::test]
async fn another_share_is_of_the_pack_that_is_tried_and_not_of_what_is_on_disk_by_now() {
    let fake = fake().await;
    let running = Canary { number: 1, pack: "tried".into(), beside: "pack1".into(), percent: 10, ..Canary::default() };
    let began = || fake.last_command().action;
    let set = |canary: &Canary| *fake.back.canary.lock().unwrap() = Some(Arc::new(canary.clone()));
    set(&running);
    fake.post("/rules/canary", "t-admin", json!({ "share": 50 })).await.ok();
    assert_eq!(began(), Action::TryPack { hash: "tried".into(), percent: 50 });
    fake.post("/rules/canary", "t-admin", json!({ "share": 50, "disk": true })).await.ok();
    assert_eq!(began(), Action::TryPack { hash: "pack2".into(), percent: 50 });
    // One that is over is not gone on with.
    set(&Canary { ended: Some((super::fake::NOW, CanaryEnd::Stopped)), ..running });
    fake.post("/rules/canary", "t-admin", json!({ "share": 20 })).await.ok();
    assert_eq!(began(), Action::TryPack { hash: "pack2".into(), percent: 20 });
}

#[tokio::test]
async fn an_earlier_pack_is_named_by_how_its_hash_begins() {
    let fake = fake().await;
    fake.post("/rules/rollback", "t-admin", json!({ "to": "pack" })).await.refused(409, "ambiguous");
    fake.post("/rules/rollback", "t-admin", json!({ "to": "other" })).await.refused(404, "not_found");
    assert_eq!(fake.commands(), 0);
    fake.post("/rules/rollback", "t-admin", json!({ "to": "pack0" })).await.ok();
    assert_eq!(fake.last_command().action, Action::RollbackPack { to: Some("pack0".into()) });
}

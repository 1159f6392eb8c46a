//! What a router decides at the end of an attempt, in what order deadlines and answers count, and what it does not lead over.

use super::Codec;
use super::standby_tests::{Process, Workspace};
use crate::clock;
use crate::log::frame::Frame;
use crate::log::memory::Room;
use crate::log::{Claim, Commit, FrameWrite, Log};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{AttemptResult, Inbound, Outcome};
use switchboard_routing_rules::event::{DeadReason, Public};
use switchboard_routing_rules::state::{Phase, SendState};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);
/// An edge of somebody's own, of whose process nothing is known.
const STRANGER: &str = "k3jx.7";

/// The only send of ours that is not settled.
fn send(process: &Process) -> Arc<SendState> {
    let state = process.handle.state.latest().1;
    state.sends.values().next().expect("a send").clone()
}

fn key(send: &SendState, n: u32) -> String {
    format!("sms.{}.{}.{n}", send.id, send.part)
}

/// A customer whom a rule answered; the attempt is released, and nobody has claimed it.
async fn released(shop: &Workspace) -> (Process, Arc<SendState>) {
    let process = shop.process("one").await;
    shop.says(1, "refund").await;
    sleep(Duration::from_millis(100)).await;
    let send = send(&process);
    assert!(matches!(send.phase, Phase::InFlight { .. }) && send.n == 1);
    (process, send)
}

/// Everything that LOG says.
async fn events(shop: &Workspace) -> Vec<Public> {
    let log: Arc<dyn Log> = Arc::new(shop.0.clone());
    let codec = Codec::new(log.clone());
    let mut all = vec![];
    for frame in log.read_log(0, 10_000).await.expect("LOG") {
        all.extend(codec.decode(&frame).await.expect("a frame").into_iter().map(|e| e.public));
    }
    all
}

async fn accepted(shop: &Workspace, send: &SendState) {
    shop.ingest(&Inbound::Result(AttemptResult {
        id: format!("sms:result:{}.1.1:accepted", send.id),
        channel: "sms".into(),
        send: send.id.to_string(),
        part: 1,
        n: 1,
        at: clock::now(),
        outcome: Outcome::Accepted,
        provider_ids: vec!["P1".into()],
        code: None,
        detail: None,
        retry_after_ms: None,
        channel_refused: false,
        opted_out: false,
        reconciled: false,
        fault: None,
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_claimed_is_made_again_and_its_late_edge_may_not_send() {
    for shop in [Workspace::new(), Workspace::exclusive()] {
        let (one, first) = released(&shop).await;
        sleep(2 * MINUTE + Duration::from_secs(1)).await;
        let now = send(&one);
        assert!(now.id == first.id && now.n == 2 && matches!(now.phase, Phase::InFlight { .. }), "{now:?}");
        assert_eq!(shop.0.out_last().await, Ok(2), "the next attempt is in OUT");
        assert_eq!(shop.0.claimed(&key(&first, 1)).await, Ok(Some("router".into())));
        assert_eq!(shop.0.claim(&key(&first, 1), STRANGER).await, Ok(Claim::Taken), "the late edge of the first");
        assert_eq!(shop.0.claim(&key(&first, 2), STRANGER).await, Ok(Claim::Ours), "whoever comes for the second");
        one.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_somebody_claimed_is_parked_at_its_end_and_not_made_again() {
    let shop = Workspace::new();
    let (one, first) = released(&shop).await;
    assert_eq!(shop.0.claim(&key(&first, 1), STRANGER).await, Ok(Claim::Ours));
    sleep(2 * MINUTE - Duration::from_secs(1)).await;
    assert!(matches!(send(&one).phase, Phase::InFlight { .. }), "it has until then");
    sleep(20 * MINUTE).await;
    let now = send(&one);
    assert!(matches!(now.phase, Phase::Dead { reason: DeadReason::Unknown, .. }) && now.n == 1, "{now:?}");
    assert_eq!(shop.0.out_last().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_may_have_expired_is_not_taken_for_one_that_never_was() {
    // After its end (two minutes): within ten minutes the claim is asked; later it says nothing where claims expire.
    let cases = [(Workspace::new(), 11, true), (Workspace::new(), 13, false), (Workspace::exclusive(), 600, true)];
    for (shop, minutes, asked) in cases {
        let (one, first) = released(&shop).await;
        one.kill().await;
        sleep(minutes * MINUTE).await;
        let two = shop.process("two").await;
        sleep(Duration::from_secs(5)).await;
        let now = send(&two);
        let holder = shop.0.claimed(&key(&first, 1)).await.expect("an answer");
        if asked {
            assert_eq!((now.n, holder.as_deref()), (2, Some("router")), "after {minutes} minutes");
        } else {
            assert!(matches!(now.phase, Phase::Dead { reason: DeadReason::Unknown, .. }), "{now:?}");
            assert_eq!((now.n, holder), (1, None), "nobody was asked");
            assert_eq!(shop.0.out_last().await, Ok(1));
        }
        two.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_out_dropped_unsent_is_found_at_its_end_and_not_forgotten() {
    let shop = Workspace::new();
    let (one, first) = released(&shop).await;
    assert_eq!(shop.0.drop_out(1), 1, "no edge will ever see it");
    let mut outbox = shop.0.outbox("sms").await.expect("an outbox");
    assert!(tokio::time::timeout(MINUTE, outbox.next(10)).await.is_err(), "nothing is delivered");
    sleep(2 * MINUTE).await;
    assert_eq!((send(&one).id, send(&one).n), (first.id, 2));
    let again = outbox.next(10).await.expect("the next attempt");
    assert_eq!(again.iter().map(|r| r.seq).collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn where_claims_have_no_room_everything_else_goes_on_and_ends_are_judged_once_they_have() {
    let shop = Workspace::new();
    let (one, first) = released(&shop).await;
    shop.says(2, "refund").await;
    sleep(Duration::from_secs(1)).await;
    let taken = one.handle.state.latest().1.sends.values().find(|s| s.id != first.id).expect("a second").clone();
    assert_eq!(shop.0.claim(&key(&taken, 1), STRANGER).await, Ok(Claim::Ours));
    shop.0.set_room(Room::NoClaims);
    sleep(3 * MINUTE).await;
    let now = |send: &SendState| one.handle.state.latest().1.sends.get(&send.id).cloned().expect("a send");
    assert!(matches!(now(&first).phase, Phase::InFlight { .. }) && now(&first).n == 1, "nobody can say yet");
    assert!(
        matches!(now(&taken).phase, Phase::Dead { reason: DeadReason::Unknown, .. }),
        "a claim that is there counts"
    );
    assert!(one.handle.unclaimed.borrow().is_some(), "and it is said");
    let frames = shop.0.log_bounds().await.expect("LOG").1;
    shop.says(3, "hello").await;
    sleep(MINUTE).await;
    assert_eq!(one.decided(), 3, "messages are decided");
    assert!(one.handle.unwritten.borrow().is_none());
    let more = shop.0.log_bounds().await.expect("LOG").1 - frames;
    assert!((1..10).contains(&more), "{more} frames in a minute for one message");
    shop.0.set_room(Room::Enough);
    sleep(Duration::from_secs(10)).await;
    assert!(now(&first).n == 2 && matches!(now(&first).phase, Phase::InFlight { .. }), "{:?}", now(&first));
    assert!(one.handle.unclaimed.borrow().is_none());
    assert_eq!(shop.0.claimed(&key(&first, 1)).await, Ok(Some("router".into())));
}

/// More deadlines passed than fire at once, and the end of an attempt among them has to wait.
#[tokio::test(start_paused = true)]
async fn where_claims_have_no_room_every_deadline_before_an_input_still_fires_before_it() {
    const PEOPLE: usize = 150;
    // Where claims do not expire they are asked however late it is.
    let shop = Workspace::exclusive();
    let (one, _) = released(&shop).await;
    for id in 0..PEOPLE {
        shop.says(1000 + id as u32, "hello").await;
    }
    sleep(Duration::from_secs(1)).await;
    one.kill().await;
    shop.0.set_room(Room::NoClaims);
    // Their clocks ran out while nobody routed.
    sleep(600 * MINUTE).await;
    shop.says(2, "hello").await;
    let last = shop.0.in_last().await.expect("IN");
    let _two = shop.process("two").await;
    sleep(Duration::from_secs(5)).await;
    let all = events(&shop).await;
    let input = all.iter().position(|e| matches!(e, Public::Consumed { seq, .. } if *seq == last));
    let breached = |events: &[Public]| events.iter().filter(|e| matches!(e, Public::ClockBreached { .. })).count();
    let input = input.expect("it is decided");
    let (before, after) = (breached(&all[..input]), breached(&all[input..]));
    assert!(before >= PEOPLE && after == 0, "{before} before the input, {after} after it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waited_in_in_beats_the_deadline_that_passed_meanwhile() {
    let shop = Workspace::new();
    let (one, first) = released(&shop).await;
    assert_eq!(shop.0.claim(&key(&first, 1), STRANGER).await, Ok(Claim::Ours));
    one.kill().await;
    // Nobody routes. More than is read at once waits before the answer, and all of it came before the attempt's end.
    for n in 0..300 {
        shop.says(1000 + n, "hello").await;
    }
    sleep(MINUTE).await;
    accepted(&shop, &first).await;
    sleep(9 * MINUTE).await;
    let _two = shop.process("two").await;
    sleep(Duration::from_secs(5)).await;
    let all = events(&shop).await;
    assert!(all.iter().any(|e| matches!(e, Public::Sent { .. })));
    assert!(!all.iter().any(|e| matches!(e, Public::Dead { .. })), "it was never given up");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_before_an_answer_came_is_not_overtaken_by_it() {
    let shop = Workspace::new();
    let (one, first) = released(&shop).await;
    assert_eq!(shop.0.claim(&key(&first, 1), STRANGER).await, Ok(Claim::Ours));
    one.kill().await;
    sleep(3 * MINUTE).await;
    accepted(&shop, &first).await;
    sleep(MINUTE).await;
    let _two = shop.process("two").await;
    sleep(Duration::from_secs(5)).await;
    let told = |e: &Public| match e {
        Public::Dead { .. } => Some("dead"),
        Public::Sent { .. } => Some("sent"),
        _ => None,
    };
    let told: Vec<&str> = events(&shop).await.iter().filter_map(told).collect();
    assert_eq!(told, ["dead", "sent"], "as if a router had been there all the time");
}

/// Appends a frame as a later version might write it.
async fn a_later_version_writes(shop: &Workspace) {
    let unknown = BTreeMap::from([("of_a_later_version", BTreeMap::from([("conv", 1)]))]);
    let public = rmp_serde::to_vec_named(&[unknown]).expect("encoded");
    let (_, last) = shop.0.log_bounds().await.expect("LOG");
    let bytes = Frame::new(7, (0, clock::now()), 1, public).encode().expect("a frame");
    let write = FrameWrite { bytes, keys: vec![], out_first: 1, sends: vec![] };
    assert_eq!(shop.0.commit(last, write).await, Commit::Done(last + 1));
}

#[tokio::test(start_paused = true)]
async fn a_router_does_not_lead_over_events_that_it_does_not_know() {
    let shop = Workspace::new();
    let (leads, follows) = (shop.process("one").await, shop.process("two").await);
    shop.says(1, "hello").await;
    sleep(Duration::from_secs(1)).await;
    leads.kill().await;
    a_later_version_writes(&shop).await;
    let last = shop.0.log_bounds().await.expect("LOG").1;
    let why = follows.fails().await;
    assert!(why.contains(&format!("frame {last} cannot be folded: written by a newer version")), "{why}");
    let refused = shop.enters("three").await.err().expect("nobody starts over it either");
    assert!(refused.contains("written by a newer version"), "{refused}");
    sleep(MINUTE).await;
    assert_eq!(shop.0.log_bounds().await.expect("LOG").1, last, "and nothing was written after it");
}

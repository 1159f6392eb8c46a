//! Routers over a log of which an older copy came back: what shows it, and what each does then.

use super::standby_tests::{Process, Workspace};
use super::{Codec, request_rebase};
use crate::clock;
use crate::log::memory::Parts;
use crate::log::{Claim, Log, LogError, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{AttemptResult, Inbound, Outcome, Raw, Unparsed};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::state::State;
use tokio::time::sleep;

const ALL: Parts = Parts { inn: true, log: true, out: true, beside: true };
const NONE: Parts = Parts { inn: false, log: false, out: false, beside: false };

/// What one rebase said.
#[derive(Clone, Debug)]
struct Rebased {
    number: u64,
    cursor: u64,
    out: u64,
    cut: bool,
    why: String,
}

async fn rebases(shop: &Workspace) -> Vec<Rebased> {
    let log: Arc<dyn Log> = Arc::new(shop.0.clone());
    let codec = Codec::new(log.clone());
    let mut found = vec![];
    for frame in log.read_log(0, 10_000).await.expect("LOG") {
        for event in codec.decode(&frame).await.expect("a frame") {
            if let Public::Rebased { number, frame: at, cursor, out, cut, why, .. } = event.public {
                assert_eq!(at, frame.seq, "it says which frame it is of");
                found.push(Rebased { number, cursor, out, cut, why });
            }
        }
    }
    found
}

async fn only_rebase(shop: &Workspace) -> Rebased {
    let all = rebases(shop).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// Long enough for whatever is due, but for what waits for minutes.
async fn settle() {
    sleep(Duration::from_secs(8)).await;
}

fn number(state: &State) -> u64 {
    state.rebased.map_or(0, |r| r.number)
}

fn state(process: &Process) -> Arc<State> {
    process.handle.state.latest().1
}

/// A customer who was answered by a rule; the send, and its claim's key.
async fn answered(shop: &Workspace, process: &Process, id: u32) -> (String, String) {
    shop.says(id, "refund").await;
    sleep(Duration::from_millis(100)).await;
    let state = state(process);
    let send = state.sends.values().max_by_key(|s| s.at).expect("a reply").id.to_string();
    let key = format!("sms.{send}.1.1");
    assert_eq!(process.log.claim(&key, &format!("edge.{id}")).await, Ok(Claim::Ours));
    (send, key)
}

async fn ended(shop: &Workspace, send: &str, outcome: Outcome) {
    let result = AttemptResult {
        id: format!("sms:result:{send}.1.1:{}", outcome.as_str()),
        channel: "sms".into(),
        send: send.into(),
        part: 1,
        n: 1,
        at: clock::now(),
        outcome,
        provider_ids: vec![],
        code: None,
        detail: None,
        retry_after_ms: None,
        channel_refused: false,
        opted_out: false,
        fault: None,
        reconciled: false,
    };
    shop.ingest(&Inbound::Result(result)).await;
    sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_what_its_router_has_seen_is_rebased_and_routing_goes_on() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "hello").await;
    settle().await;
    let copy = shop.0.copy();
    answered(&shop, &one, 2).await;
    shop.0.restore(&copy, ALL);
    shop.says(3, "hello").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert!(rebased.cut && rebased.why.contains("LOG does not hold frame"), "{rebased:?}");
    assert!(one.leads());
    assert_eq!(state(&one).conversations.len(), 2, "the copy's, and the one that came after it");
    shop.says(4, "refund").await;
    settle().await;
    assert_eq!(state(&one).sends.len(), 1, "what comes later is answered");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_what_history_has_seen_is_rebased_at_the_start() {
    for exclusive in [true, false] {
        let shop = if exclusive { Workspace::exclusive() } else { Workspace::new() };
        let one = shop.process("one").await;
        let copy = shop.0.copy();
        shop.says(1, "refund").await;
        settle().await;
        let (frame, seen) = one.handle.state.latest();
        let told = Told { frame, id: 0, rebase: number(&seen) };
        one.kill().await;
        shop.0.restore(&copy, ALL);
        let two = shop.starts("two", true, told).await;
        let rebased = only_rebase(&shop).await;
        assert!(rebased.cut && rebased.why.contains(&format!("frame {frame} as it was read before")), "{rebased:?}");
        assert!(two.leads());
        // Once is enough.
        two.kill().await;
        let three = shop.process("three").await;
        assert_eq!(rebases(&shop).await.len(), 1);
        three.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_frame_under_the_number_of_the_last_that_was_read_is_not_taken_for_it() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let copy = shop.0.copy();
    shop.says(1, "refund").await;
    settle().await;
    let (frame, seen) = one.handle.state.latest();
    let told = Told { frame, id: shop.0.frame_id(frame), rebase: number(&seen) };
    one.kill().await;
    shop.0.restore(&copy, ALL);
    // Who knows nothing of that frame writes others in its place.
    let two = shop.process("two").await;
    for n in 2..10 {
        shop.says(n, "hello").await;
        settle().await;
    }
    assert!(two.handle.state.latest().0 > frame);
    assert_eq!(rebases(&shop).await.len(), 0);
    let three = shop.starts("three", true, told).await;
    sleep(Duration::from_secs(40)).await;
    let rebased = only_rebase(&shop).await;
    assert!(rebased.cut && rebased.why.contains("as it was read before"), "{rebased:?}");
    // The same frame is no other.
    three.kill().await;
    let (frame, seen) = two.handle.state.latest();
    let told = Told { frame, id: shop.0.frame_id(frame), rebase: number(&seen) };
    let _four = shop.starts("four", true, told).await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(rebases(&shop).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_restored_log_does_not_have_seals_nothing() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let copy = shop.0.copy();
    shop.says(1, "hello").await;
    settle().await;
    shop.0.restore(&copy, ALL);
    settle().await;
    shop.says(1, "it is me again").await;
    settle().await;
    assert_eq!(one.decided(), 1);
    // Another process has the keys of the log only.
    one.kill().await;
    let two = shop.process("two").await;
    let state = state(&two);
    let read = state.conversations.values().filter(|c| c.private.is_some()).count();
    assert_eq!((read, state.conversations.len()), (1, 1), "what was written can be read");
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_has_seen_more_than_log_holds_discards_it_and_one_of_two_rebases() {
    let shop = Workspace::new();
    let (one, two) = (shop.process("one").await, shop.process("two").await);
    let copy = shop.0.copy();
    shop.says(1, "hello").await;
    settle().await;
    assert_eq!(two.decided(), 1);
    shop.0.restore(&copy, ALL);
    settle().await;
    assert_eq!((one.decided(), two.decided()), (0, 0));
    assert_eq!(rebases(&shop).await.len(), 1, "and not both");
    shop.says(2, "hello").await;
    settle().await;
    assert_eq!((one.decided(), two.decided()), (1, 1));
    assert!(!one.log.doubt().is_doubted() && !two.log.doubt().is_doubted());
}

#[tokio::test(start_paused = true)]
async fn where_the_last_decided_input_is_gone_a_router_rewinds_to_the_last_that_agrees() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    for id in 1..=3 {
        shop.says(id, "hello").await;
        sleep(Duration::from_millis(100)).await;
    }
    let copy = shop.0.copy();
    for id in 4..=6 {
        shop.says(id, "hello").await;
        sleep(Duration::from_millis(100)).await;
    }
    shop.0.restore(&copy, Parts { inn: true, ..NONE });
    // Others have the numbers of what is gone, one of them was decided before.
    for id in [6, 7] {
        shop.says(id, "hello").await;
    }
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert_eq!((rebased.cursor, rebased.cut), (3, false), "{rebased:?}");
    assert!(rebased.why.contains("IN does not hold record 6 of"), "{rebased:?}");
    assert_eq!((one.decided(), state(&one).conversations.len()), (5, 7), "ids remove what was decided");
    // What was accepted after the copy and not decided yet would be gone: nobody says that nothing was lost.
    assert!(state(&one).rebased.is_some_and(|r| r.lost_at == Some(r.at)));
}

/// IN's times never go back: while a clock was a little ahead, what comes is all of one moment.
#[tokio::test(start_paused = true)]
async fn another_record_of_the_same_number_and_moment_is_not_taken_for_the_one_that_was_decided() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    clock::simulated::ahead(5_000);
    shop.says(1, "hello").await;
    clock::simulated::ahead(0);
    sleep(Duration::from_millis(100)).await;
    let copy = shop.0.copy();
    shop.says(2, "hello").await;
    sleep(Duration::from_millis(100)).await;
    let decided = shop.0.get_in(2).await.expect("IN").expect("a record");
    assert_eq!(one.decided(), 2);
    one.kill().await;
    shop.0.restore(&copy, Parts { inn: true, ..NONE });
    shop.says(3, "hello").await;
    let other = shop.0.get_in(2).await.expect("IN").expect("a record");
    assert!(other.at == decided.at && other.data != decided.data);
    let two = shop.process("two").await;
    settle().await;
    assert_eq!(only_rebase(&shop).await.cursor, 1);
    assert_eq!(state(&two).conversations.len(), 3, "the message under that number is routed too");
}

#[tokio::test(start_paused = true)]
async fn cursor_zero_agrees_with_anything() {
    let shop = Workspace::new();
    shop.process("one").await.kill().await;
    for id in 1..=3 {
        shop.says(id, "hello").await;
    }
    shop.0.trim_in(2).await.expect("trim");
    let two = shop.process("two").await;
    settle().await;
    assert_eq!(rebases(&shop).await.len(), 0);
    assert_eq!(state(&two).conversations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_in_holds_nothing_that_was_decided_all_of_it_is_read() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "hello").await;
    settle().await;
    one.kill().await;
    shop.0.trim_in(1).await.expect("trim");
    shop.says(2, "hello").await;
    let two = shop.process("two").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert_eq!((rebased.cursor, rebased.cut), (1, false), "{rebased:?}");
    assert_eq!(state(&two).conversations.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_quarantine_and_was_trimmed_is_there_after_an_older_copy_came_back() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let raw = Raw { content_type: "text/plain".into(), blob: None, inline: None, meta: BTreeMap::new() };
    let (id, reason) = ("sms:unparsed:1".into(), "nobody can read it".into());
    shop.ingest(&Inbound::Unparsed(Unparsed { id, channel: "sms".into(), reason, at: clock::now(), raw })).await;
    shop.says(2, "hello").await;
    settle().await;
    let copy = shop.0.copy();
    for id in 3..=6 {
        shop.says(id, "hello").await;
        sleep(Duration::from_millis(100)).await;
    }
    one.kill().await;
    shop.0.trim_in(5).await.expect("trim");
    shop.0.restore(&copy, Parts { log: true, ..NONE });
    let two = shop.process("two").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert_eq!((rebased.cursor, rebased.cut), (5, true), "{rebased:?}");
    assert!(rebased.why.contains("IN begins after record 2, up to which LOG decided"), "{rebased:?}");
    assert!(state(&two).quarantine.contains_key(&1), "its bytes are kept beside IN");
    assert_eq!(state(&two).conversations.len(), 2, "of those that were trimmed nobody knows any more");
}

#[tokio::test(start_paused = true)]
async fn out_that_ends_beyond_what_log_assigned_is_rebased_though_nobody_saw_the_lost_frames() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let copy = shop.0.copy();
    let (_, key) = answered(&shop, &one, 1).await;
    one.kill().await;
    shop.0.restore(&copy, Parts { log: true, ..NONE });
    let two = shop.process("two").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert!(rebased.cut && rebased.why.contains("OUT ends at record 1, beyond 0"), "{rebased:?}");
    assert_eq!(rebased.out, 1, "OUT goes on from its end");
    // IN still holds the message: it is routed again, and nothing is sent for it.
    let after = state(&two);
    assert_eq!((after.conversations.len(), after.sends.len()), (1, 0));
    assert_eq!(shop.0.out_last().await, Ok(1));
    assert_eq!(two.log.claimed(&key).await, Ok(Some("edge.1".into())));
    shop.says(2, "refund").await;
    settle().await;
    assert_eq!(shop.0.out_last().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn out_that_ends_before_an_attempt_with_a_result_is_rebased_and_not_filled_again() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let copy = shop.0.copy();
    let (send, _) = answered(&shop, &one, 1).await;
    ended(&shop, &send, Outcome::Accepted).await;
    one.kill().await;
    shop.0.restore(&copy, Parts { out: true, ..NONE });
    let two = shop.process("two").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert!(!rebased.cut && rebased.why.contains("OUT ends at record 0, before attempts up to 1"), "{rebased:?}");
    assert_eq!(shop.0.out_last().await, Ok(0), "it is not made again");
    assert!(state(&two).sends.is_empty());
    two.kill().await;
    let _three = shop.process("three").await;
    settle().await;
    assert_eq!((rebases(&shop).await.len(), shop.0.out_last().await), (1, Ok(0)), "nor by whoever leads next");
}

/// The copy of LOG ends with a frame whose send the copy of OUT does not have, as when it was made between the two.
#[tokio::test(start_paused = true)]
async fn what_a_rebase_gave_up_is_not_put_into_out_by_the_next_router() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let before = shop.0.copy();
    shop.says(1, "refund").await;
    sleep(Duration::from_millis(100)).await;
    let copy = shop.0.copy();
    let send = state(&one).sends.keys().next().expect("a reply").to_string();
    let key = format!("sms.{send}.1.1");
    // It is sent in frames, and with a claim, that the copy does not know.
    assert_eq!(one.log.claim(&key, "edge.1").await, Ok(Claim::Ours));
    ended(&shop, &send, Outcome::Accepted).await;
    one.kill().await;
    shop.0.restore(&copy, ALL);
    shop.0.restore(&before, Parts { out: true, ..NONE });
    request_rebase(&shop.0, 0, "restored").await.expect("the log takes it");
    let two = shop.process("two").await;
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert_eq!((rebased.cut, rebased.out), (true, 0), "{rebased:?}");
    assert!(state(&two).sends.values().all(|s| s.is_dead()), "it may have been sent: {:?}", state(&two).sends);
    two.kill().await;
    // Nothing was released since, so no other send has its place.
    let three = shop.process("three").await;
    settle().await;
    assert_eq!((rebases(&shop).await.len(), shop.0.out_last().await), (1, Ok(0)));
    assert_eq!(three.log.claim(&key, "edge.2").await, Ok(Claim::Taken), "no attempt of it is there to be made");
    shop.says(2, "refund").await;
    settle().await;
    assert_eq!(shop.0.out_last().await, Ok(1), "what comes later is sent");
}

#[tokio::test(start_paused = true)]
async fn out_that_only_lacks_what_nobody_sent_is_completed_without_a_rebase() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    let copy = shop.0.copy();
    shop.says(1, "refund").await;
    settle().await;
    one.kill().await;
    shop.0.restore(&copy, Parts { out: true, ..NONE });
    shop.process("two").await;
    assert_eq!((rebases(&shop).await.len(), shop.0.out_last().await), (0, Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_becomes_unknown_and_the_claims_are_not_believed() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "refund").await;
    settle().await;
    // The copy knows no claim, and what it was for is sent after it was made.
    let copy = shop.0.copy();
    let send = state(&one).sends.keys().next().expect("a reply").to_string();
    assert_eq!(one.log.claim(&format!("sms.{send}.1.1"), "edge.1").await, Ok(Claim::Ours));
    shop.says(2, "hello").await;
    settle().await;
    shop.0.restore(&copy, ALL);
    settle().await;
    assert!(only_rebase(&shop).await.cut);
    let after = state(&one);
    assert!(after.sends.values().all(|s| s.is_dead()) && after.sends.len() == 1, "{:?}", after.sends);
    assert_eq!(shop.0.out_last().await, Ok(1), "no further attempt");
}

/// Nothing was decided between the copy and its coming back, so that LOG is as it was read, and the claim alone is gone.
#[tokio::test(start_paused = true)]
async fn claims_that_are_gone_are_a_loss_though_log_holds_every_frame() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "refund").await;
    settle().await;
    let copy = shop.0.copy();
    let send = state(&one).sends.keys().next().expect("a reply").to_string();
    let key = format!("sms.{send}.1.1");
    assert_eq!(one.log.claim(&key, "edge.1").await, Ok(Claim::Ours));
    shop.0.restore(&copy, ALL);
    assert!(one.log.claim(&key, "edge.2").await.is_err(), "nothing is claimed before the rebase");
    settle().await;
    let rebased = only_rebase(&shop).await;
    assert!(rebased.cut && rebased.why.contains("lacks what was beside it"), "{rebased:?}");
    let after = state(&one);
    assert!(after.sends.values().all(|s| s.is_dead()) && after.sends.len() == 1, "{:?}", after.sends);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_while_log_is_in_doubt_and_what_was_taken_before_is_not_sent() {
    let shop = Workspace::new();
    let (router, edge) = (shop.process("router").await, shop.start("edge", false).await);
    let copy = shop.0.copy();
    shop.says(1, "refund").await;
    settle().await;
    let taken_in = edge.log.doubt().log_life();
    let send = state(&router).sends.keys().next().expect("a reply").to_string();
    router.log.pause(true);
    shop.0.restore(&copy, ALL);
    sleep(Duration::from_secs(1)).await;
    let claim = edge.log.claim(&format!("sms.{send}.1.1"), "edge.1").await;
    assert!(matches!(&claim, Err(LogError::Unavailable(why)) if why.contains("has to rebase")), "{claim:?}");
    router.log.pause(false);
    settle().await;
    assert!(!edge.log.doubt().is_doubted());
    assert!(edge.log.doubt().is_void(taken_in, 1), "the record is of frames that are lost");
}

#[tokio::test(start_paused = true)]
async fn adapters_in_other_processes_are_held_back_from_the_doubt_until_the_rebase() {
    let mut shop = Workspace::new();
    shop.1.external = true;
    let (one, _two) = (shop.process("one").await, shop.process("two").await);
    let edge = shop.start("edge", false).await;
    let copy = shop.0.copy();
    shop.says(1, "refund").await;
    settle().await;
    assert_eq!(shop.0.held(), [], "an ordinary life holds nobody back");
    shop.0.restore(&copy, ALL);
    settle().await;
    let held = shop.0.held();
    let first = held.iter().position(|(_, hold)| !hold).expect("they go on");
    assert_eq!((held[0].clone(), held.last().cloned()), (("sms".into(), true), Some(("sms".into(), false))));
    assert!(first > 0 && only_rebase(&shop).await.cut, "{held:?}");
    assert!(state(&one).rebased.is_some() && !edge.log.doubt().is_doubted());
}

#[tokio::test(start_paused = true)]
async fn a_rebase_that_was_asked_for_comes_once_and_under_a_router_that_leads() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    settle().await;
    request_rebase(&shop.0, 0, "migrate: from the embedded log").await.expect("the log takes it");
    sleep(Duration::from_secs(40)).await;
    let rebased = only_rebase(&shop).await;
    assert!(!rebased.cut && rebased.why.contains("migrate: from the embedded log"), "{rebased:?}");
    assert!(one.leads());
    request_rebase(&shop.0, 0, "who asks late").await.expect("the log takes it");
    sleep(Duration::from_secs(40)).await;
    assert_eq!(rebases(&shop).await.len(), 1, "that one knew of it");
    request_rebase(&shop.0, rebased.number, "restore").await.expect("the log takes it");
    sleep(Duration::from_secs(40)).await;
    let all = rebases(&shop).await;
    assert!(all.len() == 2 && all[1].cut && all[1].number > rebased.number, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rebase_of_a_clock_that_was_ahead_answers_no_later_request_and_later_customers_are_answered() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    settle().await;
    clock::simulated::ahead(30 * 86_400_000);
    request_rebase(&shop.0, 0, "restored").await.expect("the log takes it");
    sleep(Duration::from_secs(40)).await;
    only_rebase(&shop).await;
    clock::simulated::ahead(0);
    sleep(Duration::from_secs(40)).await;
    shop.says(1, "refund").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&one).sends.len(), 1, "it came after the rebase, whatever the clock said then");
    request_rebase(&shop.0, 1, "restored again").await.expect("the log takes it");
    sleep(Duration::from_secs(40)).await;
    let numbers: Vec<u64> = rebases(&shop).await.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_read_more_than_whoever_was_heard_asks_again_and_claims_nothing_before_the_answer() {
    let shop = Workspace::new();
    let _router = shop.process("router").await;
    settle().await;
    let told = Told { frame: 1000, id: 7, rebase: 4 };
    let edge = shop.starts("edge", false, told).await;
    // Another asked at the same moment, and was the last.
    shop.0.put_cursor("rebase", "1 another").await.expect("the log takes it");
    let mut numbers = vec![];
    while numbers.is_empty() {
        sleep(Duration::from_secs(1)).await;
        numbers = rebases(&shop).await.iter().map(|r| r.number).collect();
    }
    assert_eq!(numbers, [1]);
    assert!(edge.log.doubt().is_doubted(), "that rebase knows nothing of what this process read");
    sleep(Duration::from_secs(40)).await;
    let numbers: Vec<u64> = rebases(&shop).await.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 5]);
    assert!(!edge.log.doubt().is_doubted());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_less_does_not_take_away_what_another_asked_for() {
    let shop = Workspace::new();
    request_rebase(&shop.0, 4, "more").await.expect("the log takes it");
    request_rebase(&shop.0, 0, "less").await.expect("the log takes it");
    let _router = shop.process("router").await;
    settle().await;
    assert_eq!(only_rebase(&shop).await.number, 5);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_of_ours_neither_comes_for_ever_nor_ends_the_numbers() {
    let shop = Workspace::new();
    shop.0.put_cursor("rebase", "soon, please").await.expect("the log takes it");
    let _router = shop.process("router").await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(rebases(&shop).await.len(), 0);
    shop.0.put_cursor("rebase", &format!("{} from nowhere", u64::MAX)).await.expect("the log takes it");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(only_rebase(&shop).await.number, 1);
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_life_has_no_rebase() {
    let shop = Workspace::new();
    for name in ["one", "two", "three"] {
        let process = shop.process(name).await;
        let (send, _) = answered(&shop, &process, u32::from(name.as_bytes()[1])).await;
        if name != "two" {
            ended(&shop, &send, Outcome::Accepted).await;
        }
        let told = process.handle.state.latest().0;
        process.kill().await;
        shop.starts("next", true, Told { frame: told, id: 0, rebase: 0 }).await.kill().await;
    }
    assert_eq!(rebases(&shop).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_misses_frames_is_heard_beside_who_only_moved_the_log() {
    let shop = Workspace::new();
    let asked = async || shop.0.get_cursor("rebase").await.expect("an answer").expect("a request");
    request_rebase(&shop.0, 0, "migrate: it was moved here").await.expect("asked");
    request_rebase(&shop.0, 0, "migrate: once more").await.expect("asked");
    assert_eq!(asked().await, "1 migrate: it was moved here", "once is enough");
    request_rebase(&shop.0, 0, "LOG ends at frame 3").await.expect("asked");
    assert_eq!(asked().await, "1 LOG ends at frame 3");
    request_rebase(&shop.0, 0, "migrate: it was moved here").await.expect("asked");
    assert_eq!(asked().await, "1 LOG ends at frame 3");
}

//! Records that cannot be routed as they stand, and what is kept of them.

use super::Codec;
use super::standby_tests::{Process, Workspace};
use crate::log::{Class, InRecord, Log};
use std::sync::Arc;
use std::time::Duration;
use switchboard_routing_rules::event::Public;
use tokio::time::sleep;

/// The records in quarantine with their channels and reasons.
async fn quarantined(shop: &Workspace) -> Vec<(u64, String, String)> {
    let log: Arc<dyn Log> = Arc::new(shop.0.clone());
    let codec = Codec::new(log.clone());
    let mut found = vec![];
    for frame in log.read_log(0, 10_000).await.expect("LOG") {
        for event in codec.decode(&frame).await.expect("a frame") {
            if let Public::Quarantined { seq, channel, reason, .. } = event.public {
                found.push((seq, channel, reason));
            }
        }
    }
    found
}

fn conversations(process: &Process) -> usize {
    process.handle.state.latest().1.conversations.len()
}

/// Whoever may write to one channel's subject speaks for that channel, whatever else the record is.
#[tokio::test(start_paused = true)]
async fn a_message_on_another_channels_subject_is_quarantined_and_not_routed() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "hello").await;
    sleep(Duration::from_secs(1)).await;
    // The same message, but for its id and its sender, as somebody with the account of `line` would publish it.
    let genuine = shop.0.get_in(1).await.expect("an answer").expect("the record").data;
    let text = String::from_utf8(genuine.to_vec()).expect("JSON").replace("sms:message:1", "sms:message:2");
    let data = text.replace("+15550000001", "+15550000002").into_bytes();
    let record =
        InRecord { id: "sms:message:2".into(), channel: "line".into(), class: Class::Message, data: data.into() };
    shop.0.ingest(record.clone()).await.expect("there is room");
    sleep(Duration::from_secs(1)).await;
    let reason = "the record names another channel than its subject".to_owned();
    assert_eq!(quarantined(&shop).await, [(2, "line".to_owned(), reason)]);
    assert_eq!((one.decided(), conversations(&one)), (2, 1));
    // Nor is the genuine one taken for a duplicate of it.
    shop.says(2, "hello").await;
    shop.0.ingest(InRecord { id: "again".into(), channel: "sms".into(), ..record }).await.expect("there is room");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(conversations(&one), 2);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_fits_no_frame_is_quarantined_and_the_next_is_taken() {
    let shop = Workspace::new();
    let one = shop.process("one").await;
    shop.says(1, "hello").await;
    sleep(Duration::from_secs(1)).await;
    let before = one.handle.state.latest().1.to_parts().expect("parts").private;
    // An edge stores what is so long as a file; an adapter in another process may not.
    shop.says(2, &"a long story ".repeat(30_000)).await;
    shop.says(3, "hello").await;
    sleep(Duration::from_secs(1)).await;
    let reason = "what follows from it does not fit a frame".to_owned();
    assert_eq!(quarantined(&shop).await, [(2, "sms".to_owned(), reason)]);
    assert_eq!((one.decided(), conversations(&one)), (3, 2), "nothing is left of it, and the next is decided");
    let state = one.handle.state.latest().1;
    assert!(state.quarantine.contains_key(&2) && state.conversations.len() == 2);
    assert_eq!(before.len() + 1, state.to_parts().expect("parts").private.len(), "of the third only");
    // Whoever starts again comes to the same.
    one.kill().await;
    let two = shop.process("two").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((two.decided(), conversations(&two)), (3, 2));
}

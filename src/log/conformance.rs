//! One suite for every backend: what [`Log`] promises, each case named after what it prevents.
//!
//! A backend is run through it with [`conformance_suite!`], which makes a test of each case.

pub(crate) mod commits;
pub(crate) mod edges;
pub(crate) mod inputs;

use super::{Class, FrameWrite, InRecord, Ingested, Log, OutRecord, Outbox, Seq, Stored};
use async_trait::async_trait;
use bytes::Bytes;
use std::{pin::Pin, sync::Arc, time::Duration};
use switchboard_envelope::Timestamp;

/// How the suite gets at a backend. Opening again after the last handle was dropped shows what was kept.
#[async_trait]
pub(crate) trait Backend: Sync {
    /// Opens the one log of this backend, whose IN holds at most `in_max_bytes`.
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log>;

    async fn open(&self) -> Arc<dyn Log> {
        self.open_limited(1 << 30).await
    }

    /// Whether an id is forgotten with its record. A broker remembers it for a while, which the trait allows: the router has
    /// decided on a record before it trims it.
    fn forgets_trimmed_ids(&self) -> bool {
        true
    }

    /// A full log still says which records it holds.
    fn knows_duplicates_when_full(&self) -> bool {
        true
    }
}

macro_rules! conformance_suite {
    ($backend:expr => $($module:ident: $($case:ident),+ $(,)?;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let backend = $backend;
                crate::log::conformance::within(crate::log::conformance::$module::$case(&backend)).await;
            }
        )+)+
    };
    ($backend:expr) => {
        crate::log::conformance::cases!(conformance_suite, $backend);
    };
}

/// Hands every case to `$then`, which makes tests of them or a list.
macro_rules! cases {
    ($then:ident $(, $backend:expr)?) => {
        crate::log::conformance::$then! { $($backend =>)?
            inputs:
                a_duplicate_delivery_is_not_stored_again,
                duplicates_at_the_same_moment_are_stored_once,
                an_acknowledged_record_is_there_after_reopening,
                the_end_of_in_is_known_also_when_its_last_records_were_trimmed,
                reading_in_pages_skips_and_repeats_nothing,
                a_reader_at_the_tail_is_woken_and_misses_nothing,
                stored_times_never_go_backwards,
                sixty_four_producers_lose_nothing_and_keep_their_order,
                a_nearly_full_log_refuses_messages_and_takes_results,
                a_full_log_still_knows_its_duplicates,
                trimming_makes_room_and_keeps_what_is_later,
                a_sequence_is_never_used_twice_even_when_all_is_trimmed,
                an_id_may_come_again_once_its_record_was_trimmed,
                ;
            commits:
                of_two_routers_only_one_commits,
                a_repeated_commit_is_settled_by_reading_the_frame,
                a_refused_frame_leaves_no_key_and_no_send,
                a_frame_is_there_after_reopening_with_its_keys_and_sends,
                sends_that_do_not_continue_out_are_refused,
                a_frame_sealed_with_another_key_is_refused,
                frames_are_read_in_order_and_the_tail_wakes,
                the_bounds_of_log_follow_appends_and_trims,
                a_large_frame_is_kept_whole,
                ;
            edges:
                a_channel_gets_its_own_records_in_order,
                an_outbox_waits_and_is_woken,
                an_unclaimed_record_comes_again_after_reopening,
                of_many_claims_one_wins,
                a_claim_whose_answer_was_lost_is_still_ours,
                the_routers_claim_stops_a_late_edge,
                a_claim_is_there_after_reopening,
                an_attempt_released_twice_is_claimed_once,
                trimmed_sends_are_gone_and_later_ones_stay,
                a_key_is_created_once_and_erased_for_good,
                a_blob_is_found_in_its_scope_only,
                a_blob_is_there_after_reopening,
                a_reference_that_is_no_hash_reaches_no_file,
                an_edge_gets_back_its_cursor,
                the_snapshot_before_the_newest_is_kept,
                snapshots_of_frames_that_are_lost_are_dropped,
                ;
        }
    };
}

/// A case, to be run where a test of its own is not what is wanted.
pub(crate) type Case = for<'a> fn(&'a dyn Backend) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! listed {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        vec![$($((stringify!($case), (|backend| Box::pin($module::$case(backend))) as Case)),+),+]
    };
}

/// Every case by its name, to be run one after the other.
pub(crate) fn every_case() -> Vec<(&'static str, Case)> {
    cases!(listed)
}

pub(crate) use {cases, conformance_suite, listed};

/// A case that waits for what never comes fails instead of hanging.
pub(crate) async fn within<T>(case: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), case).await.expect("the case waits for something that never comes")
}

pub(crate) fn record(id: &str, class: Class) -> InRecord {
    InRecord { id: id.to_owned(), channel: "sms".into(), class, data: Bytes::from(format!("data of {id}")) }
}

pub(crate) async fn ingest(log: &dyn Log, id: &str) -> Ingested {
    log.ingest(record(id, Class::Message)).await.expect("ingest")
}

pub(crate) fn send(channel: &str, n: u64) -> OutRecord {
    OutRecord {
        channel: channel.into(),
        claim_key: format!("{channel}.s{n}.1.1"),
        until: Timestamp(i64::MAX),
        data: Bytes::from(format!("send {n}")),
    }
}

pub(crate) fn frame(text: &str, out_first: Seq, sends: Vec<OutRecord>) -> FrameWrite {
    FrameWrite { bytes: Bytes::from(text.to_owned()), keys: Vec::new(), out_first, sends }
}

pub(crate) fn texts(records: &[Stored]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(&r.data).into_owned()).collect()
}

pub(crate) fn seqs(records: &[Stored]) -> Vec<Seq> {
    records.iter().map(|r| r.seq).collect()
}

/// Takes records until `count` different ones came, in order of first delivery.
pub(crate) async fn take(outbox: &mut dyn Outbox, count: usize) -> Vec<Stored> {
    let mut taken: Vec<Stored> = Vec::new();
    while taken.len() < count {
        for record in outbox.next(3).await.expect("next") {
            if taken.iter().all(|there| there.seq != record.seq) {
                taken.push(record);
            }
        }
    }
    taken
}

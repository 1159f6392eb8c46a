//! The streams of a workspace as an adapter finds them. A test of the daemon compares them with what the daemon makes.

use serde_json::{Value, json};
use std::time::Duration;

/// One stream, as JetStream's API takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub name: String,
    pub config: Value,
}

const MIB: u64 = 1 << 20;

/// Those that an adapter touches: IN, OUT, claims and files.
#[must_use]
pub fn streams(prefix: &str, workspace: &str) -> Vec<Stream> {
    let nanos = |minutes: u64| u64::try_from(Duration::from_secs(minutes * 60).as_nanos()).unwrap_or(u64::MAX);
    let stream = |name: String, subjects: &[String], discard: &str, max_age: u64, bucket: bool| {
        let mut config = json!({
            "name": name, "subjects": subjects, "retention": "limits", "storage": "file", "discard": discard,
            "max_bytes": 64 * MIB, "max_age": max_age, "num_replicas": 1, "duplicate_window": nanos(2), "allow_direct": true,
        });
        if let (true, Some(config)) = (bucket, config.as_object_mut()) {
            config.insert("allow_rollup_hdrs".into(), json!(true));
        }
        Stream { name, config }
    };
    let (claims, blobs) = (format!("SB_{workspace}_CLAIMS"), format!("SB_{workspace}_BLOBS"));
    let mut all = vec![
        stream(format!("SB_{workspace}_IN"), &[format!("{prefix}.{workspace}.in.*")], "new", 0, false),
        stream(format!("SB_{workspace}_OUT"), &[format!("{prefix}.{workspace}.out.*")], "old", nanos(20), false),
        stream(format!("KV_{claims}"), &[format!("$KV.{claims}.>")], "new", nanos(30), true),
        stream(format!("OBJ_{blobs}"), &[format!("$O.{blobs}.C.>"), format!("$O.{blobs}.M.>")], "new", 0, true),
    ];
    if let Some(config) = all.get_mut(2).and_then(|kv| kv.config.as_object_mut()) {
        config.insert("max_msgs_per_subject".into(), json!(1));
    }
    all
}

/// The consumer of a channel's attempts.
pub(crate) fn consumer(prefix: &str, workspace: &str, channel: &str) -> Value {
    json!({ "stream_name": format!("SB_{workspace}_OUT"), "config": {
        "durable_name": channel, "deliver_policy": "all", "ack_policy": "explicit",
        "ack_wait": u64::try_from(Duration::from_secs(15).as_nanos()).unwrap_or(u64::MAX), "max_deliver": -1, "max_ack_pending": 256,
        "filter_subject": format!("{prefix}.{workspace}.out.{channel}"), "replay_policy": "instant",
    }})
}

/// What the account of an adapter may publish to, and where it may listen: as deploy/nats-users.conf says.
pub(crate) fn permissions(prefix: &str, workspace: &str, channel: &str) -> (Vec<String>, String) {
    let may = vec![
        format!("{prefix}.{workspace}.in.{channel}"),
        format!("{prefix}.{workspace}.status.{channel}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.SB_{workspace}_OUT.{channel}"),
        format!("$JS.ACK.SB_{workspace}_OUT.{channel}.>"),
        format!("$KV.SB_{workspace}_CLAIMS.{channel}.>"),
        format!("$JS.API.DIRECT.GET.KV_SB_{workspace}_CLAIMS.$KV.SB_{workspace}_CLAIMS.{channel}.>"),
        format!("$O.SB_{workspace}_BLOBS.C.{channel}.*"),
        format!("$O.SB_{workspace}_BLOBS.M.{channel}.*.*"),
    ];
    (may, format!("_INBOX_{}_{workspace}_{channel}.>", prefix.replace('.', "_")))
}

#[cfg(test)]
mod tests {
    use super::permissions;

    #[test]
    fn the_adapter_gets_the_account_that_is_shipped() {
        let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nats-users.conf"))
            .expect("the file");
        let entry = shipped.split("user: line").nth(1).expect("the entry of an adapter");
        let quoted: Vec<&str> = entry.split('"').skip(1).step_by(2).collect();
        let (mut ours, inbox) = permissions("sb", "main", "line");
        ours.push(inbox);
        assert_eq!(ours, quoted);
    }
}

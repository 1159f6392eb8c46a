//! How full the streams are, and where their copies stand.

use super::{link::Link, names::Names};
use crate::log::Store;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Stream {
    config: Settings,
    state: Held,
    #[serde(default)]
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    num_replicas: u32,
    /// -1 for no end.
    #[serde(default)]
    max_bytes: i64,
}

#[derive(Deserialize)]
struct Held {
    #[serde(default)]
    bytes: u64,
}

#[derive(Default, Deserialize)]
struct Cluster {
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

/// Every stream that this process may ask about; the others are left out.
pub(super) async fn all(link: &Link, names: &Names, wanted_replicas: u32) -> Vec<Store> {
    let buckets = ["CLAIMS", "KEYS", "EDGES"].map(|bucket| format!("KV_{}", names.bucket(bucket)));
    let blobs = format!("OBJ_{}", names.bucket("BLOBS"));
    let streams = [names.inn(), names.log(), names.out()].into_iter().chain(buckets).chain([blobs]);
    // All at once: each that does not answer takes as long as an answer may.
    let asked = streams.map(async |stream| {
        let info = link.api::<Stream>(&format!("STREAM.INFO.{stream}"), &json!({})).await.ok()?;
        Some(store(stream, info, wanted_replicas))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn store(name: String, info: Stream, wanted_replicas: u32) -> Store {
    let copies = info.cluster.unwrap_or_default().replicas;
    let behind = copies.into_iter().filter(|copy| copy.offline || !copy.current).map(|copy| copy.name);
    Store {
        name,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|most| *most > 0),
        replicas: info.config.num_replicas.max(1),
        wanted_replicas,
        behind: behind.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_up_to_date_or_does_not_answer_is_behind() {
        let info = json!({
            "config": { "num_replicas": 3, "max_bytes": 1000 }, "state": { "bytes": 640 },
            "cluster": { "leader": "a", "replicas": [
                { "name": "b", "current": true }, { "name": "c", "current": false },
                { "name": "d", "current": true, "offline": true },
            ] },
        });
        let got = store("SB_main_IN".into(), serde_json::from_value(info).expect("a stream"), 3);
        assert_eq!((got.bytes, got.max_bytes, got.replicas), (640, Some(1000), 3));
        assert_eq!(got.behind, ["c", "d"]);
        let alone = json!({ "config": { "max_bytes": -1 }, "state": {} });
        let got = store("SB_main_LOG".into(), serde_json::from_value(alone).expect("a stream"), 1);
        assert_eq!((got.max_bytes, got.replicas, got.behind.len()), (None, 1, 0));
    }
}

//! One try at the files of a message.

use super::{FILE_MAX, FileChannel};
use crate::log::Log;
use std::collections::HashMap;
use switchboard_adapter_sdk::{Adapter, CallError, FetchError, file_type};
use switchboard_envelope::{Attachment, FileProblem};
use url::Url;

/// The most files of one message, whatever its provider lists.
const FILES_MAX: usize = 30;

pub(super) struct Round<'a> {
    pub channels: &'a HashMap<String, FileChannel>,
    pub log: &'a dyn Log,
    pub channel: &'a str,
}

impl Round<'_> {
    /// One try at every file that is wanted. A list gives way to the files that it names; but where it names one file, whose
    /// address may be good for minutes only, the list stays until the file is had.
    pub async fn run(&self, scope: &str, files: &mut Vec<Attachment>, again: bool) {
        let mut i = 0;
        let mut asked: Option<Attachment> = None;
        while let Some(file) = files.get(i).cloned() {
            if !file.is_wanted() {
                (i, asked) = (i + 1, None);
                continue;
            }
            match self.one(scope, &file).await {
                Ok(Got::Stored(stored)) => files.splice(i..=i, [*stored]).for_each(drop),
                Ok(Got::Listed(listed)) if files.len() + listed.len() <= FILES_MAX => {
                    // What the list names is fetched next.
                    asked = Some(file.clone()).filter(|_| listed.len() == 1);
                    files
                        .splice(i..=i, listed.into_iter().filter(|f| f.name != file.name || f.url != file.url))
                        .for_each(drop);
                    continue;
                }
                Ok(Got::Listed(_)) => mark(files, i, "the provider lists more files than are taken", false),
                Err(Failed { detail, again: may }) => {
                    tracing::info!(channel = self.channel, detail, again = again && may, "a file could not be fetched");
                    if let Some(list) = asked.take().filter(|_| again && may) {
                        files.splice(i..=i, [list]).for_each(drop);
                    }
                    mark(files, i, &detail, again && may);
                }
            }
            (i, asked) = (i + 1, None);
        }
    }

    async fn one(&self, scope: &str, file: &Attachment) -> Result<Got, Failed> {
        let known = self.channels.get(self.channel).ok_or_else(|| Failed::later("its channel is not configured"))?;
        let call = known.adapter.fetch(file).ok_or_else(|| Failed::ever(foreign(known.adapter.as_ref(), file)))?;
        let fetched = known.source.fetch(call, FILE_MAX).await.map_err(failed)?;
        if fetched.bytes.is_empty() {
            return Err(Failed::later("the file is empty"));
        }
        if let Some(listed) = known.adapter.listed(file, &fetched.bytes) {
            return Ok(Got::Listed(listed));
        }
        let declared = fetched.content_type.as_deref().unwrap_or(&file.mime);
        let (mime, size) = (file_type::with_declared(&fetched.bytes, declared), fetched.bytes.len() as u64);
        let stored = self.log.put_blob(scope, fetched.bytes).await;
        let blob = stored.map_err(|_| Failed::later("there was no room to store it"))?;
        let name = file.name.clone();
        Ok(Got::Stored(Box::new(Attachment {
            name,
            mime: mime.into(),
            size,
            blob: Some(blob),
            ..Attachment::default()
        })))
    }
}

enum Got {
    Stored(Box<Attachment>),
    Listed(Vec<Attachment>),
}

struct Failed {
    detail: String,
    again: bool,
}

impl Failed {
    fn later(detail: impl Into<String>) -> Failed {
        Failed { detail: detail.into(), again: true }
    }

    fn ever(detail: impl Into<String>) -> Failed {
        Failed { detail: detail.into(), again: false }
    }
}

/// Whether another try can help, in a sentence that names no address. A provider may name a file before it has it, and
/// credentials can be mended: so a refusal is not the end.
fn failed(error: FetchError) -> Failed {
    match error {
        FetchError::Status(status) => Failed::later(format!("the provider answered {status}")),
        FetchError::Call(CallError::NotSent(_)) => Failed::later("the provider could not be reached"),
        FetchError::Call(CallError::Lost(_)) => Failed::later("the provider did not send it in time"),
        FetchError::TooLarge { limit } => Failed::ever(format!("it is larger than {} MiB", limit >> 20)),
        FetchError::Redirect(why) => Failed::ever(format!("the provider's redirect was refused: {why}")),
    }
}

/// Of a host that a stranger named, as much as a person looks at.
const HOST_SHOWN: usize = 100;

/// That a file lies where nothing is fetched from: at which host and port, and of its address no more, and what is allowed.
fn foreign(adapter: &dyn Adapter, file: &Attachment) -> String {
    let url = file.url.as_deref().and_then(|url| Url::parse(url).ok());
    let at = |url: Url| {
        let host: String = url.host_str()?.chars().take(HOST_SHOWN).collect();
        Some(format!(", {}://{host}:{},", url.scheme(), url.port_or_known_default()?))
    };
    let at = url.and_then(at).unwrap_or_default();
    let from = adapter.fetches_from().map(|from| format!(": files are fetched only from {from}")).unwrap_or_default();
    format!("its address{at} is not the provider's{from}")
}

fn mark(files: &mut [Attachment], i: usize, detail: &str, again: bool) {
    if let Some(file) = files.get_mut(i) {
        file.problem = Some(FileProblem { detail: detail.to_owned(), again });
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileSource;
    use super::*;
    use crate::log::memory::{MemoryLog, MemoryOptions};
    use async_trait::async_trait;
    use bytes::Bytes;
    use std::sync::{Arc, Mutex};
    use switchboard_adapter_sdk::settings::Value as Setting;
    use switchboard_adapter_sdk::{Call, File, Secret, Settings};

    const LIST: &str = "http://127.0.0.1:9/v26.0/777";

    /// WhatsApp, whose addresses are good for the next call only, and which gives no file before it was asked so often.
    struct Media {
        calls: Mutex<Vec<String>>,
        from: usize,
    }

    #[async_trait]
    impl FileSource for Media {
        async fn fetch(&self, call: Call, _limit: usize) -> Result<File, FetchError> {
            let mut calls = self.calls.lock().expect("no panic");
            calls.push(call.url.clone());
            let asked = calls.iter().filter(|url| *url == LIST).count();
            let current = format!("http://127.0.0.1:9/file/{asked}");
            let bytes = if call.url == LIST {
                Bytes::from(format!("{{\"url\":\"{current}\",\"mime_type\":\"image/png\"}}"))
            } else if call.url != current {
                return Err(FetchError::Status(404));
            } else if asked < self.from {
                return Err(FetchError::Status(503));
            } else {
                Bytes::from_static(b"\x89PNG\r\n\x1a\n")
            };
            Ok(File { bytes, content_type: None })
        }
    }

    fn whatsapp() -> Arc<dyn switchboard_adapter_sdk::Adapter> {
        let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
        let settings = Settings::new("wa", None)
            .with("phone_number_id", Setting::Text("106540352242922".into()))
            .with("base_url", Setting::Text("http://127.0.0.1:9".into()))
            .with("app_secret", secret("s"))
            .with("verify_token", secret("v"))
            .with("access_token", secret("t"));
        switchboard_facebook::build(switchboard_facebook::product("whatsapp").expect("it is one"), &settings)
            .expect("it is whole")
    }

    #[tokio::test]
    async fn a_file_whose_address_expired_is_asked_for_again() {
        let source = Arc::new(Media { calls: Mutex::default(), from: 3 });
        let channel = FileChannel { adapter: whatsapp(), source: source.clone() };
        let channels = HashMap::from([("wa".to_owned(), channel)]);
        let log = MemoryLog::new(&MemoryOptions::default());
        let round = Round { channels: &channels, log: &log, channel: "wa" };
        let photo = Attachment { name: "photo".into(), url: Some(LIST.into()), ..Attachment::default() };
        let mut files = vec![photo.clone(), Attachment { name: "b".into(), ..Attachment::default() }];
        for n in 1..3 {
            round.run("wa/1", &mut files, true).await;
            assert_eq!(
                (files[0].url.as_deref(), files[0].is_wanted(), files.len()),
                (Some(LIST), true, 2),
                "round {n}"
            );
            assert_eq!(files[0].problem.as_ref().map(|p| p.detail.as_str()), Some("the provider answered 503"));
        }
        round.run("wa/1", &mut files, true).await;
        assert!(files[0].blob.is_some() && files[0].mime == "image/png" && files.len() == 2, "{files:?}");
        assert_eq!(source.calls.lock().expect("no panic").len(), 6);
    }

    #[tokio::test]
    async fn an_address_that_is_refused_is_named_by_host_and_port_and_what_is_allowed_too() {
        let kind = switchboard_webhook::WebhookConfig {
            url: "http://127.0.0.1:21701/msgs".into(),
            secrets: vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
            address_kind: None,
            has_links: false,
        };
        let adapter = Arc::new(switchboard_webhook::Webhook::new("wa", kind).expect("settings"));
        let source = Arc::new(Media { calls: Mutex::default(), from: 0 });
        let channels = HashMap::from([("wa".to_owned(), FileChannel { adapter, source })]);
        let log = MemoryLog::new(&MemoryOptions::default());
        let at = |url: &str| Attachment { url: Some(url.into()), ..Attachment::default() };
        let long = format!("http://10.0.0.1.{}:21702/doc.txt", "a".repeat(2000));
        let mut files = vec![at("http://127.0.0.1:21702/doc.txt?token=s3cr3t"), at("no address")];
        assert!(foreign(channels["wa"].adapter.as_ref(), &at(&long)).len() < 300, "nobody reads so long a host");
        Round { channels: &channels, log: &log, channel: "wa" }.run("wa/1", &mut files, true).await;
        let said: Vec<_> = files.iter().filter_map(|file| Some(file.problem.as_ref()?.detail.as_str())).collect();
        let allowed = "files are fetched only from public addresses, and from the channel's own address";
        assert_eq!(
            said,
            [
                format!("its address, http://127.0.0.1:21702, is not the provider's: {allowed}"),
                format!("its address is not the provider's: {allowed}"),
            ]
        );
        assert!(files.iter().all(|file| !file.is_wanted()));
    }

    #[tokio::test]
    async fn the_last_try_says_that_there_is_none_after_it() {
        let source = Arc::new(Media { calls: Mutex::default(), from: 9 });
        let channels = HashMap::from([("wa".to_owned(), FileChannel { adapter: whatsapp(), source })]);
        let log = MemoryLog::new(&MemoryOptions::default());
        let mut files = vec![Attachment { name: "photo".into(), url: Some(LIST.into()), ..Attachment::default() }];
        Round { channels: &channels, log: &log, channel: "wa" }.run("wa/1", &mut files, false).await;
        assert!(!files[0].is_wanted() && files[0].problem.is_some());
    }
}

//! The files of messages and posts, of either version of the API.

use crate::json::{file, text};
use serde_json::Value;
use switchboard_envelope::{Attachment, FileProblem};

/// The most files of one message.
const MAX_FILES: usize = 30;

/// A file, and X's short link that stands for it in the text.
pub(crate) struct Found {
    pub files: Vec<Attachment>,
    pub links: Vec<String>,
    /// How many there are beyond the most of one message.
    more: usize,
}

impl Found {
    /// `media` are media objects.
    pub(crate) fn of<'a>(mut media: impl Iterator<Item = &'a Value>) -> Found {
        let mut found = Found { files: vec![], links: vec![], more: 0 };
        for one in media.by_ref().take(MAX_FILES) {
            let kind = text(one, "/type").unwrap_or("photo");
            let (name, mime, url) = match kind {
                "video" | "animated_gif" => {
                    let (url, mime) = best(one).unwrap_or((preview(one), "image/jpeg"));
                    ("video", mime, url)
                }
                "audio" => ("audio", "audio/mp4", best(one).map_or_else(|| preview(one), |(url, _)| url)),
                _ => ("photo", "image/jpeg", preview(one)),
            };
            found.files.push(file(name, mime, url));
            found.links.extend(text(one, "/url").filter(|link| link.contains("://t.co/")).map(str::to_owned));
        }
        found.more = media.count();
        found
    }

    /// What was said, with a line for the files that are too many to be shown.
    pub(crate) fn beside(&self, said: String) -> String {
        if self.more == 0 {
            return said;
        }
        let line = format!("[{} more files, which are not shown]", self.more);
        [said, line].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// The same, of what we wrote: nobody fetches it.
    pub(crate) fn of_ours(self) -> Vec<Attachment> {
        let problem = || FileProblem { detail: "it was sent from X, and is there".into(), again: false };
        self.files.into_iter().map(|file| Attachment { problem: Some(problem()), ..file }).collect()
    }
}

/// Where a picture is; of a film, its first one.
fn preview(media: &Value) -> Option<&str> {
    let plain = text(media, "/url").filter(|url| !url.contains("://t.co/"));
    text(media, "/media_url_https").or(plain).or_else(|| text(media, "/preview_image_url"))
}

/// The best film of a few sizes that is one file.
fn best(media: &Value) -> Option<(Option<&str>, &str)> {
    let list = media.pointer("/video_info/variants").or_else(|| media.get("variants"))?.as_array()?;
    let rate = |v: &Value| v.get("bitrate").or_else(|| v.get("bit_rate")).and_then(Value::as_u64).unwrap_or(0);
    let whole = list.iter().filter(|v| text(v, "/content_type").is_some_and(|kind| kind.ends_with("/mp4")));
    let chosen = whole.max_by_key(|v| rate(v))?;
    Some((text(chosen, "/url"), text(chosen, "/content_type").unwrap_or("video/mp4")))
}

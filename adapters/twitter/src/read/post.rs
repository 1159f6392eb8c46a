//! Posts: mentions, replies and quotes, in the shape of either version of the API.

use super::{About, direct::list, files::Found, people::Person, public_thread};
use crate::channel::Public;
use crate::json::{id, is_number, joined, tell, text, time};
use crate::words::expanded;
use serde_json::Value;
use switchboard_envelope::{Content, Inbound, Timestamp, Visibility};

/// A post as it is in either shape.
struct Post {
    id: String,
    author: String,
    /// Where the post brings its author along.
    by: Option<Person>,
    at: Option<Timestamp>,
    text: String,
    files: Found,
    answers: Option<String>,
    answers_whom: Option<String>,
    quotes: Option<String>,
    reposts: bool,
    mentioned: Vec<String>,
    language: Option<String>,
    /// The post that this one is another version of.
    was: Option<String>,
}

impl Post {
    fn of(value: &Value, around: &Value) -> Result<Post, String> {
        if value.get("user").is_some() { Post::of_first(value) } else { Post::of_second(value, around) }
    }

    /// As the older API has it: `id_str` beside `id`, the author inside, and a long text in `extended_tweet`.
    fn of_first(value: &Value) -> Result<Post, String> {
        let long = value.get("extended_tweet").filter(|long| text(long, "/full_text").is_some());
        let body = long.unwrap_or(value);
        let said = text(body, "/full_text").or_else(|| text(body, "/text")).unwrap_or_default();
        let extended = list(body, "/extended_entities/media");
        let media = if extended.is_empty() { list(body, "/entities/media") } else { extended };
        let files = Found::of(media.into_iter());
        let links = list(body, "/entities/urls");
        let mentions = [list(body, "/entities/user_mentions"), list(value, "/entities/user_mentions")].concat();
        Ok(Post {
            id: id(value, "/id").ok_or("a post without an id")?,
            author: id(value, "/user/id").ok_or("a post of nobody")?,
            by: value.get("user").map(Person::of),
            at: time(value, "/timestamp_ms").or_else(|| time(value, "/created_at")),
            text: told(said, &links, &files),
            files,
            answers: id(value, "/in_reply_to_status_id"),
            answers_whom: id(value, "/in_reply_to_user_id"),
            quotes: id(value, "/quoted_status_id"),
            reposts: value.get("retweeted_status").is_some_and(Value::is_object),
            mentioned: mentions.into_iter().filter_map(|m| id(m, "/id")).collect(),
            language: text(value, "/lang").map(str::to_owned),
            was: None,
        })
    }

    /// As the newer API has it: ids are text, the author is among what is included, and a long text in `note_tweet`.
    fn of_second(value: &Value, around: &Value) -> Result<Post, String> {
        let long = value.get("note_tweet").filter(|note| text(note, "/text").is_some());
        let body = long.unwrap_or(value);
        let keys: Vec<&str> = list(value, "/attachments/media_keys").into_iter().filter_map(Value::as_str).collect();
        let known = list(around, "/media");
        let mut files =
            Found::of(known.into_iter().filter(|m| text(m, "/media_key").is_some_and(|key| keys.contains(&key))));
        let links = [list(body, "/entities/urls"), list(value, "/entities/urls")].concat();
        let of_files = links.iter().filter(|link| link.get("media_key").is_some()).filter_map(|l| text(l, "/url"));
        files.links.extend(of_files.map(str::to_owned));
        let referred = |kind: &str| {
            let all = list(value, "/referenced_tweets");
            all.into_iter().find(|r| text(r, "/type") == Some(kind)).and_then(|r| id(r, "/id"))
        };
        let post = id(value, "/id").ok_or("a post without an id")?;
        let versions = list(value, "/edit_history_tweet_ids");
        let was = versions.iter().rev().filter_map(|v| v.as_str()).find(|version| *version != post);
        let mentions = [list(body, "/entities/mentions"), list(value, "/entities/mentions")].concat();
        let answers = referred("replied_to");
        // Whom it answers is known by what it answers, where that is included.
        let answered = |answers: &String| {
            let all = list(around, "/tweets");
            all.into_iter().find(|t| id(t, "/id").as_ref() == Some(answers)).and_then(|t| id(t, "/author_id"))
        };
        Ok(Post {
            author: id(value, "/author_id").ok_or("a post of nobody")?,
            by: None,
            at: time(value, "/created_at"),
            text: told(text(body, "/text").unwrap_or_default(), &links, &files),
            files,
            answers_whom: id(value, "/in_reply_to_user_id").or_else(|| answers.as_ref().and_then(answered)),
            answers,
            quotes: referred("quoted"),
            reposts: referred("retweeted").is_some(),
            mentioned: mentions.into_iter().filter_map(|m| id(m, "/id")).collect(),
            language: text(value, "/lang").map(str::to_owned),
            was: was.map(crate::json::kept_id),
            id: post,
        })
    }
}

fn told(said: &str, links: &[&Value], files: &Found) -> String {
    let dropped: Vec<&str> = files.links.iter().map(String::as_str).collect();
    files.beside(expanded(said, links, &dropped))
}

impl About<'_> {
    pub(super) fn post(&self) -> Result<Option<Inbound>, String> {
        let post = Post::of(self.event.value, self.event.around)?;
        let at = post.at.or_else(|| crate::json::made_at(&post.id)).unwrap_or(self.event.received_at);
        if post.reposts {
            return self.noted("post.repost.create");
        }
        if post.author == self.ours() {
            // What we say to nobody in particular belongs into no conversation.
            let whom = post.answers_whom.clone().filter(|whom| whom != self.ours() && is_number(whom));
            let content = Content { attachments: post.files.of_ours(), ..Content::text(post.text) };
            let public = whom.filter(|_| self.twitter.public != Public::Ignore);
            return Ok(public.map(|whom| self.echo(&post.id, &whom, public_thread(&whom), at, content)));
        }
        if !is_number(&post.author) {
            return Err("a post of nobody who could be answered".into());
        }
        let ours = || self.ours().to_owned();
        let to_us = post.mentioned.contains(&ours()) || post.answers_whom == Some(ours());
        // X says itself for whom it tells these; what it tells of somebody's posts has to be to us.
        let is_told = self.event.kind != "post.create";
        if self.twitter.public == Public::Ignore || !(to_us || is_told) {
            return Ok(None);
        }
        if !to_us {
            self.for_us()?;
        }
        if post.text.is_empty() && post.files.files.is_empty() {
            return Err("a post with nothing in it that is known".into());
        }
        let mut message = self.blank(&post.author, &post.id, at, Visibility::Public);
        if let Some(by) = &post.by {
            message.from.name.clone_from(&by.name);
            by.told(&mut message.meta);
        }
        let kind = match (&post.quotes, &post.answers) {
            (Some(_), _) => "quote",
            (None, Some(_)) => "reply",
            (None, None) => "mention",
        };
        tell(&mut message.meta, "post", Some(kind));
        tell(&mut message.meta, "event", post.was.is_some().then_some("edit"));
        let language = post.language.filter(|lang| lang.len() == 2 && lang.bytes().all(|b| b.is_ascii_lowercase()));
        tell(&mut message.meta, "language", language.as_deref());
        message.references.extend([post.was, post.answers, post.quotes].into_iter().flatten());
        message.content = Content { attachments: post.files.files, ..Content::text(post.text) };
        message.provider_id = Some(post.id);
        Ok(Some(Inbound::Message(Box::new(message))))
    }

    /// Somebody took a post back: who reads the conversation has to know.
    pub(super) fn deleted(&self) -> Result<Option<Inbound>, String> {
        let event = self.event;
        let post = event.id("/id").or_else(|| event.id("/status/id")).ok_or("a deleted post without an id")?;
        let author =
            event.id("/author_id").or_else(|| event.id("/status/user_id")).ok_or("a deleted post of nobody")?;
        if author == self.ours() || self.twitter.public == Public::Ignore {
            return Ok(None);
        }
        self.for_us()?;
        if !is_number(&author) {
            return Err("a deleted post of nobody who is known".into());
        }
        let at = event.at(&["/timestamp_ms"]);
        let mut message = self.blank(&author, &joined(&["delete", &post]), at, Visibility::Public);
        message.automatic = true;
        message.content = Content::text("[the customer deleted a post]");
        message.references = vec![post];
        tell(&mut message.meta, "event", Some("delete"));
        Ok(Some(Inbound::Message(Box::new(message))))
    }
}

//! What the Web API's errors mean (<https://docs.slack.dev/reference/methods/chat.postMessage#errors>).

use switchboard_adapter_sdk::classify::{Class, Row};

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

const TOKEN: &str = "Slack refuses the bot's token: install the app again, and write its token to bot_token";

/// What Slack itself says of both is that some of the operation may have succeeded before the error was raised
/// (<https://docs.slack.dev/reference/methods/chat.postMessage#errors>). Lists that others made of its errors call them passing, and
/// to post again may then tell people twice; our id in the post's metadata shows whether it is there, so it is looked for.
const MAYBE: &str = "Slack failed, and may have posted it";

/// Every error that says what became of a post.
pub(crate) const ERRORS: &[Row] = &[
    row("ratelimited", Class::RateLimit, "too many messages at once; nothing was posted"),
    row("rate_limited", Class::RateLimit, "too many messages at once; nothing was posted"),
    row("message_limit_exceeded", Class::RateLimit, "too many messages at once; nothing was posted"),
    row("internal_error", Class::Ambiguous, MAYBE),
    row("fatal_error", Class::Ambiguous, MAYBE),
    row("service_unavailable", Class::Retry, "Slack is not available, and posted nothing"),
    row("request_timeout", Class::Retry, "the request did not arrive whole, and nothing was posted"),
    row("team_added_to_org", Class::Retry, "the workspace is being moved, and nothing was posted"),
    row("msg_too_long", Class::PermanentMessage, "the text is too long for Slack"),
    row("no_text", Class::PermanentMessage, "there is nothing to post"),
    row("invalid_blocks", Class::PermanentMessage, "Slack cannot show this message"),
    row("msg_blocks_too_long", Class::PermanentMessage, "the message is too long for Slack"),
    row("too_many_attachments", Class::PermanentMessage, "the message has too many parts for Slack"),
    row("channel_not_found", Class::Config, "Slack knows no such channel, or the bot cannot see it: check channel"),
    row("not_in_channel", Class::Config, "the bot is not in the channel: invite it there"),
    row("is_archived", Class::Config, "the channel is archived: name another one"),
    row("restricted_action", Class::Config, "the workspace does not let the bot post in this channel"),
    row("invalid_auth", Class::Config, TOKEN),
    row("not_authed", Class::Config, TOKEN),
    row("token_revoked", Class::Config, TOKEN),
    row("token_expired", Class::Config, TOKEN),
    row("account_inactive", Class::Config, TOKEN),
    row(
        "missing_scope",
        Class::Config,
        "the bot may not post: give the app the scope chat:write, and install it again",
    ),
];

//! What the Bot API's refusals mean. It documents no codes of its own: `error_code` is HTTP's, and the description says the rest
//! (<https://core.telegram.org/bots/api#making-requests>).

use switchboard_adapter_sdk::classify::Class;

/// A refusal: its code, what its description holds (in lower case; empty for all others of the code), and what that means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub code: u16,
    pub holds: &'static str,
    pub class: Class,
    pub sentence: &'static str,
}

const fn row(code: u16, holds: &'static str, class: Class, sentence: &'static str) -> Refusal {
    Refusal { code, holds, class, sentence }
}

/// In the order in which they are tried.
pub(crate) const REFUSALS: &[Refusal] = &[
    row(429, "", Class::RateLimit, "too many messages at once; nothing was sent"),
    row(420, "", Class::RateLimit, "too many messages at once; nothing was sent"),
    row(401, "", Class::Config, "Telegram refuses the bot's token: write the one that BotFather shows"),
    row(404, "", Class::Config, "Telegram knows no such bot: check token and base_url"),
    row(403, "bot was blocked by the user", Class::OptedOut, "the person blocked the bot"),
    row(403, "user is deactivated", Class::PermanentRecipient, "the person deleted their account"),
    row(
        403,
        "can't initiate conversation",
        Class::PermanentRecipient,
        "the person never wrote to the bot, which may not write first",
    ),
    row(
        403,
        "bot can't send messages to bots",
        Class::PermanentRecipient,
        "this is another bot, and bots do not reach each other",
    ),
    row(403, "bot was kicked", Class::PermanentRecipient, "the bot was removed from the group"),
    row(403, "bot is not a member", Class::PermanentRecipient, "the bot is not in this group any more"),
    row(403, "", Class::PermanentRecipient, "Telegram does not let the bot write to this chat"),
    row(
        400,
        "chat not found",
        Class::PermanentRecipient,
        "Telegram knows no such chat, or the person never wrote to the bot",
    ),
    row(400, "user not found", Class::PermanentRecipient, "Telegram knows no such person"),
    row(400, "peer_id_invalid", Class::PermanentRecipient, "Telegram knows no such chat"),
    row(
        400,
        "group chat was upgraded",
        Class::PermanentRecipient,
        "the group has become a supergroup with another id: answer there",
    ),
    row(400, "have no rights", Class::PermanentRecipient, "the bot may not write in this group"),
    row(400, "not enough rights", Class::PermanentRecipient, "the bot may not write in this group"),
    row(400, "message is too long", Class::PermanentMessage, "the text is longer than Telegram takes"),
    row(400, "message text is empty", Class::PermanentMessage, "the text is empty for Telegram"),
    row(400, "button_data_invalid", Class::PermanentMessage, "the id of a choice is longer than Telegram carries"),
    row(
        400,
        "failed to get http url content",
        Class::PermanentMessage,
        "Telegram could not fetch the file: check that http.public_url can be reached",
    ),
    row(
        400,
        "wrong file identifier/http url",
        Class::PermanentMessage,
        "Telegram could not fetch the file: check that http.public_url can be reached",
    ),
    row(
        400,
        "wrong type of the web page content",
        Class::PermanentMessage,
        "Telegram does not take a file of this kind",
    ),
    row(400, "file is too big", Class::PermanentMessage, "the file is too large for Telegram"),
    row(413, "", Class::PermanentMessage, "the message is too large for Telegram"),
    row(400, "", Class::PermanentMessage, "Telegram refuses this message"),
];

/// What a refusal means; `None` for what nobody documents, after which it may have been sent.
pub(crate) fn refusal(code: u16, description: &str) -> Option<&'static Refusal> {
    let description = description.to_lowercase();
    REFUSALS.iter().find(|r| r.code == code && description.contains(r.holds))
}

//! What X's refusals mean: the codes of version 1.1 (<https://docs.x.com/x-api/fundamentals/response-codes-and-errors>), the names of
//! the newer problems, and the words in which it says the rest.

use switchboard_adapter_sdk::classify::{Class, Row};

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

const RATE: &str = "too many calls to X; nothing was sent";
const LOCKED: &str = "X locked or suspended our account: log in at x.com and see what it asks for";
const TOKENS: &str = "X refuses the tokens: write new ones, and check the app's permissions";
const RIGHTS: &str =
    "the app lacks a permission: allow it to read, write and send direct messages, then make new tokens";
const CLOSED: &str = "the person takes no direct messages from us: they have to write or follow first";
pub(super) const DUPLICATE: &str = "X takes the same words only once in a while: change them";
/// The same of a later attempt: an earlier one may have brought them there, so nobody is told to write others at once.
pub(super) const REPEATED: &str =
    "X has these words already, perhaps by an earlier attempt of this message: look there before you send others";
const UNINVITED: &str = "X lets an app answer only posts that mention or quote the account";
const PAY: &str = "the app's plan at X is used up: look at its usage in the developer console";

/// Codes of version 1.1, which the newer one gives in places.
pub(super) const CODES: &[Row] = &[
    row("32", Class::Config, TOKENS),
    row("89", Class::Config, TOKENS),
    row("215", Class::Config, TOKENS),
    row("220", Class::Config, RIGHTS),
    row("261", Class::Config, RIGHTS),
    row("416", Class::Config, "X suspended the app: look into the developer console"),
    row("453", Class::Config, RIGHTS),
    row("64", Class::Config, LOCKED),
    row("63", Class::PermanentRecipient, "the person's account is suspended"),
    row("326", Class::Config, LOCKED),
    row("88", Class::RateLimit, RATE),
    row("185", Class::RateLimit, "the account wrote as many posts as X allows in a day; nothing was sent"),
    row("420", Class::RateLimit, RATE),
    row("130", Class::Retry, "X has too much to do; nothing was sent"),
    row("131", Class::Retry, "X has a passing fault; nothing was sent"),
    row("34", Class::PermanentRecipient, "X knows no such person"),
    row("50", Class::PermanentRecipient, "X knows no such person"),
    row("108", Class::PermanentRecipient, "X knows no such person"),
    row("144", Class::PermanentMessage, "the post that it answers is gone"),
    row("385", Class::PermanentMessage, "the post that it answers is gone, or not for us to see"),
    row("150", Class::PermanentRecipient, CLOSED),
    row("349", Class::PermanentRecipient, CLOSED),
    row("136", Class::PermanentRecipient, "the person blocked us"),
    row("151", Class::PermanentMessage, "X could not take the message or its attachment"),
    row("186", Class::PermanentMessage, "the text is too long for X"),
    row("354", Class::PermanentMessage, "the text is too long for X"),
    row("187", Class::PermanentMessage, DUPLICATE),
    row("226", Class::PermanentMessage, "X takes it for the work of a machine: change the words, or answer in the app"),
    row("433", Class::OutsideWindow, "the author restricts who may reply"),
];

/// Problems by the last part of their type, or by their title.
pub(super) const PROBLEMS: &[Row] = &[
    row("usage-capped", Class::Config, PAY),
    row("usagecapexceeded", Class::Config, PAY),
    row("credits", Class::Config, PAY),
    row("creditsdepleted", Class::Config, PAY),
    row("spendcapreached", Class::Config, PAY),
    row("client-forbidden", Class::Config, RIGHTS),
    row("client-not-enrolled", Class::Config, RIGHTS),
    row("unsupported-authentication", Class::Config, TOKENS),
    row("oauth1-permissions", Class::Config, RIGHTS),
    row("invalid-request", Class::PermanentMessage, "X finds the request invalid"),
];

/// Words of a detail, in lower case; the first row that fits counts.
pub(super) const PHRASES: &[Row] = &[
    row("app permissions", Class::Config, RIGHTS),
    row("required oauth", Class::Config, RIGHTS),
    row("account is suspended", Class::Config, LOCKED),
    row("account has been suspended", Class::Config, LOCKED),
    row("temporarily locked", Class::Config, LOCKED),
    row("account is locked", Class::Config, LOCKED),
    row("duplicate", Class::PermanentMessage, DUPLICATE),
    row("been mentioned", Class::OutsideWindow, UNINVITED),
    row("engaged by the author", Class::OutsideWindow, UNINVITED),
    row("reply to this conversation", Class::OutsideWindow, "the author restricts who may reply"),
    row("not visible to you", Class::PermanentMessage, "the post that it answers is gone, or not for us to see"),
    row("too long", Class::PermanentMessage, "the text is too long for X"),
    row("blocked", Class::PermanentRecipient, "the person blocked us"),
    row("not following you", Class::PermanentRecipient, CLOSED),
    row("cannot send", Class::PermanentRecipient, CLOSED),
    row("not accept", Class::PermanentRecipient, CLOSED),
];

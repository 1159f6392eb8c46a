//! How mail programs answer a mail of ours: the fields by which they name it, what stands before the subject, and how they quote text and
//! page. After mails of theirs; each writes Ann's words above what it quotes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use switchboard_e2e::{field, page_of, text_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Thunderbird,
    Gmail,
    /// Outlook for Windows, which writes pages with Word.
    Outlook,
    /// Outlook in a browser.
    OutlookOnline,
    AppleMail,
    IPhone,
    Yahoo,
    Mutt,
    /// A German Outlook of old: text alone, and no References.
    OutlookExpress,
    /// K-9 and others for Android: a page alone.
    Android,
    Proton,
}

pub const ALL: [Program; 11] = [
    Program::Thunderbird,
    Program::Gmail,
    Program::Outlook,
    Program::OutlookOnline,
    Program::AppleMail,
    Program::IPhone,
    Program::Yahoo,
    Program::Mutt,
    Program::OutlookExpress,
    Program::Android,
    Program::Proton,
];

/// What a program makes of the words.
struct Written {
    before_subject: &'static str,
    names_chain: bool,
    fields: String,
    text: Option<String>,
    page: Option<String>,
}

impl Program {
    /// Ann's answer to a mail of ours, which is called `id`. With `subject` she changes what it is about.
    pub fn answers(self, ours: &str, id: &str, subject: Option<&str>, words: &str) -> String {
        let was = field(ours, "subject");
        let Written { before_subject, names_chain, fields, text, page } = self.writes(ours, &was, words);
        let subject =
            subject.map_or_else(|| format!("{before_subject}{}", was.trim_start_matches("Re: ")), str::to_owned);
        let (to, answered, chain) = (field(ours, "reply-to"), field(ours, "message-id"), field(ours, "references"));
        let chain = chain.split_whitespace().chain([answered.as_str()]).collect::<Vec<_>>().join("\r\n ");
        let chain = if names_chain { format!("References: {chain}\r\n") } else { String::new() };
        let head = format!(
            "Received: from mx.customer.example by mail.shop.example; Sun, 22 Nov 2026 10:00:01 +0000\r\n\
             From: Ann Lee <ann@customer.example>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
             Message-ID: {id}\r\nIn-Reply-To: {answered}\r\n{chain}{fields}MIME-Version: 1.0\r\n"
        );
        match (text, page) {
            (Some(text), Some(page)) => format!(
                "{head}Content-Type: multipart/alternative;\r\n boundary=\"----=_Part_1.2\"\r\n\r\nThis is a message of several parts.\r\n\
                 ------=_Part_1.2\r\n{}------=_Part_1.2\r\n{}------=_Part_1.2--\r\n",
                part("plain", &text),
                part("html", &page)
            ),
            (Some(text), None) => head + &part("plain", &text),
            (None, page) => head + &part("html", &page.unwrap_or_default()),
        }
    }

    fn writes(self, ours: &str, was: &str, words: &str) -> Written {
        let (text, page) = (text_of(ours), page_of(ours));
        let page = page.split_once("<body>").map_or(page.as_str(), |(_, body)| body);
        let page = page.split("</body>").next().unwrap_or_default();
        let quoted: String = text
            .lines()
            .map(|line| if line.starts_with('>') { format!(">{line}\n") } else { format!("> {line}\n") })
            .collect();
        let shop = "\"Shop, Support\" <support@shop.example>";
        let shown = "Shop, Support &lt;<a href=\"mailto:support@shop.example\">support@shop.example</a>&gt;";
        let usual = |text: String, page: String| Written {
            before_subject: "Re: ",
            names_chain: true,
            fields: String::new(),
            text: Some(text),
            page: Some(page),
        };
        match self {
            Program::Thunderbird => Written {
                fields: "User-Agent: Mozilla Thunderbird\r\nContent-Language: en-GB\r\n".into(),
                ..usual(
                    format!("{words}\n\nOn 22/11/2026 10:00, Shop, Support wrote:\n{quoted}\n"),
                    format!(
                        "<!DOCTYPE html><html><head></head><body><p>{words}</p><div class=\"moz-cite-prefix\">On 22/11/2026 10:00, Shop, Support wrote:<br></div>\
                         <blockquote type=\"cite\" cite=\"mid:1@shop.example\">{page}</blockquote><p></p></body></html>"
                    ),
                )
            },
            Program::Gmail => usual(
                format!("{words}\n\nOn Sun, Nov 22, 2026 at 10:00\u{202f}AM Shop, Support <support@shop.example>\nwrote:\n\n{quoted}\n"),
                format!(
                    "<div dir=\"ltr\">{words}</div><br><div class=\"gmail_quote gmail_quote_container\"><div dir=\"ltr\" class=\"gmail_attr\">On Sun, Nov 22, 2026 at 10:00\u{202f}AM {shown} wrote:<br></div>\
                     <blockquote class=\"gmail_quote\" style=\"margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex\">{page}</blockquote></div>"
                ),
            ),
            Program::Outlook => Written {
                before_subject: "RE: ",
                fields: "Thread-Topic: Kettle\r\nThread-Index: AQHZ0000000000000000000000000000000000==\r\nX-Mailer: Microsoft Outlook 16.0\r\n".into(),
                ..usual(
                    format!("{words}\n\n \n\nFrom: Shop, Support <support@shop.example> \nSent: Sunday, 22 November 2026 10:00\nTo: Ann Lee <ann@customer.example>\nSubject: {was}\n\n \n\n{text}"),
                    format!(
                        "<html><head><style><!-- p.MsoNormal {{margin:0cm;}} --></style></head><body lang=EN-GB><div class=WordSection1><p class=MsoNormal>{words}<o:p></o:p></p>\
                         <p class=MsoNormal><o:p>&nbsp;</o:p></p><div><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'><p class=MsoNormal><b>From:</b> {shown}<br>\
                         <b>Sent:</b> Sunday, 22 November 2026 10:00<br><b>To:</b> Ann Lee<br><b>Subject:</b> {was}</p></div></div>{page}</div></body></html>"
                    ),
                )
            },
            Program::OutlookOnline => usual(
                format!("{words}\n________________________________\nFrom: Shop, Support <support@shop.example>\nSent: Sunday, November 22, 2026 10:00 AM\nTo: Ann Lee <ann@customer.example>\nSubject: {was}\n\n{text}"),
                format!(
                    "<html><body dir=\"ltr\"><div class=\"elementToProof\">{words}</div><div id=\"appendonsend\"></div><hr style=\"display:inline-block;width:98%\" tabindex=\"-1\">\
                     <div id=\"divRplyFwdMsg\" dir=\"ltr\"><b>From:</b> {shown}<br><b>Sent:</b> Sunday, November 22, 2026 10:00 AM<br><b>Subject:</b> {was}</div>{page}</body></html>"
                ),
            ),
            Program::AppleMail => usual(
                format!("{words}\n\n> On 22 Nov 2026, at 10:00, Shop, Support <support@shop.example> wrote:\n> \n{quoted}\n"),
                format!(
                    "<html><body style=\"overflow-wrap: break-word;\">{words}<br id=\"lineBreakAtBeginningOfMessage\"><div><br><blockquote type=\"cite\"><div>On 22 Nov 2026, at 10:00, {shown} wrote:</div>\
                     <br class=\"Apple-interchange-newline\"><div>{page}</div></blockquote></div><br></body></html>"
                ),
            ),
            Program::IPhone => usual(
                format!("{words}\n\nSent from my iPhone\n\n> On 22 Nov 2026, at 10:00, Shop, Support <support@shop.example> wrote:\n> \n> \u{feff}\n{quoted}\n"),
                format!(
                    "<html><body dir=\"auto\">{words}<br id=\"lineBreakAtBeginningOfSignature\"><div dir=\"ltr\">Sent from my iPhone</div><div dir=\"ltr\"><br><blockquote type=\"cite\">On 22 Nov 2026, at 10:00, {shown} wrote:<br><br></blockquote></div>\
                     <blockquote type=\"cite\"><div dir=\"ltr\">\u{feff}{page}</div></blockquote></body></html>"
                ),
            ),
            Program::Yahoo => Written {
                fields: "X-Mailer: WebService/1.1.1 YMailNorrin\r\n".into(),
                ..usual(
                    format!("{words}\n\n    On Sunday, November 22, 2026 at 10:00:00 AM GMT, {shop} wrote:  \n \n {}\n", quoted.replace('\n', "\n ")),
                    format!(
                        "<html><body><div class=\"ydp1yahoo-style-wrap\"><div dir=\"ltr\">{words}</div><div><br></div></div><div id=\"ydp1yahoo_quoted_1\" class=\"yahoo_quoted\"><div>\
                         <div>On Sunday, November 22, 2026 at 10:00:00 AM GMT, {shown} wrote:</div><div><br></div>{page}</div></div></body></html>"
                    ),
                )
            },
            Program::Mutt => Written {
                fields: "User-Agent: Mutt/2.2.12\r\n".into(),
                page: None,
                ..usual(format!("On Sun, Nov 22, 2026 at 10:00:00AM +0000, Shop, Support wrote:\n{quoted}\n{words}\n\n-- \nAnn\n"), String::new())
            },
            Program::OutlookExpress => Written {
                before_subject: "AW: ",
                names_chain: false,
                fields: "X-Mailer: Microsoft Outlook Express 6.00\r\nX-Priority: 3\r\n".into(),
                page: None,
                ..usual(
                    format!("{words}\n\n-----Ursprüngliche Nachricht-----\nVon: {shop}\nGesendet: Sonntag, 22. November 2026 10:00\nAn: Ann Lee <ann@customer.example>\nBetreff: {was}\n\n\n{text}"),
                    String::new(),
                )
            },
            Program::Android => Written {
                text: None,
                ..usual(
                    String::new(),
                    format!(
                        "<html><head></head><body>{words}<br><br><div class=\"gmail_quote\">Am 22. November 2026 10:00:00 UTC schrieb {shown}:\
                         <blockquote class=\"gmail_quote\" style=\"margin: 0pt 0pt 0pt 0.8ex; border-left: 1px solid rgb(204, 204, 204); padding-left: 1ex;\">{page}</blockquote></div></body></html>"
                    ),
                )
            },
            Program::Proton => Written {
                fields: "Feedback-ID: 1234567:user:proton\r\n".into(),
                ..usual(
                    format!("{words}\n\nSent with [Proton Mail](https://proton.me/) secure email.\n\nOn Sunday, November 22nd, 2026 at 10:00 AM, Shop, Support <support@shop.example> wrote:\n\n{quoted}\n"),
                    format!(
                        "<div style=\"font-family: Arial;\">{words}</div><div class=\"protonmail_quote\">On Sunday, November 22nd, 2026 at 10:00 AM, {shown} wrote:<br>\
                         <blockquote class=\"protonmail_quote\" type=\"cite\">{page}</blockquote><br></div>"
                    ),
                )
            },
        }
    }
}

/// One part, as programs write those that are not plain ASCII.
fn part(kind: &str, body: &str) -> String {
    let coded = STANDARD.encode(body.replace('\n', "\r\n"));
    let lines: Vec<&str> = coded.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).expect("letters")).collect();
    format!(
        "Content-Type: text/{kind}; charset=\"utf-8\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}

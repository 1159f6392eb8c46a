//! What lists and transcripts show of a conversation.

use super::*;
use switchboard_envelope::SenderProof;
use switchboard_routing_rules::event::ReceivedMail;

/// A mail; one that is aside a guest wrote, or a machine.
pub(super) fn mail(n: u32, m: u32, proof: SenderProof, aside: bool) -> Event {
    let mut event = received(n, m, "hello");
    if let Some((_, Private::Received { mail, proved, disproved, .. })) = &mut event.private {
        *mail = Some(ReceivedMail { aside, ..ReceivedMail::default() }.into());
        (*proved, *disproved) = (Some(proof == SenderProof::Proved), proof == SenderProof::Disproved);
    }
    event
}

#[test]
fn that_a_sender_is_disproved_stands_until_the_customer_is_proved_whoever_else_writes() {
    let answer = send(1, 2, "we look at it", agent("ann"), false);
    let begin = vec![channels(), opened(1, "sms"), mail(1, 1, SenderProof::Disproved, false), answer];
    let after = |more: Vec<Event>| one(&[(1, [begin.clone(), more].concat())]).sender_proof;
    assert_eq!(after(vec![]), Some(SenderProof::Disproved));
    // The one who is answered is away, and their machine says so.
    let machine = || mail(1, 3, SenderProof::Proved, true);
    assert_eq!(after(vec![machine()]), Some(SenderProof::Disproved));
    assert_eq!(after(vec![machine(), mail(1, 4, SenderProof::Proved, false)]), Some(SenderProof::Proved));
    assert_eq!(after(vec![mail(1, 4, SenderProof::NotProved, false), machine()]), Some(SenderProof::NotProved));
}

fn one(frames: &[(Seq, Vec<Event>)]) -> super::super::Conversation {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_w, h) = history_of(dir.path(), frames);
        h.conversation(conv(1)).await.unwrap().unwrap().0
    })
}

#[test]
fn a_list_shows_the_question_until_a_person_has_answered_it() {
    let auto = |m| send(1, m, "we are closed", Author::Auto { rule: "After hours".into() }, true);
    let agent = |m| send(1, m, "on its way", Author::Agent { id: "ann".into() }, false);
    let asked = vec![channels(), opened(1, "sms"), received(1, 1, "where is my parcel?"), auto(2)];
    let shown = |more: Vec<Event>| {
        let last = one(&[(1, [asked.clone(), more].concat())]).last.unwrap();
        (last.text, last.inbound, last.status)
    };
    assert_eq!(shown(vec![]), ("where is my parcel?".into(), true, Some(Status::Received)));
    assert_eq!(shown(vec![agent(3)]), ("on its way".into(), false, Some(Status::Queued)));
    let dead = Public::Dead { conv: conv(1), message: msg(3), reason: DeadReason::Rejected, at: t(4) };
    assert_eq!(shown(vec![agent(3), dead.into()]), ("on its way".into(), false, Some(Status::Rejected)));
    let again = vec![agent(3), received(1, 4, "and the other?"), auto(5)];
    assert_eq!(shown(again).0, "and the other?");
    // Where nobody asked anything, what we said is all there is.
    let ours = one(&[(1, vec![channels(), opened(1, "sms"), auto(2)])]);
    assert_eq!(ours.last.unwrap().text, "we are closed");
}

#[test]
fn no_clock_runs_while_the_customer_has_the_turn() {
    let clock = Public::ClockSet { conv: conv(1), clock: ClockKind::Waiting, due: t(900), warn_at: None };
    let begin = vec![channels(), opened(1, "sms"), received(1, 1, "hello"), queued(1, "everyone"), clock.into()];
    let after = |public: Public| one(&[(1, [begin.clone(), vec![public.into()]].concat())]).clock;
    assert!(one(&[(1, begin.clone())]).clock.is_some());
    assert_eq!(after(Public::Pending { conv: conv(1), until: t(5000) }), None);
    assert_eq!(after(Public::Snoozed { conv: conv(1), until: t(5000), left: None }), None);
}

#[test]
fn a_consent_changed_by_hand_is_a_line_of_the_conversation_with_its_author() {
    let dir = tempfile::tempdir().unwrap();
    let by = Public::ConsentByHand { conv: conv(1), state: ConsentState::OptedIn, by: "ann".into() };
    let frames = [(1, vec![channels(), opened(1, "sms"), received(1, 1, "hello"), by.into()])];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let line = runtime.block_on(async {
        let (_w, h) = history_of(dir.path(), &frames);
        let c = h.conversation(conv(1)).await.unwrap().unwrap().0;
        h.messages(c.seq, None, 1).await.unwrap().items.remove(0).event.unwrap()
    });
    assert_eq!((line.what.as_str(), line.agent.as_deref()), ("opted_in", Some("ann")));
}

#[tokio::test]
async fn what_a_customer_may_choose_from_stays_with_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let offered = vec![
        switchboard_envelope::Choice { id: "RED".into(), label: Some("Red".into()) },
        switchboard_envelope::Choice { id: "blue".into(), label: None },
    ];
    let mut event = send(1, 2, "which?", Author::Agent { id: "ann".into() }, true);
    if let Some((_, Private::Send { content, .. })) = &mut event.private {
        content.choices.clone_from(&offered);
    }
    let frames = [(1, vec![channels(), opened(1, "sms"), received(1, 1, "hello"), event])];
    let (_w, h) = history_of(dir.path(), &frames);
    let c = h.conversation(conv(1)).await.unwrap().unwrap().0;
    let messages = h.messages(c.seq, None, 2).await.unwrap().items;
    assert_eq!((&messages[0].choices, messages[1].choices.len()), (&offered, 0));
}

#[tokio::test]
async fn paging_neither_skips_nor_repeats_while_rows_change() {
    let dir = tempfile::tempdir().unwrap();
    let frames: Vec<_> =
        (1..=30).map(|n| (u64::from(n), vec![opened(n, "sms"), received(n, 100 + n, "x"), queued(n, "a")])).collect();
    let (mut w, h) = history_of(dir.path(), &[&[(0, vec![])], frames.as_slice()].concat());
    let (mut seen, mut before, mut frame) = (vec![], None, 31u64);
    loop {
        let page = h.conversations(ConversationFilter::default(), before, 7).await.unwrap();
        seen.extend(page.items.iter().map(|c| c.0.id));
        // Meanwhile old ones are answered and new ones open.
        let n = u32::try_from(frame).unwrap();
        w.apply(&[(frame, vec![received(n % 30 + 1, 500 + n, "again"), opened(n, "sms")])]).unwrap();
        frame += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=30).rev().map(conv).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_notice_is_in_the_transcript_with_its_desk_and_nowhere_that_is_the_customers() {
    let dir = tempfile::tempdir().unwrap();
    let mut notice = send(1, 2, "Fraud?\n> my bank", Author::Auto { rule: "Bank".into() }, false);
    if let Public::SendQueued { channel, notice, .. } = &mut notice.public {
        (*channel, *notice) = ("team-slack".into(), true);
    }
    let dead = Public::Dead { conv: conv(1), message: msg(2), reason: DeadReason::Rejected, at: t(4) };
    let begin = vec![channels(), opened(1, "sms"), received(1, 1, "my bank"), decided(1, 1, "Bank"), notice];
    let (mut w, h) = history_of(dir.path(), &[(1, begin)]);
    let (c, _) = h.conversation(conv(1)).await.unwrap().unwrap();
    assert_eq!((c.last.unwrap().text.as_str(), c.messages, c.ours_to_answer), ("my bank", 1, true));
    let row = h.message(msg(2).to_string()).await.unwrap().unwrap();
    assert_eq!(
        (row.direction, row.status, &row.author),
        (Direction::Notice, Some(Status::Queued), &Who::Auto("Bank".into()))
    );
    assert_eq!(row.event.and_then(|e| e.desk).as_deref(), Some("team-slack"));
    let asked = h.message(msg(1).to_string()).await.unwrap().unwrap();
    let facts = h.facts(asked.seq).await.unwrap().unwrap();
    assert_eq!(facts.outcome.notices, [(msg(2).to_string(), "team-slack".to_owned())]);
    assert!(facts.outcome.replies.is_empty());
    w.apply(&[(2, vec![dead.into()])]).unwrap();
    let held = h.dead_letters(None, None, 10).await.unwrap().items;
    assert_eq!(held.iter().map(|d| d.channel.as_str()).collect::<Vec<_>>(), ["team-slack"]);
    assert_eq!(h.message(msg(2).to_string()).await.unwrap().unwrap().status, Some(Status::Rejected));
    let (c, _) = h.conversation(conv(1)).await.unwrap().unwrap();
    assert_eq!(c.last.unwrap().status, Some(Status::Received));
}

#[tokio::test]
async fn a_dead_letter_that_turns_out_sent_is_none_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let answer = send(1, 2, "on its way", Author::Agent { id: "ann".into() }, false);
    let begin = vec![channels(), opened(1, "sms"), received(1, 1, "hello"), answer];
    let dead = Public::Dead { conv: conv(1), message: msg(2), reason: DeadReason::Unknown, at: t(4) };
    let (mut w, h) = history_of(dir.path(), &[(1, begin), (2, vec![dead.into()])]);
    assert_eq!(h.dead_letters(None, None, 10).await.unwrap().items.len(), 1);
    let sent = Public::Sent { conv: conv(1), message: msg(2), at: t(5) };
    w.apply(&[(3, vec![sent.into()])]).unwrap();
    assert!(h.dead_letters(None, None, 10).await.unwrap().items.is_empty());
    assert_eq!(h.message(msg(2).to_string()).await.unwrap().unwrap().status, Some(Status::Accepted));
}

#[tokio::test]
async fn the_visitor_sees_no_notes_and_the_agent_sees_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_w, h) = history_of(dir.path(), &story());
    let seen = h.transcript("site".into(), thread(2), 0, 100).await.unwrap();
    let texts: Vec<_> = seen.iter().map(|m| m.text.clone().unwrap()).collect();
    assert_eq!(texts, ["hello", "hi there"]);
    assert!(h.transcript("sms".into(), thread(2), 0, 100).await.unwrap().is_empty(), "a thread belongs to its channel");
    let after = h.transcript("site".into(), thread(2), seen[0].seq, 100).await.unwrap();
    assert_eq!(after.len(), 1);
    let (c, _) = h.conversation(conv(2)).await.unwrap().unwrap();
    let all = h.messages(c.seq, None, 100).await.unwrap().items;
    let directions: Vec<_> = all.iter().rev().map(|m| m.direction.as_str()).collect();
    assert_eq!(directions, ["in", "note", "event", "out", "event"]);
    let first = h.messages(c.seq, None, 2).await.unwrap();
    let rest = h.messages(c.seq, first.next, 100).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 3, None));
}

#[tokio::test]
async fn an_id_that_two_people_have_each_within_an_account_finds_both() {
    let dir = tempfile::tempdir().unwrap();
    let known = |n: u32| {
        let mut event = opened(n, "page");
        let Some((_, Private::Opened { address, .. })) = &mut event.private else { panic!("no address: {n}") };
        *address = Address::new("facebook", "7000").within(format!("page-{n}"));
        event
    };
    let (_w, h) = history_of(dir.path(), &[(1, vec![channels(), known(1), known(2)])]);
    let found = h.contacts(Some("facebook:7000".into()), None, 9).await.unwrap().items;
    let ids: Vec<_> = found.iter().map(|c| c.id).collect();
    assert_eq!(ids, [contact(2), contact(1)]);
    let of = |contacts| ConversationFilter { contacts, ..Default::default() };
    assert_eq!(h.conversations(of(ids), None, 9).await.unwrap().items.len(), 2);
    assert_eq!(h.conversations(of(vec![contact(1)]), None, 9).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_rule_that_followed_up_is_counted_and_stands_behind_what_it_followed() {
    use switchboard_routing_rules::event::Happening;
    let dir = tempfile::tempdir().unwrap();
    let closed = Public::Closed { conv: conv(1), by: Some("ann".into()), reopen_until: t(9) };
    let hits = vec!["Goodbye".to_owned(), "Told".to_owned()];
    let followed = Public::FollowedUp { conv: conv(1), on: Happening::Closed, pack: "pack1".into(), hits };
    let begin = vec![channels(), opened(1, "sms"), received(1, 1, "thanks"), decided(1, 1, "Hello")];
    let (_w, h) = history_of(dir.path(), &[(1, begin), (2, vec![closed.into(), followed.into()])]);
    let (c, _) = h.conversation(conv(1)).await.unwrap().unwrap();
    let rows = h.messages(c.seq, None, 10).await.unwrap().items;
    let lines: Vec<_> = rows.into_iter().filter_map(|row| row.event).map(|e| (e.what, e.why)).collect();
    let by = |rule: &str| ("followed_up".to_owned(), Some(Why::Rule(rule.into())));
    assert!(lines.contains(&by("Goodbye")) && lines.contains(&by("Told")), "{lines:?}");
    let mut counted: Vec<_> = h.pack_hits("pack1").await.unwrap().into_iter().map(|h| (h.rule, h.hits)).collect();
    counted.sort();
    let once = |rule: &str| (rule.to_owned(), 1);
    assert_eq!(counted, [once("Goodbye"), once("Hello"), once("Told")]);
}

/// The lines of a conversation's transcript, oldest first.
async fn lines(frames: &[(Seq, Vec<Event>)]) -> Vec<EventLine> {
    let dir = tempfile::tempdir().unwrap();
    let (_w, h) = history_of(dir.path(), frames);
    let c = h.conversation(conv(1)).await.unwrap().unwrap().0;
    let all = h.messages(c.seq, None, 100).await.unwrap().items;
    let heard = all.iter().rfind(|m| m.direction == Direction::In).unwrap();
    let since = h.moved_on(heard, 100).await.unwrap();
    let told = all.iter().rev().filter(|m| m.event.as_ref().is_some_and(|e| e.what != "breached"));
    let told: Vec<&Message> = told.filter(|m| m.event.is_some()).collect();
    assert_eq!(told, since.iter().collect::<Vec<_>>(), "all of it is part of the explanation");
    since.into_iter().filter_map(|m| m.event).collect()
}

#[tokio::test]
async fn what_changed_a_priority_and_who_moved_it_are_lines_of_the_transcript() {
    let raised = |priority, by: Option<&str>| {
        Event::from(Public::Prioritised { conv: conv(1), priority, by: by.map(str::to_owned) })
    };
    let moved = |queue: &str, why: Why, by: Option<&str>| {
        let Event { public: mut to, private } = queued(1, queue);
        if let Public::Queued { why: w, by: b, .. } = &mut to {
            (*w, *b) = (why, by.map(str::to_owned));
        }
        Event { public: to, private }
    };
    let ticked = |at: i64| Event::from(Public::Ticked { now: t(at), relived: false });
    let taken = StepTaken { number: Some(2), why: Why::Overflow, after_ms: Some(9), only: vec![] };
    let step = |skills: Option<BTreeMap<String, u8>>| {
        let taken = Some(Box::new(taken.clone()));
        Event::from(Public::Relaxed { conv: conv(1), step: 1, skills, at_once: false, taken })
    };
    let late = Public::ClockBreached { conv: conv(1), clock: ClockKind::FirstResponse, again: t(900) };
    let soon = Public::ClockWarned { conv: conv(1), clock: ClockKind::Resolution };
    let hits = vec!["Who has it".to_owned()];
    let rules = Public::FollowedUp { conv: conv(1), on: Happening::Noted, pack: "p".into(), hits: hits.clone() };
    let frames = [
        // What the rules of a message choose is told with its decision.
        (
            1,
            vec![
                channels(),
                consumed(1),
                opened(1, "sms"),
                received(1, 1, "hello"),
                decided(1, 1, "VIP"),
                raised(Priority::Low, None),
                queued(1, "leads"),
            ],
        ),
        (2, vec![ticked(20), step(None), raised(Priority::Normal, None), moved("late", Why::Overflow, None)]),
        (3, vec![ticked(30), step(Some(BTreeMap::new()))]),
        (4, vec![ticked(40), late.into(), raised(Priority::High, None)]),
        (5, vec![ticked(50), soon.into(), raised(Priority::Urgent, None)]),
        (6, vec![consumed(2), raised(Priority::Normal, Some("ann"))]),
        (7, vec![consumed(3), rules.into(), raised(Priority::High, None)]),
        (8, vec![consumed(4), moved("billing", Why::Transferred, Some("ann"))]),
        (9, vec![consumed(5), moved("full", Why::Overflow, None)]),
    ];
    let lines = lines(&frames).await;
    let of = |queue: &str| Some(Cause::Step { queue: Some(queue.into()), taken: Some(taken.clone()) });
    let line = |what: &str| EventLine { what: what.into(), ..EventLine::default() };
    let changed =
        |cause: Option<Cause>, from, to| EventLine { cause, priority: Some((from, to)), ..line("prioritised") };
    let put = |queue: &str, why| EventLine { queue: Some(queue.into()), why: Some(why), ..line("queued") };
    let (low, normal, high, urgent) = (Priority::Low, Priority::Normal, Priority::High, Priority::Urgent);
    let rule = Some(Why::Rule("Who has it".into()));
    assert_eq!(
        lines,
        [
            changed(of("leads"), low, normal),
            EventLine { cause: of("leads"), ..put("late", Why::Overflow) },
            EventLine { cause: of("late"), skills: Some(BTreeMap::new()), ..line("relaxed") },
            changed(Some(Cause::Breached(ClockKind::FirstResponse)), normal, high),
            changed(Some(Cause::Warned(ClockKind::Resolution)), high, urgent),
            EventLine { by: Some("ann".into()), ..changed(None, urgent, normal) },
            EventLine { why: rule, on: Some(Happening::Noted), ..line("followed_up") },
            changed(Some(Cause::Rules(hits)), normal, high),
            EventLine { by: Some("ann".into()), ..put("billing", Why::Transferred) },
            EventLine { cause: Some(Cause::Full), ..put("full", Why::Overflow) },
        ]
    );
}

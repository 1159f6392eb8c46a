//! What came and what was answered, by quarters of an hour: for the plots of the board, and for what rules did today.

use super::HistoryError;
use super::project::Done;
use super::queries::Read;
use super::reader::History;
use super::stored::unsigned;
use super::writer::HistoryWriter;
use rusqlite::params;
use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{ClockKind, Public};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::Name;

/// How long one slot is: every zone's midnight is the beginning of one.
pub const SLOT_MS: i64 = 15 * 60_000;
/// What rules did is kept by slots for two days, the rest for eight.
const HITS_MS: i64 = 2 * 86_400_000;
const KEPT_MS: i64 = 8 * 86_400_000;

/// What happened in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Conversations that came to wait for an answer of ours: new ones, and those whose customer wrote again.
    pub arrived: u64,
    /// Those that a person answered, and for how long their customers had waited, together.
    pub answered: u64,
    pub waited_ms: u64,
    /// First responses that were due or came, and those of them that came in time.
    pub due: u64,
    pub in_time: u64,
}

/// What is not in the file yet.
#[derive(Default)]
pub(super) struct Slots {
    counts: BTreeMap<i64, Slot>,
    hits: BTreeMap<(i64, Name), u64>,
}

impl Slots {
    pub fn at(&mut self, now: Timestamp) -> &mut Slot {
        self.counts.entry(now.0.div_euclid(SLOT_MS)).or_default()
    }

    pub fn hit(&mut self, now: Timestamp, rule: &str) {
        *self.hits.entry((now.0.div_euclid(SLOT_MS), rule.to_owned())).or_default() += 1;
    }
}

impl HistoryWriter {
    /// A promise of a first response is kept or broken by what follows.
    pub(super) fn count_response(&mut self, conv: ConvId, public: &Public) -> Done {
        if !matches!(public, Public::ClockBreached { .. } | Public::Pending { .. }) {
            return Ok(());
        }
        let Some(c) = self.look(conv)? else { return Ok(()) };
        let Some(clock) = c.clock.as_ref().filter(|k| k.kind == ClockKind::FirstResponse && !k.breached) else {
            return Ok(());
        };
        let in_time = match public {
            Public::ClockBreached { clock: kind, .. } if *kind == clock.kind => false,
            Public::Pending { .. } if !c.ours_to_answer => true,
            _ => return Ok(()),
        };
        let now = self.work.now;
        let slot = self.work.slots.at(now);
        slot.due += 1;
        slot.in_time += u64::from(in_time);
        Ok(())
    }

    pub(super) fn flush_slots(&mut self) -> Done {
        let Slots { counts, hits } = std::mem::take(&mut self.work.slots);
        let mut add = self.db.prepare_cached(
            "INSERT INTO slots(slot, arrived, answered, waited_ms, due, in_time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT(slot) DO UPDATE SET arrived = arrived + excluded.arrived, answered = answered + excluded.answered,
               waited_ms = waited_ms + excluded.waited_ms, due = due + excluded.due, in_time = in_time + excluded.in_time",
        )?;
        for (slot, s) in counts {
            let [arrived, answered, waited, due, in_time] =
                [s.arrived, s.answered, s.waited_ms, s.due, s.in_time].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
            add.execute(params![slot, arrived, answered, waited, due, in_time])?;
        }
        let mut hit = self.db.prepare_cached(
            "INSERT INTO slot_hits(slot, rule, hits) VALUES (?1, ?2, ?3)
             ON CONFLICT(slot, rule) DO UPDATE SET hits = hits + excluded.hits",
        )?;
        for ((slot, rule), n) in hits {
            hit.execute(params![slot, rule, i64::try_from(n).unwrap_or(i64::MAX)])?;
        }
        Ok(())
    }

    /// Forgets slots that nobody looks at any more.
    pub(super) fn drop_slots(&mut self) -> Result<(), HistoryError> {
        let before = |ms: i64| self.work.now.plus(-ms).0.div_euclid(SLOT_MS);
        self.db.prepare_cached("DELETE FROM slot_hits WHERE slot < ?1")?.execute([before(HITS_MS)])?;
        self.db.prepare_cached("DELETE FROM slots WHERE slot < ?1")?.execute([before(KEPT_MS)])?;
        Ok(())
    }
}

impl History {
    /// The slots in which anything happened since then, each with when it began, the oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn slots(&self, since: Timestamp) -> Read<Vec<(Timestamp, Slot)>> {
        self.read(move |db| {
            let sql =
                "SELECT slot, arrived, answered, waited_ms, due, in_time FROM slots WHERE slot >= ?1 ORDER BY slot";
            let mut find = db.prepare_cached(sql)?;
            let rows = find.query_map([since.0.div_euclid(SLOT_MS)], |r| {
                let n = |column: usize| r.get(column).map(unsigned);
                let slot = Slot { arrived: n(1)?, answered: n(2)?, waited_ms: n(3)?, due: n(4)?, in_time: n(5)? };
                Ok((Timestamp(r.get::<_, i64>(0)?.saturating_mul(SLOT_MS)), slot))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How often each rule matched since then, within two days.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn hits_since(&self, since: Timestamp) -> Read<BTreeMap<Name, u64>> {
        self.read(move |db| {
            let sql = "SELECT rule, sum(hits) FROM slot_hits WHERE slot >= ?1 GROUP BY rule";
            let mut find = db.prepare_cached(sql)?;
            let rows = find.query_map([since.0.div_euclid(SLOT_MS)], |r| Ok((r.get(0)?, unsigned(r.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

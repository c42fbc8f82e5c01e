//! Running time to MoQ time, on one timeline for all pads of a broadcast.

#[cfg(test)]
mod tests;

/// How late a file may start before MoQ time is moved on to the clock.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// How far behind the newest frame one may be that only follows it in decode order.
const REORDER: gst::ClockTime = gst::ClockTime::SECOND;

/// The timeline of a run: MoQ time is the clock's time since the run first played, plus an offset.
///
/// The offset only grows, so that groups never rewind: it is moved on when a flush, a seek or a new
/// stream restarts running time, and when a file starts late. A pause needs no offset, because it
/// moves the base time.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The clock's time at MoQ time 0: the base time of the first PLAYING.
    epoch: Option<gst::ClockTime>,
    offset: gst::ClockTime,
    /// Counts the restarts of running time.
    generation: u64,
}

/// Where a pad's stream stands on the timeline, from one restart to the next.
///
/// Pads that have not restarted yet keep the offset that their running times belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    generation: u64,
    offset: gst::ClockTime,
}

/// The first frame of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The base time plus the frame's running time.
    pub due: gst::ClockTime,
    /// The clock's time.
    pub now: gst::ClockTime,
    /// Whether the stream follows the clock by itself.
    pub live: bool,
    /// Whether it has frames only now and then, which are no later for it.
    pub sparse: bool,
    /// The newest MoQ time that this pad has published.
    pub published: Option<gst::ClockTime>,
    /// What came before it.
    pub before: Before,
}

/// How a stream stood before its first frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// It is the pad's first one.
    #[default]
    Nothing,
    /// Another segment, whose running time this one may continue.
    Segment(Anchor),
    /// A flush or the end of another stream.
    Restart(Anchor),
}

impl Outgoing {
    /// The pipeline plays; only the first call of a run counts.
    pub fn start(&mut self, base_time: gst::ClockTime) {
        self.epoch.get_or_insert(base_time);
    }

    /// Places a stream by its first frame after a start, a flush, or a new segment.
    pub fn anchor(&mut self, arrival: Arrival) -> Anchor {
        let Arrival {
            due,
            now,
            live,
            sparse,
            published,
            before,
        } = arrival;
        let paced = !live && !sparse;
        if let Before::Segment(anchor) = before {
            let offset = self.offset(anchor);
            let goes_on =
                published.is_none_or(|newest| self.place(due, offset) + REORDER >= newest);
            if goes_on && (!paced || due + offset + LATE >= now) {
                return anchor;
            }
        }
        let restarted = published.is_some_and(|published| self.place(due, self.offset) < published);
        let late = paced && due + self.offset + LATE < now;
        // The first pad that restarts opens a generation, the others of the restart join it.
        let opens = match before {
            Before::Nothing => true,
            Before::Segment(anchor) | Before::Restart(anchor) => {
                anchor.generation == self.generation
            }
        };
        if restarted && opens {
            self.generation += 1;
        }
        if restarted || late {
            let target = now.max(self.epoch() + published.unwrap_or_default());
            self.offset = self.offset.max(target.saturating_sub(due));
        }
        Anchor {
            generation: self.generation,
            offset: self.offset,
        }
    }

    /// How far the stream is moved on: added to `due`, it is when the frame is due by the clock.
    pub fn offset(&self, anchor: Anchor) -> gst::ClockTime {
        match anchor.generation == self.generation {
            true => self.offset,
            false => anchor.offset,
        }
    }

    /// The MoQ time of a frame that is due at base time plus running time.
    pub fn stamp(&self, anchor: Anchor, due: gst::ClockTime) -> gst::ClockTime {
        self.place(due, self.offset(anchor))
    }

    /// MoQ time at the clock's time `now`.
    pub fn elapsed(&self, now: gst::ClockTime) -> gst::ClockTime {
        now.saturating_sub(self.epoch())
    }

    /// The pipeline has another clock, whose time is `now` at MoQ time `elapsed`.
    pub fn rebase(&mut self, now: gst::ClockTime, elapsed: gst::ClockTime) {
        self.epoch = Some(now.saturating_sub(elapsed));
    }

    fn place(&self, due: gst::ClockTime, offset: gst::ClockTime) -> gst::ClockTime {
        (due + offset).saturating_sub(self.epoch())
    }

    fn epoch(&self) -> gst::ClockTime {
        self.epoch.unwrap_or_default()
    }
}

//! The way of a buffer from the chain function to the session task.

use std::time::Instant;

use bytes::Bytes;
use gst::{prelude::*, subclass::prelude::*};

use super::{
    MoqSinkPad, Part, lock,
    stream::{Admitted, Halt},
};
use crate::element::pipeline_clock::PipelineClock;
use crate::media::{
    format::{codec::Kind, input::Span, rendition::Rendition},
    time::{
        nanos::{clock_time, nanos},
        publish::{Anchor, Arrival, Judgement},
    },
};
use crate::sink::{
    CAT,
    element::MoqSink,
    message::{Frame, PadMessage},
    stats::DropReason,
};

/// The payload of a buffer, which goes back to its pool when the last reader is done.
struct Mapped(gst::MappedBuffer<gst::buffer::Readable>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Live input does not come further ahead (ns) of its time than this.
const MAX_EARLY: i64 = 60_000_000_000;
/// A file that waits for longer (ns) for the time of its next buffer says so.
const MAX_SILENT_WAIT: i64 = 5_000_000_000;

/// Where a buffer belongs in time.
#[derive(Clone, Copy)]
struct Place {
    live: bool,
    anchor: Anchor,
    /// By how much (ns) its own times are wrong.
    moved: i64,
}

/// How much later than its MoQ time a live frame comes.
fn late_by(part: &Part, playing: &PipelineClock, time: gst::ClockTime) -> gst::ClockTime {
    let now = nanos(playing.now());
    let elapsed = part
        .run
        .with_timeline(true, |timeline| timeline.elapsed(now));
    clock_time(elapsed.saturating_sub(nanos(time)))
}

impl MoqSinkPad {
    pub(crate) fn chain(
        &self,
        sink: &MoqSink,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::trace!(CAT, imp = self, "{buffer:?}");
        let part = self.part().ok_or(gst::FlowError::Flushing)?;
        if self.gate.is_shut() {
            return Err(gst::FlowError::Flushing);
        }
        if part.run.has_failed() {
            return Err(gst::FlowError::Error);
        }
        match self.publish(sink, &part, buffer) {
            Ok(()) => {
                lock(&self.stream).passed();
                Ok(gst::FlowSuccess::Ok)
            }
            Err(Halt::Skip) => Ok(gst::FlowSuccess::Ok),
            Err(Halt::Flow(error)) => Err(error),
            Err(Halt::NoKeyFrame) => {
                part.counters.no_key_frame.add(1);
                // In PAUSED nobody would see it.
                if self.gate.playing().is_some() {
                    self.request_key_frame();
                    self.warn_of_drops("no keyframe has come to begin with; let the encoder make one at least every few seconds");
                }
                Ok(gst::FlowSuccess::Ok)
            }
            Err(Halt::Drop(cause, reason)) => {
                part.counters.of(cause).add(1);
                self.dropped(&reason);
                self.warn_of_drops(&reason);
                self.request_missing_key_frame();
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }

    /// The pipeline's time for a buffer; a file waits for it.
    ///
    /// `None` says that it must not be published: live input does not wait for PLAYING.
    fn playing(&self, live: bool) -> Result<Option<PipelineClock>, gst::FlowError> {
        match live {
            false => self.gate.wait_playing().map(Some),
            true => Ok(self.gate.playing()),
        }
    }

    /// Waits until the running time of `departure` ns, where a file is paced.
    fn pace(
        &self,
        sink: &MoqSink,
        part: &Part,
        playing: PipelineClock,
        place: Place,
        departure: i64,
    ) -> Result<PipelineClock, gst::FlowError> {
        if place.live || !sink.settings().sync {
            return Ok(playing);
        }
        let offset = part
            .run
            .with_timeline(false, |timeline| timeline.offset(place.anchor));
        let until = departure.saturating_add(offset);
        let patience = playing
            .signed_running_time()
            .saturating_add(MAX_SILENT_WAIT);
        if until > patience {
            let playing = self.gate.wait_until(patience)?;
            if lock(&self.stream).is_new("waits") {
                let left = clock_time(until.saturating_sub(playing.signed_running_time()));
                self.warn(&format!(
                    "By its timestamp the next buffer is due in {left:.0}: the pad waits until then (sync=false publishes it at once)"
                ));
            }
        }
        self.gate.wait_until(until)
    }

    /// Lets time pass as if a buffer came, for a GAP event that begins at the running time `start`.
    pub(crate) fn pass_gap(&self, sink: &MoqSink, start: i64) -> Result<(), gst::FlowError> {
        let Some(part) = self.part() else {
            return Err(gst::FlowError::Flushing);
        };
        let live = self.is_live();
        let Some(playing) = self.playing(live)? else {
            return Ok(());
        };
        let place = self.place(&part, &playing, start, false, live);
        self.pace(sink, &part, playing, place, start).map(drop)
    }

    fn publish(&self, sink: &MoqSink, part: &Part, buffer: gst::Buffer) -> Result<(), Halt> {
        let admitted = lock(&self.stream).admit(&buffer)?;
        let Admitted { times, key, .. } = admitted;
        if times.guessed && lock(&self.stream).is_new("guessed") {
            self.warn("A buffer has no time of its own: it follows the one before");
        }
        let live = self.is_live();
        let Some(playing) = self.playing(live).map_err(Halt::Flow)? else {
            lock(&self.stream).interrupt();
            return Err(Halt::Skip);
        };
        let place = self.place(part, &playing, times.presentation, times.lead, live);
        let place = self.judge(part, &playing, &admitted, place);
        let departure = times.departure.saturating_add(place.moved);
        let playing = self
            .pace(sink, part, playing, place, departure)
            .map_err(Halt::Flow)?;
        let due = nanos(playing.base_time())
            .saturating_add(times.presentation)
            .saturating_add(place.moved);
        let time = self.stamp(part, place, &playing, due)?;
        self.wait_for_room(part, live)?;
        let duration = buffer.duration();
        let payload = self.payload(buffer)?;
        let span = Span {
            begin: time,
            duration,
        };
        let mut stream = lock(&self.stream);
        let (payload, rendition) = stream.prepare(payload, key, span)?;
        let long = stream.fill(key, payload.len());
        let clear = stream.clear_at(span).filter(|_| !payload.is_empty());
        stream.published = stream.published.max(Some(nanos(time)));
        drop(stream);
        if let Some((rendition, in_band)) = rendition {
            self.announce(part, rendition, in_band);
        }
        // What is not to be shown is placed by another rule, and says nothing of its way.
        let transit = (live && !times.lead).then(|| late_by(part, &playing, time));
        let charge = part.budget.charge(payload.len(), time);
        part.send(PadMessage::Frame(Frame {
            timestamp: time.useconds(),
            duration,
            keyframe: key,
            ends_cue: clear.is_none(),
            payload,
            live,
            transit,
            _charge: charge,
        }));
        if let Some(clear) = clear {
            self.clear(part, time, clear, live);
        }
        self.set_position(times.position);
        if long {
            self.force_key_unit();
        }
        Ok(())
    }

    /// The bytes of a buffer, which are not copied.
    fn payload(&self, buffer: gst::Buffer) -> Result<Bytes, Halt> {
        match buffer.into_mapped_buffer_readable() {
            Ok(payload) => Ok(Bytes::from_owner(Mapped(payload))),
            Err(_) => {
                lock(&self.stream).interrupt();
                Err(Halt::Drop(DropReason::Refused, "it cannot be read".into()))
            }
        }
    }

    /// Ends the text that is shown from `time` on: in the same group, so that whoever gets the cue knows
    /// when it ends.
    fn clear(&self, part: &Part, time: gst::ClockTime, end: gst::ClockTime, live: bool) {
        part.send(PadMessage::Frame(Frame {
            timestamp: end.useconds(),
            duration: None,
            keyframe: false,
            ends_cue: true,
            payload: Bytes::new(),
            live,
            transit: None,
            _charge: part.budget.charge(0, time),
        }));
    }

    /// The MoQ time of a buffer that is `due` then by the clock.
    ///
    /// Live input of absurd times would end the track: nothing may follow that is due before it.
    fn stamp(
        &self,
        part: &Part,
        place: Place,
        playing: &PipelineClock,
        due: i64,
    ) -> Result<gst::ClockTime, Halt> {
        let (time, offset) = part.run.with_timeline(place.live, |timeline| {
            (
                timeline.stamp(place.anchor, due),
                timeline.offset(place.anchor),
            )
        });
        let latest = nanos(playing.now()).saturating_add(MAX_EARLY);
        if place.live && due.saturating_add(offset) > latest {
            lock(&self.stream).interrupt();
            return Err(Halt::Drop(
                DropReason::NoTimestamp,
                "it is due more than a minute later".into(),
            ));
        }
        Ok(time)
    }

    /// Tells the session what the frames that follow are.
    fn announce(&self, part: &Part, rendition: Rendition, in_band: bool) {
        let rendition = Box::new(rendition);
        part.send(match in_band {
            true => PadMessage::InBand(rendition),
            false => PadMessage::Rendition(rendition, self.wanted_track()),
        });
    }

    /// A file waits for room; live input goes on, and too much of it is dropped.
    fn wait_for_room(&self, part: &Part, live: bool) -> Result<(), Halt> {
        if live {
            if !part.budget.is_far_over() {
                return Ok(());
            }
            lock(&self.stream).interrupt();
            let reason = "more waits than max-bytes and max-time allow";
            return Err(Halt::Drop(DropReason::OverBudget, reason.into()));
        }
        part.budget.wait(|| self.gate.is_shut());
        match self.gate.is_shut() {
            true => Err(Halt::Flow(gst::FlowError::Flushing)),
            false => Ok(()),
        }
    }

    /// Where the stream of a buffer of this running time stands on the timeline.
    fn place(
        &self,
        part: &Part,
        playing: &PipelineClock,
        running: i64,
        lead: bool,
        live: bool,
    ) -> Place {
        let mut stream = lock(&self.stream);
        let (published, before) = (stream.published, stream.before);
        let sparse = stream.kind().is_some_and(Kind::is_sparse);
        let anchor = *stream.anchor.get_or_insert_with(|| {
            let arrival = Arrival {
                due: nanos(playing.base_time()).saturating_add(running),
                now: nanos(playing.now()),
                live,
                sparse,
                lead,
                published,
                before,
            };
            part.run
                .with_timeline(live, |timeline| timeline.anchor(arrival))
        });
        Place {
            live,
            anchor,
            moved: 0,
        }
    }

    /// Moves a buffer whose time strays, and the stream whose times have stepped.
    fn judge(
        &self,
        part: &Part,
        playing: &PipelineClock,
        admitted: &Admitted,
        place: Place,
    ) -> Place {
        let others = part.run.with_timeline(place.live, |timeline| {
            timeline.resync_of_others(place.anchor)
        });
        let now = playing.signed_running_time();
        let judgement = lock(&self.stream).judge(admitted, now, others);
        match judgement {
            Judgement::Move(moved) => Place { moved, ..place },
            Judgement::Resync(shift) => {
                let anchor = part
                    .run
                    .with_timeline(place.live, |timeline| timeline.resync(place.anchor, shift));
                lock(&self.stream).anchor = Some(anchor);
                part.counters.resyncs.add(1);
                let by = clock_time(shift.saturating_abs());
                let way = if shift < 0 { "forward" } else { "back" };
                self.warn(&format!(
                    "The timestamps stepped {way} by {by:.3}: the stream goes on where it was"
                ));
                Place { anchor, ..place }
            }
        }
    }

    /// Whether upstream follows the clock by itself; a source that does not say is a file.
    fn is_live(&self) -> bool {
        if let Some(live) = lock(&self.stream).live {
            return live;
        }
        let mut query = gst::query::Latency::new();
        let live = self.obj().peer_query(&mut query) && query.result().0;
        gst::debug!(CAT, imp = self, "Live input: {live}");
        lock(&self.stream).live = Some(live);
        live
    }

    fn dropped(&self, reason: &str) {
        let mut stream = lock(&self.stream);
        let new = stream.count(reason);
        let count = stream.dropped();
        drop(stream);
        match new {
            true => self.warn(&format!("A buffer was dropped: {reason}")),
            false => gst::debug!(CAT, imp = self, "Buffer {count} dropped: {reason}"),
        }
    }

    /// A pad that has dropped everything for a while says so.
    fn warn_of_drops(&self, reason: &str) {
        if lock(&self.stream).drops(Instant::now()) {
            self.warn(&format!(
                "Every buffer has been dropped for a second: {reason}"
            ));
        }
    }
}

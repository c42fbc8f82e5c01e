//! The way of a buffer from the chain function to the session task.

use bytes::Bytes;
use gst::{prelude::*, subclass::prelude::*};

use super::{
    CAT,
    gate::Playing,
    imp::MoqSink,
    pad::{MoqSinkPad, Part, lock},
    run::{Frame, PadMessage},
    stream::{Admitted, Cause, Halt},
};
use crate::media::{
    caps::Span,
    codec::Kind,
    outgoing::{Anchor, Arrival},
    rendition::Rendition,
    timing::Times,
};

/// The payload of a buffer, which goes back to its pool when the last reader is done.
struct Mapped(gst::MappedBuffer<gst::buffer::Readable>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Live input does not come further ahead of its time than this.
const MAX_EARLY: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Where a buffer belongs in time.
#[derive(Clone, Copy)]
struct Place {
    live: bool,
    anchor: Anchor,
}

impl MoqSinkPad {
    pub(super) fn chain(
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
            Ok(()) | Err(Halt::Skip) => Ok(gst::FlowSuccess::Ok),
            Err(Halt::Flow(error)) => Err(error),
            Err(Halt::NoKeyFrame) => {
                part.counters.no_key_frame.add(1);
                // In PAUSED nobody would see it.
                if self.gate.playing().is_some() {
                    self.request_key_frame();
                }
                Ok(gst::FlowSuccess::Ok)
            }
            Err(Halt::Drop(cause, reason)) => {
                part.counters.of(cause).add(1);
                self.dropped(&reason);
                self.request_missing_key_frame();
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }

    /// Waits at the gate as long as a buffer that is due at `times` has to.
    ///
    /// `None` says that it must not be published: live input does not wait for PLAYING.
    fn wait(
        &self,
        sink: &MoqSink,
        part: &Part,
        times: Times,
    ) -> Result<Option<(Playing, Place)>, gst::FlowError> {
        let live = self.is_live();
        let playing = match live {
            false => self.gate.wait_playing()?,
            true => match self.gate.playing() {
                Some(playing) => playing,
                None => return Ok(None),
            },
        };
        let place = self.place(part, &playing, times, live);
        if live || !sink.settings().sync {
            return Ok(Some((playing, place)));
        }
        let offset = part.run.offset(live, place.anchor);
        let playing = self.gate.wait_until(times.departure + offset)?;
        Ok(Some((playing, place)))
    }

    /// Lets time pass as if a buffer came, for a GAP event that begins at `start`.
    pub(super) fn pass_gap(
        &self,
        sink: &MoqSink,
        start: gst::ClockTime,
    ) -> Result<(), gst::FlowError> {
        let Some(part) = self.part() else {
            return Err(gst::FlowError::Flushing);
        };
        let times = Times {
            presentation: start,
            departure: start,
            position: None,
            guessed: false,
        };
        self.wait(sink, &part, times).map(drop)
    }

    fn publish(&self, sink: &MoqSink, part: &Part, buffer: gst::Buffer) -> Result<(), Halt> {
        let Admitted { times, key } = lock(&self.stream).admit(&buffer)?;
        if times.guessed && lock(&self.stream).is_new("guessed") {
            self.warn("A buffer has no time of its own: its time follows the frame rate");
        }
        let Some((playing, place)) = self.wait(sink, part, times).map_err(Halt::Flow)? else {
            lock(&self.stream).interrupt();
            return Err(Halt::Skip);
        };
        let due = playing.base_time + times.presentation;
        self.refuse_early(part, place, &playing, due)?;
        self.wait_for_room(part, place.live)?;
        let duration = buffer.duration();
        let payload = buffer.into_mapped_buffer_readable().map_err(|_| {
            lock(&self.stream).interrupt();
            Halt::Drop(Cause::Refused, "it cannot be read".into())
        })?;
        let payload = Bytes::from_owner(Mapped(payload));

        let time = part.run.stamp(place.live, place.anchor, due);
        let span = Span {
            begin: time,
            duration,
        };
        let mut stream = lock(&self.stream);
        let (payload, rendition) = stream.prepare(payload, key, span)?;
        let long = stream.fill(key, payload.len());
        let clear = stream.clear_at(span).filter(|_| !payload.is_empty());
        stream.published = stream.published.max(Some(time));
        drop(stream);
        if let Some((rendition, in_band)) = rendition {
            self.announce(part, rendition, in_band);
        }
        let charge = part.budget.charge(payload.len(), time);
        part.send(PadMessage::Frame(Frame {
            timestamp: time.useconds(),
            duration,
            key,
            last: clear.is_none(),
            payload,
            live: place.live,
            transit: place.live.then(|| playing.now().saturating_sub(due)),
            _charge: charge,
        }));
        if let Some(clear) = clear {
            // In the same group, so that whoever gets the cue knows when it ends.
            part.send(PadMessage::Frame(Frame {
                timestamp: clear.useconds(),
                duration: None,
                key: false,
                last: true,
                payload: Bytes::new(),
                live: place.live,
                transit: None,
                _charge: part.budget.charge(0, time),
            }));
        }
        self.set_position(times.position);
        if long {
            self.force_key_unit();
        }
        Ok(())
    }

    /// Live input of absurd times would end the track: nothing may follow that is due before it.
    fn refuse_early(
        &self,
        part: &Part,
        place: Place,
        playing: &Playing,
        due: gst::ClockTime,
    ) -> Result<(), Halt> {
        let due = due + part.run.offset(place.live, place.anchor);
        if !place.live || due <= playing.now() + MAX_EARLY {
            return Ok(());
        }
        lock(&self.stream).interrupt();
        Err(Halt::Drop(
            Cause::Untimed,
            "it is due more than a minute later".into(),
        ))
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
            return Err(Halt::Drop(Cause::OverBudget, reason.into()));
        }
        part.budget.wait(|| self.gate.is_shut());
        match self.gate.is_shut() {
            true => Err(Halt::Flow(gst::FlowError::Flushing)),
            false => Ok(()),
        }
    }

    fn place(&self, part: &Part, playing: &Playing, times: Times, live: bool) -> Place {
        let mut stream = lock(&self.stream);
        let (published, before) = (stream.published, stream.before);
        let sparse = stream.kind().is_some_and(Kind::is_sparse);
        let anchor = *stream.anchor.get_or_insert_with(|| {
            part.run.anchor(Arrival {
                due: playing.base_time + times.presentation,
                now: playing.now(),
                live,
                sparse,
                published,
                before,
            })
        });
        Place { live, anchor }
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
}

// SPDX-License-Identifier: MIT
//! The way of a buffer from the chain function to the publisher's channel: admitted by the stream, placed
//! in MoQ time, paced by the clock, charged to the budget, prepared, sent.

use std::sync::Arc;

use bytes::Bytes;
use gst::subclass::prelude::*;

use super::{
    MoqSinkPad,
    publish_time::{FrameInfo, Placement},
    stream::{NotPublished, StreamState},
};
use crate::{
    element::{budget::Charge, pipeline_clock::PipelineClock},
    media::time::nanos::{clock_time, nanos},
    sink::{
        CAT,
        message::{Frame, PadMessage},
        run::RunHandle,
        stats::DropReason,
    },
};

/// A file that waits for longer (ns) for the time of its next buffer is warned of.
const MAX_SILENT_WAIT: i64 = 5_000_000_000;

/// A buffer that has its place in time.
struct Placed {
    run: Arc<RunHandle>,
    frame: FrameInfo,
    /// The clock by which it was placed.
    clock: PipelineClock,
    placement: Placement,
}

impl MoqSinkPad {
    pub(super) fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::trace!(CAT, imp = self, "{buffer:?}");
        let clock = self.clock_sync.clock()?;
        let playing = clock.is_some();
        match self.publish(clock, buffer) {
            Ok(()) | Err(NotPublished::Skipped) => Ok(gst::FlowSuccess::Ok),
            Err(NotPublished::Flow(error)) => Err(error),
            Err(NotPublished::Dropped(reason, text)) => {
                self.dropped(reason, &text, playing)?;
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }

    /// Lets time pass as if a buffer came.
    pub(super) fn gap(&self, event: &gst::event::Gap) -> Result<(), gst::FlowError> {
        let clock = self.clock_sync.clock()?;
        let (run, gap, live) = self.with_live_stream(|stream| {
            let (run, time) = (stream.run().clone(), stream.time());
            (run, time.gap(event), time.is_live())
        })?;
        let Some(gap) = gap else {
            return Ok(());
        };
        let clock = match clock {
            None if !live => Some(self.clock_sync.wait_playing()?),
            clock => clock,
        };
        if let Some(clock) = clock {
            let departure = self.with_stream(|stream| stream.place_gap(&clock, gap.running))?;
            if !live {
                self.pace(&run, clock, departure)?;
            }
        }
        self.with_stream(|stream| stream.time().set_position(gap.position))
    }

    /// Publishes a buffer that comes by `clock`, or while the pipeline is paused.
    fn publish(
        &self,
        clock: Option<PipelineClock>,
        buffer: gst::Buffer,
    ) -> Result<(), NotPublished> {
        let placed = self.place(clock, &buffer)?;
        let (run, live) = (&placed.run, placed.placement.live);
        let time = self.pace_frame(&placed)?;
        let charge = self.charge(run, live, buffer.size(), time)?;
        let prepare = |stream: &mut StreamState| stream.prepare(buffer, &placed.frame, time);
        let prepared = match self.with_stream(prepare)? {
            Ok(prepared) => prepared,
            Err(error) => {
                charge.cancel();
                return Err(error);
            }
        };
        if let Some(rendition) = prepared.rendition {
            let rendition = Box::new(rendition);
            run.send(match prepared.in_band {
                true => PadMessage::InBand(rendition),
                false => PadMessage::Rendition(rendition, self.wanted_track()),
            });
        }
        run.send(PadMessage::Frame(Frame {
            timestamp: time.useconds(),
            duration: prepared.duration,
            keyframe: placed.frame.keyframe,
            payload: prepared.payload,
            ends_cue: prepared.clear_at.is_none(),
            live,
            transit: placed.placement.transit,
            _charge: charge,
        }));
        if let Some(end) = prepared.clear_at {
            // In the same group, so that whoever gets the cue knows when it ends.
            run.send(PadMessage::Frame(Frame {
                timestamp: end.useconds(),
                duration: None,
                keyframe: false,
                payload: Bytes::new(),
                ends_cue: true,
                live,
                transit: None,
                _charge: run.budget().charge(0, time),
            }));
        }
        self.ask_for_keyframe(prepared.keyframe);
        Ok(())
    }

    /// Admits a buffer and places it in time; stored input waits until the pipeline plays, live input is
    /// lost until then.
    fn place(
        &self,
        clock: Option<PipelineClock>,
        buffer: &gst::BufferRef,
    ) -> Result<Placed, NotPublished> {
        let (run, frame, placement) = self.with_live_stream(|stream| {
            let frame = stream.admit(buffer)?;
            let placement = match &clock {
                Some(clock) => Some(stream.place(clock, &frame)),
                None if stream.pause() => return Err(NotPublished::Skipped),
                None => None,
            };
            Ok((stream.run().clone(), frame, placement))
        })??;
        if frame.times.guessed {
            let text = "A buffer has no time of its own: it follows the one before";
            self.warn_once(text, text);
        }
        let (clock, placement) = match clock.zip(placement) {
            Some(placed) => placed,
            None => {
                let clock = self.clock_sync.wait_playing()?;
                let placement = self.with_stream(|stream| stream.place(&clock, &frame))?;
                (clock, placement)
            }
        };
        if let Some(shift) = placement.resync {
            let by = clock_time(shift.saturating_abs());
            let way = if shift < 0 { "forward" } else { "back" };
            self.warn(&format!(
                "The timestamps stepped {way} by {by:.3}: the stream goes on where it was"
            ));
        }
        if placement.too_early {
            let reason = "it is due more than a minute later".into();
            return Err(NotPublished::Dropped(DropReason::NoTimestamp, reason));
        }
        Ok(Placed {
            run,
            frame,
            clock,
            placement,
        })
    }

    /// The MoQ time of a frame; stored input waits until it is due.
    fn pace_frame(&self, placed: &Placed) -> Result<gst::ClockTime, gst::FlowError> {
        let Placed {
            run,
            clock,
            placement,
            ..
        } = placed;
        if placement.live {
            return Ok(placement.time);
        }
        let offset = || run.with_timeline(false, |timeline| timeline.offset(placement.anchor));
        let mut clock = clock.clone();
        let mut waited_for = offset();
        loop {
            let departure = placement.departure.saturating_add(waited_for);
            clock = self.pace(run, clock, departure)?;
            // Meanwhile another pad may have moved the timeline on: what is due later leaves later.
            let moved = offset();
            if moved <= waited_for {
                break;
            }
            waited_for = moved;
        }
        // The pipeline may have been paused, too.
        let due = nanos(clock.base_time()).saturating_add(placement.running);
        Ok(run.with_timeline(false, |timeline| timeline.stamp(placement.anchor, due)))
    }

    /// Waits until the running time of `until` ns, where stored input is paced.
    fn pace(
        &self,
        run: &RunHandle,
        clock: PipelineClock,
        until: i64,
    ) -> Result<PipelineClock, gst::FlowError> {
        if !run.run().is_synced() {
            return Ok(clock);
        }
        let patience = clock.signed_running_time().saturating_add(MAX_SILENT_WAIT);
        if until <= patience {
            return self.clock_sync.wait_until(clock, until);
        }
        let clock = self.clock_sync.wait_until(clock, patience)?;
        let left = clock_time(until.saturating_sub(clock.signed_running_time()));
        self.warn_once("waits", &format!(
            "By its timestamp the next buffer is due in {left:.0}: the pad waits until then (sync=false publishes it at once)"
        ));
        self.clock_sync.wait_until(clock, until)
    }

    /// The share of a frame in the budget: a file waits for room; live input goes on, and too much of it
    /// is dropped.
    fn charge(
        &self,
        run: &RunHandle,
        live: bool,
        bytes: usize,
        time: gst::ClockTime,
    ) -> Result<Charge, NotPublished> {
        let budget = run.budget();
        if live {
            return budget.try_charge(bytes, time).ok_or_else(|| {
                let reason = "more waits than max-bytes and max-time allow".into();
                NotPublished::Dropped(DropReason::OverBudget, reason)
            });
        }
        let charge = budget.wait_charge(bytes, time, || self.clock_sync.is_flushing());
        charge.ok_or_else(|| gst::FlowError::Flushing.into())
    }

    /// Counts and reports a buffer that was dropped.
    fn dropped(&self, reason: DropReason, text: &str, playing: bool) -> Result<(), gst::FlowError> {
        let reaction = self.with_stream(|stream| stream.drop_buffer(reason, playing))?;
        if reason != DropReason::NoKeyframe {
            self.warn_once(text, &format!("A buffer was dropped: {text}"));
        }
        gst::debug!(CAT, imp = self, "A buffer was dropped: {text}");
        self.ask_for_keyframe(reaction.keyframe);
        if reaction.warns {
            self.warn(&format!(
                "Every buffer has been dropped for a second: {text}"
            ));
        }
        Ok(())
    }
}

// SPDX-License-Identifier: MIT
//! Which frames of a track can be decoded after some were lost.

use gst::ClockTime;

use crate::media::format::codec::Kind;

/// Whether the next frame follows the one before it, and if not, which ones can be decoded.
///
/// After an interruption video goes on with a keyframe, and the first frame that passes is DISCONT. What
/// comes behind that keyframe and is presented before it refers to what was lost.
#[derive(Debug)]
pub(crate) struct KeyframeGate {
    is_video: bool,
    needs_keyframe: bool,
    discont: bool,
    /// The time of the keyframe that ended an interruption, until the next keyframe.
    resumed_at: Option<ClockTime>,
}

impl KeyframeGate {
    /// The gate of a track of `kind` whose next frame follows.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            is_video: kind == Kind::Video,
            needs_keyframe: false,
            discont: false,
            resumed_at: None,
        }
    }

    /// The next frame does not follow the one before it.
    pub(crate) fn interrupt(&mut self) {
        self.needs_keyframe = self.is_video;
        self.discont = true;
    }

    /// The next frame can be decoded, though it does not follow: its format is another one.
    pub(crate) fn mark_discont(&mut self) {
        self.discont = true;
    }

    pub(crate) fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Whether a frame that is presented at `time` can be decoded; one that cannot leaves a hole.
    pub(crate) fn admits(&mut self, keyframe: bool, time: ClockTime) -> bool {
        if keyframe {
            let resumes = std::mem::take(&mut self.needs_keyframe);
            self.resumed_at = resumes.then_some(time);
            return true;
        }
        let leads = self.resumed_at.is_some_and(|resumed| time < resumed);
        let admitted = !self.needs_keyframe && !leads;
        self.discont |= !admitted;
        admitted
    }

    /// Whether the frame that passes now is DISCONT.
    pub(crate) fn take_discont(&mut self) -> bool {
        std::mem::take(&mut self.discont)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    #[test]
    fn video_goes_on_with_a_keyframe_and_without_the_frames_that_lead_it() {
        let mut gate = KeyframeGate::new(Kind::Video);
        assert!(gate.admits(false, ms(0)) && !gate.take_discont());
        gate.interrupt();
        assert!(gate.needs_keyframe() && !gate.admits(false, ms(40)));
        assert!(gate.admits(true, ms(120)) && gate.take_discont());
        assert!(!gate.admits(false, ms(80)), "it refers to what was lost");
        assert!(gate.admits(false, ms(160)) && gate.take_discont());
        assert!(gate.admits(true, ms(280)) && gate.admits(false, ms(200)));
        assert!(
            !gate.take_discont(),
            "nothing was lost before this keyframe"
        );
    }

    #[test]
    fn audio_goes_on_at_once() {
        let mut gate = KeyframeGate::new(Kind::Audio);
        gate.interrupt();
        assert!(!gate.needs_keyframe() && gate.admits(false, ms(20)));
        assert!(gate.take_discont() && !gate.take_discont());
    }
}

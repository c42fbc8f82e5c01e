// SPDX-License-Identifier: MIT
//! Whether a pad's stream needs a keyframe, when upstream is asked for one, and whether it answers.

use std::time::{Duration, Instant};

use crate::sink::message::{MAX_GROUP_BYTES, MAX_GROUP_FRAMES};

/// How long an encoder has for its answer: those that look ahead hold it back for seconds.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// So many frames have come after a request that was not answered: a stream that stands still says nothing.
const MIN_FRAMES: u32 = 3;
/// Who leaves so many requests in a row without an answer does not know them.
const MAX_UNANSWERED: u32 = 3;
/// How often such an upstream is asked.
const UNANSWERED_INTERVAL: Duration = Duration::from_secs(60);

/// From the start and whenever frames are lost, nothing passes before a keyframe. All reasons to ask
/// upstream for one meet here, so that all of them keep to one interval.
#[derive(Debug)]
pub(super) struct KeyframeState {
    /// `None` while a keyframe is missing.
    group: Option<Group>,
    requests: Requests,
}

/// What was published since the last keyframe, that one included.
#[derive(Debug)]
struct Group {
    begun: Instant,
    frames: usize,
    bytes: usize,
    /// How full it is, in quarters of a group's limits.
    quarters: usize,
}

/// When upstream was asked, and what came of it.
#[derive(Debug)]
struct Requests {
    min_interval: Duration,
    newest: Option<Instant>,
    /// A keyframe is wanted and has not come.
    wanted: bool,
    /// A request that may still be answered.
    open: Option<OpenRequest>,
    /// How many in a row were not.
    unanswered: u32,
    warning_due: bool,
}

#[derive(Debug)]
struct OpenRequest {
    since: Instant,
    /// What has come after it.
    frames: u32,
}

/// What is to be done about keyframes now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyframeDue {
    /// Upstream is to be asked.
    pub(super) request: bool,
    /// Upstream does not answer, which was not said yet.
    pub(super) warning: bool,
}

impl KeyframeState {
    /// Upstream is asked at most once per `min_interval`.
    pub(super) fn new(min_interval: Duration) -> Self {
        Self {
            group: None,
            requests: Requests {
                min_interval,
                newest: None,
                wanted: false,
                open: None,
                unanswered: 0,
                warning_due: false,
            },
        }
    }

    pub(super) fn set_min_interval(&mut self, min_interval: Duration) {
        self.requests.min_interval = min_interval;
    }

    /// Frames were or will be lost: what follows cannot be decoded before a keyframe.
    pub(super) fn lose(&mut self) {
        self.group = None;
    }

    /// The same where the stream breaks off, and what upstream was asked before with it.
    pub(super) fn interrupt(&mut self) {
        self.lose();
        self.requests.wanted = false;
        self.requests.open = None;
    }

    pub(super) fn is_missing(&self) -> bool {
        self.group.is_none()
    }

    /// Whether the open group is as old as `age`.
    pub(super) fn is_older(&self, age: Duration, now: Instant) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| now.saturating_duration_since(group.begun) >= age)
    }

    /// A frame has come, whether it is published or not.
    pub(super) fn take(&mut self, keyframe: bool, now: Instant) {
        self.requests.take(keyframe, now);
    }

    /// Counts a frame that is published, and says what is due: in a long group a keyframe, at half of
    /// the limits and again at three quarters, and what was asked for in vain once more.
    pub(super) fn publish(&mut self, keyframe: bool, bytes: usize, now: Instant) -> KeyframeDue {
        if keyframe {
            self.group = None;
            self.requests.wanted = false;
        }
        let group = self.group.get_or_insert(Group {
            begun: now,
            frames: 0,
            bytes: 0,
            quarters: 0,
        });
        group.frames += 1;
        group.bytes += bytes;
        let quarters = (4 * group.frames / MAX_GROUP_FRAMES).max(4 * group.bytes / MAX_GROUP_BYTES);
        let crossed = std::mem::replace(&mut group.quarters, quarters) < quarters;
        let request = match crossed && matches!(quarters, 2 | 3) {
            true => self.requests.request(now),
            false => self.requests.repeat(now),
        };
        KeyframeDue {
            request,
            warning: self.take_warning(),
        }
    }

    /// A keyframe is wanted: whether upstream is to be asked now; then it counts as asked. Otherwise it
    /// is asked later, unless a keyframe comes.
    pub(super) fn request(&mut self, now: Instant) -> bool {
        self.requests.request(now)
    }

    /// Whether it is to be said that upstream does not answer; then it counts as said.
    pub(super) fn take_warning(&mut self) -> bool {
        std::mem::take(&mut self.requests.warning_due)
    }
}

impl Requests {
    fn take(&mut self, keyframe: bool, now: Instant) {
        if keyframe {
            let asked = self.newest.map(|at| now.saturating_duration_since(at));
            if asked.is_some_and(|ago| ago < ANSWER_TIME) {
                self.unanswered = 0;
            }
            self.open = None;
            return;
        }
        let Some(open) = &mut self.open else {
            return;
        };
        open.frames = open.frames.saturating_add(1);
        let waited = now.saturating_duration_since(open.since);
        if open.frames >= MIN_FRAMES && waited >= ANSWER_TIME {
            self.open = None;
            self.unanswered = self.unanswered.saturating_add(1);
            self.warning_due |= self.unanswered == MAX_UNANSWERED;
        }
    }

    fn request(&mut self, now: Instant) -> bool {
        self.wanted = true;
        let interval = match self.unanswered < MAX_UNANSWERED {
            true => self.min_interval,
            false => self.min_interval.max(UNANSWERED_INTERVAL),
        };
        let passed = self.newest.map(|at| now.saturating_duration_since(at));
        if passed.is_some_and(|passed| passed < interval) {
            return false;
        }
        self.newest = Some(now);
        self.open.get_or_insert(OpenRequest {
            since: now,
            frames: 0,
        });
        true
    }

    /// Asks for what is wanted still, unless it may be on its way.
    fn repeat(&mut self, now: Instant) -> bool {
        self.wanted && self.open.is_none() && self.request(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);
    const FRAME: Duration = Duration::from_millis(40);

    fn begun(start: Instant) -> KeyframeState {
        let mut keyframes = KeyframeState::new(INTERVAL);
        keyframes.take(true, start);
        keyframes.publish(true, 1, start);
        keyframes
    }

    /// Frames that are no keyframes, up to the time `end`; when upstream is asked, and the warnings.
    fn play(
        keyframes: &mut KeyframeState,
        start: Instant,
        times: std::ops::Range<Duration>,
    ) -> (Vec<Duration>, usize) {
        let (mut asked, mut warnings) = (Vec::new(), 0);
        let mut time = times.start;
        while time < times.end {
            keyframes.take(false, start + time);
            let due = keyframes.publish(false, 0, start + time);
            asked.extend(due.request.then_some(time));
            warnings += usize::from(due.warning);
            time += FRAME;
        }
        (asked, warnings)
    }

    #[test]
    fn a_keyframe_is_missing_from_the_start_and_after_a_loss() {
        let (mut keyframes, now) = (KeyframeState::new(INTERVAL), Instant::now());
        assert!(keyframes.is_missing());
        keyframes.publish(true, 1, now);
        assert!(!keyframes.is_missing());
        keyframes.lose();
        assert!(keyframes.is_missing());
    }

    #[test]
    fn one_is_due_at_half_and_at_three_quarters_of_a_group() {
        let (mut keyframes, now) = (KeyframeState::new(Duration::ZERO), Instant::now());
        let mut publish = |keyframe, bytes| keyframes.publish(keyframe, bytes, now).request;
        let due: Vec<usize> = (1..MAX_GROUP_FRAMES)
            .filter(|frame| publish(*frame == 1, 1))
            .collect();
        assert_eq!(due, [MAX_GROUP_FRAMES / 2, MAX_GROUP_FRAMES / 4 * 3]);
        assert!(!publish(true, MAX_GROUP_BYTES / 4));
        assert!(publish(false, MAX_GROUP_BYTES / 4), "by its bytes");
    }

    #[test]
    fn requests_keep_their_interval_and_what_comes_too_early_is_made_later() {
        let start = Instant::now();
        let mut keyframes = begun(start);
        assert!(keyframes.request(start));
        assert!(!keyframes.request(start + INTERVAL / 2));
        assert!(keyframes.request(start + INTERVAL));
        let answer = start + INTERVAL + FRAME;
        keyframes.take(true, answer);
        keyframes.publish(true, 1, answer);
        assert!(!keyframes.request(answer), "another reason, too early");
        let (asked, _) = play(&mut keyframes, start, INTERVAL + FRAME..INTERVAL * 3);
        assert_eq!(asked.len(), 1);
        assert!(asked[0] >= INTERVAL * 2 && asked[0] < INTERVAL * 2 + FRAME);
        keyframes.set_min_interval(Duration::ZERO);
        assert!(keyframes.request(start + asked[0]));
    }

    #[test]
    fn a_group_has_an_age() {
        let start = Instant::now();
        let mut keyframes = KeyframeState::new(INTERVAL);
        assert!(!keyframes.is_older(Duration::ZERO, start), "there is none");
        keyframes.publish(true, 1, start);
        assert!(!keyframes.is_older(FRAME, start));
        keyframes.publish(false, 1, start + FRAME);
        assert!(keyframes.is_older(FRAME, start + FRAME));
    }

    #[test]
    fn who_never_answers_is_asked_once_a_minute_and_warned_of_once() {
        let start = Instant::now();
        let mut keyframes = begun(start);
        assert!(keyframes.request(start));
        let end = Duration::from_secs(140);
        let (asked, warnings) = play(&mut keyframes, start, FRAME..end);
        let seconds: Vec<u64> = asked.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [3, 6, 66, 126]);
        assert_eq!(warnings, 1);
        assert!(!keyframes.request(start + end), "for other reasons, too");
        // A keyframe soon after a request is an answer.
        let again = Duration::from_secs(186);
        let (asked, _) = play(&mut keyframes, start, end..again + FRAME);
        assert_eq!(asked.len(), 1);
        let answer = start + again + FRAME;
        keyframes.take(true, answer);
        keyframes.publish(true, 1, answer);
        assert!(keyframes.request(answer + INTERVAL));
        let (_, warnings) = play(&mut keyframes, start, again + INTERVAL..again * 2);
        assert_eq!(warnings, 1, "it stops answering");
    }

    #[test]
    fn a_stream_that_stands_still_says_nothing_about_answers() {
        let start = Instant::now();
        let mut keyframes = begun(start);
        let mut now = start;
        for _ in 0..2 * MAX_UNANSWERED {
            keyframes.request(now);
            now += 2 * ANSWER_TIME;
            keyframes.take(false, now);
            assert!(!keyframes.publish(false, 1, now).warning);
            keyframes.interrupt();
            keyframes.publish(true, 1, now);
        }
        assert!(keyframes.request(now + INTERVAL));
    }
}

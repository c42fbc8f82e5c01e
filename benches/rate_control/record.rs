// SPDX-License-Identifier: MIT
//! What one run has measured, and what follows from it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{picture::Mark, scene::Scene};

/// How often bytes and rates are looked at.
pub(crate) const SAMPLE: Duration = Duration::from_millis(100);
/// How long after a step down a delay is its price.
const GRACE: f64 = 2.0;
/// How long after a step down an encoder has to fit.
const FITS_AFTER: f64 = 3.0;
/// How long a step lasts before its use counts, or half of it if it is shorter than twice that.
const SETTLE: f64 = 10.0;
/// A rate is that of so many samples.
const WINDOW: usize = 10;
/// What may be on its way when a run ends.
const LAST: f64 = 1.0;

/// What passed the bottleneck in a tenth of a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bin {
    /// Of IP packets, with their headers.
    pub(crate) bytes: u64,
    pub(crate) dropped: u32,
    /// The longest wait.
    pub(crate) queue_ms: f64,
}

/// What the sender has noted, each tenth of a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at: u64,
    /// What the encoder has made since the last one.
    pub(crate) bytes: u64,
    /// What the encoder is to make, in bit/s.
    pub(crate) target: f64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) frames: Vec<Mark>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) sound: Vec<Packet>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    /// The number of each frame, and when it was decoded.
    pub(crate) frames: Vec<(u16, u64)>,
    /// Pictures whose mark cannot be read: what they show was not received.
    pub(crate) unreadable: usize,
    pub(crate) sound: Vec<Packet>,
}

/// A packet of sound. The sound is noise: no two have the same content.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Packet {
    hash: u64,
    at: u64,
}

impl Packet {
    pub(crate) fn of(buffer: &gst::BufferRef, at: u64) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        buffer.map_readable().ok()?.as_slice().hash(&mut hasher);
        Some(Self {
            hash: hasher.finish(),
            at,
        })
    }
}

/// One run of one peer.
pub(crate) struct Record {
    pub(crate) scene: Scene,
    pub(crate) bins: Vec<Bin>,
    samples: Vec<(f64, Sample)>,
    /// When each frame was sent, in seconds, and how long it took, in ms.
    frames: Vec<(f64, Option<f64>)>,
    sound: f64,
    unreadable: usize,
}

/// What passes in a step, once it has lasted a while: all of it, and what is of the encoder, in percent of the
/// capacity.
pub(crate) struct Use {
    pub(crate) wire: f64,
    pub(crate) picture: f64,
}

/// What a run comes to.
pub(crate) struct Figures {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Outside of the first 2 s after each step down.
    pub(crate) p99_steady: f64,
    /// From 3 s after a step down on, until the next step.
    pub(crate) p99_fitting: f64,
    pub(crate) lost_fitting: usize,
    pub(crate) lost: usize,
    pub(crate) frames: usize,
    /// Pictures that came and show no frame that can be told.
    pub(crate) unreadable: usize,
    /// Percent of its packets.
    pub(crate) sound: f64,
    pub(crate) steps: Vec<Use>,
    /// Seconds after the last step until as much passes as fits through the first one.
    pub(crate) rise: Option<f64>,
}

impl Record {
    pub(crate) fn new(
        scene: &Scene,
        begun: u64,
        mut bins: Vec<Bin>,
        sent: Sent,
        received: &Received,
    ) -> Self {
        let since = |at: u64| (at as f64 - begun as f64) / 1e9;
        let mut came: BTreeMap<u16, u64> = BTreeMap::new();
        for (number, at) in &received.frames {
            came.entry(*number).or_insert(*at);
        }
        let end = scene.end - LAST;
        let sent_frames = sent.frames.iter().map(|mark| {
            let at = came.get(&mark.number).copied();
            let delay = at.map(|at| (at as f64 - mark.sent as f64) / 1e6);
            (since(mark.sent), delay)
        });
        let frames = sent_frames.filter(|(at, _)| (0.0..end).contains(at));
        let samples = sent.samples.iter().cloned();
        let samples = samples.map(|sample| (since(sample.at), sample));
        let samples = samples.filter(|(at, _)| (0.0..scene.end).contains(at));
        bins.resize((scene.end / SAMPLE.as_secs_f64()) as usize, Bin::default());
        Self {
            scene: scene.clone(),
            bins,
            samples: samples.collect(),
            frames: frames.collect(),
            sound: sound(&sent.sound, &received.sound, |at| {
                (0.0..end).contains(&since(at))
            }),
            unreadable: received.unreadable,
        }
    }

    /// The delays of frames that were sent at times that fit, in order.
    fn delays(&self, fits: impl Fn(f64) -> bool) -> Vec<f64> {
        let frames = self.frames.iter().filter(|(at, _)| fits(*at));
        let mut delays: Vec<f64> = frames.filter_map(|(_, delay)| *delay).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }

    pub(crate) fn figures(&self) -> Figures {
        let falls: Vec<(f64, f64)> = self.scene.falls().collect();
        let is_steady = |at: f64| {
            !falls
                .iter()
                .any(|(from, _)| (*from..from + GRACE).contains(&at))
        };
        let is_fitting = |at: f64| {
            falls
                .iter()
                .any(|(from, to)| (from + FITS_AFTER..*to).contains(&at))
        };
        let is_lost = |frame: &&(f64, Option<f64>)| frame.1.is_none();
        let lost = self.frames.iter().filter(is_lost);
        let all = self.delays(|_| true);
        Figures {
            p50: part(&all, 0.5),
            p99: part(&all, 0.99),
            p99_steady: part(&self.delays(is_steady), 0.99),
            p99_fitting: part(&self.delays(is_fitting), 0.99),
            lost_fitting: lost.clone().filter(|frame| is_fitting(frame.0)).count(),
            lost: lost.count(),
            frames: self.frames.len(),
            unreadable: self.unreadable,
            sound: self.sound,
            steps: self.steps(),
            rise: self.rise(),
        }
    }

    fn steps(&self) -> Vec<Use> {
        let spans = self.scene.spans().map(|(from, to, bits)| {
            let from = from + SETTLE.min((to - from) / 2.0);
            let samples = self.samples.iter();
            let samples = samples.filter(|(at, _)| (from..to).contains(at));
            let made: u64 = samples.map(|(_, sample)| sample.bytes).sum();
            Use {
                wire: 100.0 * self.passed(from, to) / bits,
                picture: 100.0 * made as f64 * 8.0 / (to - from) / bits,
            }
        });
        spans.collect()
    }

    /// Bit/s that passed between two moments.
    fn passed(&self, from: f64, to: f64) -> f64 {
        let index = |at: f64| (at / SAMPLE.as_secs_f64()).round() as usize;
        let bins = self.bins.get(index(from)..index(to)).unwrap_or_default();
        let bytes: u64 = bins.iter().map(|bin| bin.bytes).sum();
        bytes as f64 * 8.0 / (to - from)
    }

    fn rise(&self) -> Option<f64> {
        let (first, last) = (self.scene.steps.first()?, self.scene.steps.last()?);
        let window = WINDOW as f64 * SAMPLE.as_secs_f64();
        let mut at = last.0 + window;
        while at <= self.scene.end {
            if self.passed(at - window, at) >= first.1 {
                return Some(at - last.0);
            }
            at += SAMPLE.as_secs_f64();
        }
        None
    }

    /// What the encoder is to make, in Mbit/s.
    pub(crate) fn target(&self) -> Vec<(f64, f64)> {
        let samples = self.samples.iter();
        samples
            .map(|(at, sample)| (*at, sample.target / 1e6))
            .collect()
    }

    /// What the encoder makes, in Mbit/s, each time over the last second.
    pub(crate) fn encoded(&self) -> Vec<(f64, f64)> {
        let windows = self.samples.windows(WINDOW);
        let rate = |window: &[(f64, Sample)]| {
            let bytes: u64 = window.iter().map(|(_, sample)| sample.bytes).sum();
            let at = window.last().map_or(0.0, |last| last.0);
            (
                at,
                bytes as f64 * 8.0 / 1e6 / (WINDOW as f64 * SAMPLE.as_secs_f64()),
            )
        };
        windows.map(rate).collect()
    }

    /// What passed the bottleneck, in Mbit/s, each time over the last second.
    pub(crate) fn used(&self) -> Vec<(f64, f64)> {
        let end = WINDOW..=self.bins.len();
        let time = |index: usize| index as f64 * SAMPLE.as_secs_f64();
        end.map(|end| (time(end), self.passed(time(end - WINDOW), time(end)) / 1e6))
            .collect()
    }

    /// When frames were sent that came, and how many ms the slowest of each tenth of a second took.
    pub(crate) fn came(&self) -> Vec<(f64, f64)> {
        let mut slowest: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for (at, delay) in &self.frames {
            let Some(delay) = *delay else {
                continue;
            };
            let index = (at / SAMPLE.as_secs_f64()) as usize;
            let point = slowest.entry(index).or_insert((*at, delay));
            if delay > point.1 {
                *point = (*at, delay);
            }
        }
        slowest.into_values().collect()
    }

    /// A line for each tenth of a second.
    pub(crate) fn csv(&self) -> String {
        let mut text = "seconds,capacity_bits,passed_bytes,dropped_packets,queue_ms,target_bits,\
                        encoder_bytes,frames_sent,frames_lost,delay_max_ms\n"
            .to_owned();
        let mut target = 0.0;
        for (index, bin) in self.bins.iter().enumerate() {
            let from = index as f64 * SAMPLE.as_secs_f64();
            let here = |at: f64| (from..from + SAMPLE.as_secs_f64()).contains(&at);
            let mut samples = self.samples.iter().filter(|(at, _)| here(*at));
            let bytes: u64 = samples.clone().map(|(_, sample)| sample.bytes).sum();
            // A machine that stands still samples later.
            target = samples
                .next_back()
                .map_or(target, |(_, sample)| sample.target);
            let frames = self.frames.iter().filter(|(at, _)| here(*at));
            let delays = frames.clone().filter_map(|(_, delay)| *delay);
            let longest = delays.clone().fold(f64::NAN, f64::max);
            let longest = longest.is_finite().then(|| format!("{longest:.1}"));
            let sent = frames.count();
            // A String takes everything.
            let _ = writeln!(
                text,
                "{from:.1},{:.0},{},{},{:.1},{target:.0},{bytes},{sent},{},{}",
                self.scene.capacity(from),
                bin.bytes,
                bin.dropped,
                bin.queue_ms,
                sent - delays.count(),
                longest.unwrap_or_default(),
            );
        }
        text
    }

    /// A line for each frame; one that was lost has no delay.
    pub(crate) fn frames_csv(&self) -> String {
        let mut text = "sent_seconds,delay_ms\n".to_owned();
        for (at, delay) in &self.frames {
            let delay = delay.map_or_else(String::new, |delay| format!("{delay:.2}"));
            let _ = writeln!(text, "{at:.4},{delay}");
        }
        text
    }

    /// How often the sender was late by a sample's time or more, and by how many ms at most: what a machine that
    /// does something else adds to delays.
    pub(crate) fn stalls(&self) -> (usize, f64) {
        let gaps = self.samples.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let stalls = gaps.map(|gap| gap - SAMPLE.as_secs_f64());
        let stalls = stalls.filter(|late| *late >= SAMPLE.as_secs_f64());
        (stalls.clone().count(), stalls.fold(0.0, f64::max) * 1e3)
    }
}

/// The percentage of the packets that came, of those that were sent at a time that fits.
fn sound(sent: &[Packet], received: &[Packet], fits: impl Fn(u64) -> bool) -> f64 {
    let came: HashSet<u64> = received.iter().map(|packet| packet.hash).collect();
    let sent = sent.iter().filter(|packet| fits(packet.at));
    let (all, there) = sent.fold((0, 0), |(all, there), packet| {
        (all + 1, there + i32::from(came.contains(&packet.hash)))
    });
    100.0 * f64::from(there) / f64::from(all)
}

/// The value that this part of them does not pass.
fn part(ordered: &[f64], part: f64) -> f64 {
    let last = ordered.len().saturating_sub(1);
    let value = ordered.get((last as f64 * part).round() as usize);
    value.copied().unwrap_or(f64::NAN)
}

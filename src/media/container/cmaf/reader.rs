// SPDX-License-Identifier: MIT
//! The samples of a fragment: moof and mdat (ISO/IEC 14496-12 section 8.8).

use bytes::Bytes;
use moq_mux::container::Frame;
use moq_net::Timestamp;

use super::{DEPENDS_ON, INDEPENDENT, Init, Malformed, NON_SYNC};

/// hang allows no more frames in a whole group.
const MAX_SAMPLES: usize = 8192;

impl Init {
    /// The samples of one fragment (moof and mdat), in decode order; their payloads share its bytes.
    ///
    /// # Errors
    ///
    /// When it is damaged: nothing of it is to be used.
    pub fn frames(&self, fragment: &Bytes) -> Result<Vec<Frame>, Malformed> {
        let mut frames = Vec::new();
        let mut run = None;
        let mut rest = Fields(fragment);
        while !rest.0.is_empty() {
            let (kind, body) = rest
                .next_box()
                .ok_or("a box of the fragment is cut short")?;
            match &kind {
                b"moof" => run = Some(self.traf(body)?),
                b"mdat" => {
                    let traf = run.take().ok_or("the fragment has no moof box")?;
                    let data = fragment.slice_ref(body);
                    self.samples(&traf, data, &mut frames)?;
                }
                _ => {}
            }
        }
        match frames.is_empty() {
            true => Err("the fragment has no samples".into()),
            false => Ok(frames),
        }
    }

    /// The track's part of a moof box, or the only one.
    fn traf<'a>(&self, moof: &'a [u8]) -> Result<Traf<'a>, Malformed> {
        let mut only = None;
        let mut rest = Fields(moof);
        while !rest.0.is_empty() {
            let (kind, body) = rest.next_box().ok_or("the moof box is cut short")?;
            if &kind == b"traf" {
                let traf = self.read_traf(body).ok_or("the traf box is damaged")?;
                if traf.track_id == self.track_id {
                    return Ok(traf);
                }
                only.get_or_insert(traf);
            }
        }
        only.ok_or_else(|| "the fragment has no traf box".into())
    }

    fn read_traf<'a>(&self, traf: &'a [u8]) -> Option<Traf<'a>> {
        let mut header = None;
        let mut decode_time = None;
        let mut runs = Vec::new();
        let mut rest = Fields(traf);
        while !rest.0.is_empty() {
            let (kind, body) = rest.next_box()?;
            let mut body = Fields(body);
            match &kind {
                b"tfhd" => header = Some(self.read_tfhd(&mut body)?),
                b"tfdt" => {
                    decode_time = Some(match body.u32()? >> 24 {
                        0 => body.u32()?.into(),
                        _ => body.u64()?,
                    });
                }
                b"trun" => runs.push(body),
                _ => {}
            }
        }
        let (track_id, defaults) = header?;
        Some(Traf {
            track_id,
            defaults,
            decode_time: decode_time?,
            runs,
        })
    }

    /// Track and defaults of a tfhd box (ISO/IEC 14496-12 section 8.8.7).
    fn read_tfhd(&self, body: &mut Fields<'_>) -> Option<(u32, Sample)> {
        let flags = body.u32()?;
        let track_id = body.u32()?;
        if flags & 0x1 != 0 {
            body.u64()?;
        }
        body.optional(flags & 0x2)?;
        let trex = &self.defaults;
        let defaults = Sample {
            duration: body
                .optional(flags & 0x8)?
                .unwrap_or(trex.default_sample_duration),
            size: body
                .optional(flags & 0x10)?
                .unwrap_or(trex.default_sample_size),
            flags: body
                .optional(flags & 0x20)?
                .unwrap_or(trex.default_sample_flags),
            offset: 0,
        };
        Some((track_id, defaults))
    }

    fn samples(
        &self,
        traf: &Traf<'_>,
        mut data: Bytes,
        frames: &mut Vec<Frame>,
    ) -> Result<(), Malformed> {
        let mut time = traf.decode_time;
        let mut timeless = false;
        for run in &traf.runs {
            for sample in Samples::new(run.clone(), traf.defaults).ok_or("a trun box is damaged")? {
                let sample = sample.ok_or("a trun box is cut short")?;
                if timeless {
                    return Err("a sample of the fragment has no duration".into());
                }
                if frames.len() == MAX_SAMPLES {
                    return Err("the fragment has more than 8192 samples".into());
                }
                let size = sample.size as usize;
                if size == 0 {
                    return Err("a sample of the fragment is empty".into());
                }
                if size > data.len() {
                    return Err("a sample runs past the end of the fragment".into());
                }
                let shown = time.checked_add_signed(sample.offset.into());
                let shown = shown.and_then(|time| Timestamp::new(time, self.timescale).ok());
                frames.push(Frame {
                    timestamp: shown.ok_or("a sample has an impossible time")?,
                    duration: None,
                    payload: data.split_to(size),
                    keyframe: self.is_video && sample.is_sync(),
                });
                timeless = sample.duration == 0;
                time = time.saturating_add(sample.duration.into());
            }
        }
        Ok(())
    }
}

/// What is used of a traf box.
struct Traf<'a> {
    track_id: u32,
    defaults: Sample,
    decode_time: u64,
    runs: Vec<Fields<'a>>,
}

/// What a trun box says of one sample.
#[derive(Clone, Copy)]
struct Sample {
    duration: u32,
    size: u32,
    flags: u32,
    /// From decode time to presentation time.
    offset: i32,
}

impl Sample {
    /// As strict as moq-mux is: a delta that is taken for a keyframe does more harm than the reverse.
    fn is_sync(self) -> bool {
        self.flags & DEPENDS_ON == INDEPENDENT && self.flags & NON_SYNC == 0
    }
}

/// The samples of a trun box (ISO/IEC 14496-12 section 8.8.8); the last is `None` when it is cut
/// short.
struct Samples<'a> {
    fields: Fields<'a>,
    flags: u32,
    left: u32,
    first_flags: Option<u32>,
    defaults: Sample,
}

impl<'a> Samples<'a> {
    fn new(mut fields: Fields<'a>, defaults: Sample) -> Option<Self> {
        let flags = fields.u32()?;
        let left = fields.u32()?;
        fields.optional(flags & 0x1)?;
        let first_flags = fields.optional(flags & 0x4)?;
        Some(Self {
            fields,
            flags,
            left,
            first_flags,
            defaults,
        })
    }

    fn read(&mut self) -> Option<Sample> {
        let Self {
            fields,
            flags,
            defaults,
            ..
        } = self;
        let duration = fields
            .optional(*flags & 0x100)?
            .unwrap_or(defaults.duration);
        let size = fields.optional(*flags & 0x200)?.unwrap_or(defaults.size);
        let own = fields.optional(*flags & 0x400)?;
        // Version 0 has no sign, and no offset is so long that it would matter.
        let offset = fields.optional(*flags & 0x800)?.unwrap_or(0).cast_signed();
        let flags = self.first_flags.take().or(own).unwrap_or(defaults.flags);
        Some(Sample {
            duration,
            size,
            flags,
            offset,
        })
    }
}

impl Iterator for Samples<'_> {
    type Item = Option<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let sample = self.read();
        if sample.is_none() {
            self.left = 0;
        }
        Some(sample)
    }
}

/// Reads big-endian fields and boxes; `None` past the end.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A field that is there if `flag` is not zero.
    fn optional(&mut self, flag: u32) -> Option<Option<u32>> {
        match flag {
            0 => Some(None),
            _ => self.u32().map(Some),
        }
    }

    /// Type and body of the next box (ISO/IEC 14496-12 section 4.2).
    fn next_box(&mut self) -> Option<([u8; 4], &'a [u8])> {
        let size = self.u32()?;
        let kind = self.array()?;
        let size = match size {
            0 => self.0.len(),
            1 => usize::try_from(self.u64()?.checked_sub(16)?).ok()?,
            size => usize::try_from(size.checked_sub(8)?).ok()?,
        };
        let (body, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some((kind, body))
    }
}
